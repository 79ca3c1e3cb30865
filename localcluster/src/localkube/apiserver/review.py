"""What the API server would say of definitions in files: ``python -m localkube.apiserver.review FILE ...``.

It is the server's own path from a body to an object, without a server. A warning fails the review as an error does: a
definition of ours has no reason for one.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from localkube.apiserver.errors import ApiError
from localkube.apiserver.jsonobj import JsonObject, copy_json
from localkube.apiserver.kinds.strategy import KindStrategy
from localkube.apiserver.resources import BUILTIN
from localkube.apiserver.schema.provider import Schemas

_RESOURCE = next(resource for resource in BUILTIN if resource.kind == "CustomResourceDefinition")


def review(definition: JsonObject) -> list[str]:
    """Returns everything that creating a definition would be refused or warned for; empty when nothing is."""
    if definition.get("kind") != _RESOURCE.kind or definition.get("apiVersion") != _RESOURCE.api_version:
        return [f"not a {_RESOURCE.kind} of {_RESOURCE.api_version}"]
    obj = copy_json(definition)
    obj.setdefault("metadata", {})
    schemas = Schemas()
    strategy = KindStrategy(schemas)
    try:
        warnings = schemas.check_body(_RESOURCE, obj, [], "Warn")
    except ApiError as error:
        return [error.message]
    strategy.prepare(_RESOURCE, obj, None, dry_run=True)
    causes = [str(cause) for cause in strategy.validate(_RESOURCE, obj, None, warnings=warnings)]
    return [*causes, *(f"warning: {text}" for text in warnings)]


def main(arguments: Sequence[str]) -> int:
    """Print what is wrong with the definitions in files; 0 when nothing is."""
    wrong = 0
    for name in arguments:
        for document in yaml.safe_load_all(Path(name).read_text(encoding="utf-8")):
            for text in review(document):
                print(f"{name}: {text}", file=sys.stderr)
                wrong += 1
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
