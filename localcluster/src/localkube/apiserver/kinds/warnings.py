"""What a client is warned of when it writes a built-in kind: accepted, but worth a word."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.kinds.config import secret_warnings
from localkube.apiserver.kinds.rules import amount

Warn = Callable[[JsonObject], Iterator[str] | list[str]]


def _pod(obj: JsonObject) -> Iterator[str]:
    yield from _pod_spec(obj.get("spec") or {}, "spec")


def _template(obj: JsonObject) -> Iterator[str]:
    template = (obj.get("spec") or {}).get("template") or {}
    yield from _pod_spec(template.get("spec") or {}, "spec.template.spec")


def _pod_spec(spec: JsonObject, path: str) -> Iterator[str]:
    for field in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(field) or []):
            at = f"{path}.{field}[{index}]"
            yield from _hidden(container, at)
            yield from _same_ports(container, at)
            for side in ("limits", "requests"):
                for name, value in ((container.get("resources") or {}).get(side) or {}).items():
                    whole = amount(value) == amount(value).to_integral_value()
                    if name in ("memory", "ephemeral-storage") and not whole:
                        where = f"{at}.resources.{side}[{name}]"
                        yield f'{where}: fractional byte value "{value}" is invalid, must be an integer'


def _hidden(container: JsonObject, path: str) -> Iterator[str]:
    names: set[str] = set()
    for index, variable in enumerate(container.get("env") or []):
        name = variable.get("name") or ""
        if name in names and not str(variable.get("value") or "").count(f"$({name})"):
            yield f'{path}.env[{index}]: hides previous definition of "{name}", which may be dropped when using apply'
        names.add(name)


def _same_ports(container: JsonObject, path: str) -> Iterator[str]:
    seen: dict[tuple[object, object], int] = {}
    for index, port in enumerate(container.get("ports") or []):
        key = (port.get("containerPort"), port.get("protocol"))
        if key in seen and not port.get("hostPort"):
            yield f"{path}.ports[{index}]: duplicate port definition with {path}.ports[{seen[key]}]"
        seen.setdefault(key, index)


_WARNINGS: dict[str, Warn] = {
    "pods": _pod,
    "statefulsets.apps": _template,
    "deployments.apps": _template,
    "replicasets.apps": _template,
    "secrets": secret_warnings,
}


def warnings_of(key: str, obj: JsonObject, old: JsonObject | None) -> list[str]:
    """Warnings about an object, apart from those about its version; an unchanged spec is not warned of again."""
    warn = _WARNINGS.get(key)
    if warn is None or (old is not None and obj.get("spec") == old.get("spec") and key != "secrets"):
        return []
    return list(warn(obj))
