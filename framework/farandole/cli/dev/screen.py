"""What `dev` prints: one line for each thing, in colours on a terminal (unless NO_COLOR is set), plain elsewhere.

Instants are in UTC, as those of every command are.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from farandole.cli.dev.narrator import Told
from farandole.cli.output import visible

_TONES = {"good": "green", "bad": "red", "wait": "yellow", "": "default"}
_LEVELS = {"debug": "dim", "info": "default", "warning": "yellow", "error": "red", "critical": "red"}

HIDDEN = frozenset(
    {"time", "level", "logger", "message", "error", "run_id", "step", "item", "attempt"}
    | {"topic", "partition", "offset", "trace_id"}
)
"""Fields of a log line that have a place of their own in a line, and where its record stands: `agent run` logs that."""

NAME_WIDTH = 12


class Screen:
    """Writes whole lines to standard output."""

    def __init__(self) -> None:
        self._console = Console(file=sys.stdout, highlight=False, soft_wrap=True)

    def say(self, text: str, tone: str = "") -> None:
        """A line of `dev`'s own."""
        self._line(datetime.now(UTC), "dev", Text(text, style=_TONES[tone]))

    def tell(self, told: Told) -> None:
        """An event of a run."""
        body = Text()
        body.append(f"{told.run}  ", style="cyan")
        body.append(told.kind, style=_TONES[told.tone])
        body.append(f"  {told.text}" if told.text else "")
        self._line(told.at, "run", body)

    def log(self, unit: str, fields: Mapping[str, object] | str) -> None:
        """A line that a process wrote: its fields, without what a terminal obeys, or text as it is: a handler's `print`
        may have colours."""
        if isinstance(fields, str):
            self._line(None, unit, Text(fields))
            return
        style = _LEVELS.get(str(fields.get("level")), "default")
        body = Text()
        if run := fields.get("run_id"):
            body.append(f"{run}  ", style="cyan")
        body.append(_where(fields))
        body.append(visible(str(fields.get("message", "")), keep="\n\t"), style=style)
        rest = "".join(f" {name}={value}" for name, value in fields.items() if name not in HIDDEN and value != "")
        body.append(visible(rest, keep="\n\t"), style="dim")
        self._line(datetime.fromisoformat(str(fields["time"])), unit, body)
        if error := fields.get("error"):
            self._console.print(Text(visible(str(error), keep="\n\t"), style="red"))

    def _line(self, at: datetime | None, name: str, body: Text) -> None:
        line = Text(_instant(at) if at is not None else " " * len(_instant(datetime.now(UTC))), style="dim")
        line.append(f"  {name:<{NAME_WIDTH}}  ", style="magenta")
        line.append_text(body)
        self._console.print(line)
        self._console.file.flush()  # whoever reads us through a pipe wants the line now


def _instant(at: datetime) -> str:
    at = at.astimezone(UTC)
    return f"{at:%H:%M:%S}.{at.microsecond // 1000:03d}Z"


def _where(fields: Mapping[str, object]) -> str:
    step = fields.get("step")
    if not step:
        return ""
    item = fields.get("item")
    attempt = fields.get("attempt")
    return f"{step}{f'[{item}]' if item not in (None, '', -1) else ''}{f'#{attempt}' if attempt else ''}  "
