"""One container of a pod: started, probed, restarted as its policy says, stopped."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import aiohttp

from localkube import tasks
from localkube.controllers.resources import Obj
from localkube.runner.backoff import RestartPolicy, should_restart
from localkube.runner.environment import ConfigError
from localkube.runner.logs import LogFile, last_words
from localkube.runner.probes import ProbeSpec, Target, Verdict, check
from localkube.runner.process import Command, Process
from localkube.runner.status import ContainerState
from localkube.runner.volumes import MountError

log = logging.getLogger(__name__)

CONFIG_RETRY_SECONDS = 2.0
EventKind = Literal["Normal", "Warning"]


class ImageError(Exception):
    """The image stands for no program on this machine."""


@dataclass(frozen=True)
class Prepared:
    """A container ready to start. `in_container` makes a command that runs as if inside it."""

    command: Command
    in_container: Callable[[list[str]], Command]


class Surroundings(Protocol):
    """What a container needs of its pod."""

    address: str
    restart_policy: str
    restarts: RestartPolicy
    session: aiohttp.ClientSession

    @property
    def grace_seconds(self) -> float:
        """Returns how long a container may take to stop."""
        ...

    def prepare(self, container: Obj) -> Prepared:
        """Resolve image, arguments and environment; raises ImageError, ConfigError, MountError."""
        ...

    def log_path(self, container: str, run: int) -> Path:
        """Returns where to log a run."""
        ...

    def changed(self) -> None:
        """The container's state changed."""
        ...

    def event(self, container: str, kind: EventKind, reason: str, message: str) -> None:
        """Record an event."""
        ...


