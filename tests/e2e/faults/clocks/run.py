"""`python run.py OFFSETS MODULE ARGUMENT…`: runs a module whose wall clock jumps while it runs.

OFFSETS is a file of JSON, ``{"version": …, "seconds": {beginning of a pod's name: seconds}}``. A thread follows it and
says in ``OFFSETS.<pod>`` which version is in force. What Python can ask for the time of day is shifted; the monotonic
clock is not, nor is what C code asks for. gRPC is left alone for that reason: its Python half makes a time of day out
of each timeout, and its C half makes a timeout of it again.
"""

from __future__ import annotations

import ctypes
import datetime
import gc
import json
import os
import runpy
import sys
import threading
import time
import types
from pathlib import Path

import grpc.aio

POLL_SECONDS = 0.02

_true = types.ModuleType("true_time")
_true.__dict__.update(vars(time))
_shift_seconds = 0


def follow(path: Path, pod: str, parent: int) -> None:
    """Take each new version of the offsets until the parent is gone."""
    global _shift_seconds
    taken = ""
    while os.getppid() == parent:
        try:
            offsets = json.loads(path.read_text())
        except FileNotFoundError:
            offsets = {"version": "", "seconds": {}}
        if offsets["version"] != taken:
            taken = offsets["version"]
            _shift_seconds = sum(seconds for prefix, seconds in offsets["seconds"].items() if pod.startswith(prefix))
            path.with_name(f"{path.name}.{pod}").write_text(taken)
        _true.sleep(POLL_SECONDS)


def shifted_time() -> float:
    """Replaces ``time.time``."""
    return _true.time() + _shift_seconds


def shifted_time_ns() -> int:
    """Replaces ``time.time_ns``."""
    return _true.time_ns() + _shift_seconds * 10**9


def _now(cls, tz=None):
    return cls.fromtimestamp(shifted_time(), tz)


def _utcnow(cls):
    return _now(cls, datetime.UTC).replace(tzinfo=None)


def _shift_datetime() -> None:
    """Patches the type itself, since others import it before, or use it from C, where a subclass would not do."""
    (methods,) = gc.get_referents(vars(datetime.datetime))
    methods |= {"now": classmethod(_now), "utcnow": classmethod(_utcnow), "today": classmethod(_now)}
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(datetime.datetime))


def install() -> None:
    """Gives the shifted clock to everything in this process but gRPC."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "grpc" and getattr(module, "time", None) is time:
            module.time = _true
    time.time, time.time_ns = shifted_time, shifted_time_ns
    time.clock_gettime = lambda clock: shifted_time() if clock == time.CLOCK_REALTIME else _true.clock_gettime(clock)
    time.clock_gettime_ns = lambda clock: (
        shifted_time_ns() if clock == time.CLOCK_REALTIME else _true.clock_gettime_ns(clock)
    )
    for name in ("gmtime", "localtime", "ctime"):
        given = getattr(_true, name)
        setattr(time, name, lambda seconds=None, given=given: given(shifted_time() if seconds is None else seconds))
    time.strftime = lambda form, moment=None: _true.strftime(form, time.localtime() if moment is None else moment)
    _shift_datetime()


def main() -> None:
    """Entry point."""
    offsets, module, *arguments = sys.argv[1:]
    sys.path.pop(0)  # this directory
    sys.argv = [module, *arguments]
    assert grpc.aio
    install()
    following = (Path(offsets), os.environ["HOSTNAME"], os.getppid())
    threading.Thread(target=follow, args=following, name="clock", daemon=True).start()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
