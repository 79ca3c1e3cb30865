"""Replays a recorded case against a server and names every step that is answered differently."""

from __future__ import annotations

import enum
import json
import random
import string
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from conformance.exchange import Answer, Connection, expand
from conformance.normal_form import in_order, look_up, only, shape_of, without_bookmarks
from conformance.placeholders import Bindings, Difference

UNTIL_SECONDS = 60.0
"""How long a step with ``until`` is repeated: controllers need time, more on a busy machine."""
_PER_NAMESPACE = ("serviceaccounts/default", "configmaps/kube-root-ca.crt")
_REASON_FIELDS = (".reason", ".code", ".field")


class Sort(enum.Enum):
    """How much harm a difference does, the worst first."""

    ACCEPTED = "accepted"
    """This server accepts what the real one refuses: a test passes where reality fails."""
    REFUSED = "refused"
    """This server refuses what the real one accepts."""
    CODE = "code"
    """Both refuse or both accept, with another HTTP status, reason or field at fault."""
    FIELD = "field"
    """Anything else: a field of the answer, a text, a header."""


@dataclass(frozen=True)
class StepDifference:
    """A step that is answered differently; step 0 is the setup."""

    step: int
    sort: Sort
    request: str
    differences: tuple[Difference, ...]

    def __str__(self) -> str:
        lines = "\n".join(f"    {difference}" for difference in self.differences[:8])
        return f"  step {self.step} {self.sort.value}: {self.request}\n{lines}"


def replay(connection: Connection, recorded: dict[str, Any], node: str) -> list[StepDifference]:
    """Every step of a case that is answered differently. The case runs in a namespace of its own; what it made outside
    is removed."""
    namespace = "rec-" + "".join(random.choices(string.ascii_lowercase, k=8))
    path = f"/api/v1/namespaces/{namespace}"
    made = connection.send(
        "POST",
        "/api/v1/namespaces",
        headers={"Content-Type": "application/json"},
        body=json.dumps({"metadata": {"name": namespace}}).encode(),
    )
    assert made.status == 201, made.text()
    for name in _PER_NAMESPACE:
        present = _wait(lambda name=name: connection.send("GET", f"{path}/{name}").status == 200)  # type: ignore[misc]
        assert present, f"{name} was not made in a new namespace"
    run = _Run(connection, Bindings(namespace, node))
    different: list[StepDifference] = []
    try:
        for step in recorded.get("setup", []):
            different += run.play(step, 0)
        for number, step in enumerate(recorded["steps"], 1):
            different += run.play(step, number)
    finally:
        for step in recorded.get("teardown", []):
            different += run.play(step, len(recorded["steps"]) + 1)
        connection.send("DELETE", path)
    return different


def _wait(ready: Callable[[], bool]) -> bool:
    deadline, pause = time.monotonic() + UNTIL_SECONDS, 0.02
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.5)
    return True


@dataclass
class _Run:
    connection: Connection
    bindings: Bindings

    def play(self, step: dict[str, Any], number: int) -> Iterator[StepDifference]:
        """Sends a step's request; yields at most one difference."""
        request = f"{step['method']} {self.bindings.fill(step['path'])}"
        answer, value = self._answer(step)
        until = step.get("until") or []
        if not _satisfied(answer, value, until):
            difference = Difference("until", until, f"{answer.status} {answer.text()}")
            yield StepDifference(
                number, _sort_of_status(step.get("status", 200), answer.status), request, (difference,)
            )
        elif "status" in step and answer.status != step["status"]:
            difference = Difference("status", step["status"], f"{answer.status} {answer.text()}")
            yield StepDifference(number, _sort_of_status(step["status"], answer.status), request, (difference,))
        elif "response" in step:
            differences = tuple(self._compare(step, answer, value))
            if differences:
                yield StepDifference(number, _sort_of_fields(step, differences), request, differences)

    def _answer(self, step: dict[str, Any]) -> tuple[Answer, Any]:
        fill = self.bindings.fill
        path, query = fill(step["path"]), fill(step.get("query", {}))
        watch = str(query.get("watch", "")).lower() in ("1", "true") or "/watch/" in path
        body: bytes | None = None
        if "text" in step:
            body = str(expand(fill(step["text"]))).encode()
        elif step.get("body") is not None:
            body = json.dumps(expand(fill(step["body"])), ensure_ascii=False).encode()
        elif step["method"] in ("POST", "PUT", "PATCH"):
            body = b""
        answers: list[tuple[Answer, Any]] = []

        def ask() -> bool:
            answer = self.connection.send(
                step["method"],
                path,
                query=query,
                headers=fill(step.get("headers", {})),
                body=body,
                auth=step.get("auth"),
            )
            answers[:] = [(answer, answer.value(watch=watch))]
            return _satisfied(*answers[0], step.get("until") or [])

        if step.get("until"):
            _wait(ask)
        else:
            ask()
        answer, value = answers[0]
        return answer, in_order(without_bookmarks(value) if watch else value)

    def _compare(self, step: dict[str, Any], answer: Answer, value: Any) -> Iterator[Difference]:
        warnings = answer.headers.get_all("Warning") or []
        yield from self.bindings.differences(step.get("warnings", []), warnings, "warnings")
        if step["content_type"] != answer.content_type:
            yield Difference("content_type", step["content_type"], answer.content_type)
        for name, recorded in step.get("response_headers", {}).items():
            if not self.bindings.matches(recorded, answer.headers.get(name) or ""):
                yield Difference(f"header {name}", recorded, answer.headers.get(name))
        if step.get("only"):
            value = only(value, step["only"])
        if step.get("shape"):
            value = shape_of(value)
        for difference in self.bindings.differences(step["response"], value):
            if not _may_differ(difference, step):
                yield difference


def _satisfied(answer: Answer, value: Any, until: list[list[Any]]) -> bool:
    return all((answer.status if path == "status()" else look_up(value, path)) == wanted for path, wanted in until)


def _sort_of_status(recorded: int, answered: int) -> Sort:
    if recorded >= 400 > answered:
        return Sort.ACCEPTED
    return Sort.REFUSED if answered >= 400 > recorded else Sort.CODE


def _sort_of_fields(step: dict[str, Any], differences: tuple[Difference, ...]) -> Sort:
    if step["status"] >= 400 and any(difference.path.endswith(_REASON_FIELDS) for difference in differences):
        return Sort.CODE
    return Sort.FIELD


def _may_differ(difference: Difference, step: dict[str, Any]) -> bool:
    """True for what clients cannot rely on: opaque hashes, and documentation in tables of built-in kinds."""
    if difference.path.endswith(".storageVersionHash"):
        return True
    in_columns = difference.path.endswith(".description") and "columnDefinitions[" in difference.path
    return in_columns and "/rec.example.io/" not in step["path"]
