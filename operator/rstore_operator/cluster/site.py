"""A Kubernetes cluster as one store uses it, and which region is in which.

An operator makes and changes objects in one cluster only, its own: the *home* site. Regions elsewhere are reached
through their replicas; their sites show their pods and the addresses at which they are dialled.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from rstore_api.domain import names
from rstore_api.domain.kubernetes import (
    ARCHIVER,
    BACKUP,
    EVENT,
    OPERATOR_FIELD_MANAGER,
    POD,
    RESTORER,
    SEEN_KINDS,
    STORE,
    Kind,
)
from rstore_kube.client import KubeClient
from rstore_kube.errors import ApiError

from rstore_operator.cluster.child_view import ChildView, Joined
from rstore_operator.cluster.pods import is_of_former_store, newest_of, read_pod
from rstore_operator.cluster.requested_bases import read_requested_base, update_requested_base
from rstore_operator.facts.actions import Notice, UpdateRequestedBase
from rstore_operator.facts.archiver import ArchiverPod
from rstore_operator.facts.observed import CLAIM, ChildKey, Claim, Pod
from rstore_operator.planning.children.ownership import adopted_owners
from rstore_operator.resource.model import StoreRef
from rstore_operator.resource.requested_base import RequestedBase
from rstore_operator.specs.event import event

INSTANCE = os.environ.get("HOSTNAME") or OPERATOR_FIELD_MANAGER
"""The operator's pod, as its Events name it."""

Body = Mapping[str, Any]


class Watched(Protocol):
    """What the watches show of a store's children now."""

    def children(self) -> Iterable[Body]:
        """Returns the objects with the store's label, except pods and claims."""

    def pods(self) -> Iterable[Body]:
        """Returns the store's pods."""

    def claims(self) -> Iterable[Body]:
        """Returns the claims of their volumes."""

    def requested_bases(self) -> Iterable[Body]:
        """Returns the ReplicatedStoreBackups that name the store."""


