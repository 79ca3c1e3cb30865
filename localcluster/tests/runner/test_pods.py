"""Pods as processes: start, restart, stop, what their status says."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from localkube.controllers.resources import PODS, SERVICES
from localkube.runner.logs import LogQuery

SLEEP = (
    "import signal, sys\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(0))\nprint('up', flush=True)\nsignal.pause()"
)
STUBBORN = (
    "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('up', flush=True)\nwhile True: signal.pause()"
)


async def log_of(harness: Any, name: str, **query: Any) -> str:
    previous = query.pop("previous", False)
    chunks = [c async for c in harness.runner.logs("default", name, None, LogQuery(**query), previous=previous)]
    return b"".join(chunks).decode()


async def test_a_pod_runs_gets_an_address_and_reports_as_a_kubelet_does(harness: Any) -> None:
    await harness.create_pod("web", SLEEP)
    pod = await harness.until_ready("web")
    status = pod["status"]
    assert status["phase"] == "Running"
    assert status["podIP"].startswith(f"127.{harness.network.second_octet}.")
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "PodScheduled": "True",
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "ContainersReady": "True",
        "Ready": "True",
    }
    assert "running" in status["containerStatuses"][0]["state"]
    await harness.until(lambda: any(e.startswith("Started") for e in harness.events("web")), "Started event")
    await harness.until(harness.runner.processes, "process listed")


async def test_deleting_a_pod_ends_its_process_before_the_object_goes(harness: Any) -> None:
    await harness.create_pod("web", SLEEP)
    await harness.until_ready("web")
    (pid,) = harness.runner.processes()
    await harness.delete_pod("web")
    assert harness.pod("web") is not None
    await harness.until_gone("web")
    assert not Path(f"/proc/{pid}").exists()


async def test_a_process_that_ignores_sigterm_is_killed_after_the_grace_period(harness: Any) -> None:
    await harness.create_pod("stubborn", STUBBORN, pod={"terminationGracePeriodSeconds": 1})
    await harness.until_ready("stubborn")
    await harness.until(lambda: "up" in _raw_log(harness, "stubborn"), "the handler is set")
    (pid,) = harness.runner.processes()
    await harness.delete_pod("stubborn")
    await harness.until_gone("stubborn")
    assert not Path(f"/proc/{pid}").exists()


async def test_the_pre_stop_hook_runs_before_sigterm(harness: Any) -> None:
    script = """
import signal, sys
def on_term(*_):
    with open(sys.argv[1], "a") as f:
        f.write("term")
    sys.exit(0)
signal.signal(signal.SIGTERM, on_term)
print("up", flush=True)
while True:
    signal.pause()
