"""Whatever YAML could take for a number, a time or a truth value stays a text: names, namespaces, labels, images."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
import yaml

if TYPE_CHECKING:
    from chart.conftest import Helm

AWKWARD = [
    "1234", "007", "1e3", "0x1f", "3240286e-210077", "0b11", "2001-01-01", "on", "yes", "null", "true", "0.5", "12e03",
]  # fmt: skip
DIGEST = "sha256:" + "0123456789abcdef" * 4


def texts(made: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yields every value that Kubernetes requires to be a string: names, namespaces, maps of labels and annotations."""
    if isinstance(made, dict):
        for key, value in made.items():
            here = f"{place}/{key}"
            if key in ("labels", "annotations", "matchLabels", "nodeSelector"):
                yield from ((f"{here}/{name}", text) for name, text in (value or {}).items())
                yield from ((f"{here} (name)", name) for name in value or {})
            elif (
                key in ("name", "namespace", "serviceAccountName", "priorityClassName", "image", "imagePullPolicy")
                or key == "value"
            ):
                yield here, value
            else:
                yield from texts(value, here)
    elif isinstance(made, list):
        for index, item in enumerate(made):
            yield from texts(item, f"{place}/{index}")


def check(objects: tuple[dict[str, Any], ...]) -> list[Any]:
    ours = [made for made in objects if made["kind"] != "CustomResourceDefinition"]  # it is a file, without values
    found = [(made["kind"], place, text) for made in ours for place, text in texts(made)]
    assert len(found) > 20
    assert [item for item in found if not isinstance(item[2], str)] == []
    return [text for _, _, text in found]


@pytest.mark.parametrize("name", AWKWARD)
def test_names_of_the_release_and_of_namespaces(helm: Helm, name: str) -> None:
    label = name.replace(".", "-")
    for values in ({}, {"watchNamespaces": [label, "1235"]}, {"fullnameOverride": label}, {"nameOverride": label}):
        rendered = helm.render_as(label, label, **values)
        assert label in check(rendered.objects)


@pytest.mark.parametrize("text", AWKWARD)
def test_values_of_every_map_and_name(helm: Helm, text: str) -> None:
    rendered = helm.render(
        podLabels={"a": text},
        podAnnotations={"b": text},
        nodeSelector={"c": text},
        serviceAccount={"name": text.replace(".", "-"), "annotations": {"d": text}},
        priorityClassName=text.replace(".", "-"),
        commonAnnotations={"e": text},
        service={"labels": {"f": text}, "annotations": {"g": text}},
        additionalArgs=[text],
        monitoring={
            "podMonitorEnabled": True,
            "podMonitorAdditionalLabels": {"h": text},
            "prometheusRule": {"create": True, "additionalLabels": {"i": text}},
            "grafanaDashboard": {"create": True, "sidecarLabelValue": text, "labels": {"j": text}},
        },
        imagePullSecrets=[{"name": text}],
        extraEnv=[{"name": "E", "value": text}],
        image={"tag": text},
        replicaImage={"tag": text},
    )
    made = check(rendered.objects)
    assert made.count(text) >= 5
    assert f"replicated-store-operator:{text}" in made
    assert f"replicated-store-replica:{text}" in made
    assert rendered.container["args"] == [text]


@pytest.mark.parametrize(
    ("values", "place"),
    [
        ({"image": {"tag": 9765483}}, "/image/tag"),
        ({"image": {"tag": 1.1}}, "/image/tag"),
        ({"replicaImage": {"tag": 215000000.0}}, "/replicaImage/tag"),
        ({"watchNamespaces": [1234]}, "/watchNamespaces/0"),
        ({"priorityClassName": 1000}, "/priorityClassName"),
        ({"nameOverride": 7}, "/nameOverride"),
        ({"fullnameOverride": True}, "/fullnameOverride"),
        ({"podLabels": {"a": 1}}, "/podLabels/a"),
        ({"podAnnotations": {"a": False}}, "/podAnnotations/a"),
        ({"nodeSelector": {"a": 1}}, "/nodeSelector/a"),
        ({"serviceAccount": {"create": True, "annotations": {"a": 1}}}, "/serviceAccount/annotations/a"),
        ({"extraEnv": [{"name": "A", "value": 1}]}, "/extraEnv/0/value"),
    ],
)
def test_a_number_where_a_text_belongs_is_refused_and_says_to_quote_it(
    helm: Helm, values: dict[str, Any], place: str
) -> None:
    with pytest.raises(Exception, match="quote it, or use --set-string") as refusal:
        helm.render(**values)
    assert place in str(refusal.value)


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        ({"repository": "reg/x", "digest": DIGEST}, f"reg/x@{DIGEST}"),
        ({"repository": "reg/x", "tag": "1.2", "digest": DIGEST}, f"reg/x:1.2@{DIGEST}"),
        ({"repository": f"reg/x@{DIGEST}"}, f"reg/x@{DIGEST}"),
        ({"repository": "reg/x", "tag": f"1.2@{DIGEST}"}, f"reg/x:1.2@{DIGEST}"),
        ({"repository": "reg/x", "tag": f"@{DIGEST}"}, f"reg/x@{DIGEST}"),
        ({"repository": "reg/x", "tag": "9765483"}, "reg/x:9765483"),
        ({"repository": "reg/x", "tag": "00215e6"}, "reg/x:00215e6"),
        ({"repository": "reg/x", "tag": "1.10"}, "reg/x:1.10"),
    ],
)
def test_images_may_be_pinned_by_digest(helm: Helm, image: dict[str, str], expected: str) -> None:
    for key, registry in itertools.product(("image", "replicaImage"), ("", "registry.example.com:5000/team")):
        rendered = helm.render(**{key: image}, imageRegistry=registry)
        wanted = f"{registry}/{expected}" if registry else expected
        environment = {entry["name"]: entry.get("value") for entry in rendered.container["env"]}
        assert wanted == (rendered.container["image"] if key == "image" else environment["RSTORE_REPLICA_IMAGE"])


@pytest.mark.parametrize(
    "image",
    [
        {"repository": f"reg/x@{DIGEST}", "tag": "1.2"},
        {"repository": f"reg/x@{DIGEST}", "digest": DIGEST},
        {"repository": "reg/x", "tag": f"1.2@{DIGEST}", "digest": DIGEST},
        {"repository": "reg/x@sha256:abc"},
        {"repository": "reg/x", "digest": "abc"},
    ],
)
def test_digests_that_make_no_sense_are_refused(helm: Helm, image: dict[str, str]) -> None:
    with pytest.raises(Exception, match=r"digest|repository|pattern"):
        helm.render(image=image)


def test_the_reader_of_these_tests_takes_what_is_not_quoted_for_numbers() -> None:
    """Otherwise the tests above would show nothing."""
    assert yaml.safe_load("a: 1234\nb: 0x1f\nc: on\nd: 1.5") == {"a": 1234, "b": 31, "c": True, "d": 1.5}
