"""Which regions a store has, as its object says."""

from __future__ import annotations

from typing import Any

from rstore_cli.errors import CliError


def region_names(store: dict[str, Any]) -> list[str]:
    """Regions of a store in the order of its spec."""
    return [region["name"] for region in store.get("spec", {}).get("regions", [])]


def pick_region(store: dict[str, Any], wanted: str | None) -> str:
    """The wanted region, or else the primary. Raises CliError when it does not exist or is not known yet."""
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