class Site:
    """One cluster, for one store. Its requests raise as those of :class:`KubeClient` do."""

    def __init__(
        self, ref: StoreRef, client: KubeClient, watched: Watched, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``ref`` is the store's object there, which owns the others."""
        self.ref = ref
        self.view = ChildView(ref, clock)
        self._client = client
        self._watched = watched
        self._place = (STORE, ref.namespace, ref.name)
        self._last_event = 0
        self._unsure: tuple[Notice, dict[str, Any]] | None = None
        """What was posted last and its Event, while it is not known that the server has it."""

    # ------------------------------------------------------------------------------------------ what is there
    def children(self) -> Joined:
        """Returns the store's objects, and which names are taken or free."""
        return self.view.join(self._watched.children())

    def claims(self) -> dict[str, Claim]:
        """Returns the claims of volumes, by name."""
        return self.view.claims(self._watched.claims())

    def pods(self, children: Mapping[ChildKey, Body], created_at: str) -> list[Pod]:
        """Returns the pods of the store that was created then, with the names that their certificates have."""
        own = (body for body in self._watched.pods() if not is_of_former_store(body, children, created_at))
        return [pod for body in own if (pod := read_pod(body, self._host)) is not None]

    def left_behind(self, children: Mapping[ChildKey, Body], created_at: str) -> dict[str, str]:
        """Returns the pods of a store that was deleted before that one was created: the node of each, by name."""
        former = (body for body in self._watched.pods() if is_of_former_store(body, children, created_at))
        return {body["metadata"]["name"]: str((body.get("spec") or {}).get("nodeName") or "") for body in former}

    def archiver_pod(self) -> ArchiverPod | None:
        """Returns the archiver's pod, if there is one."""
        return newest_of(ARCHIVER, self._watched.pods())

    def restorer_pod(self) -> ArchiverPod | None:
        """Returns the restorer's pod, if there is one."""
        return newest_of(RESTORER, self._watched.pods())

    def requested_bases(self) -> tuple[RequestedBase, ...]:
        """Returns the bases that are asked for."""
        return tuple(read_requested_base(body) for body in self._watched.requested_bases())

    def _host(self, region: str, pod: str) -> str:
        return names.pod_host(self.ref.name, region, self.ref.namespace, pod)

    async def events_about(self, key: ChildKey, reasons: Iterable[str]) -> list[dict[str, Any]]:
        """Returns the Events of these reasons about an object, at most 100 of each."""
        about = f"involvedObject.kind={key[0]},involvedObject.name={key[1]}"
        listed = [
            await self._client.list(EVENT, self.ref.namespace, fields=f"{about},reason={reason}", limit=100)
            for reason in reasons
        ]
        return [event for events in listed for event in events]

    # ------------------------------------------------------------------------------------------ the store's object
    async def store(self) -> dict[str, Any]:
        """Returns the object as it is now."""
        return await self._client.get(*self._place)

    async def patch_status(self, patch: Mapping[str, Any], resource_version: str) -> dict[str, Any]:
        """Merge into its status, if it still is of that version; the new object comes back."""
        return await self._client.merge(
            *self._place, {"status": patch}, resource_version=resource_version, subresource="status"
        )

    async def remove_annotations(self, values: Mapping[str, str]) -> None:
        """Take annotations off it that still have these values; none goes when one of them has changed."""
        operations: list[dict[str, Any]] = []
        for key, value in values.items():
            path = "/metadata/annotations/" + key.replace("~", "~0").replace("/", "~1")
            operations += [{"op": "test", "path": path, "value": value}, {"op": "remove", "path": path}]
        await self._client.json_patch(*self._place, operations)

    async def post_event(self, resource_version: str, notice: Notice, now: datetime) -> None:
        """Make an Event about it. Events of the same second sort by name in the order in which they are posted. The
        same notice, posted again after a failure, is the same Event: the server may have it."""
        again = self._unsure[1] if self._unsure is not None and self._unsure[0] is notice else None
        if again is None:
            self._last_event = max(self._last_event + 1, int(now.timestamp() * 1e9))
        body = again or event(self.ref, resource_version, notice, number=self._last_event, now=now, instance=INSTANCE)
        self._unsure = notice, body
        try:
            await self._client.create(EVENT, self.ref.namespace, body)
        except ApiError as error:
            if again is None or not error.conflict:
                raise
        self._unsure = None

    async def requested_base(self, name: str) -> RequestedBase | None:
        """Returns the ReplicatedStoreBackup of that name in the namespace, of whichever store, if there is one."""
        body = await self._client.find(BACKUP, self.ref.namespace, name)
        return read_requested_base(body) if body is not None else None

    async def update_requested_base(self, action: UpdateRequestedBase) -> None:
        """Write owners and status of a ReplicatedStoreBackup, if it still is of the version that was seen."""
        await update_requested_base(self._client, self.ref.namespace, action)

    # ------------------------------------------------------------------------------------------ its children
    def _at(self, key: ChildKey) -> tuple[Kind, str, str]:
        kind, name = key
        return SEEN_KINDS[kind], self.ref.namespace, name

    async def live(self, key: ChildKey) -> dict[str, Any] | None:
        """Returns the object of that name as it is now, whosever it is; None when there is none."""
        return await self._client.find(*self._at(key))

    async def is_ours_to_use(self, key: ChildKey) -> bool:
        """Returns whether the store may have an object of that name: it may have been taken since it was looked up."""
        return self.view.asked(key, await self.live(key))

    async def look_up_claim(self, name: str, region: str) -> None:
        """Look up which object has the name of the claim that a pod of the region would get."""
        key = (CLAIM, name)
        self.view.asked_claim(key, region, await self.live(key))

    async def apply(self, manifest: Body, before: Body | None, manifest_hash: str = "") -> dict[str, Any]:
        """Make or change an object, which was ``before``, by server-side apply; the new one comes back."""
        key = (manifest["kind"], manifest["metadata"]["name"])
        after = await self._client.apply(SEEN_KINDS[key[0]], manifest)
        self.view.wrote(key, before, after, manifest_hash)
        return after

    async def adopt(self, key: ChildKey, orphan: Body) -> None:
        """Make the store the owner of an object, if it still is of that version."""
        version = orphan["metadata"].get("resourceVersion", "")
        owners = {"metadata": {"ownerReferences": adopted_owners(self.ref, orphan)}}
        after = await self._client.merge(*self._at(key), owners, resource_version=version)
        self.view.wrote(key, orphan, {**after, "kind": key[0]}, "")

    async def delete(self, key: ChildKey, uid: str, *, leave_owned: bool = False) -> None:
        """Delete an object and what it owns, or leave what it owns; not an error when it is gone."""
        await self._client.delete(*self._at(key), uid=uid, propagation="Orphan" if leave_owned else "Background")
        self.view.deleted(key)

    async def delete_pod(self, name: str, uid: str, resource_version: str) -> None:
        """Delete a pod, if it still is of that version; its StatefulSet makes another one."""
        await self._client.delete(
            POD, self.ref.namespace, name, uid=uid, propagation="Background", resource_version=resource_version
        )

    async def delete_claim(self, name: str, uid: str, resource_version: str = "") -> None:
        """Delete a volume's claim, if it still is that one, and of that version where one is given. It stays until the
        pod that uses it is gone."""
        at = self._at((CLAIM, name))
        await self._client.delete(*at, uid=uid, propagation="Background", resource_version=resource_version)

    async def grow_claim(self, name: str, size: str, resource_version: str) -> None:
        """Ask for a larger volume, if the claim still is of that version."""
        patch = {"spec": {"resources": {"requests": {"storage": size}}}}
        await self._client.merge(*self._at((CLAIM, name)), patch, resource_version=resource_version)


class Sites:
    """Where the regions of a store are: at ``home``, except those in ``elsewhere``."""

    def __init__(self, home: Site, elsewhere: Mapping[str, Site] | None = None) -> None:
        self.home = home
        self._elsewhere = dict(elsewhere or {})

    def of(self, region: str) -> Site:
        """Returns the site of a region."""
        return self._elsewhere.get(region, self.home)

    @property
    def elsewhere(self) -> frozenset[str]:
        """The regions that are not at home."""
        return frozenset(region for region, site in self._elsewhere.items() if site is not self.home)

    def __iter__(self) -> Iterator[Site]:
        yield self.home
        yield from {id(site): site for site in self._elsewhere.values() if site is not self.home}.values()

    def pods(self, children: Mapping[ChildKey, Body], created_at: str) -> list[Pod]:
        """Returns the pods of every region, as the region's site shows them; ``children`` are the objects at home."""
        return [pod for site in self for pod in site.pods(children, created_at) if self.of(pod.region) is site]

    def left_behind(self, children: Mapping[ChildKey, Body], created_at: str) -> dict[str, str]:
        """Returns what :meth:`Site.left_behind` does, of every site."""
        return {name: node for site in self for name, node in site.left_behind(children, created_at).items()}
