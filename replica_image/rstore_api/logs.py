"""Structured logs of operator and replicas: one JSON object per line on standard error, with a stable event name.

Nothing is logged at INFO in a steady state. Records of the standard ``logging`` come out alike.
"""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

MAX_FRAMES = 20
OURS = ("rstore_api", "rstore_backup", "rstore_replica", "rstore_operator", "rstore_kube")
LEVELS = ("debug", "info", "warning", "error")


class _Printer(structlog.PrintLogger):
    """Prints lines; its name goes into them."""

    def __init__(self, out: TextIO, name: str) -> None:
        super().__init__(out)
        self.name = name


def configure(level: str = "info", *, stream: TextIO | None = None, **fields: str) -> None:
    """Sets up logging for the process; ``fields`` (replica, region, …) are in every line. ``level`` is one of LEVELS.

    Libraries are logged from WARNING on, whatever the level.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _constant(fields),
        structlog.processors.StackInfoRenderer(),
        # Without local variables: they hold keys and values of the store.
        structlog.processors.ExceptionRenderer(
            structlog.tracebacks.ExceptionDictTransformer(show_locals=False, max_frames=MAX_FRAMES)
        ),
    ]
    render = structlog.processors.JSONRenderer()
    out = stream or sys.stderr
    structlog.configure(
        processors=[*shared, render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda name="": _Printer(out, name),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, render],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(number, logging.WARNING))
    for package in OURS:
        logging.getLogger(package).setLevel(number)


def get_logger(name: str) -> FilteringBoundLogger:
    """Returns a logger whose lines have ``logger: name``, the module's; usable before :func:`configure`."""
    logger: FilteringBoundLogger = structlog.get_logger(name)
    return logger


def _constant(fields: dict[str, str]) -> Processor:
    def add(_logger: object, _method: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
        for key, value in fields.items():
            event.setdefault(key, value)
        return event

    return add
