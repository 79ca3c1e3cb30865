"""``python -m rstore_operator``: the operator, without what others import for themselves and it does not use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

AUTHORITIES = {"SSL_CERT_FILE": os.devnull, "SSL_CERT_DIR": os.devnull}


def main() -> None:
    """Entry point."""
    with _environment(AUTHORITIES):
        import aiohttp  # noqa: F401  # makes a TLS context of all authorities of the system: 2 MiB
    from rstore_kube.library import hidden

    with hidden("kubernetes.client"):
        from rstore_operator import process  # with kopf
    process.main()


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Sets variables of the environment for the block."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


if __name__ == "__main__":
    main()
