"""The pure parts of the runner: images, mount paths, environment, probes' counting, back-off, status, names, logs."""

from __future__ import annotations

import base64
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from localkube.runner.backoff import RestartPolicy, should_restart
from localkube.runner.dns import records
from localkube.runner.environment import ConfigError, build, expand
from localkube.runner.images import arguments, base_name
from localkube.runner.logs import LogFile, LogQuery, read
from localkube.runner.paths import MountTable
from localkube.runner.probes import ProbeSpec, Verdict
from localkube.runner.status import ContainerState, phase, qos_class
from localkube.runner.volumes import File, MountError, write_payload


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ("replica", "replica"),
        ("replica:1.2", "replica"),
        ("ghcr.io/org/replica:1.2", "replica"),
        ("localhost:5000/replica", "replica"),
        ("ghcr.io/org/replica:1.2@sha256:abc", "replica"),
    ],
)
def test_the_repository_base_name_finds_the_program(image: str, expected: str) -> None:
    assert base_name(image) == expected


def test_command_replaces_the_entrypoint_and_args_follow() -> None:
    images = {"app": ("prog", "-x")}
    assert arguments("r/app:1", [], ["--a"], images) == ("prog", "-x", "--a")
    assert arguments("r/app:1", ["python", "-c"], ["pass"], images) == (sys.executable, "-c", "pass")
    assert arguments("other", [], [], images) is None


TABLE = MountTable({"/etc/app": Path("/h/conf"), "/etc/app/tls": Path("/h/tls"), "/tmp": Path("/h/tmp")})


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("/etc/app", "/h/conf"),
        ("/etc/app/a.json", "/h/conf/a.json"),
        ("--config=/etc/app/a.json", "--config=/h/conf/a.json"),
        ("--tls=/etc/app/tls/tls.crt", "--tls=/h/tls/tls.crt"),
        ("/etc/app,/tmp/x", "/h/conf,/h/tmp/x"),
        ("/etc/application", "/etc/application"),
        ("x/etc/app", "x/etc/app"),
        ("http://etc/app", "http://etc/app"),
        ("", ""),
    ],
)
def test_mount_paths_are_rewritten_where_a_path_stands(value: str, expected: str) -> None:
    assert TABLE.rewrite(value) == expected


@settings(max_examples=50)
@given(st.text(alphabet="/abt=,.", max_size=20))
def test_rewriting_leaves_what_names_no_mount(value: str) -> None:
    assert MountTable({"/zzz": Path("/h")}).rewrite(value) == value


@pytest.mark.parametrize(
    ("text", "expected"),
    [("$(A)", "1"), ("x$(A)y$(B)", "x1y2"), ("$$(A)", "$(A)"), ("$(C)", "$(C)"), ("$A", "$A"), ("$", "$")],
)
def test_variables_expand_as_kubernetes_does(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "B": "2"}) == expected


def _lookup(kind: str, name: str) -> dict[str, Any] | None:
    objects: dict[tuple[str, str], dict[str, Any]] = {
        ("ConfigMap", "c"): {"kind": "ConfigMap", "data": {"k": "v"}},
        ("Secret", "s"): {"kind": "Secret", "data": {"p": base64.b64encode(b"word").decode()}},
    }
    return objects.get((kind, name))


POD = {
    "metadata": {"name": "p", "namespace": "n", "uid": "u", "labels": {"a": "b"}},
    "spec": {"nodeName": "node", "containers": []},
}


