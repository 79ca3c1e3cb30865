"""For every test: one temporary directory per run, a spread over processes, and nothing left behind at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import leftovers
import pytest

TESTS = Path(__file__).parent
RUN_DIRECTORY = "RSTORE_TEST_RUN"
END_SECONDS = 15.0
SHARED = ("e2e", "images")
"""Folders whose tests share what is expensive to make, so that one process has to run them all; the longest first."""

found_at_the_end = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """All temporary files of a run, those of the programs it starts too, are in one directory."""
    if RUN_DIRECTORY in os.environ:
        return  # a worker, or a run inside a run
    directory = tempfile.mkdtemp(prefix="rstore-test-")
    os.environ[RUN_DIRECTORY] = os.environ["TMPDIR"] = directory
    tempfile.tempdir = None
    config.stash[found_at_the_end] = []


@pytest.hookimpl(tryfirst=True)  # xdist reads the marks in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `-n`: a file's tests run in one process, and so do those of a folder that shares something."""
    places = {name: number for number, name in enumerate(SHARED)}
    items.sort(key=lambda item: places.get(_folder(item), len(places)))
    for item in items:
        folder = _folder(item)
        item.add_marker(pytest.mark.xdist_group(folder if folder in places else str(item.path.relative_to(TESTS))))


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """No process may be left. The run's files go too, unless a test failed."""
    problems = session.config.stash.get(found_at_the_end, None)
    if problems is None:
        return
    directory = Path(os.environ[RUN_DIRECTORY])
    left = leftovers.wait_none(directory, timeout_seconds=END_SECONDS)
    leftovers.kill(left)
    problems += [f"left running, and killed now: {process.pid} {process.command}" for process in left]
    if left and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        shutil.rmtree(directory)
        if directory.exists():
            problems.append(f"left behind: {directory}")
    else:
        problems.append(f"files of this run are kept in {directory}")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Says what was left behind."""
    for problem in config.stash.get(found_at_the_end, []):
        terminalreporter.write_line(problem, red=True)
