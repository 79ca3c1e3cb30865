"""Metrics of calls: by this project's names, and by those of gRPC's own middleware, which etcd's dashboards use."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cache

import grpc
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from rstore_api.errors import StoreError

from rstore_replica.timings import Timings

LATENCY_BUCKETS_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_OK = "OK"
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


class StreamMetrics:
    """The calls of one method that is a stream: how many began, how they ended, and their messages."""

    __slots__ = ("ended", "kind", "received", "sent", "started")

    def __init__(self, kind: str) -> None:
        """``kind`` is ``bidi_stream`` or ``server_stream``."""
        self.kind = kind
        self.started = 0
        self.received = 0
        self.sent = 0
        self.ended: dict[str, int] = {_OK: 0}
        """By status, as :func:`name_of` names it."""

    def end(self, status: str) -> None:
        """Counts a call that ended with this status."""
        self.ended[status] = self.ended.get(status, 0) + 1


class Traffic:
    """The bytes of all messages of the client port, by direction."""

    __slots__ = ("received_bytes", "sent_bytes")

    def __init__(self) -> None:
        self.received_bytes = 0
        self.sent_bytes = 0


class CallMetrics(Collector):
    """The calls of a replica's ports, by path; streams of the client port alone."""

    def __init__(self) -> None:
        self.client_traffic = Traffic()
        self._methods: dict[str, MethodMetrics] = {}
        self._streams: dict[str, StreamMetrics] = {}

    def of_method(self, path: str) -> MethodMetrics:
        """Returns where the requests of a method are counted."""
        return self._methods.setdefault(path, MethodMetrics())

    def of_stream(self, path: str, kind: str) -> StreamMetrics:
        """Returns where the calls of a method that is a stream are counted."""
        return self._streams.setdefault(path, StreamMetrics(kind))

    def collect(self) -> Iterable[Metric]:
        """Yields the families of both naming schemes."""
        text, grpc_text = "Requests answered, by method and result.", "RPCs completed on the server, by status."
        requests = CounterMetricFamily("rstore_requests", text, labels=["method", "result"])
        handled = CounterMetricFamily("grpc_server_handled", grpc_text, labels=[*GRPC_LABELS, "grpc_code"])
        started = CounterMetricFamily("grpc_server_started", "RPCs started on the server.", labels=GRPC_LABELS)
        received = CounterMetricFamily("grpc_server_msg_received", "Messages received by RPCs.", labels=GRPC_LABELS)
        sent = CounterMetricFamily("grpc_server_msg_sent", "Messages sent by RPCs.", labels=GRPC_LABELS)
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
            received.add_metric(labels, method.started)
            sent.add_metric(labels, codes[_OK])
            method.show(seconds, [name])
            method.show(handling, labels)
        for path, stream in list(self._streams.items()):
            labels = [stream.kind, *path.strip("/").split("/")]
            for code, count in list(stream.ended.items()):
                handled.add_metric([*labels, code], count)
            started.add_metric(labels, stream.started)
            received.add_metric(labels, stream.received)
            sent.add_metric(labels, stream.sent)
        yield from (requests, handled, started, received, sent, seconds, handling)
        for direction, count in (
            ("received", self.client_traffic.received_bytes),
            ("sent", self.client_traffic.sent_bytes),
        ):
            text = f"Bytes of messages {direction} on the client port."
            yield CounterMetricFamily(f"etcd_network_client_grpc_{direction}_bytes", text, value=float(count))


@cache
def code_of(result: str) -> str:
    """Returns the gRPC status of a result as the metrics of gRPC's middleware name it: ``ResourceExhausted``."""
    if result == "ok":
        return _OK
    if result == "cancelled":
        return name_of(grpc.StatusCode.CANCELLED)
    statuses = (error.status for error in _errors(StoreError) if error.code == result)
    return name_of(next(statuses, grpc.StatusCode.INTERNAL))


def name_of(status: grpc.StatusCode) -> str:
    """Returns the name of a status in the metrics of gRPC's middleware."""
    if status is grpc.StatusCode.OK:
        return _OK
    if status is grpc.StatusCode.CANCELLED:
        return "Canceled"
    return "".join(word.capitalize() for word in status.name.split("_"))


def _errors(kind: type[StoreError]) -> Iterator[type[StoreError]]:
    yield kind
    for special in kind.__subclasses__():
        yield from _errors(special)