def test_the_environment_comes_from_all_sources() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "c"}, "prefix": "C_"}, {"secretRef": {"name": "no", "optional": True}}],
        "env": [
            {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": "LABEL", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['a']"}}},
            {"name": "WORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "p"}}},
            {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "x", "optional": True}}},
            {"name": "ADDRESS", "value": "$(NAME)@$(IP):$(C_k)"},
        ],
    }
    assert build(container, POD, {"podIP": "127.1.2.3"}, _lookup) == {
        "C_k": "v",
        "NAME": "p",
        "IP": "127.1.2.3",
        "LABEL": "b",
        "WORD": "word",
        "ADDRESS": "p@127.1.2.3:v",
    }


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"secretKeyRef": {"name": "s", "key": "x"}}, "couldn't find key x"),
        ({"configMapKeyRef": {"name": "no", "key": "x"}}, 'configmap "no" not found'),
        ({"resourceFieldRef": {"resource": "limits.cpu"}}, "unsupported"),
        ({"fieldRef": {"fieldPath": "spec.nonsense"}}, "unsupported fieldPath"),
    ],
)
def test_what_is_missing_is_said(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build({"env": [{"name": "X", "valueFrom": source}]}, POD, {}, _lookup)


def test_probe_results_count_in_a_row() -> None:
    verdict = Verdict(ProbeSpec.of({"failureThreshold": 2, "successThreshold": 2}), initial=False)
    results = [True, False, True, True, False, True, False, False]
    seen = []
    for result in results:
        verdict.add(result)
        seen.append(verdict.value)
    assert seen == [False, False, False, True, True, True, True, False]


def test_back_off_doubles_to_its_limit_after_an_immediate_first_restart() -> None:
    policy = RestartPolicy(initial_seconds=1, max_seconds=5)
    assert [policy.delay(n) for n in range(1, 7)] == [0, 1, 2, 4, 5, 5]


@pytest.mark.parametrize(
    ("policy", "code", "expected"),
    [("Always", 0, True), ("OnFailure", 0, False), ("OnFailure", 1, True), ("Never", 1, False)],
)
def test_restart_policies(policy: str, code: int, expected: bool) -> None:
    assert should_restart(policy, code) is expected


def _state(**fields: Any) -> ContainerState:
    return ContainerState("c", "i", **fields)


def test_phases() -> None:
    done, failed = {"exitCode": 0}, {"exitCode": 1}
    running = _state(waiting=None, running_since=1.0)
    assert phase("Always", [], [_state()]) == "Pending"
    assert phase("Always", [], [running]) == "Running"
    assert phase("Always", [_state()], [running]) == "Pending"
    assert phase("Never", [_state(terminated=failed)], [_state()]) == "Failed"
    assert phase("Always", [], [_state(terminated=failed)]) == "Running"
    assert phase("Never", [], [_state(terminated=done), _state(terminated=failed)]) == "Failed"
    assert phase("OnFailure", [], [_state(terminated=done)]) == "Succeeded"
    assert phase("Always", [], [_state(last_terminated=failed)]) == "Running"


def test_quality_of_service() -> None:
    def pod(resources: dict[str, Any]) -> dict[str, Any]:
        return {"spec": {"containers": [{"resources": resources}]}}

    assert qos_class(pod({})) == "BestEffort"
    assert qos_class(pod({"requests": {"cpu": "1"}})) == "Burstable"
    assert qos_class(pod({"limits": {"cpu": "1", "memory": "1Gi"}})) == "Guaranteed"


def test_names_of_services_and_pods() -> None:
    def pod(name: str, *, ready: bool) -> dict[str, Any]:
        return {
            "metadata": {"name": name, "namespace": "n", "labels": {"a": "b"}},
            "spec": {"hostname": name, "subdomain": "peers"},
            "status": {"podIP": f"127.0.0.{name[-1]}", "conditions": [{"type": "Ready", "status": str(ready)}]},
        }

    def service(name: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": name, "namespace": "n"}, "spec": {"selector": {"a": "b"}, **spec}}

    pods = [pod("p-1", ready=True), pod("p-2", ready=False)]
    table = records(
        [
            service("peers", clusterIP="None", publishNotReadyAddresses=True),
            service("quiet", clusterIP="None"),
            service("front", clusterIP="127.70.0.5"),
            service("far", clusterIP="10.0.0.1"),
        ],
        pods,
    )
    end = "n.svc.cluster.local"
    assert table == {
        f"peers.{end}": ["127.0.0.1", "127.0.0.2"],
        f"p-1.peers.{end}": ["127.0.0.1"],
        f"p-2.peers.{end}": ["127.0.0.2"],
        f"quiet.{end}": ["127.0.0.1"],
        f"front.{end}": ["127.70.0.5"],
        f"far.{end}": ["127.0.0.1"],
    }


def test_a_volume_changes_in_one_step_and_forgets_what_is_gone(tmp_path: Path) -> None:
    write_payload(tmp_path / "v", {"a": File(b"1", 0o644), "d/b": File(b"2", 0o600)})
    held = (tmp_path / "v" / "a").resolve().parent
    assert (tmp_path / "v" / "d" / "b").read_bytes() == b"2"
    write_payload(tmp_path / "v", {"a": File(b"3", 0o644)})
    assert (tmp_path / "v" / "a").read_bytes() == b"3"
    assert sorted(p.name for p in (tmp_path / "v").iterdir() if not p.name.startswith("..")) == ["a"]
    assert not held.exists()
    with pytest.raises(MountError):
        write_payload(tmp_path / "v", {"../../out": File(b"", 0o644)})
    assert not (tmp_path / "out").exists()


async def _read(path: Path, **query: Any) -> str:
    return b"".join([c async for c in read(path, LogQuery(**query), lambda: True)]).decode()


async def test_logs_are_read_as_asked(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "0.log")
    for index in range(5):
        log.write("stdout", f"line {index}".encode(), True)
    log.write("stderr", b"half", False)
    log.write("stderr", b" and half", True)
    log.close()
    path = tmp_path / "0.log"
    assert (await _read(path)).splitlines() == [*(f"line {i}" for i in range(5)), "half and half"]
    assert await _read(path, tail_lines=3) == "line 4\nhalf and half\n"
    assert await _read(path, tail_lines=0) == ""
    assert await _read(path, limit_bytes=8) == "line 0\nl"
    assert await _read(path, since=datetime.now(UTC) + timedelta(seconds=5)) == ""
    first = (await _read(path, timestamps=True)).splitlines()[0]
    assert datetime.fromisoformat(first.split(" ")[0].replace("Z", "+00:00"))
