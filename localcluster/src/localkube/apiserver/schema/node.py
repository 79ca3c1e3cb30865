"""One view of a schema for everything that walks objects: validation, pruning, merging, ownership of fields."""

from __future__ import annotations

from collections.abc import Callable

from localkube.apiserver.jsonobj import JsonObject
from localkube.apiserver.schema import builtin

OBJECT_META: JsonObject = {"$ref": builtin.PREFIX + builtin.component_name("V1ObjectMeta")}
_EMBEDDED: JsonObject = {"apiVersion": {}, "kind": {}, "metadata": OBJECT_META}

Resolver = Callable[[str], JsonObject]


class Node:
    """A schema at one place of an object; ``$ref`` is resolved on the way down."""

    __slots__ = ("_additional", "_builtin", "_fields", "_items", "_resolve", "_zeros", "raw")

    def __init__(self, raw: JsonObject, resolve: Resolver = builtin.resolve) -> None:
        reference = raw.get("$ref")
        if reference is not None:
            raw = {**resolve(str(reference)), **{key: value for key, value in raw.items() if key != "$ref"}}
        self.raw = raw
        self._resolve = resolve
        self._builtin = reference is not None
        self._zeros: JsonObject | None = None
        # Children are made once: every write walks them several times.
        self._fields: dict[str, Node | None] = {}
        self._items: Node | bool | None = False
        self._additional: Node | bool | None = False

    def _node(self, raw: object) -> Node | None:
        return Node(raw, self._resolve) if isinstance(raw, dict) else None

    def field(self, name: str) -> Node | None:
        """Returns the schema of a declared property."""
        if name in self._fields:
            return self._fields[name]
        properties = self.raw.get("properties") or {}
        if self.embedded and name in _EMBEDDED and (name == "metadata" or name not in properties):
            properties = _EMBEDDED
        if name not in properties:
            return None
        made = self._fields[name] = self._node(properties[name])
        return made

    def child(self, name: str) -> Node | None:
        """Returns the schema of a property or of a map's value."""
        return self.field(name) or self.additional

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of the declared properties."""
        return tuple(self.raw.get("properties") or ())

    @property
    def items(self) -> Node | None:
        """Returns the schema of a list's items."""
        if isinstance(self._items, bool):
            self._items = self._node(self.raw.get("items"))
        return self._items

    @property
    def additional(self) -> Node | None:
        """Returns the schema of a map's values."""
        if isinstance(self._additional, bool):
            self._additional = self._node(self.raw.get("additionalProperties"))
        return self._additional

    @property
    def type(self) -> str:
        """``object``, ``array``, ``string``, … or ``""``."""
        return str(self.raw.get("type") or "")

    @property
    def open(self) -> bool:
        """Returns whether fields that are not declared are kept."""
        return bool(
            self.raw.get("x-kubernetes-preserve-unknown-fields") or self.raw.get("additionalProperties") is True
        )

    @property
    def embedded(self) -> bool:
        """Returns whether the value is a whole object, with apiVersion, kind and metadata."""
        return bool(self.raw.get("x-kubernetes-embedded-resource"))

    @property
    def nullable(self) -> bool:
        """Returns whether the value may be null."""
        return bool(self.raw.get("nullable"))

    @property
    def int_or_string(self) -> bool:
        """Returns whether the value is an integer or a string."""
        return bool(self.raw.get("x-kubernetes-int-or-string"))

    @property
    def list_type(self) -> str:
        """``atomic``, ``set`` or ``map``."""
        return str(self.raw.get("x-kubernetes-list-type") or "atomic")

    @property
    def map_keys(self) -> tuple[str, ...]:
        """Returns the keys that tell the items of a ``map`` list apart."""
        return tuple(self.raw.get("x-kubernetes-list-map-keys") or ())

    @property
    def atomic_map(self) -> bool:
        """Returns whether a map is replaced as a whole."""
        return self.raw.get("x-kubernetes-map-type") == "atomic"

    def default_of(self, name: str) -> object:
        """Returns the default of a property, None where there is none."""
        child = self.field(name)
        return None if child is None else child.raw.get("default")

    @property
    def zeros(self) -> JsonObject:
        """Returns the fields that the API writes of a built-in kind even where nobody has set them, with what they are
        then."""
        if self._zeros is None:
            self._zeros = {}
            for name, schema in (self.raw.get("properties") or {}).items() if self._builtin else ():
                if "default" in schema and not schema["default"]:
                    self._zeros[name] = schema["default"]
        return self._zeros
