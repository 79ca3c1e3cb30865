"""A custom resource with defaults, limits, lists and rules, for tests."""

from __future__ import annotations

from typing import Any

WIDGETS: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.example.com"},
    "spec": {
        "group": "example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wg"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "additionalPrinterColumns": [
                    {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
                    {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'},
                    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
                ],
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "description": "A widget.",
                        "required": ["spec"],
                        "properties": {
                            "spec": {
                                "type": "object",
                                "required": ["parts"],
                                "x-kubernetes-validations": [
                                    {
                                        "rule": "!has(self.main) || self.parts.exists(p, p.name == self.main)",
                                        "message": "main must be one of the parts",
                                        "fieldPath": ".main",
                                    },
                                    {
                                        "rule": "!has(oldSelf.colour) || self.colour == oldSelf.colour",
                                        "messageExpression": "'colour is fixed at ' + oldSelf.colour",
                                        "reason": "FieldValueForbidden",
                                    },
                                ],
                                "properties": {
                                    "size": {"type": "integer", "default": 3, "minimum": 1, "maximum": 9},
                                    "colour": {"type": "string", "enum": ["red", "blue"], "default": "red"},
                                    "main": {"type": "string", "description": "The main part."},
                                    "limit": {
                                        "x-kubernetes-int-or-string": True,
                                        "x-kubernetes-validations": [
                                            {
                                                "rule": "isQuantity(string(self)) && "
                                                "quantity(string(self)).isGreaterThan(quantity('0'))",
                                                "message": "must be a positive quantity",
                                            }
                                        ],
                                    },
                                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                                    "tags": {
                                        "type": "array",
                                        "items": {"type": "string"},
                                        "x-kubernetes-list-type": "set",
                                    },
                                    "parts": {
                                        "type": "array",
                                        "minItems": 1,
                                        "maxItems": 3,
                                        "x-kubernetes-list-type": "map",
                                        "x-kubernetes-list-map-keys": ["name"],
                                        "items": {
                                            "type": "object",
                                            "required": ["name"],
                                            "properties": {
                                                "name": {"type": "string", "pattern": "^[a-z]+$"},
                                                "count": {"type": "integer", "default": 1},
                                            },
                                        },
                                    },
                                },
                            },
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}


def widget(name: str, **spec: Any) -> dict[str, Any]:
    """A valid Widget."""
    return {
        "apiVersion": "example.com/v1",
        "kind": "Widget",
        "metadata": {"name": name},
        "spec": {"parts": [{"name": "a"}], **spec},
    }
