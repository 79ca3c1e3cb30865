"""The Import service: fills a store in which nothing was written with data from elsewhere, part by part."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Any

from rstore_api import methods
from rstore_api.errors import DeadlineExceeded, FeatureNotActive, KeyTooLong, NoSpace, OutcomeUnknown, StoreError
from rstore_api.proto.rstore_pb2 import ImportRequest, ImportResponse, LogEntry

from rstore_replica.api.calls import Calls
from rstore_replica.api.identity import Identity
from rstore_replica.api.ports import Group
from rstore_replica.api.routing.router import CallInfo, Router
from rstore_replica.api.validate import LONG_KEYS_NOT_ACTIVE
from rstore_replica.mvcc.data.auth import TOKEN_KEY_BYTES, with_token_key
from rstore_replica.mvcc.machine import Machine
from rstore_replica.mvcc.transfer.importing import holds_long_key, step_of

STEP_TIMEOUT_SECONDS = 10.0


class ImportService:
    """Each part is an entry of the log; the store is as it was until the last one."""

    def __init__(
        self,
        *,
        calls: Calls,
        router: Router,
        machine: Machine,
        group: Group,
        identity: Identity,
        tenure_held: Callable[[int], bool],
    ) -> None:
        self._calls = calls
        self._router = router
        self._machine = machine
        self._group = group
        self._identity = identity
        self._tenure_held = tenure_held

    def add_to_server(self, server: Any) -> None:
        """Registers the service."""
        self._calls.serve(server, methods.IMPORT_STEP, self.step)

    async def step(self, request: ImportRequest, call: CallInfo) -> ImportResponse:
        """Takes one part. A part may be sent again when its outcome is unknown, but for the last one: where that was
        taken, the store is no longer empty.
        """
        return await self._router.serve(
            methods.IMPORT_STEP, lambda: request, lambda: self._step(request, call), call=call
        )

    async def _step(self, request: ImportRequest, call: CallInfo) -> ImportResponse:
        remaining = call.deadline - asyncio.get_running_loop().time()
        if remaining <= 0:
            raise DeadlineExceeded
        state = self._machine.state
        for record in request.auth:
            record.value = with_token_key(record.key, record.value, secrets.token_bytes(TOKEN_KEY_BYTES))
        step = step_of(request, state)
        if self._machine.write_limits(len(step.chunk.rows)).no_space:
            raise NoSpace
        has_long_key = holds_long_key(request)
        entry = LogEntry(long_key_import=step) if has_long_key else LogEntry(import_step=step)
        try:
            taken = await self._group.propose(
                entry.SerializeToString(), timeout_seconds=min(remaining, STEP_TIMEOUT_SECONDS)
            )
        except FeatureNotActive:
            if not has_long_key:
                raise
            raise KeyTooLong(LONG_KEYS_NOT_ACTIVE) from None
        if isinstance(taken, StoreError):
            raise taken
        if request.last and not self._tenure_held(state.epoch):
            raise OutcomeUnknown("the tenure has run out")
        response = ImportResponse(last_key=step.chunk.last_key)
        self._identity.fill(response.header, revision=self._machine.revision)
        return response
