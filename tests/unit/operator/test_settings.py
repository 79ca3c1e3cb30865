"""Settings of the operator's process: arguments, the environment, defaults, and what is refused."""

from __future__ import annotations

import pytest
from rstore_operator.resource.model import DEFAULT_CERTIFICATE_SETTINGS, ReplicaImage
from rstore_operator.settings import HASH_CHECK_SECONDS, HEALTH_PORT, parse_arguments

IMAGE = {"RSTORE_REPLICA_IMAGE": "replica:1"}


def test_the_image_is_enough() -> None:
    settings = parse_arguments([], IMAGE)
    assert settings.image == ReplicaImage("replica:1", "IfNotPresent")
    assert settings.namespaces == ()
    assert (settings.health_port, settings.log_level) == (HEALTH_PORT, "info")
    assert settings.hash_check_seconds == HASH_CHECK_SECONDS
    assert settings.certificates == DEFAULT_CERTIFICATE_SETTINGS


def test_the_environment_is_read_and_an_argument_takes_precedence() -> None:
    environment = {
        **IMAGE,
        "RSTORE_REPLICA_IMAGE_PULL_POLICY": "Always",
        "RSTORE_WATCH_NAMESPACES": "team-a, team-b,,team-a",
        "RSTORE_HEALTH_PORT": "9000",
        "RSTORE_HASH_CHECK_SECONDS": "0",
        "RSTORE_CLUSTER_DOMAIN": "k8s.example.",
        "RSTORE_AUTHORITY_TRANSITION_SECONDS": "60",
    }
    settings = parse_arguments([], environment)
    assert settings.image.pull_policy == "Always"
    assert settings.namespaces == ("team-a", "team-b")
    assert (settings.health_port, settings.hash_check_seconds) == (9000, 0.0)
    assert settings.certificates.cluster_domain == "k8s.example"
    assert settings.certificates.authority_transition_seconds == 60
    settings = parse_arguments(["--namespace=mine", "--health-port=9001", "--replica-image=other:2"], environment)
    assert (settings.namespaces, settings.health_port, settings.image.image) == (("mine",), 9001, "other:2")


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        ([], {}, "give --replica-image or RSTORE_REPLICA_IMAGE"),
        (["--health-port=70000"], IMAGE, "a port, from 0 to 65535"),
        ([], {**IMAGE, "RSTORE_HEALTH_PORT": "http"}, "a port, from 0 to 65535"),
        (["--hash-check-seconds=-1"], IMAGE, "a number of seconds"),
        (["--authority-transition-seconds=nan"], IMAGE, "a number of seconds"),
        (["--cluster-domain=No Domain"], IMAGE, "no lower-case domain name"),
        (["--log-level=loud"], IMAGE, "'loud' is none of debug, info, warning, error"),
        ([], {**IMAGE, "RSTORE_LOG_LEVEL": "loud"}, "'loud' is none of debug, info, warning, error"),
        ([], {**IMAGE, "RSTORE_REPLICA_IMAGE_PULL_POLICY": "Often"}, "'Often' is none of Always, IfNotPresent, Never"),
    ],
)
def test_what_is_not_valid_is_a_usage_error(
    arguments: list[str], environment: dict[str, str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parse_arguments(arguments, environment)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_the_help_names_each_variable(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_arguments(["--help"], IMAGE)
    shown = capsys.readouterr().out
    for variable in ("REPLICA_IMAGE", "WATCH_NAMESPACES", "HEALTH_PORT", "LOG_LEVEL", "CLUSTER_DOMAIN"):
        assert f"RSTORE_{variable}" in shown
