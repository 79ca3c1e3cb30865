"""JSON patch (RFC 6902), with the liberties that Kubernetes' library takes.

``replace`` adds what is not there, a value that is missing is null, a ``test`` of what is missing against null passes,
and -1 is the last item of a list. No library for Python does it this way.
"""

from __future__ import annotations

from localkube.apiserver.errors import ApiError, bad_request
from localkube.apiserver.jsonobj import Json, JsonObject, copy_json, same
from localkube.apiserver.patch.fields import MISSING

MAX_OPERATIONS = 10_000
_APPEND = "-"


class _DoesNotApplyError(Exception):
    """An operation cannot be done."""


def json_patch(target: JsonObject, operations: Json) -> JsonObject:
    """Returns the object after the operations; raises 400 for what is no patch, 422 for one that does not apply."""
    if not isinstance(operations, list) or not all(isinstance(operation, dict) for operation in operations):
        raise bad_request("error decoding patch: json: cannot unmarshal it into Go value of type a list of operations")
    if len(operations) > MAX_OPERATIONS:
        message = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        raise ApiError(413, "RequestEntityTooLarge", message)
    document: Json = copy_json(target)
    try:
        for operation in operations:
            document = _done(document, operation)
    except _DoesNotApplyError:
        message = "the server rejected our request due to an error in our request"
        raise ApiError(422, "Invalid", message, details={}) from None
    if not isinstance(document, dict):
        raise bad_request("the patch does not leave an object")
    return document


def _done(document: Json, operation: JsonObject) -> Json:
    kind, value = operation.get("op"), copy_json(operation.get("value"))
    path = _path(operation, "path")
    if path == "" and kind == "replace" and isinstance(value, (dict, list)):
        return value
    if path == "" and kind == "test":
        return _tested(document, document, value)
    container, key = _container(document, path)
    match kind:
        case "add":
            _add(container, key, value)
        case "remove":
            _remove(container, key)
        case "replace":
            _get(container, key)
            container[key if isinstance(container, dict) else _index(key, len(container))] = value
        case "test":
            present = _get(container, key)
            return _tested(document, None if present is MISSING else present, value)
        case "move" | "copy":
            source, source_key = _container(document, _path(operation, "from"))
            moved = _get(source, source_key)
            if kind == "move":
                _remove(source, source_key)
            _add(*_container(document, path), None if moved is MISSING else copy_json(moved))
        case _:
            raise _DoesNotApplyError
    return document


def _path(operation: JsonObject, name: str) -> str:
    path = operation.get(name)
    if not isinstance(path, str):
        raise _DoesNotApplyError
    return path


def _tested(document: Json, present: Json, value: Json) -> Json:
    if not same(present, value):
        raise _DoesNotApplyError
    return document


def _container(document: Json, path: str) -> tuple[Json, str]:
    """Returns the map or list that holds what a path names, and the last step to it; what is before the first / is
    nothing."""
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")]
    if len(steps) < 2:
        raise _DoesNotApplyError
    for step in steps[1:-1]:
        document = _get(document, step)
    if not isinstance(document, (dict, list)):
        raise _DoesNotApplyError
    return document, steps[-1]


def _index(step: str, length: int) -> int:
    """Returns the place that a step names among so many."""
    try:
        index = int(step)
    except ValueError:
        raise _DoesNotApplyError from None
    if not -length <= index < length:
        raise _DoesNotApplyError
    return index % length


def _get(container: Json, step: str) -> Json:
    if isinstance(container, dict):
        return container.get(step, MISSING)
    if isinstance(container, list):
        return container[_index(step, len(container))]
    raise _DoesNotApplyError


def _add(container: Json, step: str, value: Json) -> None:
    if isinstance(container, dict):
        container[step] = value
    elif step == _APPEND:
        container.append(value)
    else:
        container.insert(_index(step, len(container) + 1), value)


def _remove(container: Json, step: str) -> None:
    if isinstance(container, list):
        del container[_index(step, len(container))]
    elif step in container:
        del container[step]
    else:
        raise _DoesNotApplyError
