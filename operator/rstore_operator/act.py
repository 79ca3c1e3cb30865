"""Carries out the actions of a plan. Each is idempotent, and a failure is returned, not raised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rstore_api import methods
from rstore_api.domain.kubernetes import SPEC_HASH
from rstore_api.errors import NotLeader, StoreError
from rstore_api.logs import get_logger
from rstore_api.messages import topology_message
from rstore_api.methods import Method, RequestT, ResponseT
from rstore_api.proto import rstore_pb2 as pb
from rstore_kube.errors import ApiError

from rstore_operator.cluster.act_tenure import fence, grant_as_witness
from rstore_operator.cluster.calls_under_way import CallsUnderWay
from rstore_operator.cluster.replicas import Replicas
from rstore_operator.cluster.site import Site
from rstore_operator.facts.actions import (
    Action,
    AddMember,
    Adopt,
    Apply,
    Bootstrap,
    Delete,
    DeletePod,
    Demote,
    Fence,
    GrantTenure,
    GrowClaim,
    HandOver,
    IssueAuthority,
    IssueCertificate,
    LookUp,
    Notice,
    Orphan,
    Promote,
    PushTopology,
    RegionCall,
    RemoveAnnotations,
    RemoveMember,
    SetAccess,
    Target,
    UpdateRequestedBase,
    WriteSecret,
)
from rstore_operator.facts.observed import CLAIM, ChildKey, FenceAnswer
from rstore_operator.planning.certificates.authority import authority_manifest, key_pair, replaced_notice
from rstore_operator.specs import secrets
from rstore_operator.specs.certificates import make_authority, make_certificate, new_key

log = get_logger(__name__)

SWITCHOVER_TIMEOUT_SECONDS = 5.0
CALL_TIMEOUT_SECONDS = 3.0
CONNECTION_ERRORS = (OSError, TimeoutError)


Children = Mapping[ChildKey, Mapping[str, Any]]


@dataclass(frozen=True)
class Done:
    """The result of an action: ``failure`` is "" if it succeeded, ``effective`` is whether the next step may see a
    change."""

    action: Action
    failure: str = ""
    notices: tuple[Notice, ...] = ()
    effective: bool = True
    fence: FenceAnswer | None = None


class Actor:
    """Carries out the actions of one store: on objects of the home site, and on replicas of all sites."""

    def __init__(
        self,
        site: Site,
        replicas: Replicas,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
        *,
        may_act: Callable[[], bool] = lambda: True,
    ) -> None:
        """``may_act`` is asked before each action: once it is False, nothing more is begun."""
        self._may_act = may_act
        self._site = site
        self._replicas = replicas
        self._now = now
        self._clock = clock
        self._calls = CallsUnderWay(self._call_region)
        self._failures: dict[tuple[type, str], str] = {}
        self.failures: tuple[str, ...] = ()
        """What failed when the last actions were carried out, and what failed before and is tried again."""

    @property
    def calling(self) -> bool:
        """Whether a region has not answered a call yet."""
        return self._calls.active

    async def close(self) -> None:
        """Give up the calls that are under way."""
        await self._calls.close()

    async def run(self, actions: tuple[Action, ...], children: Children, *, patience_seconds: float) -> list[Done]:
        """Carry out all of them: calls to replicas at the same time, changes of objects one after the other, in
        order. A call that takes longer than ``patience_seconds`` is not waited for: a later run returns its result."""
        calls = [action for action in actions if isinstance(action, RegionCall)]
        writes = [action for action in actions if not isinstance(action, RegionCall)]

        async def in_order() -> list[Done]:
            return [await self._one(action, children) for action in writes]

        called = self._calls.run(calls, patience_seconds=patience_seconds)
        written, answered = await asyncio.gather(in_order(), called)
        self._note(calls, answered)
        self.failures = (*(done.failure for done in written if done.failure), *self._failures.values())
        return [*written, *answered]

    async def _call_region(self, action: RegionCall) -> Done:
        return await self._one(action, {})

    def _note(self, calls: list[RegionCall], answered: list[Done]) -> None:
        """Keep what failed for as long as it is tried again."""
        asked = {(type(call), call.region) for call in calls}
        self._failures = {
            key: text for key, text in self._failures.items() if key in asked or self._calls.includes(*key)
        }
        for done in answered:
            assert isinstance(done.action, RegionCall)
            key = (type(done.action), done.action.region)
            self._failures.pop(key, None)
            if done.failure:
                self._failures[key] = done.failure

    async def _one(self, action: Action, children: Children) -> Done:
        if not self._may_act():
            return Done(action, effective=False)
        try:
            return await _WAYS[type(action)](self, action, children)
        except NotLeader as error:
            log.info("leader_moved", action=type(action).__name__, leader=error.leader)
            return Done(action, effective=False)  # a later look finds the new leader
        except ApiError as error:
            if isinstance(action, RemoveAnnotations) and error.status in (404, 409, 422):
                return Done(action, effective=False)  # changed meanwhile; what it says now is read next time
            if isinstance(action, IssueAuthority | WriteSecret | DeletePod | UpdateRequestedBase) and error.conflict:
                return Done(action, effective=False)  # the same
            return _failed(action, error)
        except (StoreError, ValueError, *CONNECTION_ERRORS) as error:
            return _failed(action, error)
        except Exception as error:  # a bug in one action does not stop the others
            return _failed(action, error, exc_info=True)

    # ------------------------------------------------------------------------------------------ objects
    async def _apply(self, action: Apply, children: Children) -> Done:
        if not await self._is_free(action.key, children):
            return Done(action)
        before = children.get(action.key)
        after = await self._site.apply(action.manifest, before, action.manifest["metadata"]["annotations"][SPEC_HASH])
        kind, name = action.key
        if before is not None and _version(before) == _version(after):
            return Done(action)
        log.info("applied", kind=kind, name=name, change=action.change)
        if action.change == "create":
            return _done(action, Notice("Created", f"{kind} {name}") if kind == "StatefulSet" else None)
        reason = "DriftRepaired" if action.change == "drift" else "Updated"
        return _done(action, Notice(reason, f"{kind} {name}"))

    async def _look_up(self, action: LookUp, _children: Children) -> Done:
        for key in action.keys:
            kind, name = key
            if kind == CLAIM:
                await self._site.look_up_claim(name, action.regions.get(key, ""))
            else:
                await self._site.is_ours_to_use(key)
        return Done(action)

    async def _adopt(self, action: Adopt, _children: Children) -> Done:
        kind, name = action.key
        await self._site.adopt(action.key, action.body)
        log.info("adopted", kind=kind, name=name)
        return _done(action, Notice("Adopted", f"{kind} {name}"))

    async def _delete(self, action: Delete, _children: Children) -> Done:
        await self._site.delete(action.key, action.uid)
        return Done(action)

    async def _delete_pod(self, action: DeletePod, _children: Children) -> Done:
        if action.claim:  # before the pod: the next one might use it once more otherwise
            await self._site.delete_claim(action.claim, action.claim_uid, action.claim_version)
            log.info("volume_replaced", region=action.region, claim=action.claim, reason=action.why)
        await self._site.delete_pod(action.name, action.uid, action.resource_version)
        log.info("pod_replaced", region=action.region, pod=action.name, reason=action.why)
        return _done(action, Notice("PodReplaced", f"{action.region}: {action.name}, {action.why}"))

    async def _orphan(self, action: Orphan, _children: Children) -> Done:
        kind, name = action.key
        await self._site.delete(action.key, action.uid, leave_owned=True)
        log.info("made_anew", kind=kind, name=name)
        return _done(action, Notice("MadeAnew", f"{kind} {name} is made anew around its pods"))

    async def _grow(self, action: GrowClaim, _children: Children) -> Done:
        try:
            await self._site.grow_claim(action.name, action.size, action.resource_version)
        except ApiError as error:
            if not (error.conflict or error.not_found):  # else it has changed, and is looked at again
                self._site.view.growth_refused(action.name, str(error))
                log.warning("growth_refused", claim=action.name, size=action.size, reason=str(error))
            return Done(action)
        return _done(action, Notice("VolumeGrown", f"PersistentVolumeClaim {action.name} asks for {action.size}"))

    async def _remove_annotations(self, action: RemoveAnnotations, _children: Children) -> Done:
        await self._site.remove_annotations(action.values)
        return Done(action)

    async def _update_requested_base(self, action: UpdateRequestedBase, _children: Children) -> Done:
        await self._site.update_requested_base(action)
        log.info("requested_base", name=action.name, phase=action.status.phase.value)
        return Done(action)

    async def _is_free(self, key: ChildKey, children: Children) -> bool:
        return key in children or await self._site.is_ours_to_use(key)

    async def _issue(self, action: IssueAuthority | IssueCertificate | WriteSecret, children: Children) -> Done:
        if not await self._is_free(action.key, children):
            return Done(action)
        manifest, notice = await self._secret(action, children)
        if manifest is None:
            return Done(action)
        await self._site.apply(manifest, children.get(action.key))
        log.info("secret_written", secret=action.key[1], action=type(action).__name__)
        return _done(action, notice)

    async def _secret(
        self, action: IssueAuthority | IssueCertificate | WriteSecret, children: Children
    ) -> tuple[Mapping[str, Any] | None, Notice | None]:
        """Returns the Secret to write, None if there is nothing to write, and the Event to post."""
        now, name = self._now(), action.key[1]
        if isinstance(action, WriteSecret):
            return action.manifest, action.notice
        if isinstance(action, IssueCertificate):
            authority = key_pair(children.get(action.authority), secrets.CA_CERT, secrets.CA_KEY)
            if authority is None:
                raise ValueError(f"there is no certificate authority {action.authority[1]}")
            pair = make_certificate(authority, action.request, new_key(), now)
            data = {secrets.CA_CERT: action.trusted, secrets.TLS_CERT: pair.certificate, secrets.TLS_KEY: pair.key}
            notice = Notice("CertificateRenewed", name) if action.change == "renew" else None
            return secrets.with_data(action.manifest, data), notice
        # The watch may be behind; an authority that exists must not be replaced, since it signed every certificate.
        ref = self._site.ref
        live = await self._site.live(action.key)
        if live is not None and action.key not in children:
            self._site.view.wrote(action.key, None, live, "")
            return None, None
        pair = make_authority(f"{ref.namespace}/{ref.name}", new_key(), now)
        manifest = authority_manifest(
            action.manifest,
            pair,
            action.previous,
            since=now,
            until=action.previous_until,
            resource_version=action.resource_version,
        )
        notice = Notice("AuthorityCreated", f"certificate authority {name}")
        if action.previous and action.previous_until is not None:
            notice = replaced_notice(ref, f"the one before: {action.reason}", action.previous_until)
        return manifest, notice

    # ------------------------------------------------------------------------------------------ replicas
    async def _call(
        self,
        target: Target,
        method: Method[RequestT, ResponseT],
        request: RequestT,
        timeout_seconds: float = CALL_TIMEOUT_SECONDS,
    ) -> ResponseT:
        return await self._replicas.call(target, method, request, timeout_seconds=timeout_seconds)

    async def _fence(self, action: Fence, _children: Children) -> Done:
        return Done(action, fence=await fence(self._replicas, action, self._clock))

    async def _grant(self, action: GrantTenure, _children: Children) -> Done:
        await grant_as_witness(self._site, self._replicas, action)
        return Done(action, effective=False)

    async def _hand_over(self, action: HandOver, _children: Children) -> Done:
        request = pb.TransferLeadershipRequest(target=action.name)
        await self._call(action.target, methods.ADMIN_TRANSFER_LEADERSHIP, request)
        return _done(action, Notice("LeadershipHandedOver", f"{action.region}: to {action.name}"))

    async def _add_member(self, action: AddMember, _children: Children) -> Done:
        request = pb.AddMemberRequest(name=action.name, peer_address=action.peer_address)
        await self._call(action.target, methods.ADMIN_ADD_MEMBER, request)
        return _done(action, Notice("ReplicaAdded", f"{action.region}: {action.name} is taken into the group"))

    async def _remove_member(self, action: RemoveMember, _children: Children) -> Done:
        await self._call(action.target, methods.ADMIN_REMOVE_MEMBER, pb.RemoveMemberRequest(name=action.name))
        return _done(action, Notice("ReplicaRemoved", f"{action.region}: {action.name} was taken out of the group"))

    async def _demote(self, action: Demote, _children: Children) -> Done:
        request = pb.DemoteRequest(store_id=action.store_id, epoch=action.epoch)
        demoted = await self._call(action.target, methods.ADMIN_DEMOTE, request, SWITCHOVER_TIMEOUT_SECONDS)
        log.info("demoted", region=action.region, epoch=action.epoch, final_revision=demoted.final_revision)
        return Done(action)

    async def _promote(self, action: Promote, _children: Children) -> Done:
        request = pb.PromoteRequest(
            store_id=action.store_id,
            epoch=action.epoch,
            min_revision=action.min_revision,
            topology=topology_message(action.topology),
            revision_jump=action.revision_jump,
        )
        promoted = await self._call(action.target, methods.ADMIN_PROMOTE, request, SWITCHOVER_TIMEOUT_SECONDS)
        log.info("promoted", region=action.region, epoch=action.epoch, first_revision=promoted.first_revision)
        return Done(action)

    async def _bootstrap(self, action: Bootstrap, _children: Children) -> Done:
        request = pb.BootstrapRequest(
            store_id=action.store_id,
            topology=topology_message(action.topology),
            promised_epoch=action.promised_epoch,
        )
        await self._call(action.target, methods.ADMIN_BOOTSTRAP, request)
        log.info("region_bootstrapped", region=action.region, store_id=action.store_id)
        return Done(action)

    async def _push_topology(self, action: PushTopology, _children: Children) -> Done:
        topology = topology_message(action.topology)
        request = pb.SetTopologyRequest(store_id=action.store_id, topology=topology)
        await self._call(action.target, methods.ADMIN_SET_TOPOLOGY, request)
        log.info("topology_set", region=action.region, epoch=topology.epoch, version=topology.version)
        return Done(action)

    async def _set_access(self, action: SetAccess, _children: Children) -> Done:
        request = pb.SetAccessRequest(rules=action.rules.encode())
        await self._call(action.target, methods.ADMIN_SET_ACCESS, request)
        log.info("access_set", replica=action.target.pod, version=action.rules.version)
        return Done(action)


_WAYS: Mapping[type[Action], Callable[[Actor, Any, Children], Awaitable[Done]]] = {
    Apply: Actor._apply,
    LookUp: Actor._look_up,
    Adopt: Actor._adopt,
    Delete: Actor._delete,
    DeletePod: Actor._delete_pod,
    Orphan: Actor._orphan,
    GrowClaim: Actor._grow,
    IssueAuthority: Actor._issue,
    IssueCertificate: Actor._issue,
    WriteSecret: Actor._issue,
    UpdateRequestedBase: Actor._update_requested_base,
    RemoveAnnotations: Actor._remove_annotations,
    Bootstrap: Actor._bootstrap,
    PushTopology: Actor._push_topology,
    SetAccess: Actor._set_access,
    Demote: Actor._demote,
    Promote: Actor._promote,
    Fence: Actor._fence,
    GrantTenure: Actor._grant,
    AddMember: Actor._add_member,
    RemoveMember: Actor._remove_member,
    HandOver: Actor._hand_over,
}
"""The method for each kind of action."""


def _done(action: Action, notice: Notice | None) -> Done:
    return Done(action, notices=(notice,) if notice is not None else ())


def _failed(action: Action, error: Exception, *, exc_info: bool = False) -> Done:
    text = f"{_describe(action)}: {str(error) or type(error).__name__}"
    log.warning("action_failed", action=type(action).__name__, reason=text, exc_info=exc_info)
    return Done(action, failure=text, effective=False)


def _version(body: Mapping[str, Any]) -> str:
    return str(body.get("metadata", {}).get("resourceVersion", ""))


def _describe(action: Action) -> str:
    if isinstance(action, Apply | Delete | IssueAuthority | IssueCertificate | WriteSecret):
        verb = {Apply: "apply", Delete: "delete", WriteSecret: "write"}.get(type(action), "issue")
        return f"{verb} {action.key[0]} {action.key[1]}"
    if isinstance(action, LookUp):
        return "look up names"
    if isinstance(action, UpdateRequestedBase):
        return f"write ReplicatedStoreBackup {action.name}"
    if isinstance(action, DeletePod):
        return f"delete Pod {action.name}"
    if isinstance(action, GrowClaim):
        return f"grow PersistentVolumeClaim {action.name}"
    if isinstance(action, Adopt | Orphan):
        return f"{type(action).__name__.lower()} {action.key[0]} {action.key[1]}"
    if isinstance(action, RemoveAnnotations):
        return f"remove {', '.join(sorted(action.values))}"
    return f"{type(action).__name__} {action.region}"
