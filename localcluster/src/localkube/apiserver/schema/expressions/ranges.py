"""Sizes and costs between a least and a most, in numbers that stay at the largest one."""

from __future__ import annotations

import math
from dataclasses import dataclass

MAX = 2**64 - 1


def plus(left: int, right: int) -> int:
    """Returns a sum that stays at the largest number."""
    return min(MAX, left + right)


def times(left: int, right: int) -> int:
    """Returns a product that stays at the largest number."""
    return min(MAX, left * right)


def scaled(size: int, factor: float) -> int:
    """Returns a size times a factor, rounded up."""
    product = math.ceil(float(size) * factor)
    return min(MAX, product)


@dataclass(frozen=True)
class Range:
    """The least and the most that a size or a cost can be."""

    low: int
    high: int

    def __add__(self, other: Range) -> Range:
        return Range(plus(self.low, other.low), plus(self.high, other.high))

    def __mul__(self, other: Range) -> Range:
        return Range(times(self.low, other.low), times(self.high, other.high))

    def by(self, factor: float) -> Range:
        """Returns the cost of something done to each unit of a size."""
        return Range(scaled(self.low, factor), scaled(self.high, factor))

    def __or__(self, other: Range) -> Range:
        return Range(min(self.low, other.low), max(self.high, other.high))


def exactly(number: int) -> Range:
    """Returns a size or a cost that is known."""
    return Range(number, number)


UNKNOWN = Range(0, MAX)
NOTHING, ONE = exactly(0), exactly(1)
TRAVERSAL = 0.1
"""The cost of looking at one byte of a text."""
