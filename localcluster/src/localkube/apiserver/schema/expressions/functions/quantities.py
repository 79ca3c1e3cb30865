"""Quantities of Kubernetes, such as ``500m`` and ``10Gi``."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from localkube.apiserver.schema import quantity
from localkube.apiserver.schema.expressions.values import INT_RANGE, EvaluationError, Quantity


def _read(text: str) -> Quantity:
    try:
        return Quantity(quantity.parse(text))
    except ValueError as error:
        raise EvaluationError(str(error)) from None


def _is_quantity(text: Any) -> bool:
    try:
        quantity.parse(text)
    except ValueError:
        return False
    return True


def _is_integer(value: Quantity) -> bool:
    return value.amount == value.amount.to_integral_value() and int(value.amount) in INT_RANGE


def _as_integer(value: Quantity) -> int:
    if not _is_integer(value):
        raise EvaluationError("cannot convert value to integer")
    return int(value.amount)


def _amount(value: Any) -> Decimal:
    return value.amount if isinstance(value, Quantity) else Decimal(int(value))


GLOBALS: dict[str, Callable[..., Any]] = {
    "quantity": _read,
    "isQuantity": _is_quantity,
    "sign": lambda value: (value.amount > 0) - (value.amount < 0),
}
METHODS: dict[str, Callable[..., Any]] = {
    "isGreaterThan": lambda left, right: left > right,
    "isLessThan": lambda left, right: left < right,
    "compareTo": lambda left, right: (left > right) - (left < right),
    "asApproximateFloat": lambda value: float(value.amount),
    "asInteger": _as_integer,
    "isInteger": _is_integer,
    "add": lambda left, right: Quantity(left.amount + _amount(right)),
    "sub": lambda left, right: Quantity(left.amount - _amount(right)),
}
