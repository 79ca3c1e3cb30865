"""The life of one pod on this machine, from its volumes to its last process."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import logging
import shutil
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from localkube.apiserver.errors import ApiError
from localkube.controllers.objects import is_deleting, meta, uid_of
from localkube.controllers.resources import PODS, SERVICE_ACCOUNTS, Obj
from localkube.runner.access import account_files
from localkube.runner.container import Container, EventKind, Prepared
from localkube.runner.preparation import Host, prepare
from localkube.runner.status import ContainerState, PodFacts, build
from localkube.runner.supported import unsupported
from localkube.runner.volumes import MountError, PodVolumes, VolumeSources

log = logging.getLogger(__name__)

COMPONENT = "kubelet"
MOUNT_RETRY_SECONDS = 1.0
DELETE_RETRY_SECONDS = 0.5
RECORD_SECONDS = 2.0
DEFAULT_GRACE_SECONDS = 30.0


class PodWorker:
    """Runs one pod. Made for one uid; a pod of the same name made later has a worker of its own."""

    def __init__(self, host: Host, pod: Obj, address: str, after: PodWorker | None) -> None:
        self.pod = copy.deepcopy(pod)
        self.uid = uid_of(pod)
        self.address = address
        self.restart_policy: str = pod["spec"].get("restartPolicy", "Always")
        self.restarts = host.restarts
        self.session = host.session
        self.done = asyncio.Event()
        self._host = host
        self._after = after
        self._directory = host.directory / "pods" / self.uid
        namespace, name = meta(pod)["namespace"], meta(pod)["name"]
        self.log_directory = host.directory / "logs" / f"{namespace}_{name}_{self.uid}"
        self.init = self._containers("initContainers", "initContainerStatuses")
        self.main = self._containers("containers", "containerStatuses")
        self._volumes: PodVolumes | None = None
        self._poked = asyncio.Event()
        self._leave = asyncio.Event()
        self._removed = False
        self._started_at = time.time()
        self._dirty = asyncio.Event()
        self._written: Obj | None = None

    def _containers(self, field: str, status_field: str) -> list[Container]:
        previous = {s["name"]: s for s in (self.pod.get("status") or {}).get(status_field) or []}
        result = []
        for spec in self.pod["spec"].get(field) or []:
            before = previous.get(spec["name"]) or {}
            state = ContainerState(spec["name"], spec.get("image", ""))
            if before.get("containerID"):
                state.restart_count = int(before.get("restartCount", 0)) + 1
            result.append(Container(spec, state, self))
        return result

    # called by the runner

    def pod_changed(self, pod: Obj) -> None:
        """The pod's object changed."""
        self.pod = copy.deepcopy(pod)
        if is_deleting(pod):
            self._leave.set()
        self.poke()

    def pod_removed(self) -> None:
        """The pod's object is gone: nothing of it may run any more."""
        self._removed = True
        for container in (*self.init, *self.main):
            container.kill()
        self._leave.set()
        self.poke()

    def poke(self) -> None:
        """Something the pod shows or waits for may have changed."""
        self._poked.set()
        if self._volumes is not None:
            self._volumes.refresh(self.pod)

    def container(self, name: str | None) -> Container | None:
        """Returns the container of that name; without a name the only or first one."""
        everything = [*self.main, *self.init]
        return everything[0] if not name else next((c for c in everything if c.name == name), None)

    # the surroundings of its containers

    @property
    def grace_seconds(self) -> float:
        """Returns how long containers may take to stop."""
        metadata = meta(self.pod)
        if metadata.get("deletionGracePeriodSeconds") is not None:
            return float(metadata["deletionGracePeriodSeconds"])
        value = self.pod["spec"].get("terminationGracePeriodSeconds")
        return DEFAULT_GRACE_SECONDS if value is None else float(value)

    def log_path(self, container: str, run: int) -> Path:
        """Returns where a run of a container logs; of older runs only the one before is kept."""
        directory = self.log_directory / container
        if run >= 2:
            (directory / f"{run - 2}.log").unlink(missing_ok=True)
        return directory / f"{run}.log"

    def changed(self) -> None:
        """Report the status soon."""
        self._dirty.set()

    def event(self, container: str, kind: EventKind, reason: str, message: str) -> None:
        """Record an event of the pod (of a container of it, when named)."""
        field = "initContainers" if any(c.name == container for c in self.init) else "containers"
        self._host.context.recorder.event(
            self.pod,
            kind,
            reason,
            message,
            component=COMPONENT,
            host=self.pod["spec"].get("nodeName", ""),
            field_path=f"spec.{field}{{{container}}}" if container else "",
        )

    def prepare(self, container: Obj) -> Prepared:
        """Resolve a container's command line and environment."""
        if self._volumes is None:
            raise MountError("volumes are not mounted yet")
        return prepare(self._host, self.pod, container, self._volumes, self._directory, self.address)

    # the life

    async def run(self) -> None:
        """From the first volume to the last process; returns when the pod has gone."""
        writer = asyncio.create_task(self._write_statuses(), name=f"status-{meta(self.pod)['name']}")
        live = asyncio.create_task(self._live(), name=f"pod-{meta(self.pod)['name']}")
        live.add_done_callback(_log_failure)
        try:
            if is_deleting(self.pod):
                self._leave.set()
            await self._leave.wait()
            await self._stop_containers(live)
            writer.cancel()
            await asyncio.gather(writer, return_exceptions=True)
            if not self._removed:
                await self._report_gone()
        finally:
            await self._abandon(live, writer)
            self.done.set()

    async def _abandon(self, *tasks: asyncio.Task[None]) -> None:
        for container in (*self.init, *self.main):
            container.kill()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def _live(self) -> None:
        if self._after is not None:
            await self._after.done.wait()
            self._after = None
        why = unsupported(self.pod)
        if why is not None:
            for container in (*self.init, *self.main):
                container.state.set_waiting("Unsupported", why)
            self.event("", "Warning", "Unsupported", why)
            self.changed()
            return
        self.changed()
        await self._mount()
        for container in self.init:
            code = await container.run("Never" if self.restart_policy == "Never" else "OnFailure")
            if code != 0:
                return
        for container in self.init:
            container.state.ready = True
        async with asyncio.TaskGroup() as group:
            for container in self.main:
                group.create_task(container.run(self.restart_policy))

    async def _mount(self) -> None:
        """Make the volumes, waiting for what is missing."""
        reported = ""
        while True:
            self._poked.clear()
            try:
                sources = VolumeSources(
                    lookup=self._host.lookup(meta(self.pod)["namespace"]),
                    claim_directory=partial(self._host.claim_directory, meta(self.pod)["namespace"]),
                    token=await self._account_files(),
                    status={"podIP": self.address, "hostIP": self._host.host_ip},
                )
                volumes = PodVolumes(self.pod, self._directory, sources)
                volumes.mount()
            except (MountError, OSError) as error:
                if reported != str(error):
                    reported = str(error)
                    self.event("", "Warning", "FailedMount", f"MountVolume.SetUp failed: {error}")
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(MOUNT_RETRY_SECONDS):
                        await self._poked.wait()
                continue
            self._volumes = volumes
            return

    async def _account_files(self) -> Mapping[str, bytes]:
        spec = self.pod["spec"]
        namespace, name = meta(self.pod)["namespace"], spec.get("serviceAccountName") or "default"
        automount = spec.get("automountServiceAccountToken")
        try:
            account = await self._host.context.api.get(SERVICE_ACCOUNTS, namespace, name)
            if automount is None:
                automount = account.get("automountServiceAccountToken")
            if automount is False:
                return {}
            token = await self._host.context.api.mint_token(namespace, name)
        except ApiError as error:
            raise MountError(f'service account "{name}": {error.message}') from error
        return account_files(self._host.outlook(self.pod).access, namespace, token)

    async def _stop_containers(self, live: asyncio.Task[None]) -> None:
        """Stop what runs, within the grace period; a pod whose object is gone gets none."""
        for container in (*self.init, *self.main):
            if self._removed:
                container.kill()
        stopping = asyncio.create_task(self._stop_all())
        begun = time.monotonic()
        while not stopping.done():
            self._poked.clear()
            left = 0.0 if self._removed else begun + self.grace_seconds - time.monotonic()
            if left <= 0:
                for container in (*self.init, *self.main):
                    container.kill()
                await stopping
                break
            poked = asyncio.create_task(self._wait_poked())
            await asyncio.wait({stopping, poked}, timeout=left, return_when=asyncio.FIRST_COMPLETED)
            poked.cancel()
        if any(c.was_started for c in (*self.init, *self.main)):
            # Containers that ran record how they ended; what still waits for something has nothing to record.
            await asyncio.wait({live}, timeout=RECORD_SECONDS)

    async def _wait_poked(self) -> None:
        await self._poked.wait()

    async def _stop_all(self) -> None:
        await asyncio.gather(*(c.stop() for c in (*self.init, *self.main)))

    async def _report_gone(self) -> None:
        """Write the last status, then let the object go."""
        await self._write_status()
        namespace, name = meta(self.pod)["namespace"], meta(self.pod)["name"]
        while not self._removed:
            try:
                await self._host.context.api.delete(PODS, namespace, name, uid=self.uid, grace_seconds=0)
                return
            except ApiError as error:
                if error.not_found or error.conflict:
                    return
                log.warning("pod not removed pod=%s error=%s", name, error)
            await asyncio.sleep(DELETE_RETRY_SECONDS)

    # status

    async def _write_statuses(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                await self._write_status()
            except ApiError as error:
                if error.not_found:
                    return
                log.warning("status not written pod=%s error=%s", meta(self.pod)["name"], error)
                await asyncio.sleep(DELETE_RETRY_SECONDS)
                self._dirty.set()

    async def _write_status(self) -> None:
        namespace, name = meta(self.pod)["namespace"], meta(self.pod)["name"]
        for _ in range(5):
            try:
                current = await self._host.context.api.get(PODS, namespace, name)
                if uid_of(current) != self.uid:
                    return
                facts = PodFacts(self.address, self._host.host_ip, self._started_at)
                status = build(current, facts, [c.state for c in self.init], [c.state for c in self.main], time.time())
                if status != current.get("status"):
                    current["status"] = status
                    await self._host.context.api.update_status(PODS, namespace, current)
                return
            except ApiError as error:
                if error.not_found:
                    return
                if not error.conflict:
                    raise


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("pod failed in the runner task=%s", task.get_name(), exc_info=error)
