"""An entry of ``spec.regions[].clientEndpoints``: where clients outside of the cluster reach a region's replicas."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from rstore_api.domain.limits import MAX_CLIENT_ENDPOINT_LENGTH, MAX_REPLICAS

from rstore_operator.resource.units import is_domain_name

ORDINAL = "{ordinal}"
"""Stands for the number at the end of a pod's name."""
_PARTS = re.compile(r"(?:\[([^][]+)\]|([^][:]+)):([^:]+)")
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_MAX_PORT = 65535


@dataclass(frozen=True)
class ClientEndpoint:
    """An address of each replica, or, without the placeholder, one of the whole region, such as a load balancer's."""

    text: str

    @property
    def is_shared(self) -> bool:
        """Whether it is one address of all replicas."""
        return ORDINAL not in self.text

    def address(self, ordinal: int) -> str:
        """Returns ``host:port`` of that replica; an IPv6 address in brackets and in its shortest form."""
        host, port = _parts(self.text.replace(ORDINAL, str(ordinal)))
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def hosts(self) -> tuple[str, ...]:
        """Returns the hosts of all replicas that a region can have, each once: names and IP addresses."""
        return tuple(dict.fromkeys(host_of(self.address(ordinal)) for ordinal in range(MAX_REPLICAS)))


def parse_client_endpoint(text: object) -> ClientEndpoint:
    """Returns the endpoint. Raises ValueError, which says what is wrong."""
    if not isinstance(text, str) or not 0 < len(text) <= MAX_CLIENT_ENDPOINT_LENGTH:
        raise ValueError(f"must be host:port in at most {MAX_CLIENT_ENDPOINT_LENGTH} characters, not {text!r}")
    without = text.replace(ORDINAL, "")
    if "{" in without or "}" in without:
        raise ValueError(f"{text!r}: {ORDINAL} is the only placeholder")
    if ORDINAL in text.rpartition(":")[2].removesuffix(ORDINAL):
        raise ValueError(f"{text!r}: in a port {ORDINAL} can only be the last digit")
    for ordinal in range(MAX_REPLICAS):
        _parts(text.replace(ORDINAL, str(ordinal)))
    return ClientEndpoint(text)


def host_of(address: str) -> str:
    """Returns the host of an address that a :class:`ClientEndpoint` gave, without brackets."""
    return address.rpartition(":")[0].strip("[]")


def _parts(address: str) -> tuple[str, str]:
    """Host and port. Raises ValueError."""
    match = _PARTS.fullmatch(address)
    if match is None:
        raise ValueError(f"{address!r} is not host:port, such as eu.example.com:2379 or [2001:db8::7]:2379")
    in_brackets, plain, port = match.groups()
    if not _PORT.fullmatch(port) or int(port) > _MAX_PORT:
        raise ValueError(f"{address!r}: the port must be from 1 to {_MAX_PORT}")
    return (_ipv6(in_brackets) if in_brackets else _name_or_ipv4(plain)), port


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not an IPv6 address") from error
    if address.scope_id is not None:
        raise ValueError(f"{text!r}: an address with a zone has a meaning on one host only")
    return _reachable(address)


def _name_or_ipv4(text: str) -> str:
    try:
        address = ipaddress.IPv4Address(text)
    except ValueError:
        if not is_domain_name(text):
            raise ValueError(f"{text!r} is neither a lower-case DNS name nor an IP address") from None
        return text
    return _reachable(address)


def _reachable(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    if address.is_unspecified or address.is_multicast:
        raise ValueError(f"{address} is no address of a server")
    return str(address)
