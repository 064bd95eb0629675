"""Values that are given on the command line, in a file (`@file`) or on standard input (`-`)."""

import sys
from pathlib import Path

from farandole.errors import ConfigError


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
