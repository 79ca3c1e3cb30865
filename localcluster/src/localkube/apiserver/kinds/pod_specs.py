"""The spec of a pod, wherever it stands: its defaults, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import Json, JsonObject
from localkube.apiserver.kinds.common import child, set_defaults
from localkube.apiserver.kinds.containers import SECURITY, validate_containers
from localkube.apiserver.kinds.rules import (
    Table,
    always_named,
    between,
    check,
    duplicate,
    invalid,
    label_selector,
    labels,
    named,
    needed,
    needed_named,
    needed_one_of,
    one_of,
    required,
    unsupported,
)
from localkube.apiserver.kinds.volumes import validate_volumes
from localkube.apiserver.schema import formats

_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")
_CONTAINERS = ("initContainers", "containers")
EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


# ---- defaults


def containers_of(spec: JsonObject) -> Iterator[JsonObject]:
    """Yields every container of a pod's spec, of each of the three lists."""
    for name in _CONTAINERS:
        yield from (container for container in spec.get(name) or [] if isinstance(container, dict))


def default_pod_spec(spec: JsonObject) -> None:
    """Defaults of a pod's spec, wherever it stands."""
    set_defaults(
        spec,
        restartPolicy="Always",
        dnsPolicy="ClusterFirst",
        schedulerName="default-scheduler",
        terminationGracePeriodSeconds=30,
    )
    if spec["terminationGracePeriodSeconds"] < 0:
        spec["terminationGracePeriodSeconds"] = 1
    child(spec, "securityContext")
    if not spec.get("serviceAccountName") and spec.get("serviceAccount"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    if spec.get("serviceAccountName"):
        spec["serviceAccount"] = spec["serviceAccountName"]
    for container in containers_of(spec):
        _default_container(container)
    for volume in spec.get("volumes") or []:
        _default_volume(volume)


def _default_container(container: JsonObject) -> None:
    set_defaults(
        container,
        imagePullPolicy=_pull_policy(str(container.get("image") or "")),
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
    )
    child(container, "resources")
    for port in container.get("ports") or []:
        set_defaults(port, protocol="TCP")
    for variable in container.get("env") or []:
        reference = (variable.get("valueFrom") or {}).get("fieldRef")
        if reference is not None:
            set_defaults(reference, apiVersion="v1")
    for name in _PROBES:
        probe = container.get(name)
        if probe is not None:
            for field, value in (
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ):
                probe[field] = probe.get(field) or value
            _default_http(probe)
    for name in ("postStart", "preStop"):
        _default_http((container.get("lifecycle") or {}).get(name) or {})


def _pull_policy(image: str) -> str:
    name, _, digest = image.partition("@")
    tag = name.rsplit("/", 1)[-1].partition(":")[2]
    return "IfNotPresent" if digest or (tag and tag != "latest") else "Always"


def _default_http(handler: JsonObject) -> None:
    if isinstance(handler.get("httpGet"), dict):
        set_defaults(handler["httpGet"], path="/", scheme="HTTP")
    if isinstance(handler.get("grpc"), dict):
        set_defaults(handler["grpc"], service="")


def _default_volume(volume: JsonObject) -> None:
    for name in ("configMap", "secret", "downwardAPI", "projected"):
        source = volume.get(name)
        if source is None:
            continue
        set_defaults(source, defaultMode=420)
        parts = source.get("sources") or [] if name == "projected" else [{name: source}]
        for part in parts:
            for item in (part.get("downwardAPI") or {}).get("items") or []:
                if item.get("fieldRef") is not None:
                    set_defaults(item["fieldRef"], apiVersion="v1")
            if part.get("serviceAccountToken") is not None:
                set_defaults(part["serviceAccountToken"], expirationSeconds=3600)
    if volume.get("hostPath") is not None:
        set_defaults(volume["hostPath"], type="")
    if all(source is None for name, source in volume.items() if name != "name"):
        volume["emptyDir"] = {}


# ---- validation


def taint_effect(value: Json, path: str) -> list[Cause]:
    """Returns the effect of a taint, or of the taints that are tolerated."""
    return [] if not value or value in EFFECTS else [unsupported(path, value, EFFECTS)]


def tolerations(value: Json, path: str) -> Iterator[Cause]:
    """Yields what is wrong with a pod's tolerations."""
    for index, item in enumerate(value or []):
        at = f"{path}[{index}]"
        operator, text, effect = item.get("operator") or "", item.get("value") or "", item.get("effect") or ""
        yield from named(formats.qualified_name)(item.get("key"), f"{at}.key")
        if not item.get("key") and operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid(f"{at}.operator", operator, why)
        if item.get("tolerationSeconds") is not None and effect != "NoExecute":
            yield invalid(f"{at}.effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set")
        if operator in ("", "Equal"):
            problems = formats.label_value(text)
            if problems:
                yield invalid(f"{at}.operator", text, ";".join(problems))
        elif operator == "Exists":
            if text:
                yield invalid(f"{at}.operator", text, "value must be empty when `operator` is 'Exists'")
        else:
            yield unsupported(f"{at}.operator", operator, ("Equal", "Exists"))
        yield from taint_effect(effect, f"{at}.effect")


def _spread(value: Json, path: str) -> Iterator[Cause]:
    seen: set[tuple[str, str]] = set()
    for index, item in enumerate(value or []):
        at = f"{path}[{index}]"
        if (item.get("maxSkew") or 0) <= 0:
            yield invalid(f"{at}.maxSkew", item.get("maxSkew") or 0, formats.POSITIVE)
        if not item.get("topologyKey"):
            yield required(f"{at}.topologyKey", "can not be empty")
        yield from one_of("DoNotSchedule", "ScheduleAnyway")(item.get("whenUnsatisfiable"), f"{at}.whenUnsatisfiable")
        domains = item.get("minDomains")
        if domains is not None and domains <= 0:
            yield invalid(f"{at}.minDomains", domains, formats.POSITIVE)
        key = (item.get("topologyKey") or "", item.get("whenUnsatisfiable") or "")
        if key in seen:
            yield duplicate(f"{at}.{{topologyKey, whenUnsatisfiable}}", f"{{{key[0]}, {key[1]}}}")
        seen.add(key)
        for name in ("nodeAffinityPolicy", "nodeTaintsPolicy"):
            yield from one_of("Honor", "Ignore")(item.get(name), f"{at}.{name}")
        yield from label_selector(item.get("labelSelector"), f"{at}.labelSelector")


_TERM: Table = (
    ("labelSelector", label_selector),
    ("topologyKey", needed("can not be empty")),
    ("namespaces[*]", always_named(formats.dns_label)),
)


def _pod_affinity(value: Json, path: str) -> Iterator[Cause]:
    for index, term in enumerate((value or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or []):
        yield from check(_TERM, term, f"{path}.requiredDuringSchedulingIgnoredDuringExecution[{index}]")
    for index, item in enumerate((value or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or []):
        at = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        if not 1 <= (item.get("weight") or 0) <= 100:
            yield invalid(f"{at}.weight", item.get("weight") or 0, "must be in the range 1-100")
        yield from check(_TERM, item.get("podAffinityTerm"), f"{at}.podAffinityTerm")


_NODE_OPERATORS = {"In": "some", "NotIn": "some", "Exists": "none", "DoesNotExist": "none", "Gt": "one", "Lt": "one"}


def _node_term(value: Json, path: str) -> Iterator[Cause]:
    for index, item in enumerate((value or {}).get("matchExpressions") or []):
        at = f"{path}.matchExpressions[{index}]"
        values = item.get("values") or []
        wanted = _NODE_OPERATORS.get(item.get("operator") or "")
        if wanted is None:
            yield invalid(f"{at}.operator", item.get("operator") or "", "not a valid selector operator")
        elif wanted == "some" and not values:
            yield required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif wanted == "none" and values:
            yield Cause(
                f"{at}.values",
                "Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                "FieldValueForbidden",
            )
        elif wanted == "one" and len(values) != 1:
            yield required(f"{at}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
        for why in formats.qualified_name(item.get("key") or ""):
            yield invalid(f"{at}.key", item.get("key") or "", why)


def _node_affinity(value: Json, path: str) -> Iterator[Cause]:
    wanted = (value or {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if wanted is not None:
        at = f"{path}.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms"
        if not wanted.get("nodeSelectorTerms"):
            yield required(at, "must have at least one node selector term")
        for index, term in enumerate(wanted.get("nodeSelectorTerms") or []):
            yield from _node_term(term, f"{at}[{index}]")
    for index, item in enumerate((value or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or []):
        at = f"{path}.preferredDuringSchedulingIgnoredDuringExecution[{index}]"
        if not 1 <= (item.get("weight") or 0) <= 100:
            yield invalid(f"{at}.weight", item.get("weight") or 0, "must be in the range 1-100")
        yield from _node_term(item.get("preference"), f"{at}.preference")


def _gates(value: Json, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, gate in enumerate(value or []):
        name = gate.get("name") or ""
        yield from always_named(formats.qualified_name)(name, f"{path}[{index}]")
        if name in seen:
            yield duplicate(f"{path}[{index}]", name)
        seen.add(name)


def _dns(value: JsonObject, path: str) -> Iterator[Cause]:
    config = value.get("dnsConfig")
    if value.get("dnsPolicy") == "None":
        if config is None:
            yield required(f"{path}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
            return
        if not config.get("nameservers"):
            why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            yield required(f"{path}.dnsConfig.nameservers", why)
            return
    servers = (config or {}).get("nameservers") or []
    if len(servers) > 3:
        yield invalid(f"{path}.dnsConfig.nameservers", servers, "must not have more than 3 nameservers")
    for index, server in enumerate(servers):
        yield from always_named(formats.ip_address)(server, f"{path}.dnsConfig.nameservers[{index}]")
    searches = (config or {}).get("searches") or []
    if len(searches) > 32:
        yield invalid(f"{path}.dnsConfig.searches", searches, "must not have more than 32 search paths")
    for index, search in enumerate(searches):
        # An underscore counts as a letter here, and the root may be named.
        name = search.removesuffix(".").replace("_", "a")
        if search != "." and formats.dns_subdomain(name):
            why = formats.dns_subdomain(name)[-1]
            yield invalid(f"{path}.dnsConfig.searches[{index}]", search.removesuffix("."), why)
    for index, option in enumerate((config or {}).get("options") or []):
        if not option.get("name"):
            yield required(f"{path}.dnsConfig.options[{index}]", "must not be empty")


def _resource_claims(value: Json, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, claim in enumerate(value or []):
        at, name = f"{path}[{index}]", claim.get("name") or ""
        if name and name in seen:
            yield duplicate(f"{at}.name", name)
        else:
            yield from needed_named(formats.dns_label)(name, f"{at}.name")
        seen.add(name)
        given = [field for field in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(field) is not None]
        if len(given) > 1:
            why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield invalid(at, claim, why)
        elif not given:
            yield invalid(at, claim, "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")
        for field in given:
            yield from always_named(formats.dns_subdomain)(claim[field], f"{at}.{field}")


def _runtime_class(value: Json, path: str) -> list[Cause]:
    return [] if value is None else [invalid(path, value, why) for why in formats.dns_subdomain(value)]


_USER = between(0, 2**31 - 1)
_POD: Table = (
    (
        "restartPolicy",
        needed_one_of("Always", "OnFailure", "Never", ordered=True),
    ),
    ("dnsPolicy", needed_one_of("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None", ordered=True)),
    ("nodeSelector", labels),
    ("securityContext", lambda value, path: check(SECURITY, value, path)),
    ("securityContext.fsGroup", _USER),
    ("securityContext.supplementalGroups[*]", _USER),
    ("securityContext.fsGroupChangePolicy", one_of("Always", "OnRootMismatch")),
    ("affinity.nodeAffinity", _node_affinity),
    ("affinity.podAffinity", _pod_affinity),
    ("affinity.podAntiAffinity", _pod_affinity),
    ("", _dns),
    ("readinessGates[*].conditionType", always_named(formats.qualified_name)),
    ("schedulingGates", _gates),
    ("resourceClaims", _resource_claims),
    ("topologySpreadConstraints", _spread),
    ("serviceAccountName", named(formats.dns_subdomain)),
    ("nodeName", named(formats.dns_subdomain)),
    ("activeDeadlineSeconds", between(1, 2**31 - 1)),
    ("hostname", named(formats.dns_label)),
    ("subdomain", named(formats.dns_label)),
    ("tolerations", tolerations),
    ("hostAliases[*].ip", always_named(formats.ip_address)),
    ("hostAliases[*].hostnames[*]", always_named(formats.dns_subdomain)),
    ("priorityClassName", named(formats.dns_subdomain)),
    ("runtimeClassName", _runtime_class),
    ("preemptionPolicy", one_of("PreemptLowerPriority", "Never", ordered=True)),
)


def validate_pod_spec(spec: JsonObject, path: str, claim_templates: Collection[str] = ()) -> list[Cause]:
    """Returns what is wrong with a pod's spec; ``claim_templates`` are names of volumes that it gets from elsewhere."""
    volumes = spec.get("volumes") or []
    names = {str(volume.get("name") or "") for volume in volumes} | set(claim_templates)
    return [
        *validate_volumes(volumes, f"{path}.volumes"),
        *validate_containers(spec, path, names),
        *check(_POD, spec, path),
    ]
