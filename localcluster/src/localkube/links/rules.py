"""What a link does to the bytes that travel along it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

HANG, RESET = "hang", "reset"
MAX_DELAY_MS = 60_000
ANY = "*"

MAX_BUFFER_BYTES = 32 * 1024 * 1024
"""What one direction of one connection may hold that is on its way: 50 ms at 640 MB/s, 300 ms at 100 MB/s."""
MIN_BUFFER_BYTES = 64 * 1024
QUEUE_SECONDS = 0.25
"""A slow link holds what it carries in this time, beside what is on its way: then the sender has to wait."""


class RuleError(ValueError):
    """A rule that makes no sense; the message says why."""


@dataclass(frozen=True)
class LinkRule:
    """One link, one way. Nothing set: the link does nothing."""

    delay_ms: float = 0.0
    """Added to every byte on its way; a round trip takes the delays of both ways."""
    loss_percent: float = 0.0
    """Chance that a write (of 16 KiB at most) is lost. TCP repeats it a time-out later (200 ms and a round trip, twice
    as long each time it is lost again), and all that was sent after it waits: a stall, never missing bytes."""
    bytes_per_second: int = 0
    """At most so much, for each connection; 0: no limit."""
    cut: str = ""
    """``hang``: everything vanishes without notice, as if packets were dropped; when the link is whole again what
    was sent meanwhile arrives, as TCP repeats it. ``reset``: connections are broken and new ones refused.
    Where one way alone is cut the other goes on, while TCP's would come to a halt soon, its acknowledgements lost."""

    def __post_init__(self) -> None:
        if not 0 <= self.delay_ms <= MAX_DELAY_MS:
            raise RuleError(f"a delay is from 0 to {MAX_DELAY_MS} ms, not {self.delay_ms:g}")
        if not 0 <= self.loss_percent <= 90:
            raise RuleError(f"a loss is from 0 to 90 percent, not {self.loss_percent:g}")
        if self.bytes_per_second < 0 or 0 < self.bytes_per_second < 100:
            raise RuleError(f"a rate is at least 100 bytes per second, not {self.bytes_per_second}")
        if self.cut not in ("", HANG, RESET):
            raise RuleError(f"a cut is {HANG!r} or {RESET!r}, not {self.cut!r}")

    @property
    def delay_seconds(self) -> float:
        """``delay_ms`` in seconds."""
        return self.delay_ms / 1000

    @property
    def passes_at_once(self) -> bool:
        """Returns whether bytes are handed on as they come."""
        return not (self.delay_ms or self.loss_percent or self.bytes_per_second or self.cut)

    @property
    def buffer_bytes(self) -> int:
        """Returns what one connection may hold that is on its way."""
        if not self.bytes_per_second:
            return MAX_BUFFER_BYTES
        wanted = int(self.bytes_per_second * (self.delay_seconds + QUEUE_SECONDS))
        return min(MAX_BUFFER_BYTES, max(MIN_BUFFER_BYTES, wanted))


WHOLE = LinkRule()


@dataclass(frozen=True)
class Fault:
    """A rule for the links from one place to another; ``*`` stands for every place."""

    source: str
    target: str
    rule: LinkRule

    def covers(self, source: str, target: str) -> bool:
        """Returns whether it is about that link."""
        return self.source in (ANY, source) and self.target in (ANY, target)


def rule_for(faults: Iterable[Fault], source: str, target: str) -> LinkRule:
    """Returns the rule of one link: the last of ``faults`` that is about it."""
    rule = WHOLE
    for fault in faults:
        if fault.covers(source, target):
            rule = fault.rule
    return rule


def with_fault(faults: Iterable[Fault], added: Fault) -> tuple[Fault, ...]:
    """``added`` in the place of an older one about the same places, else beside the others."""
    others = [fault for fault in faults if (fault.source, fault.target) != (added.source, added.target)]
    return (*others, added) if added.rule != WHOLE or _covered(others, added) else tuple(others)


def _covered(others: Iterable[Fault], added: Fault) -> bool:
    """Returns whether another fault is about some of the same links, so that a whole link must be stated."""

    def meet(one: str, other: str) -> bool:
        return ANY in (one, other) or one == other

    return any(meet(fault.source, added.source) and meet(fault.target, added.target) for fault in others)


def check_places(fault: Fault, places: Iterable[str]) -> None:
    """Raises RuleError when a place is not one of ``places``, or the link would lead nowhere."""
    names = sorted(places)
    for place in (fault.source, fault.target):
        if place != ANY and place not in names:
            raise RuleError(f"there is no place {place!r}; there are {', '.join(names)}, and {ANY} for all")
    if fault.source == fault.target != ANY:
        raise RuleError(f"inside {fault.source} processes talk to each other directly: no link to break there")
    if {fault.source, fault.target} == {"api"}:
        raise RuleError("the API server does not talk to itself")


def fault_to_json(fault: Fault) -> dict[str, Any]:
    """As it is kept in files."""
    return {"from": fault.source, "to": fault.target, **asdict(fault.rule)}


def fault_from_json(value: Mapping[str, Any]) -> Fault:
    """Returns the other way; raises RuleError for what is not a fault."""
    try:
        settings = {field.name: value[field.name] for field in fields(LinkRule) if field.name in value}
        return Fault(str(value["from"]), str(value["to"]), replace(WHOLE, **settings))
    except (KeyError, TypeError) as error:
        raise RuleError(f"not a fault: {value!r}") from error
