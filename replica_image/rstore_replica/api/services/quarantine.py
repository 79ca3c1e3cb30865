"""The Quarantine service: lists the diverged tails of a region, reads the files of this replica, and drops tails."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from rstore_api import methods
from rstore_api.errors import InvalidRequest, StoreError, TailDamaged, TailNotFound, WrongStore
from rstore_api.proto import rstore_pb2 as pb
from rstore_api.rows import KEY, Row

from rstore_replica.api.calls import Calls
from rstore_replica.api.routing.router import CallInfo
from rstore_replica.mvcc.data.layout import key_range
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.tails.file import DamagedTail, read_part
from rstore_replica.replication.messages import leaving_message, quarantined_message
from rstore_replica.replication.ports import RaftGroup
from rstore_replica.replication.roles import is_leader, leader_address

RAW_BYTES = 1 << 20
PAGE_BYTES = 1 << 20
"""A page of rows ends with the part of the file that makes it this large."""
PAGE_PARTS = 64
"""Parts that are looked through for one page, however few of their rows are asked for."""
DROP_TIMEOUT_SECONDS = 10.0


class QuarantineService:
    """Files are read in threads, a page at a time."""

    def __init__(self, *, calls: Calls, machine: Machine, group: RaftGroup, region: str, replica: str) -> None:
        self._calls = calls
        self._machine = machine
        self._group = group
        self._region = region
        self._replica = replica

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        self._calls.serve(server, methods.QUARANTINE_LIST, self.list_tails)
        self._calls.serve(server, methods.QUARANTINE_READ, self.read_page)
        self._calls.serve(server, methods.QUARANTINE_DROP, self.drop_tail)

    async def list_tails(self, _request: pb.QuarantineListRequest, _call: CallInfo) -> pb.QuarantineListResponse:
        """Lists the tails of the region, and the files that are here beside them."""
        state, files = self._machine.state, self._machine.quarantine
        whole, damaged = files.whole, files.damaged
        tails = []
        for tail in state.tails:
            tails.append(quarantined_message(tail))
            tails[-1].held = whole.pop(tail.file, None) is not None
            tails[-1].damage = damaged.pop(tail.file, "")
        being_written = state.leaving.header.file if state.leaving is not None else ""
        for file, tail in sorted(whole.items()):
            if file != being_written:
                tails.append(quarantined_message(tail))
                tails[-1].held = tails[-1].unknown = True
        tails += [
            pb.QuarantinedTail(file=file, damage=damage, unknown=True) for file, damage in sorted(damaged.items())
        ]
        return pb.QuarantineListResponse(
            region=self._region,
            replica=self._replica,
            is_leader=is_leader(self._group.status()),
            tails=tails,
            leaving=leaving_message(state.leaving),
        )

    async def read_page(self, request: pb.QuarantineReadRequest, _call: CallInfo) -> pb.QuarantineReadResponse:
        """Returns one page of a file that is here."""
        path = self._path_of(request.file)
        try:
            return await asyncio.to_thread(_read_raw if request.raw else _read_page, path, request)
        except DamagedTail as error:
            self._machine.quarantine.report_damage(request.file, str(error))
            raise TailDamaged(f"{error} (on {self._replica})") from error

    async def drop_tail(self, request: pb.QuarantineDropRequest, _call: CallInfo) -> pb.QuarantineDropResponse:
        """Removes a tail from every replica of the region."""
        store_id = self._machine.state.store_id
        if request.store_id != store_id:
            raise WrongStore(f"it belongs to {store_id}")
        try:
            self._machine.quarantine.path(request.file)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        entry = pb.LogEntry(drop_tail=pb.DropTail(file=request.file))
        try:
            answer = await self._group.propose(entry.SerializeToString(), timeout_seconds=DROP_TIMEOUT_SECONDS)
        except StoreError as error:
            error.leader = error.leader or leader_address(self._group.status())
            raise
        if isinstance(answer, StoreError):
            raise answer
        return pb.QuarantineDropResponse(dropped=bool(answer))

    def _path_of(self, file: str) -> Path:
        files = self._machine.quarantine
        try:
            path = files.path(file)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
        if file in files.whole:
            return path
        if file in files.damaged:
            raise TailDamaged(f"{files.damaged[file]} (on {self._replica})")
        if any(tail.file == file for tail in self._machine.quarantined):
            raise TailNotFound(f"{self._replica} does not hold {file} yet; another replica of {self._region} does")
        raise TailNotFound(f"{self._region} has no tail {file}")


def _read_page(path: Path, request: pb.QuarantineReadRequest) -> pb.QuarantineReadResponse:
    """Reads rows of the keys that are asked for. Raises DamagedTail."""
    start, end = key_range(request.key, request.range_end) if request.key or request.range_end else (b"", None)
    page = pb.QuarantineReadResponse(next_offset=request.offset)
    size = 0
    for _ in range(PAGE_PARTS):
        part = read_part(path, page.next_offset)
        if part is None:
            page.next_offset = 0
            break
        page.next_offset = part.next_offset
        for row in part.rows:
            if row.kind == KEY and row.key >= start and (end is None or row.key < end):
                page.rows.append(_row_message(row))
                size += len(row.key) + len(row.value)
        if size >= PAGE_BYTES:
            break
    return page


def _row_message(row: Row) -> pb.QuarantinedRow:
    return pb.QuarantinedRow(
        revision=row.revision,
        sub=row.sub,
        key=row.key,
        value=row.value,
        deletion=row.deletion,
        create_revision=row.create_revision,
        version=row.version,
        lease=row.lease,
    )


def _read_raw(path: Path, request: pb.QuarantineReadRequest) -> pb.QuarantineReadResponse:
    """Reads bytes of the file. Raises DamagedTail."""
    try:
        with path.open("rb") as file:
            file.seek(request.offset)
            data = file.read(RAW_BYTES)
            more = bool(file.read(1))
    except OSError as error:
        raise DamagedTail(f"{path.name} cannot be read at offset {request.offset}: {error.strerror}") from error
    return pb.QuarantineReadResponse(data=data, next_offset=request.offset + len(data) if more else 0)
