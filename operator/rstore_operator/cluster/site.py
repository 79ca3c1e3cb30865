"""A Kubernetes cluster as one store uses it, and which region is in which.

An operator makes and changes objects in one cluster only, its own: the *home* site. Regions elsewhere are reached
through their replicas; what the sites of those show are pods and the addresses at which they are dialled.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Protocol

from rstore_api.domain import names

from rstore_operator.cluster.child_view import ChildView, Joined
from rstore_operator.cluster.k8s import Kubernetes
from rstore_operator.cluster.pods import is_of_former_store, read_pod
from rstore_operator.facts.observed import ChildKey, Claim, Pod
from rstore_operator.planning.children.ownership import CLAIM, adopted_owners
from rstore_operator.resource.model import StoreRef

Body = Mapping[str, Any]


class Watched(Protocol):
    """What the watches show of a store's children at the moment."""

    def children(self) -> Iterable[Body]:
        """Objects with the store's label, pods excepted."""

    def pods(self) -> Iterable[Body]:
        """Its pods."""

    def claims(self) -> Iterable[Body]:
        """The claims of their volumes."""


class Site:
    """One cluster, for one store. Requests raise as those of :class:`rstore_kube.client.KubeClient` do."""

    def __init__(
        self, ref: StoreRef, api: Kubernetes, watched: Watched, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``ref`` is the store's object there, which owns the others."""
        self.ref = ref
        self.view = ChildView(ref, clock)
        self._api = api
        self._watched = watched
        self._place = (ref.namespace, ref.name)

    # ------------------------------------------------------------------------------------------ what is there
    def children(self) -> Joined:
        """The store's objects, and which names are taken or free."""
        return self.view.join(self._watched.children())

    def claims(self) -> dict[str, Claim]:
        """Claims of volumes, by name."""
        return self.view.claims(self._watched.claims())

    def pods(self, children: Mapping[ChildKey, Body], created_at: str) -> list[Pod]:
        """The pods of the store that was created then, with the names that their certificates have."""
        own = (body for body in self._watched.pods() if not is_of_former_store(body, children, created_at))
        return [pod for body in own if (pod := read_pod(body, self._host)) is not None]

    def _host(self, region: str, pod: str) -> str:
        return names.pod_host(self.ref.name, region, self.ref.namespace, pod)

    async def failed_creations(self, stateful_set: str) -> list[dict[str, Any]]:
        """Events about what this StatefulSet's controller could not create."""
        return await self._api.failed_creations(self.ref.namespace, stateful_set)

    # ------------------------------------------------------------------------------------------ the store's object
    async def store(self) -> dict[str, Any]:
        """The object."""
        return await self._api.get_store(*self._place)

    async def patch_status(self, patch: Mapping[str, Any], resource_version: str) -> dict[str, Any]:
        """Merge into its status, if it still is of that version; the new object comes back."""
        return await self._api.patch_status(*self._place, patch, resource_version)

    async def remove_annotations(self, values: Mapping[str, str]) -> None:
        """Take annotations off it that still have these values."""
        await self._api.remove_annotations(*self._place, values)

    async def post_event(self, version: str, reason: str, message: str, warning: bool, now: datetime) -> None:
        """An Event about it."""
        await self._api.post_event(self.ref, version, reason, message, warning, now)

    # ------------------------------------------------------------------------------------------ its children
    async def live(self, key: ChildKey) -> dict[str, Any] | None:
        """The object of that name as it is now, whosever it is; None when there is none."""
        kind, name = key
        return await self._api.get_child(kind, self.ref.namespace, name)

    async def is_ours_to_use(self, key: ChildKey) -> bool:
        """Whether the store may have an object of that name: it may have been taken since it was looked up."""
        return self.view.asked(key, await self.live(key))

    async def look_up_claim(self, name: str, region: str) -> None:
        """Notice who has the claim that a pod of the region would get."""
        self.view.asked_claim((CLAIM, name), region, await self._api.get_claim(self.ref.namespace, name))

    async def apply(self, manifest: Body, before: Body | None, manifest_hash: str = "") -> dict[str, Any]:
        """Make or change an object, which was ``before``; the new one comes back."""
        after = await self._api.apply(manifest)
        self.view.wrote((manifest["kind"], manifest["metadata"]["name"]), before, after, manifest_hash)
        return after

    async def adopt(self, key: ChildKey, orphan: Body) -> None:
        """Make the store the owner of an object, if it still is of that version."""
        kind, name = key
        version = orphan["metadata"].get("resourceVersion", "")
        owners = adopted_owners(self.ref, orphan)
        after = await self._api.set_owners(kind, self.ref.namespace, name, owners, version)
        self.view.wrote(key, orphan, {**after, "kind": kind}, "")

    async def delete(self, key: ChildKey, uid: str) -> None:
        """Delete an object and what it owns; not an error when it is gone."""
        kind, name = key
        await self._api.delete_child(kind, self.ref.namespace, name, uid)
        self.view.deleted(key)

    async def orphan_children_of(self, key: ChildKey, uid: str) -> None:
        """Delete an object and leave what it owns; not an error when it is gone."""
        kind, name = key
        await self._api.orphan_children_of(kind, self.ref.namespace, name, uid)
        self.view.deleted(key)

    async def grow_claim(self, name: str, size: str, resource_version: str) -> None:
        """Ask for a larger volume, if the claim still is of that version."""
        await self._api.grow_claim(self.ref.namespace, name, size, resource_version)


class Sites:
    """Where the regions of a store are: at ``home``, but for those of ``elsewhere``."""

    def __init__(self, home: Site, elsewhere: Mapping[str, Site] | None = None) -> None:
        self.home = home
        self._elsewhere = dict(elsewhere or {})

    def of(self, region: str) -> Site:
        """The site of a region."""
        return self._elsewhere.get(region, self.home)

    def __iter__(self) -> Iterator[Site]:
        yield self.home
        yield from {id(site): site for site in self._elsewhere.values() if site is not self.home}.values()

    def pods(self, children: Mapping[ChildKey, Body], created_at: str) -> list[Pod]:
        """The pods of every region, as the site of that region shows them; ``children`` are the objects at home."""
        return [pod for site in self for pod in site.pods(children, created_at) if self.of(pod.region) is site]
