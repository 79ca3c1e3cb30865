"""The relay process of a local cluster: a relay per route, and the faults that a file names.

The cluster writes the routes, as lines of JSON, to its standard input, whose end is its end. A person's faults come by
the file ``faults.json``, which is replaced as a whole; ``links.json`` says which of its versions is in force.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from localkube.links.pipe import Link
from localkube.links.relay import Place, Relay
from localkube.links.rules import Fault, RuleError, fault_from_json, rule_for

log = logging.getLogger(__name__)

FAULTS_FILE = "faults.json"
STATE_FILE = "links.json"
POLL_SECONDS = 0.02
RETRY_SECONDS = 0.2


@dataclass(frozen=True)
class Route:
    """Connections from ``source`` to ``listen`` at one of ``ports`` go to ``target``, which is in ``place``."""

    source: str
    place: str
    listen: str
    target: str
    ports: tuple[int, ...]


def routes_to_line(routes: Iterable[Route], places: Iterable[str]) -> str:
    """Returns all routes there are from now on, as one line."""
    return json.dumps({"routes": [asdict(route) for route in routes], "places": sorted(places)}) + "\n"


class Switchboard:
    """Relays for the present routes, links with the present faults."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._links: dict[tuple[str, str], Link] = {}
        self._relays: dict[tuple[Place, Place], Relay] = {}
        self._wanted: dict[tuple[Place, Place], tuple[str, str]] = {}
        self._faults: tuple[Fault, ...] = ()
        self._seen: tuple[int, int, int] | None = None
        self._places: tuple[str, ...] = ()
        self._version = ""
        self._problem = ""
        self._listening = asyncio.Lock()

    def link(self, source: str, target: str) -> Link:
        """Returns the link from one place to another."""
        key = (source, target)
        if key not in self._links:
            self._links[key] = Link(rule_for(self._faults, source, target))
        return self._links[key]

    async def set_routes(self, line: str) -> None:
        """Take a line of :func:`routes_to_line`."""
        document: dict[str, Any] = json.loads(line)
        self._wanted = {
            ((route["listen"], port), (route["target"], port)): (route["source"], route["place"])
            for route in document["routes"]
            for port in route["ports"]
        }
        await self.listen()
        places = tuple(document["places"])
        if places != self._places:
            self._places = places
            self._say()

    async def listen(self) -> None:
        """Start what is wanted and does not run, end what is not wanted any more."""
        async with self._listening:
            for key in [key for key in self._relays if key not in self._wanted]:
                await self._relays.pop(key).close()
            for key in [key for key in self._wanted if key not in self._relays]:
                await self._start(key)

    async def _start(self, key: tuple[Place, Place]) -> None:
        if key not in self._wanted:
            return
        source, place = self._wanted[key]
        relay = Relay(*key, self.link(source, place), self.link(place, source))
        try:
            await relay.start()
        except OSError as error:
            await relay.close()
            log.warning("cannot listen at %s:%s: %s", *key[0], error)
            return
        self._relays[key] = relay

    def look(self) -> None:
        """Take the faults that the file names, if it is another one than before."""
        path = self._directory / FAULTS_FILE
        try:
            stat = path.stat()
        except FileNotFoundError:
            return
        seen = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if seen == self._seen:
            return
        self._seen = seen
        document = json.loads(path.read_text())
        self._problem = ""
        try:
            self._faults = tuple(fault_from_json(item) for item in document["faults"])
        except RuleError as error:
            self._problem = str(error)
        for (source, target), link in self._links.items():
            link.change(rule_for(self._faults, source, target))
        self._version = str(document["version"])
        self._say()

    def _say(self) -> None:
        state = {"version": self._version, "places": self._places, "problem": self._problem}
        fresh = self._directory / f"{STATE_FILE}.new"
        fresh.write_text(json.dumps(state))
        fresh.replace(self._directory / STATE_FILE)

    async def close(self) -> None:
        """Stop everything."""
        for relay in self._relays.values():
            await relay.close()


async def serve(directory: Path, routes: IO[str]) -> None:
    """Run until ``routes`` ends."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    (directory / STATE_FILE).unlink(missing_ok=True)
    (directory / FAULTS_FILE).unlink(missing_ok=True)
    switchboard = Switchboard(directory)
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader(limit=16 * 1024 * 1024)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), routes)
    ended = asyncio.create_task(_read_routes(reader, switchboard))
    next_try = 0.0
    try:
        while not ended.done():
            switchboard.look()
            if loop.time() >= next_try:
                await switchboard.listen()
                next_try = loop.time() + RETRY_SECONDS
            await asyncio.wait([ended], timeout=POLL_SECONDS)
        ended.result()
    finally:
        ended.cancel()
        await switchboard.close()


async def _read_routes(reader: asyncio.StreamReader, switchboard: Switchboard) -> None:
    while line := await reader.readline():
        await switchboard.set_routes(line.decode())
