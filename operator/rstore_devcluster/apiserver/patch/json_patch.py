"""JSON patch (RFC 6902)."""

from __future__ import annotations

import jsonpatch

from rstore_devcluster.apiserver.http.errors import ApiError, bad_request
from rstore_devcluster.apiserver.jsonobj import Json, JsonObject, copy_json

MAX_OPERATIONS = 10_000


def json_patch(target: JsonObject, operations: Json) -> JsonObject:
    """The object after the operations; raises 400 for a malformed patch, 422 for one that does not apply."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch must be a list of operations")
    if len(operations) > MAX_OPERATIONS:
        raise ApiError(413, "RequestEntityTooLarge", f"a JSON patch may have at most {MAX_OPERATIONS} operations")
    try:
        made = jsonpatch.JsonPatch(operations).apply(copy_json(target))
    except jsonpatch.InvalidJsonPatch as error:
        raise bad_request(f"invalid JSON patch: {error}") from None
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise ApiError(
            422, "Invalid", f"the server rejected our request due to an error in our request: {error}"
        ) from None
    if not isinstance(made, dict):
        raise bad_request("the patch does not leave an object")
    return made
