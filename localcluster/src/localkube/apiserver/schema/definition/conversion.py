"""Conversion between versions: None, or a webhook with an address and versions of its review. Pure."""

from __future__ import annotations

from urllib.parse import urlsplit

from localkube.apiserver.errors import Cause
from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.schema.definition.causes import forbidden, invalid, not_supported, required
from localkube.apiserver.schema.definition.names import label_problem
from localkube.apiserver.schema.formats import PORT_RANGE, dns_subdomain

_PATH = "spec.conversion"
_KNOWN_REVIEWS = ("v1", "v1beta1")
_FORM = "; desired format: https://host[/path]"


def conversion_causes(spec: JsonObject) -> list[Cause]:
    """What is wrong with a definition's conversion."""
    conversion = spec.get("conversion") or {}
    strategy = conversion.get("strategy") or ""
    webhook = conversion.get("webhook") or {}
    client, reviews = webhook.get("clientConfig"), webhook.get("conversionReviewVersions") or []
    causes = []
    if strategy != "None" and spec.get("preserveUnknownFields"):
        why = "must be None if spec.preserveUnknownFields is true"
        causes.append(invalid(f"{_PATH}.strategy", strategy, why))
    if not strategy:
        causes.append(required(f"{_PATH}.strategy"))
    elif strategy not in ("None", "Webhook"):
        causes.append(not_supported(f"{_PATH}.strategy", strategy, ("None", "Webhook")))
    if strategy == "Webhook":
        return causes + _client_causes(client) + _review_causes(reviews)
    unwanted = "should not be set when strategy is not set to Webhook"
    if client is not None:
        causes.append(forbidden(f"{_PATH}.webhookClientConfig", unwanted))
    if reviews:
        causes.append(forbidden(f"{_PATH}.conversionReviewVersions", unwanted))
    return causes


def _client_causes(client: JsonObject | None) -> list[Cause]:
    path = f"{_PATH}.webhookClientConfig"
    if client is None:
        return [required(path, "required when strategy is set to Webhook")]
    url, service = client.get("url"), client.get("service")
    if (url is None) == (service is None):
        return [required(path, "exactly one of url or service is required")]
    return _url_causes(str(url), f"{path}.url") if service is None else _service_causes(service, f"{path}.service")


def _url_causes(text: str, path: str) -> list[Cause]:
    try:
        url = urlsplit(text)
    except ValueError as error:
        return [required(path, f"url must be a valid URL: {error}{_FORM}")]
    causes = []
    if url.scheme != "https":
        causes.append(invalid(path, url.scheme, f"'https' is the only allowed URL scheme{_FORM}"))
    if not url.hostname:
        causes.append(invalid(path, url.netloc, f"host must be specified{_FORM}"))
    if "@" in url.netloc:
        causes.append(invalid(path, url.netloc.rpartition("@")[0], "user information is not permitted in the URL"))
    if url.fragment:
        causes.append(invalid(path, url.fragment, "fragments are not permitted in the URL"))
    if url.query:
        causes.append(invalid(path, url.query, "query parameters are not permitted in the URL"))
    return causes


def _service_causes(service: JsonObject, path: str) -> list[Cause]:
    causes = [required(f"{path}.{field}") for field in ("name", "namespace") if not service.get(field)]
    port = service.get("port", 443)
    if not 1 <= port <= 65535:
        causes.append(invalid(f"{path}.port", port, f"port is not valid: {PORT_RANGE}"))
    url_path = service.get("path") or "/"
    if url_path == "/":
        return causes
    if not url_path.startswith("/"):
        causes.append(invalid(f"{path}.path", url_path, "must start with a '/'"))
    for index, step in enumerate(url_path[1:].removesuffix("/").split("/")):
        if not step:
            causes.append(invalid(f"{path}.path", url_path, f"segment[{index}] may not be empty"))
            continue
        for problem in dns_subdomain(step):
            causes.append(invalid(f"{path}.path", url_path, f"segment[{index}]: {problem}"))
    return causes


def _review_causes(reviews: list[str]) -> list[Cause]:
    path = f"{_PATH}.conversionReviewVersions"
    if not reviews:
        return [required(path)]
    causes = []
    for index, name in enumerate(reviews):
        if name in reviews[:index]:
            causes.append(invalid(f"{path}[{index}]", name, "duplicate version"))
        elif problem := label_problem(name):
            causes.append(invalid(f"{path}[{index}]", name, problem))
    if not any(name in _KNOWN_REVIEWS for name in reviews):
        causes.append(invalid(path, reviews, f"must include at least one of {', '.join(_KNOWN_REVIEWS)}"))
    return causes
