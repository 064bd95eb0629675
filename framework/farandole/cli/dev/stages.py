"""What a process of `dev` says of itself, so that its parent can tell it from all else that comes out of it.

Not by `logging`, which a level or an author's own `dictConfig` silences: `dev` waited for ever. Nor by `print`, whose
output a handler may have led elsewhere.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress

from farandole.cli.output import STDOUT

STAGE = "farandole.dev"
"""The field that only such a line has, and what it says."""

APPLIED, READY = "applied", "ready"
"""Its unit is applied, and it waits for `go`; its agents work."""

BEGINS, OVER = "begins", "over"
"""Of an attempt: its executor has it; nothing of it runs any more."""

STAGES = (APPLIED, READY, BEGINS, OVER)
"""All that is said: whatever else has the field is a handler's."""


def say(stage: str, fields: Mapping[str, object]) -> None:
    """Write a line to the parent: at once, and one of its own whatever a handler has printed without an end."""
    line = f"\n{json.dumps({**fields, STAGE: stage})}\n"
    with suppress(OSError):  # the parent is gone, which standard input tells
        os.write(STDOUT, line.encode())
