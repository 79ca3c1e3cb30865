"""For every test: one temporary directory per run, a spread over processes, and nothing left behind at the end."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import leftovers
import pytest
from hypothesis import HealthCheck, settings
from rstore_api.dialling.channels import keep_running
from xdist.scheduler import LoadScopeScheduling

RUN_DIRECTORY = "RSTORE_TEST_RUN"
END_SECONDS = 15.0
SHARED = ("e2e/faults", "e2e", "images")
"""Folders whose tests share what is expensive to make, so that one process runs them all. Those of ``e2e`` have a
cluster each and wait most of the time, so they begin first, beside what needs the processors most: ``sim``."""
ALONE = "sim"
"""The folder whose tests share nothing, not even within a file."""

settings.register_profile("no clocks", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("no clocks")  # a test says nothing about time, so a busy machine fails none

found_at_the_end = pytest.StashKey[list[str]]()


def pytest_configure(config: pytest.Config) -> None:
    """Puts all temporary files of a run, also those of the programs it starts, into one directory."""
    if RUN_DIRECTORY in os.environ:
        return  # a worker, or a run inside a run
    directory = tempfile.mkdtemp(prefix="rstore-test-")
    os.environ[RUN_DIRECTORY] = os.environ["TMPDIR"] = directory
    tempfile.tempdir = None
    config.stash[found_at_the_end] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the longest tests first, so that nothing long begins when the rest has ended."""
    first = [*SHARED, ALONE]
    items.sort(key=lambda item: first.index(folder) if (folder := folder_of(item.nodeid)) in first else len(first))


@pytest.fixture(scope="session", autouse=True)
def grpc_stays_up() -> None:
    keep_running()


def folder_of(test_id: str) -> str:
    """Returns the first of the folders above that the test is in, or an empty string."""
    return next((folder for folder in (*SHARED, ALONE) if test_id.startswith(f"tests/{folder}/")), "")


def group_of(test_id: str) -> str:
    """Returns what one process runs as a whole: a folder of :data:`SHARED`, a test of :data:`ALONE`, or a file."""
    folder = folder_of(test_id)
    if folder == ALONE:
        return test_id
    return folder or test_id.partition("::")[0]


class Spread(LoadScopeScheduling):
    """Gives each group of tests to the next process that is free."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Spread:
    """Spreads the tests over processes with `-n`."""
    config.option.loadscopereorder = False
    return Spread(config, log)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fails the run if it left a process. Removes its files, unless a test failed."""
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
    """Lists what was left behind."""
    for problem in config.stash.get(found_at_the_end, []):
        terminalreporter.write_line(problem, red=True)
