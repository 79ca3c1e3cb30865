"""Reviews: questions about access and tokens, answered and never stored."""

from __future__ import annotations

from collections.abc import Callable

from rstore_devcluster.apiserver.http.authn import User
from rstore_devcluster.apiserver.http.errors import bad_request
from rstore_devcluster.apiserver.http.request_info import RequestInfo
from rstore_devcluster.apiserver.jsonobj import JsonObject, format_time, lookup
from rstore_devcluster.apiserver.objects.resources import VirtualResource
from rstore_devcluster.apiserver.objects.services import Services
from rstore_devcluster.apiserver.patch.managed import Writer, track_update

Review = Callable[[Services, User, JsonObject], JsonObject]


def _attributes(spec: JsonObject) -> RequestInfo | None:
    asked = spec.get("resourceAttributes")
    if asked is None:
        return None
    return RequestInfo(
        verb=asked.get("verb", ""),
        group=asked.get("group", ""),
        version=asked.get("version", ""),
        namespace=asked.get("namespace", ""),
        plural=asked.get("resource", ""),
        name=asked.get("name", ""),
        subresource=asked.get("subresource", ""),
    )


def _access(services: Services, user: User, spec: JsonObject) -> JsonObject:
    info = _attributes(spec)
    if info is not None:
        return {"allowed": services.authorizer.allowed(user, info)}
    path = lookup(spec, "nonResourceAttributes", "path")
    if path is None:
        raise bad_request("spec: exactly one of resourceAttributes and nonResourceAttributes must be specified")
    return {"allowed": services.authorizer.path_allowed(user, lookup(spec, "nonResourceAttributes", "verb"), path)}


def _self_access(services: Services, user: User, body: JsonObject) -> JsonObject:
    return _access(services, user, body.get("spec") or {})


def _subject_access(services: Services, user: User, body: JsonObject) -> JsonObject:
    del user
    spec = body.get("spec") or {}
    subject = User(spec.get("user") or "", frozenset(spec.get("groups") or []))
    return _access(services, subject, spec)


def _rules(services: Services, user: User, body: JsonObject) -> JsonObject:
    namespace = lookup(body, "spec", "namespace", default="")
    everything = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
    found = [everything] if user.is_admin else []
    paths: list[JsonObject] = [{"verbs": ["*"], "nonResourceURLs": ["*"]}] if user.is_admin else []
    for rule, space in services.authorizer.rules(user):
        if space and space != namespace:
            continue
        (paths if rule.get("nonResourceURLs") else found).append(rule)
    return {"resourceRules": found, "nonResourceRules": paths, "incomplete": False}


def _user_info(user: User) -> JsonObject:
    info: JsonObject = {"username": user.name, "groups": sorted(user.groups)}
    if user.uid:
        info["uid"] = user.uid
    return info


def _token(services: Services, user: User, body: JsonObject) -> JsonObject:
    del user
    found = services.tokens.authenticate(lookup(body, "spec", "token", default=""))
    if found is None:
        return {"authenticated": False, "error": "invalid bearer token"}
    return {"authenticated": True, "user": _user_info(found), "audiences": lookup(body, "spec", "audiences") or []}


def _self(services: Services, user: User, body: JsonObject) -> JsonObject:
    del services, body
    return {"userInfo": _user_info(user)}


REVIEWS: dict[str, Review] = {
    "selfsubjectaccessreviews": _self_access,
    "subjectaccessreviews": _subject_access,
    "localsubjectaccessreviews": _subject_access,
    "selfsubjectrulesreviews": _rules,
    "tokenreviews": _token,
    "selfsubjectreviews": _self,
}


def answer(services: Services, user: User, resource: VirtualResource, body: JsonObject, manager: str) -> JsonObject:
    """The review with its status filled in; like any object it says that ``manager`` made it."""
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
