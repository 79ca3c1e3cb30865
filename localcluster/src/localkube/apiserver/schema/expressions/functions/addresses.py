"""URLs, IP addresses and networks, as strict as Kubernetes' library reads them."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Callable
from typing import Any

from localkube.apiserver.schema.expressions.values import Address, EvaluationError, Network, Url

_SCHEME = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*):")
_HOST = re.compile(r"(?:\[[0-9a-fA-F:.%]+\]|[^\s\[\]<>\"\\^`{|}:/?#]*)(?::[0-9]*)?")
_BAD = re.compile(r"[\x00-\x20\x7f]")
_BAD_ESCAPE = re.compile(r"%(?![0-9a-fA-F]{2})")


def url_problem(text: str) -> str:
    """Why a text is not an absolute URL or an absolute path; empty when it is one."""
    if not text:
        return "empty url"
    if _BAD.search(text.replace(" ", "")):
        return "invalid control character in URL"
    scheme = _SCHEME.match(text)
    rest = text[scheme.end() :] if scheme else text
    if scheme is None and not rest.startswith("/"):
        return (
            "first path segment in URL cannot contain colon" if ":" in rest.split("/")[0] else "invalid URI for request"
        )
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        host = re.split(r"[/?#]", rest[2:], maxsplit=1)[0].rpartition("@")[2]
        if not _HOST.fullmatch(host):
            return "invalid character in host name"
    return "invalid URL escape" if _BAD_ESCAPE.search(rest.split("?")[0]) else ""


def _url(text: str) -> Url:
    problem = url_problem(text)
    if problem:
        raise EvaluationError(f'URL parse error during conversion from string: parse "{text}": {problem}')
    return Url(text)


def _parts(url: Url) -> urllib.parse.SplitResult:
    return urllib.parse.urlsplit(url.text)


def _host(url: Url) -> str:
    return _parts(url).netloc.rpartition("@")[2]


def _hostname(url: Url) -> str:
    host = _host(url)
    return host[1 : host.index("]")] if host.startswith("[") else host.partition(":")[0]


def _port(url: Url) -> str:
    return _host(url).rpartition("]")[2].partition(":")[2]


def _escaped_path(url: Url) -> str:
    return urllib.parse.quote(urllib.parse.unquote(_parts(url).path), safe="/:@!$&'()*+,;=~-._")


def _query(url: Url) -> dict[str, list[str]]:
    return urllib.parse.parse_qs(_parts(url).query, keep_blank_values=True)


def _address(text: str) -> Address:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        why = f'ParseAddr("{text}"): unable to parse IP'
        raise EvaluationError(f'IP Address "{text}" parse error during conversion from string: {why}') from None
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.scope_id is not None:
            raise EvaluationError(f'IP address "{text}" with zone value is not allowed')
        if ip.ipv4_mapped is not None:
            raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Address(ip)


def _network(text: str) -> Network:
    address, slash, length = text.partition("/")
    if not slash or not re.fullmatch(r"0|[1-9][0-9]{0,2}", length) or "%" in address:
        raise EvaluationError(f'network address parse error during conversion from string: netip.ParsePrefix("{text}")')
    try:
        cidr = ipaddress.ip_interface(text)
    except ValueError:
        raise EvaluationError(
            f'network address parse error during conversion from string: netip.ParsePrefix("{text}")'
        ) from None
    if isinstance(cidr, ipaddress.IPv6Interface) and cidr.ip.ipv4_mapped is not None:
        raise EvaluationError(f'IPv4-mapped IPv6 address "{text}" is not allowed')
    return Network(cidr)


def _readable(read: Callable[[str], Any]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            read(text)
        except EvaluationError:
            return False
        return True

    return check


def _contains_ip(network: Network, address: Any) -> bool:
    ip = (_address(address) if isinstance(address, str) else address).ip
    return ip in network.cidr.network


def _contains_network(network: Network, other: Any) -> bool:
    inner = (_network(other) if isinstance(other, str) else other).cidr
    outer = network.cidr.network
    return inner.version == outer.version and inner.network.prefixlen >= outer.prefixlen and inner.ip in outer


def _global_unicast(address: Address) -> bool:
    ip = address.ip
    broadcast = ip == ipaddress.IPv4Address("255.255.255.255")
    return not (ip.is_unspecified or ip.is_loopback or ip.is_multicast or ip.is_link_local or broadcast)


def _link_local_multicast(address: Address) -> bool:
    ip = address.ip
    if isinstance(ip, ipaddress.IPv4Address):
        return ip in ipaddress.ip_network("224.0.0.0/24")
    return ip.packed[0] == 0xFF and ip.packed[1] & 0x0F == 0x02


GLOBALS: dict[str, Callable[..., Any]] = {
    "url": _url,
    "isURL": lambda text: not url_problem(text),
    "ip": _address,
    "isIP": _readable(_address),
    "ip.isCanonical": lambda text: str(_address(text).ip) == text,
    "cidr": _network,
    "isCIDR": _readable(_network),
}
METHODS: dict[str, Callable[..., Any]] = {
    "getScheme": lambda url: _parts(url).scheme,
    "getHost": _host,
    "getHostname": _hostname,
    "getPort": _port,
    "getEscapedPath": _escaped_path,
    "getQuery": _query,
    "family": lambda address: address.ip.version,
    "isUnspecified": lambda address: address.ip.is_unspecified,
    "isLoopback": lambda address: address.ip.is_loopback,
    "isLinkLocalMulticast": _link_local_multicast,
    "isLinkLocalUnicast": lambda address: address.ip.is_link_local,
    "isGlobalUnicast": _global_unicast,
    "ip": lambda network: Address(network.cidr.ip),
    "prefixLength": lambda network: network.cidr.network.prefixlen,
    "masked": lambda network: Network(ipaddress.ip_interface(str(network.cidr.network))),
    "containsIP": _contains_ip,
    "containsCIDR": _contains_network,
}
