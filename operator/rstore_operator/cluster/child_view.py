"""The children of a store as the watch shows them, and newer where the operator has just written."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rstore_operator.facts.observed import ChildKey, Claim
from rstore_operator.planning.children.ownership import Standing, claim_holder, holder, standing
from rstore_operator.resource.model import StoreRef

WRITTEN_SECONDS = 5.0
"""How long an object that we wrote counts as existing although the watch has not shown it yet."""
ASKED_SECONDS = 10.0
"""How long a name counts as taken, or as free, before it is looked up again."""
REFUSED_SECONDS = 25.0
"""How long a claim is left alone after the API server refused to let it grow."""

Body = Mapping[str, Any]
_VERSION = re.compile("[0-9]{1,39}")
"""A resourceVersion that can be compared: a number of at most 128 bits."""


@dataclass
class _Written:
    body: Body
    at: float


@dataclass
class _Asked:
    """The result of looking a name up: ``holder`` is "" if no object has it."""

    holder: str
    orphan: Body | None
    at: float


@dataclass(frozen=True)
class Joined:
    """The fields of the same names of :class:`Observed`."""

    children: Mapping[ChildKey, Body]
    foreign: Mapping[ChildKey, str]
    orphans: Mapping[ChildKey, Body]
    free: frozenset[ChildKey]


class ChildView:
    """The children of one store."""

    def __init__(self, ref: StoreRef, clock: Callable[[], float] = time.monotonic) -> None:
        self._ref = ref
        self._clock = clock
        self._written: dict[ChildKey, _Written] = {}
        self._asked: dict[ChildKey, _Asked] = {}
        self._refused: dict[str, tuple[str, float]] = {}
        self.settled: dict[ChildKey, tuple[str, str]] = {}

    @property
    def is_shown(self) -> bool:
        """Whether the watches show all that was written, and no name that was looked up has to be looked up again."""
        return not self._written and not self._asked

    def wrote(self, key: ChildKey, before: Body | None, after: Body, manifest_hash: str) -> None:
        """An object was applied. If that changed nothing, the same manifest is not applied to the same object again."""
        version = after.get("metadata", {}).get("resourceVersion", "")
        self._written[key] = _Written(after, self._clock())
        if before is not None and before.get("metadata", {}).get("resourceVersion") == version:
            self.settled[key] = (manifest_hash, version)
        else:
            self.settled.pop(key, None)

    def deleted(self, key: ChildKey) -> None:
        """An object was deleted."""
        self._written.pop(key, None)
        self._asked.pop(key, None)
        self.settled.pop(key, None)

    def asked(self, key: ChildKey, body: Body | None) -> bool:
        """A name was looked up, and ``body`` has it. Returns whether the store may have an object of that name.

        An object without our labels is not watched; one of ours that the watch has not shown yet counts as existing.
        """
        now = self._clock()
        if body is None:
            self._asked[key] = _Asked("", None, now)
            return True
        whose = standing(self._ref, key, body)
        if whose is Standing.OURS:
            self._written[key] = _Written({**body, "kind": key[0]}, now)
            self._asked.pop(key, None)
            return True
        self._asked[key] = _Asked(holder(body), body if whose is Standing.ORPHAN else None, now)
        return False

    def asked_claim(self, key: ChildKey, region: str, body: Body | None) -> None:
        """The claim that a pod of the region would get was looked up."""
        whose = claim_holder(self._ref, region, body) if body is not None else ""
        self._asked[key] = _Asked(whose, None, self._clock())

    def growth_refused(self, claim: str, why: str) -> None:
        """The API server refused a larger size for a claim."""
        self._refused[claim] = (why, self._clock())

    def claims(self, watched: Iterable[Body]) -> dict[str, Claim]:
        """Returns the claims of volumes, by name."""
        now = self._clock()
        self._refused = {name: item for name, item in self._refused.items() if now - item[1] < REFUSED_SECONDS}
        claims = (read_claim(body) for body in watched)
        return {
            claim.name: replace(claim, refusal=self._refused[claim.name][0]) if claim.name in self._refused else claim
            for claim in claims
        }

    def join(self, watched: Iterable[Body]) -> Joined:
        """Returns the store's children, its orphans, and which names are taken or free."""
        now = self._clock()
        children: dict[ChildKey, Body] = {}
        self._asked = {key: asked for key, asked in self._asked.items() if now - asked.at < ASKED_SECONDS}
        foreign = {key: asked.holder for key, asked in self._asked.items() if asked.holder and asked.orphan is None}
        orphans = {key: asked.orphan for key, asked in self._asked.items() if asked.orphan is not None}
        for body in watched:
            key = (str(body.get("kind", "")), str(body["metadata"]["name"]))
            whose = standing(self._ref, key, body)
            if whose is Standing.OURS:
                children[key] = body
            elif whose is Standing.ORPHAN:
                orphans[key] = body
            else:
                foreign[key] = holder(body)
        for key, written in list(self._written.items()):
            seen = children.get(key)
            if (seen is not None and _version(seen) >= _version(written.body)) or now - written.at > WRITTEN_SECONDS:
                del self._written[key]
            else:
                children[key] = written.body
        free = frozenset(key for key, asked in self._asked.items() if not asked.holder)
        return Joined(
            children,
            {key: whose for key, whose in foreign.items() if key not in children},
            {key: body for key, body in orphans.items() if key not in children},
            free,
        )


def _version(body: Body) -> int:
    text = str(body.get("metadata", {}).get("resourceVersion", ""))
    return int(text) if _VERSION.fullmatch(text) else 0


def read_claim(body: Body) -> Claim:
    """Returns what a watched PersistentVolumeClaim shows."""
    meta, spec, status = body["metadata"], body.get("spec") or {}, body.get("status") or {}
    texts = [
        f"{item.get('type')}: {item.get('message') or ''}".rstrip(": ")
        for item in status.get("conditions") or []
        if item.get("status") == "True"
    ]
    return Claim(
        name=meta["name"],
        requested=str(((spec.get("resources") or {}).get("requests") or {}).get("storage", "")),
        capacity=str((status.get("capacity") or {}).get("storage", "")),
        bound=status.get("phase") == "Bound",
        resource_version=str(meta.get("resourceVersion", "")),
        terminating=bool(meta.get("deletionTimestamp")),
        message=", ".join(texts),
        storage_class=str(spec.get("storageClassName") or ""),
        uid=str(meta.get("uid") or ""),
        created_at=str(meta.get("creationTimestamp") or ""),
    )
