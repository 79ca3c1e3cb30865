"""What the functions of expressions do, by name: plain functions and methods, whose first argument is their target.

They are called with values of the types that ``declarations`` names; what fails raises EvaluationError.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from localkube.apiserver.schema.expressions.functions import (
    addresses,
    conversions,
    formats,
    lists,
    operators,
    quantities,
    texts,
    times,
    versions,
)

_MODULES = (operators, conversions, texts, lists, times, quantities, versions, addresses, formats)
GLOBALS: dict[str, Callable[..., Any]] = {name: made for module in _MODULES for name, made in module.GLOBALS.items()}
METHODS: dict[str, Callable[..., Any]] = {name: made for module in _MODULES for name, made in module.METHODS.items()}
"""``size``, for one, is both."""
