"""Metrics of calls: by this project's names, and by those of gRPC's own middleware, which etcd's dashboards use."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from rstore_api.errors import StoreError

from rstore_replica.timings import Timings

LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
GRPC_LABELS = ("grpc_type", "grpc_service", "grpc_method")


class MethodMetrics(Timings):
    """The requests of one method: how many began, results, and times to answer. Written on the event loop alone."""

    __slots__ = ("results", "started")

    def __init__(self) -> None:
        super().__init__(LATENCY_BUCKETS_SECONDS)
        self.started = 0
        self.results: dict[str, int] = {}

    def answered(self, result: str, seconds: float) -> None:
        """Counts one that was answered with ``result`` after ``seconds``."""
        results = self.results
        results[result] = results.get(result, 0) + 1
        self.counts[bisect_left(LATENCY_BUCKETS_SECONDS, seconds)] += 1
        self.seconds += seconds


class CallMetrics(Collector):
    """The unary calls of a replica's ports, by path."""

    def __init__(self) -> None:
        self._methods: dict[str, MethodMetrics] = {}

    def of_method(self, path: str) -> MethodMetrics:
        """Returns where the requests of a method are counted."""
        return self._methods.setdefault(path, MethodMetrics())

    def collect(self) -> Iterable[Metric]:
        """Yields the families of both naming schemes."""
        text, grpc_text = "Requests answered, by method and result.", "RPCs completed on the server, by status."
        requests = CounterMetricFamily("rstore_requests", text, labels=["method", "result"])
        handled = CounterMetricFamily("grpc_server_handled", grpc_text, labels=[*GRPC_LABELS, "grpc_code"])
        started = CounterMetricFamily("grpc_server_started", "RPCs started on the server.", labels=GRPC_LABELS)
        text = "Time to answer a request, in seconds."
        seconds = HistogramMetricFamily("rstore_request_seconds", text, labels=["method"])
        handling = HistogramMetricFamily("grpc_server_handling_seconds", text, labels=GRPC_LABELS)
        for path, method in list(self._methods.items()):
            if not method.started and not method.results:
                continue
            service, name = path.strip("/").split("/")
            labels = ["unary", service, name]
            codes = Counter[str]()
            for result, count in list(method.results.items()):
                requests.add_metric([name, result], count)
                codes[code_of(result)] += count
            for code, count in codes.items():
                handled.add_metric([*labels, code], count)
            started.add_metric(labels, method.started)
            method.show(seconds, [name])
            method.show(handling, labels)
        yield from (requests, handled, started, seconds, handling)


@cache
def code_of(result: str) -> str:
    """Returns the gRPC status of a result as the metrics of gRPC's middleware name it: ``ResourceExhausted``."""
    if result == "ok":
        return "OK"
    if result == "cancelled":
        return "Canceled"
    status = next((error.status.name for error in _errors(StoreError) if error.code == result), "INTERNAL")
    return "".join(word.capitalize() for word in status.split("_"))


def _errors(kind: type[StoreError]) -> Iterator[type[StoreError]]:
    yield kind
    for special in kind.__subclasses__():
        yield from _errors(special)
