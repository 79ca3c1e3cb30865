"""The reviewed list of what remains different, and of the cases left out.

``remaining/<first word of the case's name>.txt`` has a line for each step that is answered differently::

    case step sort: why it may stay so

and ``left_out.txt`` one for each case about something that this server does not have: ``case: why``."""

from __future__ import annotations

import re
from pathlib import Path

_HERE = Path(__file__).parent
_LINE = re.compile(r"(?P<case>[a-z0-9-]+) (?P<step>\d+) (?P<sort>accepted|refused|code|field): (?P<why>\S.*)")


def remaining(case: str) -> dict[int, str]:
    """Step → sort of the difference that is accepted, for one case."""
    file = _HERE / "remaining" / f"{case.partition('-')[0]}.txt"
    steps: dict[int, str] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        match = _LINE.fullmatch(line)
        assert match, f"{file.name}: {line!r} is not 'case step sort: why'"
        if match["case"] == case:
            steps[int(match["step"])] = match["sort"]
    return steps


def left_out() -> dict[str, str]:
    """Case → why it is left out as a whole."""
    lines = (_HERE / "left_out.txt").read_text(encoding="utf-8").splitlines()
    return {case: why for case, _, why in (line.partition(": ") for line in lines)}