class Container:
    """Runs one container of a pod until it is stopped or its policy lets it rest."""

    def __init__(self, spec: Obj, state: ContainerState, pod: Surroundings) -> None:
        self.spec = spec
        self.name: str = spec["name"]
        self.state = state
        self.run_number = state.restart_count
        self._pod = pod
        self._process: Process | None = None
        self._prepared: Prepared | None = None
        self._stopping = asyncio.Event()
        self._started_at = 0.0

    @property
    def running(self) -> bool:
        """Returns whether a process of it is alive."""
        return self._process is not None and self._process.running

    @property
    def was_started(self) -> bool:
        """Returns whether a process of it was started, whether or not it still runs."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Returns the pid of its process, when it runs."""
        return self._process.pid if self._process is not None and self._process.running else None

    async def run(self, policy: str) -> int | None:
        """Run until the end; the last exit code, None when it was stopped before it ran."""
        failures = 0
        while True:
            begun = time.monotonic()
            code = await self._run_once()
            if code is None or self._stopping.is_set() or not should_restart(policy, code):
                return code
            restarts = self._pod.restarts
            failures = 1 if time.monotonic() - begun >= restarts.reset_seconds else failures + 1
            delay = restarts.delay(failures)
            if delay > 0:
                self.state.set_waiting(
                    "CrashLoopBackOff", f"back-off {delay:g}s restarting failed container={self.name}"
                )
                self._pod.changed()
                self._pod.event(
                    self.name, "Warning", "BackOff", f"Back-off restarting failed container {self.name} in pod"
                )
                if await self._stopped_within(delay):
                    return code
            self.state.restart_count += 1
            self.run_number += 1

    async def stop(self) -> None:
        """Stop for good: preStop hook, then SIGTERM; returns when it has ended. The caller bounds the time (`kill`)."""
        self._stopping.set()
        if not self.running or self._process is None:
            return
        self._pod.event(self.name, "Normal", "Killing", f"Stopping container {self.name}")
        await self._pre_stop()
        self._process.signal(signal.SIGTERM)
        await self._process.wait()

    def kill(self) -> None:
        """End it at once."""
        self._stopping.set()
        if self._process is not None:
            self._process.kill()

    async def _run_once(self) -> int | None:
        prepared = await self._prepare()
        if prepared is None:
            return None
        run_log = LogFile(self._pod.log_path(self.name, self.run_number))
        try:
            self._process = Process.start(prepared.command, run_log.write)
        except OSError as error:
            run_log.close()
            self.state.set_terminated(time.time(), 128, 0, "StartError", str(error))
            self._pod.changed()
            self._pod.event(self.name, "Warning", "Failed", f"Error: {error}")
            return 128
        self._prepared = prepared
        self._started_at = time.monotonic()
        self.state.set_running(time.time(), f"process://{uuid.uuid4().hex}-{self._process.pid}")
        self._pod.event(self.name, "Normal", "Started", f"Started container {self.name}")
        self._pod.changed()
        probing = asyncio.create_task(self._probe(self._process), name=f"probes-{self.name}")
        try:
            ended = await self._process.wait()
        except asyncio.CancelledError:
            self._process.kill()
            raise
        finally:
            await tasks.end(probing)
            run_log.close()
        reason, message = "Completed" if ended.code == 0 else "Error", ""
        if ended.code != 0 and self.spec.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = last_words(run_log.path)
        self.state.set_terminated(time.time(), ended.code, ended.signal, reason, message)
        self._pod.changed()
        return ended.code

    async def _prepare(self) -> Prepared | None:
        """Resolve all that is needed to start, waiting for what is missing; None when stopped meanwhile."""
        reported = ""
        while not self._stopping.is_set():
            try:
                prepared = self._pod.prepare(self.spec)
            except ImageError as error:
                reason, message = "ErrImagePull", str(error)
                text = f'Failed to pull image "{self.spec.get("image")}": {error}'
            except (ConfigError, MountError) as error:
                reason, message = "CreateContainerConfigError", str(error)
                text = f"Error: {error}"
            else:
                image = self.spec.get("image")
                if self.run_number == 0:
                    self._pod.event(
                        self.name, "Normal", "Pulled", f'Container image "{image}" already present on machine'
                    )
                self._pod.event(self.name, "Normal", "Created", f"Created container: {self.name}")
                return prepared
            if reported != message:
                reported = message
                self.state.set_waiting(reason, message)
                self._pod.changed()
                self._pod.event(self.name, "Warning", "Failed", text)
            await self._stopped_within(CONFIG_RETRY_SECONDS)
        return None

    async def _stopped_within(self, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            return False
        return True

    def _target(self) -> Target:
        ports = {p["name"]: int(p["containerPort"]) for p in self.spec.get("ports") or [] if p.get("name")}
        assert self._prepared is not None
        return Target(self._pod.address, ports, self._prepared.in_container)

    async def _pre_stop(self) -> None:
        hook = (self.spec.get("lifecycle") or {}).get("preStop")
        if not hook or self._process is None:
            return
        done = asyncio.create_task(self._process.wait())
        work = asyncio.create_task(self._run_hook(hook))
        await asyncio.wait({done, work}, return_when=asyncio.FIRST_COMPLETED)
        if work.done() and (failure := work.result()):
            self._pod.event(self.name, "Warning", "FailedPreStopHook", failure)
        for task in (done, work):
            await tasks.end(task)

    async def _run_hook(self, hook: Obj) -> str | None:
        if "sleep" in hook:
            await asyncio.sleep(float(hook["sleep"].get("seconds", 0)))
            return None
        return await check(hook, self._target(), self._pod.grace_seconds, self._pod.session)

    # probes

    async def _probe(self, process: Process) -> None:
        startup = self.spec.get("startupProbe")
        if startup is not None and not await self._await_startup(startup, process):
            return
        self.state.started = True
        readiness, liveness = self.spec.get("readinessProbe"), self.spec.get("livenessProbe")
        self.state.ready = readiness is None
        self._pod.changed()
        async with asyncio.TaskGroup() as group:
            if readiness is not None:
                group.create_task(self._watch_readiness(readiness))
            if liveness is not None:
                group.create_task(self._watch_liveness(liveness, process))

    async def _initial_delay(self, spec: ProbeSpec) -> None:
        await asyncio.sleep(max(0.0, self._started_at + spec.initial_delay_seconds - time.monotonic()))

    async def _await_startup(self, probe: Obj, process: Process) -> bool:
        spec = ProbeSpec.of(probe)
        verdict = Verdict(spec, initial=False)
        await self._initial_delay(spec)
        while True:
            if verdict.add(await self._checked("Startup", probe, spec)):
                break
            await asyncio.sleep(spec.period_seconds)
        if not verdict.value:
            await self._restart(process, "startup", probe)
        return verdict.value

    async def _watch_readiness(self, probe: Obj) -> None:
        spec = ProbeSpec.of(probe)
        verdict = Verdict(spec, initial=False)
        await self._initial_delay(spec)
        while True:
            verdict.add(await self._checked("Readiness", probe, spec))
            if self.state.ready != verdict.value:
                self.state.ready = verdict.value
                self._pod.changed()
            await asyncio.sleep(spec.period_seconds)

    async def _watch_liveness(self, probe: Obj, process: Process) -> None:
        spec = ProbeSpec.of(probe)
        verdict = Verdict(spec, initial=True)
        await self._initial_delay(spec)
        while True:
            verdict.add(await self._checked("Liveness", probe, spec))
            if not verdict.value:
                await self._restart(process, "liveness", probe)
                return
            await asyncio.sleep(spec.period_seconds)

    async def _checked(self, kind: str, probe: Obj, spec: ProbeSpec) -> bool:
        failure = await check(probe, self._target(), spec.timeout_seconds, self._pod.session)
        if failure is not None and not self._stopping.is_set():
            self._pod.event(self.name, "Warning", "Unhealthy", f"{kind} probe failed: {failure}")
        return failure is None

    async def _restart(self, process: Process, kind: str, probe: Obj) -> None:
        """End the process so that the container is started again."""
        if self._stopping.is_set():
            return
        self._pod.event(self.name, "Normal", "Killing", f"Container {self.name} failed {kind} probe, will be restarted")
        grace = float(probe.get("terminationGracePeriodSeconds") or self._pod.grace_seconds)
        process.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await process.wait()
        except TimeoutError:
            process.kill()
