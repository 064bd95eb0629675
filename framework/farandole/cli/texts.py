"""Values that are given on the command line, in a file (`@file`) or on standard input (`-`)."""

import sys
from datetime import timedelta
from pathlib import Path

from farandole.cli.output import shorten
from farandole.cli.streams import is_closed
from farandole.definition.policy import duration
from farandole.errors import ConfigError, DefinitionError
from farandole.ids import is_text


def read_text(given: str, option: str) -> str:
    """The text that an option stands for.

    Raises:
        ConfigError: it cannot be read, or is not UTF-8.
    """
    try:
        return encodable(_read(given), option)
    except (OSError, ValueError) as bad:
        raise ConfigError(f"{option}: expected a readable file of UTF-8 text, but {bad}") from None


def _read(given: str) -> str:
    if given == "-":
        if is_closed(sys.stdin):
            raise ValueError("standard input is closed")
        return sys.stdin.read()
    return Path(given[1:]).read_text(encoding="utf-8") if given.startswith("@") else given


def encodable(given: str, option: str) -> str:
    """What an option was given, if UTF-8 can hold it: Python hides bytes of the command line that it cannot read.

    Raises:
        ConfigError: it cannot.
    """
    if not is_text(given):
        raise ConfigError(f"{option}: expected UTF-8 text, but found {shorten(given)!r}")
    return given


def given_duration(option: str, given: str | None) -> timedelta | None:
    """What an option such as `--timeout 30s` gives; None if it was not given.

    Raises:
        ConfigError: it is no duration.
    """
    try:
        return None if given is None else duration(given)
    except DefinitionError as bad:
        raise ConfigError(f"{option}: {bad}") from None
