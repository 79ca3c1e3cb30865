"""Readable traces of changes of primary: what was done to the store, then each step and command of the state machine.

``RSTORE_REWRITE_TRACES=1`` writes them anew.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from rstore_operator.facts.actions import Demote, Fence, Promote, RemoveAnnotations
from unit.operator.lossy_world import running

TRACES = Path(__file__).parent / "traces"
COMMANDS = (Demote, Fence, Promote, RemoveAnnotations)
MAX_STEPS = 200


def replay(script: list[str]) -> list[str]:
    """Carry out the script's lines (``kill REGION``, ``revive REGION``, ``annotate NAME VALUE``, ``settle``): each,
    followed by what the operator decided."""
    world, lines, last = running(), [], ""
    for line in script:
        lines.append(f"> {line}")
        verb, *words = line.split()
        if verb == "kill":
            world.kill(*words)
        elif verb == "revive":
            world.revive(*words)
        elif verb == "annotate":
            world.annotations[f"replicatedstore.io/{words[0]}"] = words[1]
        elif verb != "settle":
            raise ValueError(f"no such line: {line}")
        for _ in range(MAX_STEPS if verb == "settle" else 0):
            plan = world.step()
            intent = plan.status.failover
            state = f"{intent.step.value} of epoch {intent.epoch}" if intent else f"epoch {plan.status.epoch}"
            calls = [
                f"{type(one).__name__} {getattr(one, 'region', '')}".rstrip()
                for one in plan.actions
                if isinstance(one, COMMANDS)
            ]
            shown = f"{state}: {', '.join(calls) or '-'}"
            if shown != last:
                lines.append(shown)
            last = shown
            world.renew()
            world.replicate()
    return lines


@pytest.mark.parametrize("path", sorted(TRACES.glob("*.txt")), ids=lambda path: path.stem)
def test_a_trace_is_what_the_operator_does(path: Path) -> None:
    before = path.read_text(encoding="utf-8").splitlines()
    after = replay([line.removeprefix("> ") for line in before if line.startswith("> ")])
    if os.environ.get("RSTORE_REWRITE_TRACES"):
        path.write_text("\n".join(after) + "\n", encoding="utf-8")
    else:
        assert after == before
