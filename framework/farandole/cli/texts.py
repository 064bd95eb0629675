"""Values that are given on the command line, in a file (`@file`) or on standard input (`-`)."""

import sys
from datetime import timedelta
from pathlib import Path

from farandole.definition.policy import duration
from farandole.errors import ConfigError, DefinitionError


def read_text(given: str, option: str) -> str:
    """The text that an option stands for.

    Raises:
        ConfigError: the file cannot be read.
    """
    if given == "-":
        return sys.stdin.read()
    if not given.startswith("@"):
        return given
    try:
        return Path(given[1:]).read_text(encoding="utf-8")
    except (OSError, ValueError) as bad:
        raise ConfigError(f"{option}: expected a readable file of UTF-8 text, but {bad}") from None


def given_duration(option: str, given: str | None) -> timedelta | None:
    """What an option such as `--timeout 30s` gives; None if it was not given.

    Raises:
        ConfigError: it is no duration.
    """
    try:
        return None if given is None else duration(given)
    except DefinitionError as bad:
        raise ConfigError(f"{option}: {bad}") from None