"""
    mark = harness.directory / "order"
    hook = {"exec": {"command": ["python", "-c", f"open({str(mark)!r}, 'a').write('hook ')"]}}
    await harness.create_pod("web", script, args=[script, str(mark)], lifecycle={"preStop": hook})
    await harness.until_ready("web")
    await harness.until(lambda: "up" in _raw_log(harness, "web"), "the handler is set")
    await harness.delete_pod("web")
    await harness.until_gone("web")
    assert mark.read_text() == "hook term"


async def test_following_a_log_ends_with_its_container(harness: Any) -> None:
    script = "import sys, time\nfor i in range(3): print(i, flush=True); time.sleep(0.3)"
    await harness.create_pod("web", script, pod={"restartPolicy": "Never"})
    await harness.until(lambda: "0" in _raw_log(harness, "web").split(), "first line")
    assert await log_of(harness, "web", follow=True) == "0\n1\n2\n"


async def test_what_a_container_leaves_running_ends_with_it(harness: Any) -> None:
    script = (
        "import subprocess, sys\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
    )
    await harness.create_pod("web", script, pod={"restartPolicy": "Never"})
    await harness.until(lambda: harness.status("web").get("phase") == "Succeeded", "finished")
    child = int((await log_of(harness, "web")).strip())
    await harness.until(lambda: not _alive(child), "the child is gone")


async def test_force_deletion_kills_at_once(harness: Any) -> None:
    await harness.create_pod("stubborn", STUBBORN, pod={"terminationGracePeriodSeconds": 600})
    await harness.until_ready("stubborn")
    await harness.delete_pod("stubborn", grace=0)
    assert harness.pod("stubborn") is None
    await harness.until(lambda: not harness.runner.processes(), "process killed", seconds=3)


async def test_a_crashing_container_is_restarted_with_back_off(harness: Any) -> None:
    await harness.create_pod("crash", "import sys; print('bye', flush=True); sys.exit(3)")
    await harness.until(lambda: harness.container("crash").get("restartCount", 0) >= 2, "restarted")
    state = await harness.until(
        lambda: harness.container("crash").get("state", {}).get("waiting") and harness.container("crash"), "waiting"
    )
    assert state["state"]["waiting"]["reason"] == "CrashLoopBackOff"
    assert state["lastState"]["terminated"]["exitCode"] == 3
    assert await log_of(harness, "crash") == "bye\n"
    await harness.until(lambda: any(e.startswith("BackOff") for e in harness.events("crash")), "BackOff event")


@pytest.mark.parametrize(("policy", "message"), [("FallbackToLogsOnError", "bye\n"), ("File", None)])
async def test_the_last_output_of_a_container_is_its_termination_message_when_asked_for(
    harness: Any, policy: str, message: str | None
) -> None:
    script = "import sys; print('bye', flush=True); sys.exit(3)"
    await harness.create_pod("crash", script, terminationMessagePolicy=policy)
    ended = await harness.until(lambda: harness.container("crash").get("lastState", {}).get("terminated"), "ended")
    assert ended.get("message") == message


async def test_a_killed_process_is_restarted_and_its_log_is_kept_as_previous(harness: Any) -> None:
    await harness.create_pod("web", "import os, signal; print(os.getpid(), flush=True); signal.pause()")
    await harness.until_ready("web")
    await harness.until(lambda: _raw_log(harness, "web"), "logged")
    (pid,) = harness.runner.processes()
    os.kill(pid, signal.SIGKILL)
    await harness.until(lambda: harness.container("web").get("restartCount") == 1, "restarted")
    assert harness.container("web")["lastState"]["terminated"]["exitCode"] == 137
    assert await log_of(harness, "web", previous=True) == f"{pid}\n"


async def test_pods_that_finish_are_succeeded_or_failed(harness: Any) -> None:
    await harness.create_pod("good", "print('done')", pod={"restartPolicy": "Never"})
    await harness.create_pod("bad", "raise SystemExit(2)", pod={"restartPolicy": "Never"})
    await harness.until(lambda: harness.status("good").get("phase") == "Succeeded", "succeeded")
    await harness.until(lambda: harness.status("bad").get("phase") == "Failed", "failed")
    assert await log_of(harness, "good", follow=True) == "done\n"


async def test_init_containers_run_first_and_one_after_the_other(harness: Any) -> None:
    init = [
        {
            "name": f"init-{i}",
            "image": "tiny",
            "args": [f"open('{harness.directory}/order', 'a').write('{i}')"],
        }
        for i in range(2)
    ]
    await harness.create_pod("web", SLEEP, pod={"initContainers": init})
    await harness.until_ready("web")
    assert (harness.directory / "order").read_text() == "01"


async def test_an_unknown_image_says_what_is_known(harness: Any) -> None:
    await harness.create_pod("odd", "", image="registry.example/nginx:1")
    waiting = await harness.until(lambda: harness.container("odd").get("state", {}).get("waiting"), "waiting")
    await harness.until(lambda: harness.container("odd")["state"]["waiting"]["reason"] == "ErrImagePull", "pull error")
    waiting = harness.container("odd")["state"]["waiting"]
    assert "nginx" in waiting["message"]
    assert "tiny" in waiting["message"]
    await harness.delete_pod("odd")
    await harness.until_gone("odd")


async def test_a_program_that_does_not_exist_is_a_start_error(harness: Any) -> None:
    await harness.create_pod("none", "", image="missing", pod={"restartPolicy": "Never"})
    await harness.until(lambda: harness.status("none").get("phase") == "Failed", "failed")
    assert harness.container("none")["state"]["terminated"]["reason"] == "StartError"


async def test_unsupported_features_are_refused_with_a_reason(harness: Any) -> None:
    await harness.create_pod("odd", SLEEP, readinessProbe={"grpc": {"port": 1}})
    await harness.until(lambda: any("readinessProbe supports" in e for e in harness.events("odd")), "event")
    await harness.create_pod("disk", SLEEP, pod={"volumes": [{"name": "v", "nfs": {"server": "x", "path": "/"}}]})
    await harness.until(lambda: any("volume type nfs" in e for e in harness.events("disk")), "FailedMount")
    assert not harness.runner.processes()


async def test_readiness_and_liveness_probes_are_honoured(harness: Any) -> None:
    script = (
        "import http.server, os, sys\n"
        "class H(http.server.BaseHTTPRequestHandler):\n"
        "  def do_GET(self):\n"
        "    ok = os.path.exists(sys.argv[1] + self.path)\n"
        "    self.send_response(200 if ok else 503); self.end_headers()\n"
        "  def log_message(self, *a): pass\n"
        "http.server.HTTPServer((os.environ['LOCALKUBE_POD_IP'], 8080), H).serve_forever()\n"
    )
    flags = harness.directory / "flags"
    flags.mkdir()
    (flags / "alive").touch()
    fast = {"periodSeconds": 1, "failureThreshold": 1}
    await harness.create_pod(
        "web",
        script,
        args=[script, str(flags)],
        ports=[{"name": "http", "containerPort": 8080}],
        startupProbe={"tcpSocket": {"port": "http"}, "periodSeconds": 1, "failureThreshold": 10},
        readinessProbe={"httpGet": {"path": "/ready", "port": "http"}, **fast},
        livenessProbe={"exec": {"command": ["test", "-e", f"{flags}/alive"]}, **fast},
    )
    await harness.until(lambda: any("statuscode: 503" in e for e in harness.events("web")), "unready event")
    assert harness.container("web")["ready"] is False
    (flags / "ready").touch()
    await harness.until_ready("web")
    (flags / "alive").unlink()
    await harness.until(lambda: harness.container("web").get("restartCount") == 1, "restarted by liveness")
    (flags / "alive").touch()
    await harness.until_ready("web")


async def test_a_replaced_pod_waits_for_the_processes_of_its_predecessor(harness: Any) -> None:
    await harness.create_pod("web", SLEEP)
    first = await harness.until_ready("web")
    await harness.delete_pod("web", grace=0)
    await harness.create_pod("web", SLEEP)
    second = await harness.until_ready("web")
    assert second["metadata"]["uid"] != first["metadata"]["uid"]
    assert second["status"]["podIP"] != first["status"]["podIP"]
    assert len(harness.runner.processes()) == 1


async def test_names_of_the_cluster_resolve_inside_a_pod_and_its_cluster_ip_proxies(harness: Any) -> None:
    octet = harness.network.second_octet
    server = (
        "import os, socket\n"
        "s = socket.create_server((os.environ['LOCALKUBE_POD_IP'], 7000))\n"
        "while True:\n"
        "  c, _ = s.accept(); c.sendall(os.environ['HOSTNAME'].encode()); c.close()\n"
    )
    await harness.api.create(
        SERVICES,
        "default",
        {
            "metadata": {"name": "peers"},
            "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {"app": "s"}, "ports": []},
        },
    )
    await harness.api.create(
        SERVICES,
        "default",
        {
            "metadata": {"name": "front"},
            "spec": {
                "clusterIP": f"127.{octet}.1.1",
                "selector": {"app": "s"},
                "ports": [{"port": 17000, "targetPort": "tcp"}],
            },
        },
    )
    await harness.create_pod(
        "s",
        server,
        pod={"hostname": "s", "subdomain": "peers"},
        ports=[{"name": "tcp", "containerPort": 7000}],
        readinessProbe={"tcpSocket": {"port": "tcp"}, "periodSeconds": 1},
    )
    pod = await harness.until_ready("s")
    client = (
        "import socket\n"
        "def ask(*a):\n"
        "  try: return socket.getaddrinfo(*a, type=socket.SOCK_STREAM)[0][4][0]\n"
        "  except socket.gaierror as e: return e.errno == socket.EAI_NONAME\n"
        "print(ask('s.peers.default.svc', 1), ask('s.peers.default.svc.cluster.local', 1), ask('peers', 1))\n"
        "print(ask('front', 1), ask('front.default.svc', 1), ask('nobody.default.svc', 1), ask('127.0.0.1', 1))\n"
        "with socket.create_connection(('front.default.svc', 17000), timeout=5) as c: print(c.recv(10).decode())\n"
    )
    await harness.create_pod("client", client, pod={"restartPolicy": "Never"})
    await harness.until(lambda: harness.status("client").get("phase") in ("Succeeded", "Failed"), "client ran")
    address, front = pod["status"]["podIP"], f"127.{octet}.1.1"
    assert (await log_of(harness, "client")).splitlines() == [
        f"{address} {address} {address}",
        f"{front} {front} True 127.0.0.1",
        "s",
    ]


async def test_a_pod_of_another_node_is_not_touched(harness: Any) -> None:
    await harness.create_pod("other", SLEEP, pod={"nodeName": "elsewhere"})
    await harness.create_pod("web", SLEEP)
    await harness.until_ready("web")
    assert harness.status("other") == {}
    assert len(harness.store.list("pods").items) == 2
    await harness.api.delete(PODS, "default", "other", grace_seconds=0)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _raw_log(harness: Any, name: str) -> str:
    worker = harness.runner.worker("default", name)
    if worker is None:
        return ""
    path = worker.log_directory / "main" / "0.log"
    return path.read_text() if path.exists() else ""
