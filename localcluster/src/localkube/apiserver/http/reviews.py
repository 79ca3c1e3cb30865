"""Reviews: questions about access and tokens, answered and never stored."""

from __future__ import annotations

from collections.abc import Callable

from localkube.apiserver.errors import ApiError, Cause, bad_request, invalid
from localkube.apiserver.http.authn import User
from localkube.apiserver.http.call import Services
from localkube.apiserver.http.request_info import RequestInfo
from localkube.apiserver.jsonobj import JsonObject, format_time, lookup
from localkube.apiserver.patch.managed import Writer, track_update
from localkube.apiserver.resources import VirtualResource

Review = Callable[[Services, User, JsonObject], JsonObject]

_GROUP = "authorization.k8s.io"


def _attributes(asked: JsonObject) -> RequestInfo:
    return RequestInfo(
        verb=asked.get("verb") or "",
        group=asked.get("group") or "",
        version=asked.get("version") or "",
        namespace=asked.get("namespace") or "",
        plural=asked.get("resource") or "",
        name=asked.get("name") or "",
        subresource=asked.get("subresource") or "",
    )


def _refused(field: str, value: str, why: str) -> ApiError:
    # The real server names no kind here.
    cause = Cause(field, f"Invalid value: {value}: {why}")
    error = invalid(_GROUP, "", "", [cause])
    error.details = {"group": _GROUP, "causes": [cause.to_json()]}
    return error


def _access(services: Services, user: User, spec: JsonObject) -> JsonObject:
    """Returns what a review of a user's access answers; raises 422 when it does not ask exactly one thing."""
    asked, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if asked is not None and path is not None:
        why = "cannot be specified in combination with resourceAttributes"
        raise _refused("spec.nonResourceAttributes", "null", why)
    if user.is_admin and (asked is not None or path is not None):
        return {"allowed": True}
    if asked is not None:
        reason = services.authorizer.reason(user, _attributes(asked))
    elif path is not None:
        reason = services.authorizer.path_reason(user, path.get("verb") or "", path.get("path") or "")
    else:
        why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
        raise _refused("spec.resourceAttributes", "null", why)
    return {"allowed": False} if reason is None else {"allowed": True, "reason": reason}


def _self_access(services: Services, user: User, body: JsonObject) -> JsonObject:
    return _access(services, user, body.get("spec") or {})


def _rules(services: Services, user: User, body: JsonObject) -> JsonObject:
    namespace = lookup(body, "spec", "namespace", default="")
    if not namespace:
        raise bad_request("no namespace on request")
    rules: list[JsonObject] = []
    paths: list[JsonObject] = []
    for granted in services.authorizer.rules(user):
        if granted.namespace in ("", namespace):
            (paths if granted.rule.get("nonResourceURLs") else rules).append(granted.rule)
    return {"resourceRules": rules, "nonResourceRules": paths, "incomplete": False}


def _user_info(user: User) -> JsonObject:
    info: JsonObject = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    if user.extra:
        info["extra"] = user.extra
    return info


def _self(services: Services, user: User, body: JsonObject) -> JsonObject:
    del services, body
    return {"userInfo": _user_info(user)}


REVIEWS: dict[str, Review] = {
    "selfsubjectaccessreviews": _self_access,
    "selfsubjectrulesreviews": _rules,
    "selfsubjectreviews": _self,
}


def answer(services: Services, user: User, resource: VirtualResource, body: JsonObject, manager: str) -> JsonObject:
    """Returns the review with its status filled in; like any object it says that ``manager`` made it."""
    status = REVIEWS[resource.plural](services, user, body)
    review = {
        "kind": resource.kind,
        "apiVersion": resource.api_version,
        "metadata": body.get("metadata") or {},
        "spec": body.get("spec") or {},
    }
    writer = Writer(manager, resource.api_version, now=format_time(services.store.now()))
    track_update(services.schemas.model(f"V1{resource.kind}"), review, None, writer)
    return {**review, "status": status}
