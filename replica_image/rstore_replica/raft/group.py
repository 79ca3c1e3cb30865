"""One Raft group as the layers above see it: propose, read barrier, status, leadership."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from rstore_api import errors
from rstore_api.proto import raft_pb2 as pb

from rstore_replica.raft.administration import Administration, why_not_counted
from rstore_replica.raft.checkpoints.store import CheckpointStore
from rstore_replica.raft.checkpoints.transfer import CheckpointReceiver, CheckpointSender
from rstore_replica.raft.clock import Clock, SystemClock, Timer
from rstore_replica.raft.config import RaftConfig
from rstore_replica.raft.consensus.applying import Applier
from rstore_replica.raft.consensus.barrier import Barrier
from rstore_replica.raft.consensus.core import RaftCore
from rstore_replica.raft.consensus.proposals import Proposals
from rstore_replica.raft.fatal import terminate_process
from rstore_replica.raft.links.transport import Transport
from rstore_replica.raft.membership import Membership, initial
from rstore_replica.raft.storage.disk import Disk, LocalDisk
from rstore_replica.raft.storage.durability import Syncer
from rstore_replica.raft.storage.journal import Journal
from rstore_replica.raft.storage.room import DiskFull, Room
from rstore_replica.raft.storage.standings import StandingsFile
from rstore_replica.raft.types import HOW_TO_RESEED, GroupStatus, JournalDamaged, Member, RaftError, Role, StateMachine

logger = logging.getLogger(__name__)

__all__ = ["Group", "GroupStatus", "Member", "RaftConfig", "RaftError", "Role", "StateMachine"]


class Group:
    """A replica's membership in its region's Raft group.

    Everything runs on the event loop that :meth:`start` was called on; syncs and checkpoints go to threads.
    """

    def __init__(
        self,
        *,
        name: str,
        members: tuple[Member, ...],
        directory: Path,
        machine: StateMachine,
        transport: Transport,
        clock: Clock | None = None,
        disk: Disk | None = None,
        config: RaftConfig | None = None,
        rng: random.Random | None = None,
        on_fatal: Callable[[BaseException], None] = terminate_process,
        feature_level: int = 1,
        admit: Callable[[bytes, int], None] = lambda _entry, _level: None,
        sync_took: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """``directory`` is this group's own; ``on_fatal`` is called once, with what made going on unsafe.

        ``members`` are those with which a fresh group begins; the log has the last word. A replica that
        has no data and finds that its group has, or that is not among them, waits to be taken in.
        ``feature_level`` is this replica's; ``admit`` is called with each entry to propose and the least level of all
        members, and raises what the proposal is to be refused with. ``sync_took`` is called with how long each sync of
        the journal took, in seconds.
        """
        self._name = name
        self._members = members
        self._directory = directory
        self._machine = machine
        self._transport = transport
        self._clock = clock or SystemClock()
        self._disk = disk or LocalDisk()
        self._config = config or RaftConfig()
        self._rng = rng or random.Random()
        self._on_fatal = on_fatal
        self._feature_level = feature_level
        self._admit = admit
        self._sync_took = sync_took
        self._callbacks: list[Callable[[GroupStatus], None]] = []
        self._started = self._running = False
        self._failure: BaseException | None = None
        self._wake_pending = False
        self._timer: Timer | None = None
        self._seen: tuple[Role, int, str | None, tuple[str, ...], bool] = (Role.FOLLOWER, 0, None, (), False)
        self._linked: tuple[Membership, tuple[Member, ...]] | None = None
        self._leader_since: float | None = None

    # ------------------------------------------------------------------ life

    async def start(self) -> None:
        """Recovers from disk and takes part. Raises :class:`RaftError` when what is on disk cannot be trusted."""
        try:
            await self._recover()
        except JournalDamaged as error:
            raise JournalDamaged(f"{error}; {HOW_TO_RESEED}") from error
        self._build()
        self._started = self._running = True
        self._update_links()
        await self._transport.start(self._on_message, self._on_link)
        self._core.elect_alone()
        self._wake()

    async def _recover(self) -> None:
        config, disk = self._config, self._disk
        self._room = Room(self._directory / "reserve", disk, self._clock)
        identity = self._rng.getrandbits(63) | 1
        # In a thread: every record is read, and on a slow disk the probes of this process must be answered meanwhile.
        self._journal = await disk.run_aside(
            lambda: Journal(
                self._directory / "journal",
                disk,
                open_file=self._room.open,
                segment_bytes=config.segment_bytes,
                cache_bytes=config.tail_cache_bytes,
                new_identity=identity,
            )
        )
        self._checkpoints = CheckpointStore(
            self._directory / "checkpoints", disk, self._machine, self._clock, config, failed=self._fail
        )
        self._standings_file = StandingsFile(self._directory / "standings", disk, self._clock)
        self._applied_at_start = await self._checkpoints.recover(self._journal)

    def _build(self) -> None:
        config, disk = self._config, self._disk
        self._proposals = Proposals(config)
        self._applier = Applier(self._journal, self._machine, self._proposals, self._clock, config, self._room)
        self._syncer = Syncer(self._journal, disk, synced=self._wake, failed=self._fail, took=self._sync_took)
        self._core = RaftCore(
            name=self._name,
            initial=initial(self._members),
            journal=self._journal,
            applied=self._applied_at_start,
            clock=self._clock,
            rng=self._rng,
            config=config,
            send=self._send,
            feature_level=self._feature_level,
            standings=self._standings_file.load(),
        )
        self._admin = Administration(
            name=self._name, core=self._core, config=config, clock=self._clock, wake=self._wake
        )
        self._barrier = Barrier(self._core, self._wake, self._clock)
        self._sender = CheckpointSender(self._core, self._checkpoints, disk, self._clock, config)
        self._receiver = CheckpointReceiver(
            self._core, self._checkpoints, self._journal, disk, installed=self._installed, failed=self._fail
        )

    async def stop(self) -> None:
        """Leaves without handing over leadership; the outcome of what was proposed is unknown to its callers."""
        if not self._running:
            return
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
        await self._transport.stop()
        await self._sender.stop()
        await self._receiver.stop()
        await self._checkpoints.stop()
        await self._standings_file.stop()
        await self._syncer.stop()
        self._end_waiting("the replica stopped")
        if self._failure is None and self._journal.dirty:
            pending = self._journal.take_sync()
            try:
                await self._disk.run(pending.work)
            except Exception as error:
                self._on_fatal(error)
                raise
            pending.done()
        self._journal.close()
        self._disk.close()
        self._admin.end()

    def add_to_server(self, server: Any) -> None:
        """Registers the transport's service, if it has one, on a gRPC server that has not started yet."""
        self._transport.add_to_server(server)

    # ------------------------------------------------------------------ what callers use

    async def propose(self, entry: bytes, *, timeout_seconds: float) -> object:
        """Commits the entry and returns what ``apply`` returned for it here.

        Raises NotLeader, NoLeader, RequestTooLarge, TooManyRequests, NoSpace, ShuttingDown or what ``admit`` raises
        when it certainly is not in the log, and OutcomeUnknown when it may be or may yet be. Cancelling the call leaves
        the outcome unknown.
        """
        self._require_leader()
        if self._admin.transferring:
            raise errors.NoLeader("leadership is being handed over")
        if len(entry) > self._config.max_entry_bytes:
            raise errors.RequestTooLarge(f"{len(entry)} bytes, at most {self._config.max_entry_bytes}")
        if self._room.reason:
            raise errors.NoSpace(self._room.reason)
        self._admit(entry, self._core.feature_level)
        self._proposals.admit(len(entry))
        try:
            index, term = self._core.propose(entry)
        except DiskFull as error:
            raise errors.NoSpace(str(error)) from error
        except Exception as error:
            self._fail(error)
            raise errors.OutcomeUnknown("the journal cannot be written") from error
        future = self._proposals.add(index, term, len(entry))
        self._wake()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await future
        except TimeoutError:
            raise errors.OutcomeUnknown(f"not committed within {timeout_seconds:g} s") from None
        finally:
            self._proposals.release(index, term)

    async def barrier(self, *, timeout_seconds: float) -> None:
        """Returns when this replica has applied all that was committed, anywhere, before the call.

        Raises NotLeader or NoLeader when it does not lead, DeadlineExceeded when no majority confirmed in time. Callers
        that wait at the same time share one question to the peers.
        """
        self._require_leader()
        future = self._barrier.add(timeout_seconds)
        self._wake()
        await future

    def status(self) -> GroupStatus:
        """This replica's view now."""
        if not self._started:
            return GroupStatus(self._name, Role.FOLLOWER, None, 0, 0, 0, 0, self._members, None, "starting")
        core, membership = self._core, self._core.membership
        reason = str(self._failure or "") or self._receiver.progress or self._room.reason
        return GroupStatus(
            self._name,
            core.role,
            core.leader,
            core.term,
            core.commit_index,
            core.last_applied,
            self._journal.last_index,
            membership.members or self._members,
            self._leader_since if core.is_leader else None,
            reason or why_not_counted(core, self._name, self._transport.refusal),
            membership.learners,
            self._leaving(),
            core.released,
            core.feature_level,
            joining=not membership.replicas,
        )

    @property
    def role(self) -> Role:
        """What this replica is now; a follower before it has started."""
        return self._core.role if self._started else Role.FOLLOWER

    @property
    def term(self) -> int:
        """The current term; 0 before this replica has started."""
        return self._core.term if self._started else 0

    @property
    def journal(self) -> Journal | None:
        """This replica's log, to be read only; None before it is recovered."""
        return self._journal if self._started else None

    def _leaving(self) -> tuple[str, ...]:
        leaving = self._core.leaving
        return tuple(name for name in self._core.membership.names if name in leaving) if leaving else ()

    def leave(self) -> None:
        """This replica was asked to stop. It takes leadership no more and announces it to the others, which no longer
        count on it; whatever it has part in goes on until :meth:`stop`.
        """
        if self._running and self._failure is None:
            self._core.leave()
            self._wake()

    def release(self, released: bool) -> None:
        """As leader: announces to the others whether they may go although this replica has acknowledged writes."""
        if self._running and self._failure is None:
            self._core.release(released)
            self._wake()

    def in_touch(self) -> tuple[str, ...]:
        """The other voting members that this replica is in touch with at the moment."""
        if not self._running or self._failure is not None:
            return ()
        return self._core.in_touch(self._config.election_timeout_min_seconds)

    def on_change(self, callback: Callable[[GroupStatus], None]) -> None:
        """Calls back on the event loop whenever role, term or leader have changed. Callbacks must not raise."""
        self._callbacks.append(callback)

    async def transfer_leadership(self, target: str | None, *, timeout_seconds: float) -> str:
        """Hands leadership to ``target``, or to the voter with the longest log; returns the new leader's name.

        Proposals are refused meanwhile. Raises NotLeader, InvalidRequest for an unknown target, NotReady when all that
        could take over were asked to stop, and DeadlineExceeded when it did not work in time: then this replica goes on
        as leader, or another has become it.
        """
        self._require_leader()
        try:
            async with asyncio.timeout(timeout_seconds):
                return await self._admin.transfer(target)
        except TimeoutError:
            raise errors.DeadlineExceeded(f"{target or 'no replica'} did not take over in time") from None

    async def change_members(
        self, *, add: Member | None = None, remove: str | None = None, timeout_seconds: float
    ) -> tuple[Member, ...]:
        """Takes one replica in, which counts when this returns, or one out; returns the members.

        Asking again is safe. Raises NotLeader, NoLeader, TooManyRequests while another change is under way,
        InvalidRequest, NotReady when no majority of those that stay would answer, DeadlineExceeded: then it may
        happen yet, for a replica that was taken in goes on catching up.
        """
        self._require_leader()
        if (add is None) == (remove is None):
            raise errors.InvalidRequest("either one replica to add or one to remove is required")
        try:
            async with asyncio.timeout(timeout_seconds):
                await (self._admin.add(add) if add is not None else self._admin.remove(str(remove)))
        except TimeoutError:
            what = f"{add.name} does not count yet" if add is not None else f"the removal of {remove} is not committed"
            raise errors.DeadlineExceeded(what) from None
        except (RaftError, OSError) as error:
            self._fail(error)
            raise errors.OutcomeUnknown("the journal cannot be written") from error
        return self.status().members

    def _require_leader(self) -> None:
        if not self._started:
            raise errors.NotReady("the replica is starting")
        if not self._running or self._failure is not None:
            raise errors.ShuttingDown
        if self._core.is_leader:
            return
        leader = self._core.leader
        if leader is None:
            raise errors.NoLeader
        raise errors.NotLeader(f"{leader} leads", leader=self._address_of(leader))

    def _address_of(self, name: str) -> str:
        return next((member.address for member in self.status().members if member.name == name), "")

    # ------------------------------------------------------------------ events

    def _update_links(self) -> None:
        """Has the transport keep links to the members, to candidates, and to the first members while this is none."""
        membership, candidates = self._core.membership, self._admin.candidates
        if self._linked == (membership, candidates):
            return
        self._linked = (membership, candidates)
        wanted = {member.name: member for member in (*membership.members, *candidates)}
        if membership.get(self._name) is None:
            wanted = {member.name: member for member in self._members} | wanted
        wanted.pop(self._name, None)
        removed = frozenset(membership.removed) - {member.name for member in candidates}
        self._transport.update_members(tuple(wanted.values()), removed)

    def _send(self, peer: str, envelope: pb.RaftEnvelope, hold: bool) -> None:
        if hold:
            self._syncer.hold(partial(self._transport.send, peer, envelope))
        else:
            self._transport.send(peer, envelope)

    def _on_message(self, peer: str, envelope: pb.RaftEnvelope) -> None:
        if not self._running or self._failure:
            return
        try:
            with suppress(DiskFull):  # what was not taken is not acknowledged, and comes again
                self._core.receive(peer, envelope)
            if envelope.term == self._core.term:
                if envelope.HasField("checkpoint_chunk"):
                    self._receiver.on_chunk(peer, envelope.checkpoint_chunk)
                elif envelope.HasField("checkpoint_reply"):
                    self._sender.on_reply(peer, envelope.checkpoint_reply)
        except Exception as error:
            self._fail(error)
        self._wake()

    def _on_link(self, peer: str, connected: bool, new_session: bool) -> None:
        if self._running and self._failure is None:
            self._core.link_changed(peer, connected, new_session=new_session)
        self._wake()

    def _installed(self, index: int) -> None:
        self._core.adopt_checkpoint(index)
        self._proposals.overtaken(index)
        self._wake()

    def _wake(self) -> None:
        """Has :meth:`_run` called once, soon."""
        if self._running and not self._wake_pending:
            self._wake_pending = True
            asyncio.get_running_loop().call_soon(self._run)

    def _run(self) -> None:
        self._wake_pending = False
        if not self._running or self._failure is not None:
            return
        try:
            self._room.look()
            self._tick()
            if not self._core.paused and self._applier.run(self._core):
                self._wake()
            self._notice_changes()
            if self._barrier.advance():
                self._tick()  # sends the question
                self._notice_changes()
            self._standings_file.consider(self._core.standings, self._core.membership)
            self._checkpoints.consider(self._core, self._journal, wanted=self._sender.busy)
        except Exception as error:
            self._fail(error)
            return
        self._syncer.kick()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._clock.call_later(self._core.next_deadline() - self._clock.monotonic(), self._wake)

    def _tick(self) -> None:
        self._core.tick()
        self._update_links()
        for peer in self._core.needing_checkpoint():
            self._sender.want(peer)

    def _notice_changes(self) -> None:
        core = self._core
        self._admin.notice()
        seen = (core.role, core.term, core.leader, self._leaving(), core.released)
        if seen == self._seen:
            return
        was_leader = self._seen[0] is Role.LEADER and self._seen[1] == core.term
        self._seen = seen
        if not core.is_leader or not was_leader:
            # Also after an election won: what was asked in an earlier term is not answered by this one.
            self._barrier.fail(errors.NotLeader("leadership was lost") if core.leader else errors.NoLeader())
        if not core.is_leader:
            self._leader_since = None
        elif not was_leader:
            self._leader_since = self._clock.monotonic()
        logger.info(
            "raft_state_changed role=%s term=%d leader=%s leaving=%s",
            core.role.value, core.term, core.leader, ",".join(seen[3]),
        )  # fmt: skip
        status = self.status()
        for callback in self._callbacks:
            callback(status)

    def _end_waiting(self, why: str) -> None:
        self._proposals.fail(errors.OutcomeUnknown(why))
        self._barrier.fail(errors.ShuttingDown())

    def _fail(self, error: BaseException) -> None:
        if self._failure is not None or not self._running:
            return
        self._failure = error
        self._admin.end()
        self._end_waiting("the replica failed")
        self._on_fatal(error)
