"""A histogram of durations that costs a fraction of a microsecond to add to: for what happens thousands of times a
second."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.utils import floatToGoString


class Timings:
    """Durations in seconds, counted in buckets.

    Written by one thread alone, and so without the locks of the library's own histograms; read by any.
    """

    __slots__ = ("bounds", "counts", "seconds")

    def __init__(self, bounds: Sequence[float]) -> None:
        """The upper bounds of the buckets, in rising order."""
        self.bounds = tuple(bounds)
        self.counts = [0] * (len(self.bounds) + 1)
        self.seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        self.counts[bisect_left(self.bounds, seconds)] += 1
        self.seconds += seconds

    def show(self, family: HistogramMetricFamily, labels: Sequence[str] = ()) -> None:
        """Add the histogram to a family, with the values of its labels."""
        bounds = [*map(floatToGoString, self.bounds), "+Inf"]
        family.add_metric(labels, list(zip(bounds, accumulate(self.counts), strict=True)), self.seconds)
