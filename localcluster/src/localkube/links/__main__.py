"""`python -m localkube.links --to HOST:PORT`: one relay in the foreground, until SIGTERM or SIGINT.

With ``--serve DIRECTORY`` it is the relay process of a local cluster, which reads its routes from standard input.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import sys
from pathlib import Path

from localkube.links.pipe import Link
from localkube.links.relay import Place, Relay
from localkube.links.rules import LinkRule, RuleError
from localkube.links.switchboard import serve


def _place(text: str) -> Place:
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r} is not HOST:PORT")
    return host or "127.0.0.1", int(port)


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="localkube.links", description=__doc__)
    parser.add_argument("--serve", type=Path, metavar="DIRECTORY", help=argparse.SUPPRESS)
    parser.add_argument("--to", type=_place, metavar="HOST:PORT", help="where connections go")
    parser.add_argument(
        "--listen", type=_place, default=("127.0.0.1", 0), metavar="HOST:PORT", help="port 0: a free one"
    )
    parser.add_argument("--delay-ms", type=float, default=0.0, help="one way; a round trip takes twice as long")
    parser.add_argument("--loss-percent", type=float, default=0.0, help="see LinkRule")
    parser.add_argument("--bytes-per-second", type=int, default=0, help="each way, each connection; 0: no limit")
    given = parser.parse_args()
    try:
        rule = LinkRule(given.delay_ms, given.loss_percent, given.bytes_per_second)
    except RuleError as error:
        parser.error(str(error))
    if given.serve is None and given.to is None:
        parser.error("--to is needed")
    with contextlib.suppress(KeyboardInterrupt):
        if given.serve is not None:
            asyncio.run(serve(given.serve, sys.stdin))
        else:
            asyncio.run(_relay(given.listen, given.to, rule))


async def _relay(listen: Place, target: Place, rule: LinkRule) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Relay(listen, target, Link(rule), Link(rule)) as relay:
        print(f"listening at {relay.host}:{relay.port}", flush=True)
        await stop.wait()


if __name__ == "__main__":
    main()
