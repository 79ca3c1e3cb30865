"""`python -m localkube`: a local cluster in the foreground, until SIGTERM or SIGINT."""

from __future__ import annotations

import argparse
import asyncio
import logging
import shlex
import sys
from pathlib import Path

from localkube.cluster import API_PORT, ClusterOptions
from localkube.controllers.nodes import DEFAULT_NODES, NodeSpec
from localkube.daemon import default_data_dir
from localkube.network import NetworkError
from localkube.runner.images import DEFAULT_IMAGES
from localkube.serve import serve


def parse(arguments: list[str]) -> tuple[ClusterOptions, int | None]:
    """Returns the options of the command line, and the process with which the cluster ends."""
    parser = argparse.ArgumentParser(prog="localkube", description=__doc__)
    parser.add_argument("--data-dir", type=Path, default=default_data_dir("default"), help="where everything is kept")
    parser.add_argument("--port", type=int, default=API_PORT, help="port of the API server")
    parser.add_argument(
        "--node",
        action="append",
        metavar="NAME=REGION",
        help="a node and its region; may be repeated (default: one node per region us-east, eu-west, ap-south)",
    )
    parser.add_argument(
        "--image",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="the command that an image stands for, quoted as for a shell; NAME is the last part of its repository",
    )
    parser.add_argument(
        "--address-variable",
        action="append",
        default=[],
        metavar="NAME",
        help="an environment variable by which programs of pods learn the address to listen at; may be repeated",
    )
    parser.add_argument("--faults", action="store_true", help="relays between regions, places and API server")
    parser.add_argument(
        "--place",
        action="append",
        default=[],
        metavar="NAME=LABEL=VALUE",
        help="with --faults, pods with this label are a place of their own instead of in a region; may be repeated",
    )
    parser.add_argument(
        "--end-with", type=int, metavar="PID", help="end the cluster when this process has ended (default: by a signal)"
    )
    parser.add_argument("--verbose", action="store_true", help="log more")
    parsed = parser.parse_args(arguments)
    nodes = DEFAULT_NODES
    if parsed.node:
        pairs = [item.partition("=") for item in parsed.node]
        if any(not name or not region for name, _, region in pairs):
            parser.error("--node takes NAME=REGION")
        nodes = tuple(NodeSpec(name, region) for name, _, region in pairs)
    images = {name: shlex.split(command) for name, _, command in (item.partition("=") for item in parsed.image)}
    if not all(name and command for name, command in images.items()):
        parser.error("--image takes NAME=COMMAND")
    places = {name: label for name, _, label in (item.partition("=") for item in parsed.place)}
    if not all(name and "=" in label for name, label in places.items()):
        parser.error("--place takes NAME=LABEL=VALUE")
    logging.basicConfig(
        level=logging.DEBUG if parsed.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
    )
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    logging.getLogger("asyncio").setLevel(logging.WARNING)
    options = ClusterOptions(
        data_dir=parsed.data_dir.absolute(),
        port=parsed.port,
        nodes=nodes,
        images={**DEFAULT_IMAGES, **images},
        address_variables=tuple(parsed.address_variable),
        faults=parsed.faults,
        places=places,
    )
    return options, parsed.end_with


def main() -> None:
    """Runs the cluster until SIGTERM or SIGINT, or the end of the process that --end-with names."""
    options, end_with = parse(sys.argv[1:])
    options.data_dir.mkdir(parents=True, exist_ok=True)
    try:
        asyncio.run(serve(options, end_with=end_with))
    except (NetworkError, OSError) as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
