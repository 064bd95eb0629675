"""Log lines of our own processes: text with fields, or one JSON object a line. Written to standard error."""

import json
import logging
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from farandole.cli.output import inert, visible
from farandole.errors import ConfigError

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_PLAIN = re.compile(r"[^\s\"=]+")
LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What the processes write to standard error: `[log]` of `farandole.toml`."""

    level: str = "info"
    """Least weight of a line: debug, info, warning or error. Foreign libraries are heard from warning on."""

    format: str = "text"
    """`text` for people, `json` for collectors: one object a line."""

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise ConfigError(f"log.level or {_told('--log-level', LEVELS, self.level)}")
        if self.format not in FORMATS:
            raise ConfigError(f"log.format or {_told('--log-format', FORMATS, self.format)}")


def _told(option: str, known: tuple[str, ...], found: str) -> str:
    return f"{option}: expected one of {', '.join(known)}, but found {found!r}"


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD and not _is_empty(value)}


def _is_empty(value: object) -> bool:
    """Nothing, or no text. Not by `==`, which is elementwise where a handler logs an array."""
    return value is None or (isinstance(value, str) and not value)


def _text(value: object) -> str:
    """A value as text, whatever it is: a line is not lost for what a handler says beside it."""
    try:
        return str(value)
    except Exception as bad:  # it is the handler's own class
        return f"<{type(value).__name__}: {type(bad).__name__}>"


def _plain(value: object) -> object:
    """A value that JSON can hold, else as text: a key that is a tuple, a list that holds itself, `nan`."""
    try:
        json.dumps(value, default=_text, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        return _text(value)
    return value


def _written(value: object) -> str:
    """A value that ends at the next space: as it is, or quoted as in JSON."""
    text = _text(value)
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


class TextFormatter(logging.Formatter):
    """`12:00:01.204 INFO coordinator: took over home 3 run_id=o-1`. Only a traceback (of the line, or its field
    `error`) takes more than its line."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, plus a traceback if there is one."""
        at = datetime.fromtimestamp(record.created, tz=UTC).strftime("%H:%M:%S.%f")[:-3]
        where = record.name.removeprefix("farandole.")
        given = _fields(record)
        error = self.formatException(record.exc_info) if record.exc_info else given.pop("error", "")
        fields = "".join(f" {name}={_written(value)}" for name, value in given.items())
        message = record.getMessage().replace("\\", "\\\\")
        line = visible(f"{at} {record.levelname} {where}: {message}{fields}")
        return line + visible(f"\n{error}", keep="\n\t") if error else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, with the fields beside the message."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        at = datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds")
        ours: dict[str, object] = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            ours["error"] = self.formatException(record.exc_info)
        line = ours | _fields(record) | ours  # a field of the same name does not take the place of the line's own
        plain = {name: _plain(value) for name, value in line.items()}
        return inert(json.dumps(plain, ensure_ascii=False, default=_text))


def setup_logging(level: str = "warning", style: str = "text", handler: logging.Handler | None = None) -> None:
    """Send the logs of this process to standard error, or to `handler`, which then has a formatter of its own.

    Raises:
        ConfigError: the level or the format is unknown.
    """
    LogSettings(level, style)
    if handler is None:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(JsonFormatter() if style == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)  # foreign libraries: only what matters
    # It tells of every try to reach a broker, several a second; what becomes of a call its caller is told.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    logging.getLogger("farandole").setLevel(level.upper())
