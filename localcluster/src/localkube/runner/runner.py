"""The runner: one worker per pod bound to its nodes, driven by what the API says."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections import defaultdict, deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from localkube.controllers.claims import PROVISIONER
from localkube.controllers.engine import Context
from localkube.controllers.informer import Change
from localkube.controllers.objects import Key, key_of, meta, pod_finished, uid_of
from localkube.controllers.resources import CONFIG_MAPS, PODS, PVCS, PVS, SECRETS, Obj
from localkube.runner.access import ClusterAccess, Outlook
from localkube.runner.backoff import RestartPolicy
from localkube.runner.container import Container
from localkube.runner.images import DEFAULT_IMAGES
from localkube.runner.logs import LogQuery, read
from localkube.runner.pod import PodWorker
from localkube.runner.preparation import Host
from localkube.runner.volumes import references

log = logging.getLogger(__name__)

MAX_KEPT_LOGS = 100
STOP_SECONDS = 4.0


@dataclass(frozen=True)
class RunnerOptions:
    """How a runner is set up."""

    directory: Path
    volumes_dir: Path
    dns_file: Path
    access: ClusterAccess
    nodes: frozenset[str]
    host_ip: str
    images: Mapping[str, Sequence[str]] = field(default_factory=lambda: dict(DEFAULT_IMAGES))
    address_variables: tuple[str, ...] = ()
    """Environment variables that carry the pod's address."""
    restarts: RestartPolicy = field(default_factory=RestartPolicy)
    outlook: Callable[[Obj], Outlook] | None = None
    """What a pod sees of names and of the API server; None: all see ``dns_file`` and ``access``."""


