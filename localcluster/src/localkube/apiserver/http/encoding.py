"""Values as the bytes of an answer: JSON, spaced for people where they ask for it, or YAML; compressed when large."""

from __future__ import annotations

import gzip
import math
from typing import Any

import msgspec
import yaml

from localkube.apiserver.http.negotiation import YAML

COMPRESSED_FROM_BYTES = 128 * 1024
_FASTEST = 1
_encoder = msgspec.json.Encoder()


def encoded(value: Any, media_type: str, *, pretty: bool = False) -> bytes:
    """Returns the value in a media type."""
    text = _encoder.encode(value)
    if media_type == YAML:
        shown: str = yaml.dump(
            msgspec.json.decode(text), Dumper=_Dumper, sort_keys=True, width=math.inf, allow_unicode=True
        )
        return shown.encode()
    return msgspec.json.format(text, indent=2) + b"\n" if pretty else text


def compressed(body: bytes) -> bytes:
    """Returns a body with gzip, at the cost of little time."""
    return gzip.compress(body, _FASTEST)


class _Dumper(yaml.SafeDumper):
    """YAML with the quotes that Go's library uses, and blocks of text for texts of several lines."""

    def choose_scalar_style(self) -> str:
        style = str(super().choose_scalar_style())
        return '"' if style == "'" else style

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)
