"""Paths inside a container, as its arguments and environment name them, to directories of this machine.

There are no mount namespaces here, so every value that is or starts with a mount path, also after a `=` or
`,`, is rewritten.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path


class MountTable:
    """The mounts of one container; the longest mount path that fits wins."""

    def __init__(self, mounts: Mapping[str, Path]) -> None:
        self._mounts = {path.rstrip("/") or "/": str(host) for path, host in mounts.items()}
        paths = sorted((p for p in self._mounts if p != "/"), key=len, reverse=True)
        alternatives = "|".join(re.escape(p) for p in paths)
        self._pattern = re.compile(rf"(^|[=,])({alternatives})(?=/|$|,)") if paths else None

    def rewrite(self, value: str) -> str:
        """Returns the value with every mount path in it replaced."""
        if self._pattern is None:
            return value
        return self._pattern.sub(lambda match: match.group(1) + self._mounts[match.group(2)], value)

    def host_path(self, path: str) -> Path | None:
        """Returns the directory behind a path inside the container; None when it is not in a mount."""
        rewritten = self.rewrite(path)
        return Path(rewritten) if rewritten != path else None

    def __contains__(self, path: str) -> bool:
        return path.rstrip("/") in self._mounts
