"""What this very process logs, its coordinator above all, as lines for the screen like those of the agents' processes.

Knows nothing of the screen.
"""

import json
import logging
from collections.abc import Callable, Mapping
from typing import NamedTuple

from farandole.cli.logs import JsonFormatter, setup_logging

NAME = "coordinator"
"""Whose line it is: nothing else of ours logs in this process but the log's own upkeep."""


class Logged(NamedTuple):
    """The fields of one line."""

    fields: Mapping[str, object]


def hear(level: str, tell: Callable[[Logged], None]) -> None:
    """Hand the lines of this process to `tell`; those that are no news while all goes well only when debugging."""
    setup_logging(level if level == "debug" else "warning", "json", _Ear(tell))


class _Ear(logging.Handler):
    def __init__(self, tell: Callable[[Logged], None]) -> None:
        super().__init__()
        self._tell = tell
        self.setFormatter(JsonFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(Logged(json.loads(self.format(record))))
