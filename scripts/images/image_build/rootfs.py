"""The root file tree of an image: this machine's Python and the libraries it links to, the wheel and what it needs.

The layout is the one that the Dockerfiles make: Python below ``/usr/local``, a virtual environment ``/opt/rstore``.
There is no shell and no package manager in it."""

from __future__ import annotations

import compileall
import os
import py_compile
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Iterable
from importlib.metadata import Distribution
from pathlib import Path

from image_build.packages import BuildError, files_of

PREFIX = Path("usr/local")
ENVIRONMENT = Path("opt/rstore")
LIBRARIES = Path("usr/local/lib/shared")
"""The folder of shared libraries from outside the Python packages, which is the image's LD_LIBRARY_PATH."""
USER_ID = 65532

_VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "lib2to3", "__pycache__"}
_LEFT_OUT_AT_TOP = {"site-packages", "dist-packages", f"config-{_VERSION}"}
_LEFT_OUT_FILES = re.compile(r"_tkinter\.|_test\w*\.|_ctypes_test\.|xx\w+\.")
"""Matches compiled modules for graphics and for Python's own tests."""
_RESOLVED = re.compile(r"^\s*(?P<name>\S+) => (?P<path>/\S+) \(")
_LOADER = re.compile(r"^\s*(?P<path>/\S*/ld[-.]\S+|/ld\S+) \(", re.MULTILINE)
_MISSING = re.compile(r"^\s*(?P<name>\S+) => not found", re.MULTILINE)
_LOADED_BY_NAME = ("libnss_dns.so.2", "libnss_files.so.2", "libresolv.so.2")
"""The C library opens these by name to look up hosts; newer ones have them built in."""
_MODES = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH


def build(root: Path, wheel: Path, packages: Iterable[Distribution]) -> None:
    """Makes the tree of the wheel and the packages that it needs, in an empty folder.

    Raises:
        BuildError: something that is needed is not on this machine.
    """
    if not sys.platform.startswith("linux"):
        raise BuildError("root file trees are built on Linux only: they hold this machine's Python and its libraries")
    root.chmod(0o755)
    _python(root)
    site_packages = _environment(root)
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site_packages)
    for installed in packages:
        for path, source in files_of(installed).items():
            _copy(source, site_packages / path)
    _libraries(root)
    _system_files(root)
    _compile(root)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.exists():
        shutil.copyfile(source, target)
        target.chmod(_MODES | (0o111 if os.access(source, os.X_OK) else 0))


def _python(root: Path) -> None:
    """Copies the interpreter and its standard library, without tests, graphics and tools for development."""
    _copy(Path(sys.executable).resolve(), root / PREFIX / "bin" / f"python{_VERSION}")
    target = root / PREFIX / "lib" / f"python{_VERSION}"
    for name in ("stdlib", "platstdlib"):
        source = Path(sysconfig.get_path(name, vars={"base": sys.base_prefix, "platbase": sys.base_exec_prefix}))
        for folder, folders, files in os.walk(source):
            at_top = Path(folder) == source
            left_out = _LEFT_OUT | (_LEFT_OUT_AT_TOP if at_top else set())
            folders[:] = [one for one in folders if one not in left_out and not one.startswith(f"config-{_VERSION}")]
            for file in files:
                if _LEFT_OUT_FILES.match(file):
                    continue
                path = Path(folder) / file
                _copy(path.resolve(), target / path.relative_to(source))


def _environment(root: Path) -> Path:
    """Makes the virtual environment; returns its site-packages."""
    environment = root / ENVIRONMENT
    (environment / "bin").mkdir(parents=True)
    for name in ("python", "python3", f"python{_VERSION}"):
        (environment / "bin" / name).symlink_to(f"/{PREFIX}/bin/python{_VERSION}")
    home = f"home = /{PREFIX}/bin\ninclude-system-site-packages = false\nversion = {sys.version.split()[0]}\n"
    (environment / "pyvenv.cfg").write_text(home)
    site_packages = environment / "lib" / f"python{_VERSION}" / "site-packages"
    site_packages.mkdir(parents=True)
    return site_packages


def _libraries(root: Path) -> None:
    """Copies every shared library that programs and modules in the tree link to, and the loader."""
    programs = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink() and _is_elf(path)]
    interpreter = Path(sys.executable).resolve()
    libraries: dict[str, Path] = {}
    loader: Path | None = None
    for program in [interpreter, *programs]:
        listed = _ldd(program)
        for name in _MISSING.findall(listed):
            if not any(path.name == name for path in programs):
                raise BuildError(f"{program.name} links to {name}, which is not on this machine")
        for line in listed.splitlines():
            if match := _RESOLVED.match(line):
                path = Path(match["path"])
                if not path.resolve().is_relative_to(root.resolve()):
                    libraries[match["name"]] = path.resolve()
        if match := _LOADER.search(listed):
            loader = Path(match["path"])
    if loader is None:
        raise BuildError(f"{interpreter} names no dynamic loader: a statically linked Python cannot be packed")
    c_library = libraries["libc.so.6"].parent
    libraries |= {name: c_library / name for name in _LOADED_BY_NAME if (c_library / name).exists()}
    for name, path in libraries.items():
        _copy(path, root / LIBRARIES / name)
    _copy(loader.resolve(), root / loader.relative_to("/"))
    (root / loader.relative_to("/")).chmod(0o755)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _ldd(program: Path) -> str:
    ldd = shutil.which("ldd")
    if ldd is None:
        raise BuildError("ldd is needed to find the libraries that Python links to; it comes with the C library")
    done = subprocess.run(
        [ldd, str(program)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ.get("PATH", ""), "LC_ALL": "C"},
    )
    return done.stdout


def _system_files(root: Path) -> None:
    """Makes the few files that programs expect: users, how hosts are looked up, a folder for temporary files."""
    (root / "etc").mkdir(exist_ok=True)
    users = f"root:x:0:0:root:/:/sbin/nologin\nrstore:x:{USER_ID}:{USER_ID}:rstore:/:/sbin/nologin\n"
    (root / "etc/passwd").write_text(users)
    (root / "etc/group").write_text(f"root:x:0:\nrstore:x:{USER_ID}:\n")
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    for name in ("proc", "sys", "dev", "run", "var/run"):
        (root / name).mkdir(parents=True, exist_ok=True)


def _compile(root: Path) -> None:
    """Compiles all modules, since the images' processes write none themselves."""
    for folder in (PREFIX / "lib", ENVIRONMENT / "lib"):
        compileall.compile_dir(
            root / folder,
            quiet=2,
            stripdir=str(root),
            prependdir="/",
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
