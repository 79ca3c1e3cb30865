"""The Dockerfiles say what we promise of the images: small, pinned, without root, nothing that needs to write."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from image_build.dockerfile import DockerfileError, Stage, parse

ROOT = Path(__file__).resolve().parents[2]
FILES = {
    "replica": (ROOT / "replica_image" / "Dockerfile", "rstore_replica", {"2379", "2380", "9090"}),
    "operator": (ROOT / "operator" / "Dockerfile", "rstore_operator", {"8080"}),
}


@pytest.fixture(params=sorted(FILES))
def image(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    return name


@pytest.fixture
def stages(image: str) -> list[Stage]:
    return parse(FILES[image][0].read_text())


def test_two_stages_from_one_pinned_base(stages: list[Stage]) -> None:
    build, final = stages
    assert build.base == final.base
    assert re.fullmatch(r"python:3\.12\.\d+-slim-bookworm", final.base)


def test_the_process_starts_as_65532_by_the_exec_form(image: str, stages: list[Stage]) -> None:
    final = stages[-1]
    assert [user.text for user in final.all("USER")] == ["65532:65532"]
    assert [entry.words for entry in final.all("ENTRYPOINT")] == [["python", "-m", FILES[image][1]]]
    names = [instruction.name for instruction in final.instructions]
    assert names.index("USER") < names.index("ENTRYPOINT")


def test_the_final_stage_installs_nothing(stages: list[Stage]) -> None:
    final = stages[-1]
    assert final.all("RUN") == []
    assert [copy.words for copy in final.all("COPY")] == [["--from=build", "/opt/rstore", "/opt/rstore"]]


def test_the_final_stage_writes_no_bytecode(stages: list[Stage]) -> None:
    environment = stages[-1].environment()
    assert environment["PYTHONDONTWRITEBYTECODE"] == "1"
    assert environment["PATH"].startswith("/opt/rstore/bin:")


def test_the_image_installs_its_own_lock_and_nothing_that_is_not_locked(image: str, stages: list[Stage]) -> None:
    (run,) = stages[0].all("RUN")
    assert f"--requirement locks/{image}.txt" in run.text
    for command in run.text.split(" && "):
        if "pip" in command and "venv" not in command:
            locked = {"--require-hashes", "--requirement"} <= set(command.split())
            assert locked or "--no-deps" in command, command
        if "pip wheel" in command:
            assert "--no-build-isolation" in command, "what builds packages is locked, too"
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert image in extras


def test_the_build_context_holds_what_is_copied_and_no_more(stages: list[Stage]) -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for copy in stages[0].all("COPY") for source in copy.words[:-1]}
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*"


def test_ports_and_labels(image: str, stages: list[Stage]) -> None:
    final = stages[-1]
    assert {port for expose in final.all("EXPOSE") for port in expose.words} == FILES[image][2]
    labels = final.labels()
    assert labels["org.opencontainers.image.title"] == f"replicated-store-{image}"
    assert labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert final.all("ARG")[0].pairs == {"VERSION": version}


def test_no_secrets_no_latest_no_shell_pipes(image: str) -> None:
    text = FILES[image][0].read_text()
    for forbidden in (":latest", "ADD ", "curl ", "wget ", "sudo ", "chmod 777", "--break-system-packages"):
        assert forbidden not in text, forbidden


@pytest.mark.parametrize(
    "text",
    ["FROM a\nADD http://x /", "RUN true", "FROM a\nENTRYPOINT python", "FROM a AS b c", "FROM a\nENV KEY value"],
)
def test_the_parser_refuses_what_we_do_not_use(text: str) -> None:
    def read_everything() -> None:
        for stage in parse(text):
            stage.environment()
            for entry in stage.all("ENTRYPOINT"):
                assert entry.words

    with pytest.raises(DockerfileError):
        read_everything()


def hadolint() -> str | None:
    beside = Path(sys.executable).with_name("hadolint")
    return str(beside) if beside.exists() else shutil.which("hadolint")


@pytest.mark.skipif(hadolint() is None, reason="hadolint has no wheel for this platform")
def test_hadolint_finds_nothing(image: str) -> None:
    done = subprocess.run(
        [str(hadolint()), str(FILES[image][0])], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
