"""One stream of watches, over the raw protocol."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from etcd.servers import ANSWER_SECONDS, Server, plain
from rstore_api import methods
from rstore_api.proto import rpc_pb2 as rpc


@dataclass(frozen=True)
class Ended:
    """The stream has ended."""

    code: str
    text: str


@dataclass
class Told:
    """What was sent about one watch: events joined, in order, since how they are spread over answers is nobody's
    business; and everything else as it came.
    """

    events: list[Any] = field(default_factory=list)
    others: list[Any] = field(default_factory=list)


class WatchSession:
    """A stream; what it sends is taken by a thread."""

    def __init__(self, server: Server, *, metadata: tuple[tuple[str, str], ...] = ()) -> None:
        self._requests: queue.Queue[rpc.WatchRequest | None] = queue.Queue()
        self._answers: queue.Queue[rpc.WatchResponse | Ended] = queue.Queue()
        start = server.channel.stream_stream(
            methods.WATCH.path,
            request_serializer=rpc.WatchRequest.SerializeToString,
            response_deserializer=rpc.WatchResponse.FromString,
        )
        self._call = start(iter(self._requests.get, None), metadata=metadata)
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self) -> None:
        try:
            for response in self._call:
                self._answers.put(plain(response))
            self._answers.put(Ended("OK", ""))
        except grpc.RpcError as error:
            self._answers.put(Ended(error.code().name, error.details() or ""))

    def send(self, request: rpc.WatchRequest) -> None:
        self._requests.put(request)

    def create(self, **fields: Any) -> None:
        self.send(rpc.WatchRequest(create_request=rpc.WatchCreateRequest(**fields)))

    def cancel(self, watch_id: int) -> None:
        self.send(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=watch_id)))

    def progress(self) -> None:
        self.send(rpc.WatchRequest(progress_request=rpc.WatchProgressRequest()))

    def close(self) -> None:
        self._call.cancel()
        self._thread.join(ANSWER_SECONDS)

    def answer(self) -> rpc.WatchResponse | Ended:
        """The next answer, whatever it is."""
        return self._answers.get(timeout=ANSWER_SECONDS)

    def created(self, **fields: Any) -> rpc.WatchResponse:
        """Begins a watch and returns the answer to that, which is the next."""
        self.create(**fields)
        answer = self.answer()
        assert isinstance(answer, rpc.WatchResponse), answer
        return answer

    def until(self, enough: Callable[[dict[int, Told]], bool]) -> dict[int, Told]:
        """Takes answers until there are enough of them; what was sent by the id of the watch."""
        told: dict[int, Told] = {}
        while not enough(told):
            answer = self.answer()
            assert isinstance(answer, rpc.WatchResponse), answer
            about = told.setdefault(answer.watch_id, Told())
            about.events += answer.events
            if not answer.events:
                about.others.append(answer)
        return told

    def events(self, count: int, watch_id: int = 0) -> list[Any]:
        """The next events of a watch, so many."""
        told = self.until(lambda told: watch_id in told and len(told[watch_id].events) >= count)
        assert set(told) == {watch_id}, told
        return told[watch_id].events

    def everything(self) -> Iterator[rpc.WatchResponse]:
        """All answers up to that to a request for progress, which comes last."""
        self.progress()
        while True:
            answer = self.answer()
            assert isinstance(answer, rpc.WatchResponse), answer
            yield answer
            if answer.watch_id == -1 and not answer.created:
                return
