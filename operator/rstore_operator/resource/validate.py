"""The rules of a spec that concern several fields, and what this version cannot do."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping

from rstore_api.domain.access import OPEN
from rstore_api.domain.limits import MAX_ALTERNATIVE_NAMES, MAX_NAME_LENGTH, MAX_REGIONS, MAX_REPLICAS

from rstore_operator.resource.backup import BackupSpec
from rstore_operator.resource.client_endpoint import ORDINAL
from rstore_operator.resource.model import RegionSpec, StoreRef, StoreSpec
from rstore_operator.resource.parse import DEFAULT_REQUESTS, parse_spec
from rstore_operator.resource.reader import Problem
from rstore_operator.resource.units import parse_quantity

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_SERVICE_NAME = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
RESERVED_REGIONS = ("client", "operator", "ca", "archiver")
"""Secrets of a store that are no region's have these names."""
RESERVED_CLIENTS = ("client", "operator", "peer")
_RESERVED_SUFFIX = "peers"
_MAX_LABEL = 63


def read_spec(ref: StoreRef, raw: object) -> tuple[StoreSpec | None, tuple[Problem, ...]]:
    """Parse and validate in one go; the spec is None when anything at all is wrong with it."""
    spec, problems = parse_spec(raw)
    if spec is not None:
        problems += validate(ref, spec)
    return (None if problems else spec), problems


def validate(ref: StoreRef, spec: StoreSpec) -> tuple[Problem, ...]:
    """Every rule that the parsed spec breaks, in the order of the spec."""
    return (*_names(ref, spec), *_client_endpoints(spec), *_relations(spec), *_clients(spec), *_unsupported(spec))


def _names(ref: StoreRef, spec: StoreSpec) -> Iterator[Problem]:
    if not _SERVICE_NAME.fullmatch(ref.name):
        yield Problem("metadata.name", "must begin with a letter and hold only lower case letters, digits and dashes")
    if len(spec.regions) > MAX_REGIONS:
        yield Problem("spec.regions", f"must list at most {MAX_REGIONS} regions")
    count = Counter(spec.region_names)
    for index, region in enumerate(spec.regions):
        path = f"spec.regions[{index}].name"
        if not _LABEL.fullmatch(region.name):
            yield Problem(path, f"{region.name!r} is not a DNS label (lower case letters, digits and dashes)")
        if count[region.name] > 1 and spec.region_names.index(region.name) != index:
            yield Problem(path, f"there is already a region {region.name!r}")
        if len(f"{ref.name}-{region.name}") > MAX_NAME_LENGTH:
            yield Problem(path, f"{ref.name}-{region.name} is longer than {MAX_NAME_LENGTH} characters")
        if region.name in RESERVED_REGIONS:
            yield Problem(
                path, "client, operator, ca and archiver are reserved, the store's certificates have these names"
            )
        if any(region.name == f"{other}-{_RESERVED_SUFFIX}" for other in spec.region_names):
            yield Problem(path, f"the name of {region.name!r}'s Service is taken by another region's")


def _client_endpoints(spec: StoreSpec) -> Iterator[Problem]:
    """An address belongs to one endpoint, whatever number of replicas the regions have now or get later."""
    taken: dict[str, str] = {}
    for index, region in enumerate(spec.regions):
        path = f"spec.regions[{index}].clientEndpoints"
        for place, endpoint in enumerate(region.client_endpoints):
            addresses = {endpoint.address(ordinal) for ordinal in range(MAX_REPLICAS)}
            twice = min(addresses & taken.keys(), default="")
            if twice:
                yield Problem(f"{path}[{place}]", f"{twice} is an address of {taken[twice]} already")
            taken |= dict.fromkeys(addresses, f"{path}[{place}]")
        count = sum(len(endpoint.hosts()) for endpoint in region.client_endpoints) + len(spec.subject_alt_names)
        if region.client_endpoints and count > MAX_ALTERNATIVE_NAMES:
            text = (
                f"together with security.tls.subjectAltNames these are {count} names in the certificates of "
                f"{region.name}, at most {MAX_ALTERNATIVE_NAMES} are possible; a host with {ORDINAL} is {MAX_REPLICAS}"
            )
            yield Problem(path, text)


def _clients(spec: StoreSpec) -> Iterator[Problem]:
    names = [client.name for client in spec.access.clients]
    for index, name in enumerate(names):
        path = f"spec.security.clients[{index}].name"
        if not _LABEL.fullmatch(name) or len(name) > _MAX_LABEL:
            text = f"{name!r} is not a DNS label (up to {_MAX_LABEL} lower case letters, digits and dashes)"
            yield Problem(path, text)
        if name in RESERVED_CLIENTS:
            yield Problem(path, f"{', '.join(RESERVED_CLIENTS)} are reserved for the store's own certificates")
        if name in names[:index]:
            yield Problem(path, f"there is already a client {name!r}")
        if f"client-{name}" in spec.region_names:
            yield Problem(path, f"the Secret of client {name!r} would have the name of that of region 'client-{name}'")
    if spec.client_auth == "None" and (names or spec.access.shared_client != OPEN.shared_client):
        text = "clients and sharedClient need mTLS: with None everybody may do everything"
        yield Problem("spec.security.clientAuth", text)


def _relations(spec: StoreSpec) -> Iterator[Problem]:
    if spec.region(spec.primary_region) is None:
        names = ", ".join(spec.region_names)
        yield Problem("spec.primaryRegion", f"{spec.primary_region!r} is none of the regions ({names})")
    if spec.replication.max_batch_bytes > spec.replication.window_bytes:
        yield Problem("spec.replication.maxBatchBytes", "must not be larger than window")
    if spec.replication.mode == "SemiSync" and spec.replication.min_in_sync_regions >= len(spec.regions):
        yield Problem(
            "spec.replication.minInSyncRegions",
            f"must be lower than the number of regions, {len(spec.regions)}: it counts regions beside the primary",
        )
    for index, region in enumerate(spec.regions):
        yield from _resources(f"spec.regions[{index}]", region, DEFAULT_REQUESTS)
    if spec.backup is not None:
        yield from _resources("spec.backup", spec.backup)
    if spec.bootstrap is not None:
        yield from _bootstrap(spec)


def _bootstrap(spec: StoreSpec) -> Iterator[Problem]:
    if spec.client_auth == "None":
        text = "needs clientAuth mTLS: without certificates nobody can be kept out until all is restored"
        yield Problem("spec.bootstrap", text)
    if "restorer" in spec.region_names:
        yield Problem("spec.bootstrap", "a region must not be called restorer: what restores the store has that name")


def _resources(
    path: str, part: RegionSpec | BackupSpec, old_defaults: Mapping[str, str] | None = None
) -> Iterator[Problem]:
    for name in sorted(set(part.requests or {}) & set(part.limits or {})):
        request, limit = (part.requests or {})[name], (part.limits or {})[name]
        if _more(request, limit):
            text = f"{request} is more than the limit, {limit}"
            if request == (old_defaults or {}).get(name):
                text += "; earlier versions wrote that request as a default: lower it, or remove requests"
            yield Problem(f"{path}.resources.requests.{name}", text)


def _more(left: str, right: str) -> bool:
    try:
        return parse_quantity(left) > parse_quantity(right)
    except ValueError:
        return False  # reported where it was read


def _unsupported(spec: StoreSpec) -> Iterator[Problem]:
    """Promises about safety that this version would break if it went on without them."""
    if spec.tls_mode == "Secret":
        yield Problem("spec.security.tls.mode", "Secret is not supported by this version; use Managed")
