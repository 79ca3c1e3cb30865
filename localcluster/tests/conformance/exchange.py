"""Sends recorded requests to a server and reads what it answers."""

from __future__ import annotations

import gzip
import http.client
import json
import re
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import yaml

_MANAGER = "rec"
_REPEAT = re.compile(r"<repeat:(.):(\d+)>")
_TOO_MANY_TRIES = 5
_SAFE_IN_PATH = "/:@!$&'()*+,;=~-._%"


@dataclass(frozen=True)
class Answer:
    """What a server answered: status, headers, and the body as it came."""

    status: int
    headers: http.client.HTTPMessage
    raw: bytes

    @property
    def content_type(self) -> str:
        """The Content-Type header, or an empty text."""
        return self.headers.get("Content-Type") or ""

    def text(self) -> str:
        """The body as text, decompressed."""
        raw = gzip.decompress(self.raw) if self.headers.get("Content-Encoding") == "gzip" else self.raw
        return raw.decode("utf-8", "replace")

    def value(self, *, watch: bool) -> Any:
        """The body as JSON; of a watch the list of its events; the text where it is no JSON."""
        text = self.text()
        if "json" not in self.content_type and not text.startswith("{"):
            return text
        try:
            if watch and self.status == 200:
                events = _documents(text)
                return events[0] if len(events) == 1 and "object" not in events[0] else events
            return json.loads(text)
        except ValueError:
            return text


def _documents(text: str) -> list[Any]:
    """JSON documents that follow each other."""
    decoder, documents, at = json.JSONDecoder(), [], 0
    while at < len(text):
        if text[at].isspace():
            at += 1
            continue
        document, at = decoder.raw_decode(text, at)
        documents.append(document)
    return documents


def expand(value: Any) -> Any:
    """A request's part in which ``<repeat:x:3>`` became ``xxx``."""
    if isinstance(value, dict):
        return {expand(key): expand(item) for key, item in value.items()}
    if isinstance(value, list):
        return [expand(item) for item in value]
    if isinstance(value, str):
        return _REPEAT.sub(lambda match: match.group(1) * int(match.group(2)), value)
    return value


class Connection:
    """Requests to one server, one at a time, as the administrator of a kubeconfig."""

    def __init__(self, kubeconfig: str) -> None:
        config = yaml.safe_load(kubeconfig)
        self._address = urlsplit(config["clusters"][0]["cluster"]["server"])
        self._authorization = f"Bearer {config['users'][0]['user']['token']}"
        self._tls = ssl.create_default_context()
        self._tls.check_hostname = False
        self._tls.verify_mode = ssl.CERT_NONE
        self._idle: http.client.HTTPSConnection | None = None

    def send(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        auth: str | None = None,
    ) -> Answer:
        """The answer to a request. ``auth``: None sends the administrator's token, "none" sends no credentials,
        anything else is the header's value. Reads that are refused as too many are sent again."""
        target = quote(path, safe=_SAFE_IN_PATH)
        if query:
            target += "?" + urlencode(query, doseq=True, quote_via=quote)
        full = {"User-Agent": _MANAGER, "Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        if auth != "none":
            full["Authorization"] = auth or self._authorization
        for _ in range(_TOO_MANY_TRIES):
            answer = self._once(method, target, full, body)
            if answer.status != 429 or method != "GET":
                break
            time.sleep(float(answer.headers.get("Retry-After") or 1))
        return answer

    def close(self) -> None:
        """Closes the connection that is kept between requests."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def _once(self, method: str, target: str, headers: dict[str, str], body: bytes | None) -> Answer:
        """One try, and a second where the kept connection had been closed by the server."""
        kept, self._idle = self._idle, None
        for connection in (kept, None):
            used = connection or http.client.HTTPSConnection(
                self._address.hostname or "", self._address.port, timeout=60, context=self._tls
            )
            try:
                used.request(method, target, body=body, headers=headers)
                response = used.getresponse()
                raw = response.read()
            except (http.client.HTTPException, OSError) as error:
                used.close()
                if connection is None or isinstance(error, TimeoutError):
                    raise
                continue
            if response.will_close:
                used.close()
            else:
                self._idle = used
            return Answer(response.status, response.headers, raw)
        raise AssertionError("the second try returns or raises")