class LogsError(Exception):
    """There is no such log; `code` is the HTTP status to answer."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Runner:
    """Runs pods as processes. `allocate` and `release` hand out pod addresses."""

    def __init__(
        self, context: Context, options: RunnerOptions, allocate: Callable[[], str], release: Callable[[str], None]
    ) -> None:
        self._context = context
        self._options = options
        self._allocate = allocate
        self._release = release
        self._host: Host | None = None
        self._workers: dict[str, PodWorker] = {}
        self._by_name: dict[Key, PodWorker] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._users: defaultdict[tuple[str, str, str], set[str]] = defaultdict(set)
        self._old_logs: deque[Path] = deque()
        self._cleaning: set[asyncio.Task[None]] = set()
        self._stopped = False

    async def start(self) -> None:
        """Subscribe; pods that are already bound start at once."""
        options = self._options
        for directory in (options.directory / "pods", options.directory / "logs", options.volumes_dir):
            directory.mkdir(parents=True, exist_ok=True)
        self._host = Host(
            context=self._context,
            directory=options.directory,
            images=options.images,
            outlook=options.outlook or (lambda _pod: Outlook(options.dns_file, options.access)),
            host_ip=options.host_ip,
            address_variables=options.address_variables,
            restarts=options.restarts,
            session=aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(force_close=True), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            ),
        )
        informers = self._context.informers
        informers.of(CONFIG_MAPS).subscribe(self._on_config)
        informers.of(SECRETS).subscribe(self._on_config)
        informers.of(PVCS).subscribe(self._on_claim)
        informers.of(PVS).subscribe(self._on_volume)
        informers.of(PODS).subscribe(self._on_pod)

    async def stop(self) -> None:
        """End every process: SIGTERM, and SIGKILL after some seconds. The pods' objects stay."""
        self._stopped = True
        workers = list(self._workers.values())
        containers = [c for w in workers for c in (*w.init, *w.main)]
        if containers:
            stopping = [asyncio.create_task(c.stop()) for c in containers]
            _, late = await asyncio.wait(stopping, timeout=STOP_SECONDS)
            for container in containers:
                container.kill()
            if late:
                await asyncio.wait(late, timeout=STOP_SECONDS)
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), *self._cleaning, return_exceptions=True)
        if self._host is not None:
            await self._host.session.close()

    def worker(self, namespace: str, name: str) -> PodWorker | None:
        """Returns the worker of a pod, by name."""
        return self._by_name.get((namespace, name))

    def processes(self) -> dict[int, str]:
        """pid → `namespace/pod/container` of everything that runs."""
        return {
            c.pid: f"{meta(w.pod)['namespace']}/{meta(w.pod)['name']}/{c.name}"
            for w in self._workers.values()
            for c in (*w.init, *w.main)
            if c.pid is not None
        }

    def logs(
        self, namespace: str, name: str, container: str | None, query: LogQuery, *, previous: bool = False
    ) -> AsyncIterator[bytes]:
        """Returns the log of a container; raises LogsError."""
        worker = self.worker(namespace, name)
        running = worker.container(container) if worker is not None else None
        if worker is None or running is None:
            raise LogsError(404, f'container "{container or ""}" of pod "{name}" is not known to the runner')
        run = running.run_number - 1 if previous else running.run_number
        path = worker.log_directory / running.name / f"{run}.log"
        if run < 0 or (previous and not path.exists()):
            raise LogsError(400, f'previous terminated container "{running.name}" in pod "{name}" not found')
        if not path.exists():
            waiting = running.state.waiting or {}
            why = waiting.get("reason", "ContainerCreating")
            if running.run_number > 0 and why == "CrashLoopBackOff":
                path = worker.log_directory / running.name / f"{run - 1}.log"
            if not path.exists():
                raise LogsError(
                    400,
                    f'container "{running.name}" in pod "{name}" is waiting to start: {waiting.get("message") or why}',
                )
        return read(path, query, lambda: _run_is_over(running, run))

    # what the API says

    def _on_pod(self, change: Change, _old: Obj | None, pod: Obj) -> None:
        if self._stopped:
            return
        uid = uid_of(pod)
        worker = self._workers.get(uid)
        if change == "deleted":
            if worker is not None:
                worker.pod_removed()
        elif worker is not None:
            worker.pod_changed(pod)
        elif pod["spec"].get("nodeName") in self._options.nodes and not pod_finished(pod):
            self._adopt(pod)

    def _adopt(self, pod: Obj) -> None:
        assert self._host is not None
        uid, key = uid_of(pod), key_of(pod)
        worker = PodWorker(self._host, pod, self._allocate(), self._by_name.get(key))
        self._workers[uid] = worker
        self._by_name[key] = worker
        for reference in references(pod):
            self._users[reference].add(uid)
        task = asyncio.create_task(worker.run(), name=f"worker-{key[1]}")
        self._tasks[uid] = task
        task.add_done_callback(lambda _task: self._forget(worker))

    def _forget(self, worker: PodWorker) -> None:
        uid, key = worker.uid, key_of(worker.pod)
        self._workers.pop(uid, None)
        self._tasks.pop(uid, None)
        if self._by_name.get(key) is worker:
            del self._by_name[key]
        for reference in references(worker.pod):
            self._users[reference].discard(uid)
            if not self._users[reference]:
                del self._users[reference]
        self._release(worker.address)
        self._old_logs.append(worker.log_directory)
        while len(self._old_logs) > MAX_KEPT_LOGS:
            self._remove(self._old_logs.popleft())

    def _on_config(self, _change: Change, _old: Obj | None, obj: Obj) -> None:
        namespace, name = key_of(obj)
        for uid in list(self._users.get((obj["kind"], namespace, name), ())):
            worker = self._workers.get(uid)
            if worker is not None:
                worker.poke()

    def _on_claim(self, _change: Change, _old: Obj | None, claim: Obj) -> None:
        for worker in list(self._workers.values()):
            if meta(worker.pod)["namespace"] == meta(claim)["namespace"]:
                worker.poke()

    def _on_volume(self, change: Change, _old: Obj | None, volume: Obj) -> None:
        if change != "deleted":
            for worker in list(self._workers.values()):
                worker.poke()
            return
        annotations = meta(volume).get("annotations") or {}
        path = Path((volume["spec"].get("hostPath") or {}).get("path", "/"))
        if (
            annotations.get("pv.kubernetes.io/provisioned-by") == PROVISIONER
            and path.parent == self._options.volumes_dir
        ):
            self._remove(path)

    def _remove(self, directory: Path) -> None:
        if self._stopped:
            return
        task = asyncio.create_task(asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True))
        self._cleaning.add(task)
        task.add_done_callback(self._cleaning.discard)


def _run_is_over(container: Container, run: int) -> bool:
    return container.run_number != run or not container.running
