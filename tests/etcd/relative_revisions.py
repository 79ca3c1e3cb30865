"""Requests whose revisions count back from the newest, so that they mean something wherever the history has got to."""

from __future__ import annotations

from google.protobuf.message import Message
from rstore_api.proto.rpc_pb2 import CompactionRequest, RangeRequest, TxnRequest, WatchCreateRequest

AHEAD = 12
"""From this on it is a revision that does not exist yet."""
_FIELDS: dict[type[Message], tuple[str, ...]] = {
    CompactionRequest: ("revision",),
    WatchCreateRequest: ("start_revision",),
    RangeRequest: (
        "revision",
        "min_mod_revision",
        "max_mod_revision",
        "min_create_revision",
        "max_create_revision",
    ),
}


def make_absolute(request: Message, newest: int) -> None:
    """Replaces what counts back from ``newest`` (1 is the newest, ``AHEAD`` and above the next) by revisions."""
    for name in _FIELDS.get(type(request), ()):
        if value := getattr(request, name):
            ahead = name in ("revision", "start_revision") and value >= AHEAD
            setattr(request, name, newest + 1 if ahead else max(1, newest + 1 - value))
    if isinstance(request, TxnRequest):
        for compare in request.compare:
            for name in ("create_revision", "mod_revision"):
                if compare.WhichOneof("target_union") == name and getattr(compare, name):
                    setattr(compare, name, max(1, newest + 1 - getattr(compare, name)))
        for operation in (*request.success, *request.failure):
            make_absolute(getattr(operation, operation.WhichOneof("request") or "request_put"), newest)
