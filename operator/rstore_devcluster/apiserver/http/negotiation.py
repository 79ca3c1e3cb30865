"""Which representation a client accepts: the object, a Table, or metadata alone. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from rstore_devcluster.apiserver.http.errors import not_acceptable


class Form(Enum):
    """How objects are shown."""

    OBJECT = "object"
    TABLE = "table"
    METADATA = "metadata"


@dataclass(frozen=True)
class Representation:
    """The form, and the media type it is sent with."""

    form: Form
    yaml: bool = False


_FORMS = {"": Form.OBJECT, "Table": Form.TABLE, "PartialObjectMetadata": Form.METADATA}
_FORMS["PartialObjectMetadataList"] = Form.METADATA


def accepted(header: str) -> Representation:
    """The first clause of an Accept header that can be served; raises a 406."""
    if not header.strip():
        return Representation(Form.OBJECT)
    for clause in header.split(","):
        media_type, *parameters = (piece.strip() for piece in clause.split(";"))
        given = dict(piece.split("=", 1) for piece in parameters if "=" in piece)
        form = _FORMS.get(given.get("as", ""))
        if form is None or (given.get("as") and (given.get("g"), given.get("v")) != ("meta.k8s.io", "v1")):
            continue
        if media_type in ("application/json", "*/*", "application/*"):
            return Representation(form)
        if media_type == "application/yaml" and form is Form.OBJECT:
            return Representation(form, yaml=True)
    raise not_acceptable(
        "only the following media types are accepted: application/json, application/yaml, "
        "application/json;as=Table;v=v1;g=meta.k8s.io, application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    )
