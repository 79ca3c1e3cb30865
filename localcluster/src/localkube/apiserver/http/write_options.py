"""The options of writes: the manager, dry runs, how strictly a body is read, and what a deletion asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator

from localkube.apiserver.errors import Cause, bad_request, invalid
from localkube.apiserver.http.body import JSON_TYPES, decode, json_problem
from localkube.apiserver.http.call import Call
from localkube.apiserver.http.list_options import flag, integer
from localkube.apiserver.http.routes import APPLY
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.schema.rendering import quoted, shown

MAX_MANAGER_BYTES = 128
_NAMES = {"create": "CreateOptions", "update": "UpdateOptions", "patch": "PatchOptions"}
_FIELD_VALIDATION = ("", "Ignore", "Strict", "Warn")
_PROPAGATION = ("Foreground", "Background", "Orphan")
_UNSUPPORTED = "FieldValueNotSupported"


def media_type(call: Call) -> str:
    """Returns the media type of a request's body."""
    return call.request.headers.get("Content-Type", "").split(";")[0].strip()


def check_options(call: Call) -> None:
    """Raise a 422 for query parameters that a write does not take."""
    name = _NAMES.get(call.info.verb)
    if name is None:
        return
    causes = [*_patch_causes(call), *_manager_causes(call.query.get("fieldManager", ""))]
    causes += _dry_run_causes(call.request.query.getall("dryRun", []))
    mode = call.query.get("fieldValidation", "")
    if mode not in _FIELD_VALIDATION:
        listed = ", ".join(f'"{item}"' for item in _FIELD_VALIDATION)
        message = f"Unsupported value: {quoted(mode)}: supported values: {listed}"
        causes.append(Cause("fieldValidation", message, _UNSUPPORTED))
    if causes:
        raise invalid("meta.k8s.io", name, "", causes)


def _patch_causes(call: Call) -> Iterator[Cause]:
    if call.info.verb != "patch":
        return
    if media_type(call) == APPLY:
        if not call.query.get("fieldManager"):
            yield Cause("fieldManager", "Required value: is required for apply patch", "FieldValueRequired")
    elif "force" in call.query:
        yield Cause("force", "Forbidden: may not be specified for non-apply patch", "FieldValueForbidden")


def _manager_causes(manager: str) -> Iterator[Cause]:
    if len(manager.encode()) > MAX_MANAGER_BYTES:
        yield Cause("fieldManager", f"Too long: may not be more than {MAX_MANAGER_BYTES} bytes", "FieldValueTooLong")
    position = 0
    for character in manager:
        if not character.isprintable():
            why = f"invalid character U+{ord(character):04X} (at position {position})"
            yield Cause("fieldManager", f"Invalid value: {quoted(manager)}: {why}")
        position += len(character.encode())


def _dry_run_causes(values: list[Json]) -> list[Cause]:
    if all(value == "All" for value in values):
        return []
    return [Cause("dryRun", f'Unsupported value: {shown(values)}: supported values: "All"', _UNSUPPORTED)]


def delete_options(call: Call, data: bytes) -> JsonObject:
    """Returns what a deletion asks for in its body, or else in its query; raises 400 or 422."""
    options = _in_body(call, data) if data.strip() else _in_query(call)
    policy, orphan = options.get("propagationPolicy"), options.pop("orphanDependents", None)
    causes = []
    if policy is not None and orphan is not None:
        message = f'Invalid value: "{policy}": orphanDependents and deletionPropagation cannot be both set'
        causes.append(Cause("propagationPolicy", message))
    elif policy is not None and policy not in _PROPAGATION:
        listed = ", ".join(f'"{item}"' for item in (*_PROPAGATION, "nil"))
        message = f"Unsupported value: {quoted(policy)}: supported values: {listed}"
        causes.append(Cause("propagationPolicy", message, _UNSUPPORTED))
    causes += _dry_run_causes(options.get("dryRun") or [])
    if causes:
        raise invalid("meta.k8s.io", "DeleteOptions", "", causes)
    if orphan is not None:
        options["propagationPolicy"] = "Orphan" if orphan else "Background"
    seconds = options.get("gracePeriodSeconds")
    if seconds is not None and seconds < 0:
        options["gracePeriodSeconds"] = 1
    return options


def _in_body(call: Call, data: bytes) -> JsonObject:
    if media_type(call) in JSON_TYPES:
        try:
            value = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise bad_request(f"couldn't get version/kind; json parse error: {json_problem(data, error)}") from None
    else:
        value = decode(data, media_type(call)).value
    options: JsonObject = value if isinstance(value, dict) else {}
    kind, api_version = options.get("kind") or "DeleteOptions", options.get("apiVersion") or "v1"
    if not isinstance(value, dict) or kind != "DeleteOptions":
        why = f'no kind "{kind}" is registered for version "{api_version}" in scheme "options"'
        raise bad_request(why if isinstance(value, dict) else "the body of a deletion must be DeleteOptions")
    wrong = [
        name
        for name, kinds in (
            ("gracePeriodSeconds", (int,)),
            ("propagationPolicy", (str,)),
            ("orphanDependents", (bool,)),
            ("dryRun", (list,)),
            ("preconditions", (dict,)),
        )
        if options.get(name) is not None and not isinstance(options[name], kinds)
    ]
    if wrong:
        raise bad_request(
            f'DeleteOptions in version "{api_version}" cannot be handled as a DeleteOptions: '
            f"json: cannot unmarshal into Go struct field DeleteOptions.{wrong[0]}"
        )
    return {name: item for name, item in options.items() if item is not None}


def _in_query(call: Call) -> JsonObject:
    options: JsonObject = {}
    seconds = integer(call.query, "gracePeriodSeconds")
    if seconds is not None:
        options["gracePeriodSeconds"] = seconds
    if call.query.get("propagationPolicy"):
        options["propagationPolicy"] = call.query["propagationPolicy"]
    if "orphanDependents" in call.query:
        options["orphanDependents"] = flag(call.query, "orphanDependents")
    dry_run = call.request.query.getall("dryRun", [])
    if dry_run:
        options["dryRun"] = list(dry_run)
    return options
