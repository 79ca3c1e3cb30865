"""``python -m fuzz.main [TARGET ...] --seconds N``: coverage-guided fuzzing of what reads bytes of others.

Each target runs in a process of its own for its share of the time. An input that breaks one is kept in
``build/fuzz/TARGET`` and printed with the command that repeats it; the exit status is then 1.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build" / "fuzz"
_EXECUTIONS = re.compile(r"stat::number_of_executed_units:\s*(\d+)|#(\d+)\s+DONE")


def main(arguments: list[str]) -> int:
    """Runs the named targets, all by default; 0 when none broke, 1 when one did, 2 when a name is unknown."""
    from fuzz.targets import TARGETS

    parser = argparse.ArgumentParser(prog="python -m fuzz.main")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; default: all")
    parser.add_argument("--seconds", type=int, default=30, help="of all targets together (default 30)")
    parser.add_argument("--repeat", type=Path, help="an input to give to the one named target")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = options.targets or list(TARGETS)
    if unknown := [name for name in names if name not in TARGETS]:
        parser.error(f"no such target: {', '.join(unknown)}; there are: {', '.join(TARGETS)}")
    if options.repeat:
        TARGETS[names[0]]()(options.repeat.read_bytes())
        return 0
    if options.inside:
        return _fuzz(names[0], options.seconds)
    seconds = max(1, options.seconds // len(names))
    return int(sum(_run_apart(name, seconds) for name in names) > 0)


def _run_apart(name: str, seconds: int) -> bool:
    """Whether the target broke."""
    kept = BUILD / name / "broken"
    kept.mkdir(parents=True, exist_ok=True)
    before = set(kept.iterdir())
    command = [sys.executable, "-m", "fuzz.main", name, "--inside", "--seconds", str(seconds)]
    done = subprocess.run(
        command, cwd=ROOT / "tests", stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    output = done.stdout + done.stderr
    counts = [int(first or second) for first, second in _EXECUTIONS.findall(output)]
    broken = set(kept.iterdir()) - before
    print(f"fuzz: {name}: {max(counts, default=0)} inputs in {seconds} s, {len(broken)} broke it")
    if done.returncode and not broken:
        print(output[-4000:])
    for path in sorted(broken):
        print(output[-4000:])
        print(f"fuzz: repeat with: cd tests && ../.venv/bin/python -m fuzz.main {name} --repeat {path}")
    return bool(done.returncode or broken)


def _fuzz(name: str, seconds: int) -> int:
    try:
        import atheris
    except ImportError:
        print("error: atheris is not installed: make fuzz installs it (Linux, CPython 3.11 to 3.13)", file=sys.stderr)
        return 1
    with atheris.instrument_imports(include=["rstore_wire", "rstore_api", "rstore_replica", "hpack"]):
        from fuzz.targets import TARGETS
    target = TARGETS[name]()
    corpus = BUILD / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in target.seeds():
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    limits = [
        f"-max_total_time={seconds}",
        "-max_len=8192",
        "-timeout=60",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
    ]
    where = f"-artifact_prefix={BUILD / name / 'broken'}/"
    atheris.Setup([sys.argv[0], *limits, where, str(corpus)], target)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
