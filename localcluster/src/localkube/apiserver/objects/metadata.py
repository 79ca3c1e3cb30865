"""What is wrong with an object's metadata: its name, labels, annotations, owners and finalizers.

The rules and their order are those of ``k8s.io/apimachinery/pkg/api/validation``.
"""

from __future__ import annotations

import itertools
import json
import secrets
from collections.abc import Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.resources import Resource
from localkube.apiserver.schema.formats import (
    IMMUTABLE,
    MAX_ANNOTATION_BYTES,
    NOT_NEGATIVE,
    Check,
    dns_label,
    dns_subdomain,
    label_key,
    label_value,
    path_segment,
    qualified_name,
)
from localkube.apiserver.schema.rendering import quoted

FOREGROUND_FINALIZER = "foregroundDeletion"
ORPHAN_FINALIZER = "orphan"
STANDARD_FINALIZERS = frozenset({"kubernetes", ORPHAN_FINALIZER, FOREGROUND_FINALIZER})
_FORBIDDEN_OWNERS = frozenset({("v1", "Event")})
_OWNER_FIELDS = ("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_MAX_GENERATED_BASE = 58


def generate_name(prefix: str) -> str:
    """``prefix`` and five random characters, 63 in all at most."""
    return prefix[:_MAX_GENERATED_BASE] + "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(5))


def _path_segment_prefix(name: str) -> list[str]:
    return [f"may not contain '{character}'" for character in ("/", "%") if character in name]


_RBAC = "rbac.authorization.k8s.io"
_NAMES: dict[str, Check] = {
    "namespaces": dns_label,
    "services": dns_label,
    "events": path_segment,
    **{
        f"{plural}.{_RBAC}": path_segment for plural in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")
    },
}
"""The rules for the names of kinds, where they are not those of DNS subdomains."""


def _name_causes(resource: Resource, metadata: JsonObject) -> Iterator[Cause]:
    check = _NAMES.get(resource.key, dns_subdomain)
    base = metadata.get("generateName")
    if base:
        shown = base[:-2] + "a" if len(base) > 1 and base.endswith("-") else base
        problems = _path_segment_prefix(base) if check is path_segment else check(shown)
        yield from (_invalid("metadata.generateName", base, problem) for problem in problems)
    name = metadata.get("name")
    if not name:
        yield Cause("metadata.name", "Required value: name or generateName is required", "FieldValueRequired")
        return
    yield from (_invalid("metadata.name", name, problem) for problem in check(name))


def _invalid(path: str, value: Json, problem: str) -> Cause:
    text = quoted(value) if isinstance(value, str) else json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return Cause(path, f"Invalid value: {text}: {problem}")


def label_causes(labels: JsonObject, path: str) -> Iterator[Cause]:
    """Yields what is wrong with a map of labels."""
    for key, value in labels.items():
        yield from (_invalid(path, key, problem) for problem in label_key(key))
        yield from (_invalid(path, value, problem) for problem in label_value(value))


def _annotation_causes(annotations: JsonObject) -> Iterator[Cause]:
    path, size = "metadata.annotations", 0
    for key, value in annotations.items():
        # Only here does case not matter.
        yield from (_invalid(path, key, problem) for problem in label_key(key.lower()))
        size += len(key.encode()) + len(value.encode())
    if size > MAX_ANNOTATION_BYTES:
        yield Cause(path, f"Too long: may not be more than {MAX_ANNOTATION_BYTES} bytes", "FieldValueTooLong")


def _owner_causes(owners: list[JsonObject]) -> Iterator[Cause]:
    path = "metadata.ownerReferences"
    controllers: list[str] = []
    for owner in owners:
        api_version, kind = owner.get("apiVersion") or "", owner.get("kind") or ""
        if not api_version or api_version.count("/") > 1 or api_version.endswith("/"):
            yield _invalid(f"{path}.apiVersion", api_version, "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not owner.get(name):
                yield _invalid(f"{path}.{name}", "", "must not be empty")
        if (api_version, kind) in _FORBIDDEN_OWNERS:
            yield _invalid(path, _shown_owner(owner), f"/{api_version}, Kind={kind} is disallowed from being an owner")
        if owner.get("controller"):
            controllers.append(f"{kind}/{owner.get('name') or ''}")
    for one, other in itertools.pairwise(controllers):
        why = f'Only one reference can have Controller set to true. Found "true" in references for {one} and {other}'
        yield _invalid(path, [_shown_owner(owner) for owner in owners], why)


def _shown_owner(owner: JsonObject) -> JsonObject:
    return {name: owner[name] for name in _OWNER_FIELDS if name in owner}


def _finalizer_causes(resource: Resource, finalizers: list[str], *, all_rules: bool = False) -> Iterator[Cause]:
    path = "metadata.finalizers"
    if all_rules:
        for finalizer in finalizers:
            yield from (_invalid(path, finalizer, problem) for problem in qualified_name(finalizer))
        if ORPHAN_FINALIZER in finalizers and FOREGROUND_FINALIZER in finalizers:
            why = f"finalizer {ORPHAN_FINALIZER} and {FOREGROUND_FINALIZER} cannot be both set"
            yield _invalid(path, finalizers, why)
    if resource.custom or resource.group == "apiextensions.k8s.io":
        return
    for index, finalizer in enumerate(finalizers):
        if "/" not in finalizer and finalizer not in STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield _invalid(f"{path}[{index}]", finalizer, why)


def content_causes(metadata: JsonObject) -> list[Cause]:
    """Returns what is wrong with labels, annotations and owners, which can be so in objects inside others, too."""
    causes = []
    for name in ("labels", "annotations"):
        texts = metadata.get(name) or {}
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            causes.append(_invalid(f"metadata.{name}", texts, "must be a map of strings"))
        else:
            causes += label_causes(texts, f"metadata.{name}") if name == "labels" else _annotation_causes(texts)
    owners = metadata.get("ownerReferences") or []
    if not isinstance(owners, list) or not all(isinstance(owner, dict) for owner in owners):
        return [*causes, _invalid("metadata.ownerReferences", owners, "must be a list of owner references")]
    return [*causes, *_owner_causes(owners)]


_CHECKED_AGAIN = frozenset(
    {"configmaps", "secrets", "services", "endpoints", "pods", "nodes", "serviceaccounts", "events"}
    | {"persistentvolumes", "persistentvolumeclaims", "controllerrevisions.apps"}
    | {f"{plural}.{_RBAC}" for plural in ("roles", "rolebindings", "clusterroles", "clusterrolebindings")}
)
"""Kinds of which a changed object is checked as a new one is, too."""


def metadata_causes(resource: Resource, obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """Returns what is wrong with the metadata of a new object, or with how it changed.

    Of a change each mistake is there twice, as in Kubernetes, which looks for it in two places.
    """
    metadata = obj["metadata"]
    causes = content_causes(metadata)
    finalizers = metadata.get("finalizers") or []
    if old is None:
        generation = metadata.get("generation") or 0
        negative = [_invalid("metadata.generation", generation, NOT_NEGATIVE)] if generation < 0 else []
        named = [*_name_causes(resource, metadata), *negative]
        return [*named, *causes, *_finalizer_causes(resource, finalizers, all_rules=True)]
    changes = [*_change_causes(metadata, old["metadata"]), *causes, *_finalizer_causes(resource, finalizers)]
    if resource.key in _CHECKED_AGAIN:
        changes += [*causes, *_finalizer_causes(resource, finalizers, all_rules=True)]
    return [*_change_causes(metadata, old["metadata"]), *causes, *changes]


def _change_causes(metadata: JsonObject, before: JsonObject) -> Iterator[Cause]:
    if before.get("deletionTimestamp"):
        added = sorted(set(metadata.get("finalizers") or []) - set(before.get("finalizers") or []))
        if added:
            listed = ", ".join(f'"{item}"' for item in added)
            why = (
                "no new finalizers can be added if the object is being deleted, "
                f"found new finalizers []string{{{listed}}}"
            )
            yield Cause("metadata.finalizers", f"Forbidden: {why}", "FieldValueForbidden")
    for name in ("uid", "deletionTimestamp", "deletionGracePeriodSeconds"):
        if metadata.get(name) != before.get(name):
            yield _invalid(f"metadata.{name}", metadata.get(name), IMMUTABLE)


def metadata_warnings(resource: Resource, obj: JsonObject, old: JsonObject | None) -> list[str]:
    """Returns what a client should know of an object's finalizers, where nothing forbids them."""
    before = set((old or {}).get("metadata", {}).get("finalizers") or [])
    return [
        f'metadata.finalizers: "{finalizer}": prefer a domain-qualified finalizer name to avoid accidental conflicts '
        "with other finalizer writers"
        for finalizer in (obj["metadata"].get("finalizers") or [] if resource.custom else [])
        if finalizer not in before and "/" not in finalizer and finalizer not in STANDARD_FINALIZERS
    ]


def drop_repeated_owners(obj: JsonObject) -> list[str]:
    """Keep each owner reference once, in place; returns a warning where one was there again."""
    kept: list[JsonObject] = []
    repeated: list[str] = []
    metadata = obj.get("metadata")
    owners = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    if not isinstance(metadata, dict) or not isinstance(owners, list):
        return []
    for owner in owners:
        if owner in kept and isinstance(owner, dict):
            repeated.append(str(owner.get("uid")))
        else:
            kept.append(owner)
    if not repeated:
        return []
    metadata["ownerReferences"] = kept
    return [
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may "
        "reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
        + ", ".join(repeated)
    ]
