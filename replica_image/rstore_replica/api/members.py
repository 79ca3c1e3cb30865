"""The replicas of a store as etcd's members: every one of every region, with the ids that headers have too."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from rstore_api.domain.topology import RegionTopology, ReplicaAddress
from rstore_api.proto import rpc_pb2

from rstore_replica.api.identity import member_id

SCHEMES = frozenset({"http", "https", "unix", "unixs"})


def members_of(
    store_id: str, region: RegionTopology, *, learners: Collection[str], scheme: str
) -> tuple[rpc_pb2.Member, ...]:
    """Returns the members of one region, named ``region/pod``. Those in ``learners`` have no vote in it yet."""
    return tuple(
        rpc_pb2.Member(
            ID=member_id(store_id, region.name, replica.name),
            name=f"{region.name}/{replica.name}",
            peerURLs=[f"{scheme}://{replica.peer_address}"],
            clientURLs=[
                f"{scheme}://{address}" for address in (replica.client_address, *replica.advertised_client_addresses)
            ],
            isLearner=replica.name in learners,
        )
        for replica in region.replicas
    )


def with_own(
    regions: Iterable[RegionTopology], own_region: str, own_replicas: Mapping[str, ReplicaAddress]
) -> tuple[RegionTopology, ...]:
    """Returns all regions in the order of their names, the own one as its Raft group has it at the moment, with what
    ``regions`` have of the addresses that are advertised.
    """
    by_name = {region.name: region for region in regions}
    known = by_name.get(own_region)
    advertised = {item.name: item.advertised_client_addresses for item in known.replicas} if known is not None else {}
    own = tuple(
        replace(replica, advertised_client_addresses=advertised.get(name, ())) for name, replica in own_replicas.items()
    )
    by_name[own_region] = RegionTopology(own_region, own)
    return tuple(sorted(by_name.values(), key=lambda region: region.name))


def are_valid_urls(urls: Collection[str]) -> bool:
    """Returns whether etcd takes these as the peer URLs of a member: a scheme, a host with a port, and no path."""
    return bool(urls) and all(_is_valid_url(url) for url in urls)


def _is_valid_url(url: str) -> bool:
    try:
        parts = urlsplit(url.strip())
        has_port = parts.port is not None
    except ValueError:
        return False
    if parts.scheme not in SCHEMES:
        return False
    return has_port and not parts.path and not parts.query if parts.scheme in ("http", "https") else bool(parts.netloc)
