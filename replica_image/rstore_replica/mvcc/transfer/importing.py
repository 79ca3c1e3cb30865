"""Data from elsewhere, such as a snapshot of an etcd, in the form of a snapshot of another region."""

from __future__ import annotations

from rstore_api import rows
from rstore_api.domain.limits import MAX_KEY_BYTES, SHORT_KEY_BYTES
from rstore_api.errors import InvalidRequest, KeyTooLong
from rstore_api.messages import history_messages
from rstore_api.proto.rstore_pb2 import ImportRequest, ImportStep, SnapshotChunk

from rstore_replica.mvcc.data.auth import is_record
from rstore_replica.mvcc.data.leases import Lease
from rstore_replica.mvcc.state import RegionState
from rstore_replica.mvcc.transfer.snapshot import place_of


def holds_long_key(request: ImportRequest) -> bool:
    """Returns whether the part needs a version that takes long keys."""
    return any(len(imported.kv.key) > SHORT_KEY_BYTES for imported in request.keys)


def step_of(request: ImportRequest, region: RegionState) -> ImportStep:
    """Returns the command for the log that takes one part into the region, as it is at the moment.

    Raises InvalidRequest or KeyTooLong; what the parts are together is checked when they are applied.
    """
    frames: list[bytes] = []
    last_key = request.after_key
    for imported in request.keys:
        kv = imported.kv
        if not kv.key:
            raise InvalidRequest("a key is empty")
        if len(kv.key) > MAX_KEY_BYTES:
            raise KeyTooLong(f"{len(kv.key)} bytes, {MAX_KEY_BYTES} are the most: {bytes(kv.key[:40])!r} …")
        if not 0 < kv.create_revision <= kv.mod_revision <= request.revision or kv.version < 1:
            raise InvalidRequest(f"the revisions or the version of {bytes(kv.key)!r} cannot be")
        body = rows.pack_body(kv.key, kv.value, kv.create_revision, kv.version, kv.lease)
        frames.append(rows.pack_frame(kv.mod_revision, imported.sub, body))
        last_key = place_of(rows.KEY, kv.key)
    for granted in request.leases:
        if not granted.id or granted.ttl_seconds < 1:
            raise InvalidRequest(f"lease {granted.id:016x} of {granted.ttl_seconds} s cannot be")
        lease = Lease(granted.id, granted.ttl_seconds)
        body = rows.of_kind(rows.pack_body(lease.key, lease.value, request.revision, 1, 0), rows.LEASE)
        frames.append(rows.pack_frame(request.revision, granted.sub, body))
        last_key = place_of(rows.LEASE, lease.key)
    for record in request.auth:
        if not is_record(record.key, record.value):
            raise InvalidRequest(f"{bytes(record.key[:40])!r} is no user, no role and no switch of auth")
        body = rows.of_kind(rows.pack_body(record.key, record.value, request.revision, 1, 0), rows.AUTH)
        frames.append(rows.pack_frame(request.revision, record.sub, body))
        last_key = place_of(rows.AUTH, record.key)
    chunk = SnapshotChunk(
        store_id=region.store_id,
        epoch=region.epoch,
        history=history_messages(region.history),
        revision=request.revision,
        after_key=request.after_key,
        last_key=last_key,
        rows=rows.join_frames(frames, len(frames)) if frames else b"",
        row_count=len(frames),
        last=request.last,
    )
    return ImportStep(chunk=chunk, revision_jump=request.revision_jump)
