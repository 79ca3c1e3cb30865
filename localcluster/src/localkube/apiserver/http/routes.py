"""Which methods and media types each path takes, checked before a request is handled.

Built-in kinds have a route for each path and method. One handler serves all custom resources: it refuses in other
words, and takes a little more.
"""

from __future__ import annotations

from localkube.apiserver.describe.discovery import subresource_verbs
from localkube.apiserver.errors import (
    UNKNOWN_FORMAT,
    ApiError,
    PageNotFoundError,
    bad_request,
    method_not_allowed,
    method_not_supported,
    no_such_resource,
    not_found,
    unsupported_media_type,
)
from localkube.apiserver.http.negotiation import check_route
from localkube.apiserver.http.request_info import RequestInfo
from localkube.apiserver.resources import Resource

APPLY = "application/apply-patch+yaml"
JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
_CUSTOM_PATCHES = (JSON_PATCH, MERGE_PATCH, APPLY)
_PATCHES = frozenset({JSON_PATCH, MERGE_PATCH, STRATEGIC, APPLY})
_METHODS = {"create": "POST", "get": "GET", "update": "PUT", "patch": "PATCH", "delete": "DELETE"}
_OF_OBJECTS = frozenset({"get", "update", "patch", "delete"})
_CUSTOM_VERBS = _OF_OBJECTS | {"create", "list", "watch", "deletecollection"}
_READ_AND_WRITE = frozenset({"get", "update", "patch"})
_STREAMS = frozenset({"log", "exec", "attach", "portforward", "proxy"})
"""Subresources whose answers are no objects, or that are not served."""


def check(resource: Resource, info: RequestInfo, method: str, accept: str, content_type: str) -> None:
    """Raise what a real server answers to a method or a media type that the path does not take."""
    media_type = content_type.split(";")[0].strip().lower()
    if resource.custom:
        _check_custom(resource, info, media_type)
    else:
        _check_builtin(resource, info, method, accept, media_type)


def _check_builtin(resource: Resource, info: RequestInfo, method: str, accept: str, media_type: str) -> None:
    everywhere = resource.namespaced and not info.namespace
    misplaced = not resource.namespaced and info.namespace and resource.key != "namespaces"
    name = info.subresource.split("/")[0]
    if misplaced or (everywhere and info.name and info.verb != "watch"):
        raise no_such_resource()
    if name and name not in resource.subresources:
        raise no_such_resource()
    if method not in _builtin_methods(resource, info, everywhere=everywhere):
        raise method_not_allowed()
    if method == "PATCH" and media_type not in _PATCHES:
        raise ApiError(415, "UnsupportedMediaType", "415: Unsupported Media Type", details={})
    if name not in _STREAMS:
        check_route(accept, stream=info.verb in ("list", "watch"))


def _builtin_methods(resource: Resource, info: RequestInfo, *, everywhere: bool) -> set[str]:
    if info.verb == "watch" or everywhere:
        return {"GET"}
    if info.subresource:
        verbs = subresource_verbs(info.subresource.split("/")[0])
        return {_METHODS[verb] for verb in verbs}
    if info.name:
        return {_METHODS[verb] for verb in _OF_OBJECTS if verb in resource.verbs}
    methods = {"GET"} if "list" in resource.verbs else set()
    if "create" in resource.verbs:
        methods.add("POST")
    if "deletecollection" in resource.verbs:
        methods.add("DELETE")
    return methods


def _check_custom(resource: Resource, info: RequestInfo, media_type: str) -> None:
    if bool(info.namespace) != resource.namespaced and (info.namespace or info.verb not in ("list", "watch")):
        raise PageNotFoundError
    if info.subresource and info.subresource not in resource.subresources:
        raise not_found(resource.group, resource.plural, info.name)
    verbs = _READ_AND_WRITE if info.subresource else _CUSTOM_VERBS
    if info.verb not in verbs:
        raise method_not_supported(resource.group, resource.plural, info.verb)
    if info.verb == "patch" and media_type not in _CUSTOM_PATCHES:
        raise unsupported_media_type(UNKNOWN_FORMAT + ", ".join(_CUSTOM_PATCHES))
    if info.verb in ("update", "patch") and not info.name:
        raise bad_request("name must be provided")
