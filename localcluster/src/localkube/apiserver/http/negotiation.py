"""Which representation a client accepts: the object, a Table, or metadata alone, as JSON or YAML."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from localkube.apiserver.errors import ApiError, not_acceptable

JSON = "application/json"
YAML = "application/yaml"
PROTOBUF = "application/vnd.kubernetes.protobuf"
_META_GROUP = "meta.k8s.io"
_META_VERSIONS = ("v1", "v1beta1")


class Form(Enum):
    """How objects are shown."""

    OBJECT = ""
    TABLE = "Table"
    METADATA = "PartialObjectMetadata"
    METADATA_LIST = "PartialObjectMetadataList"


@dataclass(frozen=True)
class Representation:
    """The form, and the media type it is sent with."""

    form: Form = Form.OBJECT
    media_type: str = JSON
    api_version: str = "meta.k8s.io/v1"
    """Of Tables and metadata."""


@dataclass(frozen=True)
class _Clause:
    media_type: str
    parameters: dict[str, str]
    quality: float


def accepted(header: str) -> Representation:
    """Returns the best clause of an Accept header that can be served; raises a 406.

    Protobuf is not served: a client that accepts something else, too, gets that.
    """
    representation = _first(_clauses(header), transform=True)
    if representation is None:
        raise not_acceptable(f"only the following media types are accepted: {JSON}, {YAML}, {PROTOBUF}")
    return representation


def accepted_stream(header: str) -> Representation:
    """Returns the same for a watch; one that would best be YAML is refused."""
    representation = _first(_clauses(header), transform=True)
    if representation is None or representation.media_type == YAML:
        listed = f"{JSON};stream=watch, {PROTOBUF};stream=watch"
        raise not_acceptable(f"only the following media types are accepted: {listed}")
    return representation


def accepted_for_errors(header: str) -> Representation:
    """Returns what a Status is sent as: JSON, unless the client accepts YAML and no JSON before it."""
    return _first(_clauses(header), transform=False) or Representation()


def accepted_document(header: str) -> str:
    """Returns the media type of a document that is no object of a resource; raises a 406."""
    representation = _first(_clauses(header), transform=False)
    if representation is None:
        raise not_acceptable(f"only the following media types are accepted: {JSON}, {YAML}, {PROTOBUF}")
    return representation.media_type


def check_route(header: str, *, stream: bool) -> None:
    """Raise the 406 with which the routes of built-in kinds refuse types they never send; ``type/*`` is one."""
    served = {JSON, YAML, PROTOBUF, "*/*"}
    if not header or any(clause.split(";")[0].strip() in served for clause in header.split(",")):
        return
    listed = [JSON, YAML, PROTOBUF, *([f"{JSON};stream=watch", f"{PROTOBUF};stream=watch"] if stream else [])]
    message = f"406: Not Acceptable\n\nAvailable representations: {', '.join(listed)}"
    raise ApiError(406, "NotAcceptable", message, details={})


def _clauses(header: str) -> list[_Clause]:
    """Returns the clauses of an Accept header, the wanted ones first."""
    if not header.strip():
        return [_Clause(JSON, {}, 1.0)]
    parsed = []
    for clause in header.split(","):
        media_type, *pieces = (piece.strip() for piece in clause.split(";"))
        parameters = dict(piece.split("=", 1) for piece in pieces if "=" in piece)
        try:
            quality = float(parameters.pop("q", "1"))
        except ValueError:
            quality = 1.0
        parsed.append(_Clause(media_type, parameters, quality))
    return sorted(parsed, key=lambda item: (-item.quality, item.media_type == "*/*", item.media_type.endswith("/*")))


def _first(clauses: list[_Clause], *, transform: bool) -> Representation | None:
    for clause in clauses:
        media_type = JSON if clause.media_type in ("*/*", "application/*") else clause.media_type
        if media_type not in (JSON, YAML) or clause.parameters.get("stream", "watch") != "watch":
            continue
        name = clause.parameters.get("as", "")
        if not name:
            return Representation(Form.OBJECT, media_type)
        group, version = clause.parameters.get("g"), clause.parameters.get("v", "")
        if not transform or group != _META_GROUP or version not in _META_VERSIONS:
            continue
        if name in (Form.TABLE.value, Form.METADATA.value, Form.METADATA_LIST.value):
            return Representation(Form(name), media_type, f"{_META_GROUP}/{version}")
    return None
