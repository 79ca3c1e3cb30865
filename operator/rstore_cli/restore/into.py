"""The store that is restored into, and how the result is printed."""

from __future__ import annotations

from dataclasses import dataclass

from rstore_cli.options import Output
from rstore_cli.store_access import StoreAccess


@dataclass(frozen=True)
class Into:
    """What the options say."""

    store: StoreAccess
    output: Output
