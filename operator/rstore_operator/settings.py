"""The settings of the process, from its arguments and environment."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rstore_api.listening import EVERY_ADDRESS
from rstore_api.logs import LEVELS

from rstore_operator.resource.model import (
    DEFAULT_CERTIFICATE_SETTINGS,
    UNKNOWN_PODS,
    CertificateSettings,
    OperatorPods,
    ReplicaImage,
)
from rstore_operator.resource.units import is_domain_name

HEALTH_PORT = 8080
HASH_CHECK_SECONDS = 60.0
LEASE_NAME = "replicated-store-operator"
MAX_SECONDS = 1e9
CONCURRENT_ROLLOUTS, MAX_CONCURRENT_ROLLOUTS = 1, 1000


@dataclass(frozen=True)
class Settings:
    """The settings; without ``namespaces`` all of them are watched."""

    namespaces: tuple[str, ...]
    image: ReplicaImage
    listen_host: str
    health_port: int
    log_level: str
    hash_check_seconds: float = HASH_CHECK_SECONDS
    """How often the replicas' data is compared while a store is written to; 0: never."""
    lease_name: str = LEASE_NAME
    """The Lease, in the operator's own namespace, of whose candidates one acts."""
    certificates: CertificateSettings = DEFAULT_CERTIFICATE_SETTINGS
    operator_pods: OperatorPods = UNKNOWN_PODS
    """Its own pods, which network policies let in."""
    concurrent_rollouts: int = CONCURRENT_ROLLOUTS
    """How many stores may have their pods replaced at the same time."""


def parse_arguments(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Returns the settings; an argument takes precedence over its environment variable. Exits with a message if one is
    not valid."""
    parser = argparse.ArgumentParser(prog="python -m rstore_operator", description="The ReplicatedStore operator.")
    parser.add_argument(
        "--namespace",
        action="append",
        default=[],
        help="watch this namespace only; may be repeated (RSTORE_WATCH_NAMESPACES, comma-separated; default: all)",
    )

    def option(flag: str, variable: str, text: str, default: object, **more: Any) -> None:
        parser.add_argument(flag, default=environment.get(variable) or default, help=f"{text} ({variable})", **more)

    option("--replica-image", "RSTORE_REPLICA_IMAGE", "image of the replicas", "")
    option(
        "--replica-image-pull-policy",
        "RSTORE_REPLICA_IMAGE_PULL_POLICY",
        "its pull policy",
        "IfNotPresent",
        type=_one_of(("Always", "IfNotPresent", "Never")),
    )
    option("--listen-host", "RSTORE_LISTEN_HOST", "address of the health endpoint", EVERY_ADDRESS)
    option("--health-port", "RSTORE_HEALTH_PORT", "port of the health endpoint", HEALTH_PORT, type=_port)
    option("--log-level", "RSTORE_LOG_LEVEL", "least severe messages to log", "info", type=_one_of(LEVELS))
    option(
        "--hash-check-seconds",
        "RSTORE_HASH_CHECK_SECONDS",
        f"how often the data of all replicas is compared while a store is written to, 0: never;"
        f" default: {HASH_CHECK_SECONDS:g}",
        HASH_CHECK_SECONDS,
        type=_seconds,
    )
    option(
        "--lease-name",
        "RSTORE_LEASE_NAME",
        f"Lease in the operator's namespace: of the operators with the same one, one acts; default: {LEASE_NAME}",
        LEASE_NAME,
        type=_object_name,
    )
    option(
        "--cluster-domain",
        "RSTORE_CLUSTER_DOMAIN",
        f"domain of the cluster's DNS, for the names in certificates; default: {CertificateSettings.cluster_domain}",
        CertificateSettings.cluster_domain,
        type=_domain,
    )
    option(
        "--authority-transition-seconds",
        "RSTORE_AUTHORITY_TRANSITION_SECONDS",
        "how long clients have to take new certificates after a store's certificate authority was replaced;"
        f" default: {CertificateSettings.authority_transition_seconds:g}, a week",
        CertificateSettings.authority_transition_seconds,
        type=_seconds,
    )
    option(
        "--operator-namespace",
        "RSTORE_OPERATOR_NAMESPACE",
        "namespace of the operator's pods, which stores' network policies let in; default: any address is let in",
        "",
    )
    option(
        "--operator-labels",
        "RSTORE_OPERATOR_LABELS",
        "labels of those pods, as key=value,key=value",
        {},
        type=_labels,
    )
    option(
        "--concurrent-rollouts",
        "RSTORE_CONCURRENT_ROLLOUTS",
        f"how many stores may have their pods replaced at the same time; default: {CONCURRENT_ROLLOUTS}",
        CONCURRENT_ROLLOUTS,
        type=_count,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    parsed = parser.parse_args(list(arguments))
    if parsed.version:
        from importlib.metadata import version

        print(version("replicated-store"))
        raise SystemExit(0)
    if not parsed.replica_image:
        parser.error("the image of the replicas is not set: give --replica-image or RSTORE_REPLICA_IMAGE")
    listed = environment.get("RSTORE_WATCH_NAMESPACES", "")
    namespaces = parsed.namespace or [part.strip() for part in listed.split(",") if part.strip()]
    return Settings(
        namespaces=tuple(dict.fromkeys(namespaces)),
        image=ReplicaImage(parsed.replica_image, parsed.replica_image_pull_policy),
        listen_host=parsed.listen_host,
        health_port=parsed.health_port,
        log_level=parsed.log_level,
        hash_check_seconds=parsed.hash_check_seconds,
        lease_name=parsed.lease_name,
        operator_pods=OperatorPods(parsed.operator_namespace, parsed.operator_labels),
        certificates=CertificateSettings(parsed.cluster_domain, parsed.authority_transition_seconds),
        concurrent_rollouts=parsed.concurrent_rollouts,
    )


def _one_of(choices: Sequence[str]) -> Callable[[str], str]:
    """Returns a type of arguments. Unlike argparse's ``choices`` it is applied to values of the environment, too."""

    def choice(text: str) -> str:
        if text not in choices:
            raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(choices)}")
        return text

    return choice


def _seconds(text: str) -> float:
    value = float(text)
    if not 0 <= value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(f"it is a number of seconds, from 0 to {MAX_SECONDS:.0f}")
    return value


def _labels(text: str) -> Mapping[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if not all(key and equals for key, equals, _ in pairs):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of labels such as app=rstore,team=a")
    return {key: value for key, _, value in pairs}


def _count(text: str) -> int:
    if not re.fullmatch("[0-9]{1,4}", text) or not 1 <= int(text) <= MAX_CONCURRENT_ROLLOUTS:
        raise argparse.ArgumentTypeError(f"it is a number from 1 to {MAX_CONCURRENT_ROLLOUTS}")
    return int(text)


def _domain(text: str) -> str:
    domain = text.removesuffix(".")
    if not is_domain_name(domain):
        raise argparse.ArgumentTypeError(f"{text!r} is no lower-case domain name such as cluster.local")
    return domain


def _object_name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of an object: lower-case letters, digits, '-' and '.'")
    return text


def _port(text: str) -> int:
    if not re.fullmatch("[0-9]{1,5}", text) or not 0 <= int(text) < 1 << 16:
        raise argparse.ArgumentTypeError("it is a port, from 0 to 65535")
    return int(text)
