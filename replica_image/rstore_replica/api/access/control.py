"""The rules in force on this replica: the newest of those on its volume, in its ConfigMap, and from the operator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from rstore_api.domain.access import CLOSED, FILE_NAME, OPEN, AccessRules, RulesError
from rstore_api.errors import InvalidRequest, NoSpace, StoreError
from rstore_api.logs import get_logger
from rstore_api.proto import rstore_pb2 as pb

from rstore_replica.api.access.callers import Caller, Certificate, identify
from rstore_replica.disk_full import NO_ROOM
from rstore_replica.durable_files import write_durably

_log = get_logger(__name__)

LOOK_SECONDS = 5.0
"""Between two looks at the file that the kubelet keeps up to date, for replicas that the operator does not reach."""


class AccessControl:
    """Knows the rules, keeps them on the volume, and notifies whoever has to act on new ones."""

    def __init__(self, *, volume: Path, mounted: Path, anonymous: bool = False) -> None:
        """Reads the file on the volume and the one in ``mounted``, the directory of the ConfigMap. ``anonymous``: no
        certificates are asked for on the client port.

        Where there is neither, the rules are OPEN; where there are only such that cannot be read, CLOSED.
        """
        self._anonymous = anonymous
        self._kept = volume / FILE_NAME
        self._mounted = mounted / FILE_NAME
        self._stamp: tuple[int, int, int] | None = None
        kept, given = _read(self._kept), self._look()
        self._durable = kept
        candidates = [rules for rules in (kept, given) if rules is not None]
        self._rules = max(candidates, key=lambda rules: rules.version, default=OPEN)
        self._changed: list[Callable[[], None]] = []
        self._turn = asyncio.Lock()

    def status(self) -> pb.AccessStatus:
        """Returns which rules are in force, and whether a restart would find them again."""
        kept = self._durable == self._rules
        return pb.AccessStatus(
            version=self._rules.version, digest=self._rules.digest if kept else "", anonymous=self._anonymous
        )

    def on_change(self, callback: Callable[[], None]) -> None:
        """Calls back at once when other rules are in force."""
        self._changed.append(callback)

    def identify(self, certificate: Certificate) -> Caller:
        """Returns the caller of the client port that has this certificate."""
        return identify(certificate, self._rules)

    async def set(self, request: pb.SetAccessRequest) -> pb.SetAccessResponse:
        """Puts the rules in force unless newer ones are, and keeps them on the volume.

        Returns the version in force. Raises InvalidRequest; NoSpace or StoreError where they are in force and not kept.
        """
        try:
            rules = AccessRules.decode(request.rules)
        except RulesError as error:
            raise InvalidRequest(f"the access rules cannot be read: {error}") from error
        self._use(rules)
        await self._keep()
        return pb.SetAccessResponse(version=self._rules.version)

    async def run(self) -> None:
        """Follows the file in the ConfigMap, for ever."""
        while True:
            try:
                rules = self._look()
                if rules is not None:
                    self._use(rules)
                await self._keep()
            except StoreError as error:
                _log.warning("access_rules_not_kept", reason=str(error))
            await asyncio.sleep(LOOK_SECONDS)

    def _use(self, rules: AccessRules) -> None:
        if rules.version <= self._rules.version:
            return
        self._rules = rules
        _log.info("access_rules", version=rules.version, clients=len(rules.clients))
        for callback in self._changed:
            callback()

    async def _keep(self) -> None:
        """Writes the rules in force to the volume, where it has others. Raises NoSpace, StoreError."""
        async with self._turn:
            rules = self._rules
            if self._durable == rules or not rules.version:
                return
            try:
                await asyncio.to_thread(write_durably, self._kept, rules.encode())
            except OSError as error:
                reason = f"the access rules are in force, but not on the volume: {error.strerror or error}"
                raise (NoSpace if error.errno in NO_ROOM else StoreError)(reason) from error
            self._durable = rules

    def _look(self) -> AccessRules | None:
        """Returns what the ConfigMap has, None where that has not changed since the last look."""
        try:
            status = self._mounted.stat()
        except OSError:
            return None
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return None
        self._stamp = stamp
        return _read(self._mounted)


def _read(path: Path) -> AccessRules | None:
    """Returns the rules in a file, None where there is no file."""
    try:
        return AccessRules.decode(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, RulesError) as error:
        _log.error("access_rules_not_read", file=str(path), reason=str(error))
        return CLOSED
