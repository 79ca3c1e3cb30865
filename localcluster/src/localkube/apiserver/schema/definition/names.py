"""Names in a definition: its own, its group, kinds and short names; and who may use protected groups."""

from __future__ import annotations

from urllib.parse import urlsplit

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.schema.definition.causes import invalid, required
from localkube.apiserver.schema.formats import dns_1035_label, dns_subdomain

_APPROVAL = "api-approved.kubernetes.io"


def label_problem(text: str) -> str:
    """Returns why a text is not a DNS-1035 label; empty when it is one."""
    return ",".join(dns_1035_label(text))


def metadata_causes(obj: JsonObject) -> list[Cause]:
    """Returns the definition's own name: ``plural.group``. (That it is a name at all is checked for all kinds of
    objects.)"""
    name, spec = obj["metadata"].get("name") or "", obj["spec"]
    if not name or name == f"{spec['names']['plural']}.{spec['group']}":
        return []
    return [invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')]


def group_causes(group: str) -> list[Cause]:
    """Returns the group: a domain with a dot in it."""
    if not group:
        return [required("spec.group")]
    problems = dns_subdomain(group)
    if problems:
        return [invalid("spec.group", group, ",".join(problems))]
    if "." not in group:
        return [invalid("spec.group", group, "should be a domain with at least one dot")]
    return []


def names_causes(names: JsonObject) -> list[Cause]:
    """Returns the names of the resource: four that must be there, short names and categories."""
    path = "spec.names"
    causes = []
    for field in ("plural", "singular", "kind", "listKind"):
        text = names.get(field) or ""
        mixed = field in ("kind", "listKind")
        problem = label_problem(text.lower() if mixed else text) if text else ""
        if problem:
            why = f"may have mixed case, but should otherwise match: {problem}" if mixed else problem
            causes.append(invalid(f"{path}.{field}", text, why))
        elif not text:
            causes.append(required(f"{path}.{field}"))
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        causes.append(invalid(f"{path}.listKind", names["listKind"], "kind and listKind may not be the same"))
    for field in ("shortNames", "categories"):
        for index, text in enumerate(names.get(field) or []):
            problem = label_problem(text)
            if problem:
                causes.append(invalid(f"{path}.{field}[{index}]", text, problem))
    return causes


def approval_causes(obj: JsonObject, old: JsonObject | None) -> list[Cause]:
    """Groups of Kubernetes itself need an annotation that names the approval."""
    group = obj["spec"]["group"]
    if not f".{group}".endswith((".k8s.io", ".kubernetes.io")):
        return []
    state, why = _approval(obj)
    if state in ("approved", "bypassed") or (old is not None and _approval(old)[0] == state):
        return []
    path = f"metadata.annotations[{_APPROVAL}]"
    if state == "missing":
        return [required(path, why)]
    return [invalid(path, obj["metadata"]["annotations"][_APPROVAL], why)]


def _approval(obj: JsonObject) -> tuple[str, str]:
    text = (obj["metadata"].get("annotations") or {}).get(_APPROVAL) or ""
    needed = f'protected groups must have approval annotation "{_APPROVAL}"'
    where = "see https://github.com/kubernetes/enhancements/pull/1111"
    if not text:
        return "missing", f"{needed}, {where}"
    if text.startswith("unapproved"):
        return "bypassed", ""
    try:
        url = urlsplit(text)
        approved = bool(url.scheme and url.hostname)
    except ValueError:
        approved = False
    return (
        ("approved", "")
        if approved
        else (
            "invalid",
            f'{needed} with either a URL or a reason starting with "unapproved", {where}',
        )
    )
