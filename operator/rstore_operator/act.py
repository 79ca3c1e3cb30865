"""Carrying out what the planner asked for. Each action is idempotent; what went wrong is reported, not raised."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import structlog
from rstore_api.domain.kubernetes import SPEC_HASH
from rstore_api.errors import NotLeader, StoreError
from rstore_api.messages import topology_message
from rstore_kube.errors import ApiError

from rstore_operator.cluster.act_tenure import fence, grant_as_witness
from rstore_operator.cluster.child_view import ChildView
from rstore_operator.cluster.replicas import Replicas
from rstore_operator.facts.actions import (
    Action,
    AddMember,
    Adopt,
    Apply,
    Bootstrap,
    Delete,
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
    WriteSecret,
)
from rstore_operator.facts.observed import ChildKey, FenceAnswer
from rstore_operator.planning.certificates import authority_manifest, key_pair, replaced_notice
from rstore_operator.planning.children.ownership import CLAIM, adopted_owners
from rstore_operator.resource.model import StoreRef
from rstore_operator.specs import secrets
from rstore_operator.specs.certificates import make_authority, make_certificate, new_key

log = structlog.get_logger(__name__)

SWITCHOVER_TIMEOUT_SECONDS = 5.0
CALL_TIMEOUT_SECONDS = 3.0
CONNECTION_ERRORS = (OSError, TimeoutError)


class KubernetesApi(Protocol):
    """What is needed of :class:`rstore_operator.cluster.k8s.Kubernetes`."""

    async def get_store(self, namespace: str, name: str) -> dict[str, Any]:
        """The object."""

    async def get_child(self, kind: str, namespace: str, name: str) -> dict[str, Any] | None:
        """A child, or None."""

    async def get_claim(self, namespace: str, name: str) -> dict[str, Any] | None:
        """A PersistentVolumeClaim, or None."""

    async def set_owners(
        self, kind: str, namespace: str, name: str, owners: Sequence[Mapping[str, Any]], resource_version: str
    ) -> dict[str, Any]:
        """Replace the owner references of a child."""

    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Server-side apply."""

    async def grow_claim(self, namespace: str, name: str, size: str, resource_version: str) -> None:
        """Ask for a larger volume."""

    async def orphan_children_of(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete a child and leave what it owns."""

    async def delete_child(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete a child."""

    async def remove_annotations(self, namespace: str, name: str, values: Mapping[str, str]) -> None:
        """Take annotations off the store."""


@dataclass(frozen=True)
class Done:
    """What an action came to: ``failure`` is "" unless it went wrong, ``effective`` that looking again is worth it."""

    action: Action
    failure: str = ""
    notices: tuple[Notice, ...] = ()
    effective: bool = True
    fence: FenceAnswer | None = None


class Actor:
    """Carries out the actions of one store."""

    def __init__(
        self,
        ref: StoreRef,
        api: KubernetesApi,
        view: ChildView,
        replicas: Replicas,
        now: Callable[[], datetime],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ref = ref
        self._api = api
        self._view = view
        self._replicas = replicas
        self._now = now
        self._clock = clock

    async def run(self, actions: tuple[Action, ...], children: Mapping[ChildKey, Mapping[str, Any]]) -> list[Done]:
        """Run all of them: calls to replicas side by side, changes of objects one after the other, in order."""
        calls = [action for action in actions if isinstance(action, RegionCall)]
        writes = [action for action in actions if not isinstance(action, RegionCall)]

        async def in_order() -> list[Done]:
            return [await self._one(action, children) for action in writes]

        written, *called = await asyncio.gather(in_order(), *(self._as_list(action, children) for action in calls))
        return [*written, *(done for part in called for done in part)]

    async def _as_list(self, action: Action, children: Mapping[ChildKey, Mapping[str, Any]]) -> list[Done]:
        return [await self._one(action, children)]

    async def _one(self, action: Action, children: Mapping[ChildKey, Mapping[str, Any]]) -> Done:
        try:
            if isinstance(action, Fence):
                return Done(action, fence=await fence(self._replicas, action, self._clock))
            if isinstance(action, GrantTenure):
                await grant_as_witness(self._api, self._ref, self._replicas, action)
                return Done(action, effective=False)
            return Done(action, notices=await self._do(action, children))
        except NotLeader as error:
            log.info("leader_moved", action=type(action).__name__, leader=error.leader)
            return Done(action, effective=False)  # a later look finds the new leader
        except ApiError as error:
            if isinstance(action, RemoveAnnotations) and error.status in (404, 409, 422):
                return Done(action, effective=False)  # changed meanwhile; what it says now is read next time
            if isinstance(action, IssueAuthority | WriteSecret) and error.conflict:
                return Done(action, effective=False)  # the same
            return _failed(action, error)
        except (StoreError, ValueError, *CONNECTION_ERRORS) as error:
            return _failed(action, error)

    async def _do(self, action: Action, children: Mapping[ChildKey, Mapping[str, Any]]) -> tuple[Notice, ...]:
        if isinstance(action, Apply):
            return await self._apply(action, children)
        if isinstance(action, LookUp):
            await self._look_up(action)
            return ()
        if isinstance(action, Adopt):
            return await self._adopt(action)
        if isinstance(action, Delete):
            kind, name = action.key
            await self._api.delete_child(kind, self._ref.namespace, name, action.uid)
            self._view.deleted(action.key)
            return ()
        if isinstance(action, Orphan):
            kind, name = action.key
            await self._api.orphan_children_of(kind, self._ref.namespace, name, action.uid)
            self._view.deleted(action.key)
            log.info("made_anew", kind=kind, name=name)
            return (Notice("MadeAnew", f"{kind} {name} is made anew around its pods"),)
        if isinstance(action, GrowClaim):
            return await self._grow(action)
        if isinstance(action, IssueAuthority | IssueCertificate | WriteSecret):
            return await self._issue(action, children)
        if isinstance(action, RemoveAnnotations):
            await self._api.remove_annotations(self._ref.namespace, self._ref.name, action.values)
            return ()
        assert not isinstance(action, Fence | GrantTenure)
        return await self._call(action)

    async def _apply(self, action: Apply, children: Mapping[ChildKey, Mapping[str, Any]]) -> tuple[Notice, ...]:
        if not await self._free(action.key, children):
            return ()
        before = children.get(action.key)
        after = await self._api.apply(action.manifest)
        manifest_hash = action.manifest["metadata"]["annotations"][SPEC_HASH]
        self._view.wrote(action.key, before, after, manifest_hash)
        kind, name = action.key
        if before is not None and _version(before) == _version(after):
            return ()
        log.info("applied", kind=kind, name=name, change=action.change)
        if action.change == "create":
            return (Notice("Created", f"{kind} {name}"),) if kind == "StatefulSet" else ()
        reason = "DriftRepaired" if action.change == "drift" else "Updated"
        return (Notice(reason, f"{kind} {name}"),)

    async def _look_up(self, action: LookUp) -> None:
        for key in action.keys:
            kind, name = key
            if kind != CLAIM:
                self._view.asked(key, await self._api.get_child(kind, self._ref.namespace, name))
                continue
            claim = await self._api.get_claim(self._ref.namespace, name)
            self._view.asked_claim(key, action.regions.get(key, ""), claim)

    async def _grow(self, action: GrowClaim) -> tuple[Notice, ...]:
        try:
            await self._api.grow_claim(self._ref.namespace, action.name, action.size, action.resource_version)
        except ApiError as error:
            if not (error.conflict or error.not_found):  # else it has changed, and is looked at again
                self._view.growth_refused(action.name, str(error))
                log.warning("growth_refused", claim=action.name, size=action.size, reason=str(error))
            return ()
        return (Notice("VolumeGrown", f"PersistentVolumeClaim {action.name} asks for {action.size}"),)

    async def _adopt(self, action: Adopt) -> tuple[Notice, ...]:
        kind, name = action.key
        owners = adopted_owners(self._ref, action.body)
        version = action.body["metadata"].get("resourceVersion", "")
        after = await self._api.set_owners(kind, self._ref.namespace, name, owners, version)
        self._view.wrote(action.key, action.body, {**after, "kind": kind}, "")
        log.info("adopted", kind=kind, name=name)
        return (Notice("Adopted", f"{kind} {name}"),)

    async def _free(self, key: ChildKey, children: Mapping[ChildKey, Mapping[str, Any]]) -> bool:
        """Whether the name is still ours to use: it may have been taken since it was asked for."""
        return key in children or self._view.asked(key, await self._api.get_child(key[0], self._ref.namespace, key[1]))

    async def _issue(
        self, action: IssueAuthority | IssueCertificate | WriteSecret, children: Mapping[ChildKey, Mapping[str, Any]]
    ) -> tuple[Notice, ...]:
        if not await self._free(action.key, children):
            return ()
        manifest, notice = await self._secret(action, children)
        if manifest is None:
            return ()
        after = await self._api.apply(manifest)
        self._view.wrote(action.key, children.get(action.key), after, "")
        log.info("secret_written", secret=action.key[1], action=type(action).__name__)
        return (notice,) if notice is not None else ()

    async def _secret(
        self, action: IssueAuthority | IssueCertificate | WriteSecret, children: Mapping[ChildKey, Mapping[str, Any]]
    ) -> tuple[Mapping[str, Any] | None, Notice | None]:
        """The Secret to write, None when there is nothing to do, and the event to post."""
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
        # The watch may be behind: an authority that exists must not be replaced, every certificate hangs on it.
        live = await self._api.get_child(action.key[0], self._ref.namespace, name)
        if live is not None and action.key not in children:
            self._view.wrote(action.key, None, live, "")
            return None, None
        pair = make_authority(f"{self._ref.namespace}/{self._ref.name}", new_key(), now)
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
            notice = replaced_notice(self._ref, f"the one before: {action.reason}", action.previous_until)
        return manifest, notice

    async def _change_replicas(self, action: AddMember | RemoveMember | HandOver) -> tuple[Notice, ...]:
        name = action.name
        if isinstance(action, HandOver):
            await self._replicas.call(
                action.target, lambda admin: admin.transfer_leadership(name, timeout_seconds=CALL_TIMEOUT_SECONDS)
            )
            return (Notice("LeadershipHandedOver", f"{action.region}: to {name}"),)
        if isinstance(action, AddMember):
            address = action.peer_address
            await self._replicas.call(
                action.target, lambda admin: admin.add_member(name, address, timeout_seconds=CALL_TIMEOUT_SECONDS)
            )
            return (Notice("ReplicaAdded", f"{action.region}: {name} is taken into the group"),)
        await self._replicas.call(
            action.target, lambda admin: admin.remove_member(name, timeout_seconds=CALL_TIMEOUT_SECONDS)
        )
        return (Notice("ReplicaRemoved", f"{action.region}: {name} was taken out of the group"),)

    async def _call(
        self, action: Bootstrap | PushTopology | Demote | Promote | AddMember | RemoveMember | HandOver
    ) -> tuple[Notice, ...]:
        if isinstance(action, AddMember | RemoveMember | HandOver):
            return await self._change_replicas(action)
        if isinstance(action, Demote):
            store_id, epoch = action.store_id, action.epoch
            demoted = await self._replicas.call(
                action.target,
                lambda admin: admin.demote(store_id, epoch, timeout_seconds=SWITCHOVER_TIMEOUT_SECONDS),
            )
            log.info("demoted", region=action.region, epoch=epoch, final_revision=demoted.final_revision)
            return ()
        topology = topology_message(action.topology)
        if isinstance(action, Promote):
            promotion = action
            promoted = await self._replicas.call(
                action.target,
                lambda admin: admin.promote(
                    promotion.store_id,
                    promotion.epoch,
                    promotion.min_revision,
                    topology,
                    revision_jump=promotion.revision_jump,
                    timeout_seconds=SWITCHOVER_TIMEOUT_SECONDS,
                ),
            )
            log.info("promoted", region=action.region, epoch=action.epoch, first_revision=promoted.first_revision)
        elif isinstance(action, Bootstrap):
            store_id, promised_epoch = action.store_id, action.promised_epoch
            await self._replicas.call(
                action.target,
                lambda admin: admin.bootstrap(
                    store_id, topology, promised_epoch=promised_epoch, timeout_seconds=CALL_TIMEOUT_SECONDS
                ),
            )
            log.info("region_bootstrapped", region=action.region, store_id=store_id)
        else:
            store_id = action.store_id
            await self._replicas.call(
                action.target,
                lambda admin: admin.set_topology(store_id, topology, timeout_seconds=CALL_TIMEOUT_SECONDS),
            )
            log.info("topology_set", region=action.region, epoch=topology.epoch, version=topology.version)
        return ()


def _failed(action: Action, error: Exception) -> Done:
    text = f"{_describe(action)}: {str(error) or type(error).__name__}"
    log.warning("action_failed", action=type(action).__name__, reason=text)
    return Done(action, failure=text, effective=False)


def _version(body: Mapping[str, Any]) -> str:
    return str(body.get("metadata", {}).get("resourceVersion", ""))


def _describe(action: Action) -> str:
    if isinstance(action, Apply | Delete | IssueAuthority | IssueCertificate | WriteSecret):
        verb = {Apply: "apply", Delete: "delete", WriteSecret: "write"}.get(type(action), "issue")
        return f"{verb} {action.key[0]} {action.key[1]}"
    if isinstance(action, LookUp):
        return "look up names"
    if isinstance(action, GrowClaim):
        return f"grow PersistentVolumeClaim {action.name}"
    if isinstance(action, Adopt | Orphan):
        return f"{type(action).__name__.lower()} {action.key[0]} {action.key[1]}"
    if isinstance(action, RemoveAnnotations):
        return f"remove {', '.join(sorted(action.values))}"
    return f"{type(action).__name__} {action.region}"
