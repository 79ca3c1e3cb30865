"""The error vocabulary of the API server: every failure is a Kubernetes ``Status``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from localkube.apiserver.jsonobj import JsonObject


@dataclass(frozen=True)
class Cause:
    """One field that is wrong. ``reason`` is a ``metav1.CauseType`` such as ``FieldValueInvalid``."""

    field: str
    message: str
    reason: str = "FieldValueInvalid"

    def to_json(self) -> JsonObject:
        """Returns the cause as it stands in ``status.details.causes``."""
        return {"reason": self.reason, "message": self.message, "field": self.field}

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class ApiError(Exception):
    """A request failed; carries what the ``Status`` answer needs."""

    def __init__(
        self, code: int, reason: str, message: str, *, details: JsonObject | None = None, warnings: Sequence[str] = ()
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        """None for errors that carry none; the frame around the resources sends an empty object."""
        self.warnings = tuple(warnings)
        self.metadata: JsonObject = {}

    @property
    def not_found(self) -> bool:
        """Returns whether the object, or its kind, does not exist."""
        return self.code == 404

    @property
    def conflict(self) -> bool:
        """Returns whether the object changed since it was read, or a precondition failed."""
        return self.code == 409 and self.reason != "AlreadyExists"

    @property
    def already_exists(self) -> bool:
        """Returns whether an object of that name exists."""
        return self.code == 409 and self.reason == "AlreadyExists"

    @property
    def gone(self) -> bool:
        """Returns whether the resourceVersion asked for is too old, so that a new list is needed."""
        return self.code == 410

    def to_status(self) -> JsonObject:
        """Returns the ``metav1.Status`` object for this error."""
        status: JsonObject = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
        }
        if self.reason:
            status["reason"] = self.reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.code
        return status


def qualified(group: str, plural: str) -> str:
    """``statefulsets.apps``, or just ``pods`` for the core group."""
    return f"{plural}.{group}" if group else plural


def _details(group: str, kind: str, name: str) -> JsonObject:
    details: JsonObject = {"kind": kind} if kind else {}
    if name:
        details["name"] = name
    if group:
        details["group"] = group
    return details


def not_found(group: str, plural: str, name: str) -> ApiError:
    """404 for an object."""
    return ApiError(
        404, "NotFound", f'{qualified(group, plural)} "{name}" not found', details=_details(group, plural, name)
    )


def no_such_resource() -> ApiError:
    """404 for a path that is not served."""
    return ApiError(404, "NotFound", "the server could not find the requested resource", details={})


class PageNotFoundError(ApiError):
    """404 in plain text: nothing is served at the path, not even a group of resources."""

    def __init__(self) -> None:
        super().__init__(404, "NotFound", "404 page not found")


def already_exists(group: str, plural: str, name: str, *, deleting: bool = False) -> ApiError:
    """409 for a name that is taken, perhaps by an object that is being deleted."""
    lead = "object is being deleted: " if deleting else ""
    return ApiError(
        409,
        "AlreadyExists",
        f'{lead}{qualified(group, plural)} "{name}" already exists',
        details=_details(group, plural, name),
    )


def conflict(group: str, plural: str, name: str, why: str = "") -> ApiError:
    """409 for a stale resourceVersion or a failed precondition."""
    why = why or "the object has been modified; please apply your changes to the latest version and try again"
    return ApiError(
        409,
        "Conflict",
        f'Operation cannot be fulfilled on {qualified(group, plural)} "{name}": {why}',
        details=_details(group, plural, name),
    )


def apply_conflict(causes: Sequence[Cause]) -> ApiError:
    """409 of server-side apply: other managers own what would change."""
    if len(causes) == 1:
        message = f"Apply failed with 1 conflict: {causes[0].message}: {causes[0].field}"
    else:
        by: dict[str, list[str]] = {}
        for cause in causes:
            by.setdefault(cause.message.replace("conflict", "conflicts", 1), []).append(cause.field)
        blocks = [f"{text}:\n" + "\n".join(f"- {field}" for field in fields) for text, fields in sorted(by.items())]
        message = f"Apply failed with {len(causes)} conflicts: " + "\n".join(blocks)
    return ApiError(409, "Conflict", message, details={"causes": [cause.to_json() for cause in causes]})


def invalid(group: str, kind: str, name: str, causes: Sequence[Cause]) -> ApiError:
    """422 with every field that is wrong."""
    texts = list(dict.fromkeys(str(cause) for cause in causes))
    body = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
    qualified_kind = f"{kind}.{group}" if group else kind
    return ApiError(
        422,
        "Invalid",
        f'{qualified_kind} "{name}" is invalid: {body}',
        details={**_details(group, kind, name), "causes": [cause.to_json() for cause in causes]},
    )


def bad_request(message: str) -> ApiError:
    """400."""
    return ApiError(400, "BadRequest", message)


def unauthorized() -> ApiError:
    """401."""
    return ApiError(401, "Unauthorized", "Unauthorized")


def forbidden(group: str, plural: str, name: str, why: str, causes: Sequence[Cause] = ()) -> ApiError:
    """403 for an object."""
    shown = f' "{name}"' if name else ""
    details = _details(group, plural, name)
    if causes:
        details["causes"] = [cause.to_json() for cause in causes]
    return ApiError(403, "Forbidden", f"{qualified(group, plural)}{shown} is forbidden: {why}", details=details)


def method_not_allowed() -> ApiError:
    """405."""
    message = "the server does not allow this method on the requested resource"
    return ApiError(405, "MethodNotAllowed", message, details={})


def method_not_supported(group: str, plural: str, verb: str) -> ApiError:
    """405 for what a custom resource does not take."""
    message = f'{verb} is not supported on resources of kind "{qualified(group, plural)}"'
    return ApiError(405, "MethodNotAllowed", message, details=_details(group, plural, ""))


def not_acceptable(message: str) -> ApiError:
    """406."""
    return ApiError(406, "NotAcceptable", message)


def expired(message: str) -> ApiError:
    """410: the resourceVersion is older than the history that is kept."""
    return ApiError(410, "Expired", message)


def too_large_version(asked: int, present: int) -> ApiError:
    """504: no such resourceVersion was written yet."""
    return ApiError(
        504,
        "Timeout",
        f"Timeout: Too large resource version: {asked}, current: {present}",
        details={
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )


UNKNOWN_FORMAT = "the body of the request was in an unknown format - accepted media types include: "


def unsupported_media_type(message: str) -> ApiError:
    """415."""
    return ApiError(415, "UnsupportedMediaType", message)


def not_implemented(message: str) -> ApiError:
    """501: a feature of Kubernetes that this server does not have."""
    return ApiError(501, "NotImplemented", message)
