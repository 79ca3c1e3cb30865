"""Which regions a store has, from its object."""

from __future__ import annotations

from typing import Any

from rstore_cli.errors import CliError


def region_names(store: dict[str, Any]) -> list[str]:
    """Returns the regions of a store, in the order of its spec."""
    return [region["name"] for region in store.get("spec", {}).get("regions", [])]


def pick_region(store: dict[str, Any], wanted: str | None) -> str:
    """Returns the wanted region, or without one the primary. Raises CliError if it does not exist or is not known
    yet."""
    name, regions = store["metadata"]["name"], region_names(store)
    if wanted is not None:
        if wanted not in regions:
            raise CliError(f'store "{name}" has no region "{wanted}"', hint=f"its regions: {', '.join(regions)}")
        return wanted
    primary = store.get("status", {}).get("primaryRegion")
    if not primary:
        raise CliError(
            f'store "{name}" has no primary region yet', hint=f"`rstore status {name} -w` shows when it has one"
        )
    return str(primary)
