"""Helm's own Go library, in a process of its own: one JSON request on standard input, one JSON answer.

The Go runtime stays out of the test process, which forks.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def answer(request: dict[str, Any]) -> Any:
    """render → templates by path; lint → the report; crds → the chart's CRD files."""
    import helm_python

    helm_python.disable_logging()
    chart, values = request["chart"], request["values"]
    if request["action"] == "lint":
        return helm_python.lint(chart, values, strict=True, kube_version="v1.36.0")
    with helm_python.Chart.load(chart) as loaded:
        if request["action"] == "crds":
            return loaded.crds
        loaded.validate_schema(values)
        rendered: dict[str, str] = loaded.render(values, name=request["release"], namespace=request["namespace"])
        return rendered


if __name__ == "__main__":
    try:
        print(json.dumps({"result": answer(json.load(sys.stdin))}))
    except Exception as error:
        print(json.dumps({"error": str(error)}))
