"""Setting faults on the links of a local cluster that was started with them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from localkube.links.rules import Fault, LinkRule, check_places, fault_from_json, fault_to_json, with_fault
from localkube.links.switchboard import FAULTS_FILE, STATE_FILE

APPLY_SECONDS = 60.0
POLL_SECONDS = 0.005


class FaultError(Exception):
    """The faults could not be set; the message says why."""


@dataclass(frozen=True)
class _State:
    version: str
    places: tuple[str, ...]
    problem: str


class LinkFaults:
    """The faults of the cluster with that data directory. Each method returns when what it sets is in force."""

    def __init__(self, data_dir: Path) -> None:
        self._directory = data_dir

    def places(self) -> tuple[str, ...]:
        """Returns regions, places of their own, and ``api``. Raises FaultError when the cluster has no relays."""
        return self._state().places

    def faults(self) -> tuple[Fault, ...]:
        """Returns what is in force."""
        self._state()
        try:
            document = json.loads((self._directory / FAULTS_FILE).read_text())
        except FileNotFoundError:
            return ()
        return tuple(fault_from_json(item) for item in document["faults"])

    def set(self, source: str, target: str, rule: LinkRule, *, both_ways: bool = True) -> None:
        """The rule of the link from one place to another, and of the way back. ``*`` stands for all places.

        Raises RuleError for places that there are not, FaultError.
        """
        check_places(Fault(source, target, rule), self.places())
        faults = with_fault(self.faults(), Fault(source, target, rule))
        if both_ways:
            faults = with_fault(faults, Fault(target, source, rule))
        self.replace(faults)

    def clear(self) -> None:
        """All links are whole again. Raises FaultError."""
        self.replace(())

    def replace(self, faults: Iterable[Fault]) -> None:
        """Exactly these and no others; where two are about the same link the later one counts.

        Raises RuleError, FaultError.
        """
        faults = tuple(faults)
        places = self.places()
        for fault in faults:
            check_places(fault, places)
        version = uuid.uuid4().hex
        fresh = self._directory / f"{FAULTS_FILE}.{version}"
        fresh.write_text(json.dumps({"version": version, "faults": [fault_to_json(fault) for fault in faults]}))
        fresh.replace(self._directory / FAULTS_FILE)
        deadline = time.monotonic() + APPLY_SECONDS
        while (state := self._state()).version != version:
            if time.monotonic() > deadline:
                raise FaultError(f"the relays did not take the faults within {APPLY_SECONDS:g} s")
            time.sleep(POLL_SECONDS)
        if state.problem:
            raise FaultError(state.problem)

    def _state(self) -> _State:
        try:
            document = json.loads((self._directory / STATE_FILE).read_text())
        except FileNotFoundError:
            raise FaultError("this local cluster was started without relays between its places (--faults)") from None
        return _State(str(document["version"]), tuple(document["places"]), str(document["problem"]))
