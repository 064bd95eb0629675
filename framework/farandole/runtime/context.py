"""The working `Context`: what a handler is told of its attempt, in whatever thread or process it runs.

What it publishes is encoded at once and kept until the result is there; after the attempt is
over nothing of it is taken any more.
"""

import json
import logging
from collections.abc import Callable, MutableMapping
from datetime import datetime, timedelta
from typing import Any

from farandole.clock import Clock
from farandole.definition.context import FencingToken
from farandole.definition.spec import AgentSpec
from farandole.definition.types import is_record, schema_text, to_plain, type_name
from farandole.errors import DefinitionError
from farandole.events.avro import Schema
from farandole.events.envelope import AVRO, JSON
from farandole.ids import NO_ITEM, idempotency_key
from farandole.runtime.attempts import Call, Published
from farandole.runtime.writable import writable

OCTETS = "application/octet-stream"
"""Content type of bytes that a handler publishes: they are left as they are."""

NOTE_MAX = 500
"""Characters of a note that are told."""

Tell = Callable[[datetime, float, float | None, str], None]
"""Where progress goes: instant, done, total, note."""


class AttemptContext:
    """The attempt that a handler serves; made when the handler starts."""

    def __init__(self, call: Call, spec: AgentSpec, clock: Clock, tell: Tell, progress_every: timedelta) -> None:
        self._call = call
        self._spec = spec
        self._clock = clock
        self._tell = tell
        self._progress_every = progress_every.total_seconds()
        self._progress_at = -self._progress_every
        self.published: list[Published] = []
        timeout = None if call.timeout_s is None else timedelta(seconds=call.timeout_s)
        self._deadline = None if timeout is None else clock.now() + timeout
        self._logger: logging.LoggerAdapter[logging.Logger] | None = None

    @property
    def run_id(self) -> str:
        """The run."""
        return self._call.run

    @property
    def pipeline(self) -> str:
        """The pipeline's name."""
        return self._call.pipeline

    @property
    def step(self) -> str:
        """The step's name in the pipeline."""
        return self._call.step

    @property
    def item(self) -> int | None:
        """The item's number in a mapped step, else None."""
        return None if self._call.item == NO_ITEM else self._call.item

    @property
    def attempt(self) -> int:
        """1 for the first try."""
        return self._call.attempt

    @property
    def idempotency_key(self) -> str:
        """Stable over attempts and redeliveries."""
        return idempotency_key(self._call.run, self._call.step, self._call.item)

    @property
    def fencing_token(self) -> FencingToken:
        """Rises with every attempt and every change of owner."""
        return FencingToken(self._call.attempt, self._call.epoch)

    @property
    def deadline(self) -> datetime | None:
        """When the attempt times out."""
        return self._deadline

    @property
    def logger(self) -> "logging.LoggerAdapter[logging.Logger]":
        """Logs with run, step, item, attempt, the trigger's place and the trace as fields, beside those given."""
        if self._logger is None:
            self._logger = _FieldLogger(logging.getLogger(f"farandole.agents.{self.step}"), self._call.log_fields)
        return self._logger

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Tell telemetry, unless the last time was a moment ago; the end is always told. Any note can be."""
        now = self._clock.monotonic()
        if now - self._progress_at < self._progress_every and done != total:
            return
        self._progress_at = now
        told = writable(str(note)[:NOTE_MAX])
        self._tell(self._clock.now(), float(done), None if total is None else float(total), told)

    def publish(self, topic: str, value: object, *, key: str | None = None) -> None:
        """Keep a record to be written with the result: Avro for records, bytes as they are, else JSON.

        Raises:
            DefinitionError: the topic, or the type of a record, was not declared in `publishes`, or key or value cannot
                be written.
        """
        if topic not in self._spec.publishes:
            raise DefinitionError(
                f"{self._call.step}: expected one of the topics {list(self._spec.publishes)} in publish(), but found "
                f"{topic!r}; name it in @agent(publishes=[...])"
            )
        body, content_type = self._encoded(topic, value)
        _require_writable(topic, key)
        self.published.append(Published(topic, key, body, content_type))

    def _encoded(self, topic: str, value: object) -> tuple[bytes, str]:
        if isinstance(value, bytes):
            return value, OCTETS
        if not _is_plain(value) and is_record(kind := type(value)):
            return self._record(topic, value, kind), AVRO
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False).encode(), JSON
        except (TypeError, ValueError, RecursionError) as bad:
            raise DefinitionError(f"publish(): expected a record, bytes or JSON, but {bad}") from None

    def _record(self, topic: str, value: object, kind: type) -> bytes:
        """Framed by a schema that `apply` has published: else nobody could read it."""
        text = schema_text(kind)
        if text not in self._spec.publishable:
            raise DefinitionError(
                f"{self._call.step}: expected a record of a declared type in publish({topic!r}), but found "
                f"{type_name(kind)}, whose schema nobody publishes; name it in "
                f"@agent(publishes={{{topic!r}: {kind.__name__}}})"
            )
        return Schema.parse(text).encode(to_plain(value, kind))


class _FieldLogger(logging.LoggerAdapter[logging.Logger]):
    """Adds fields to those of the call; Python's own adapter drops the latter."""

    def process(self, msg: object, kwargs: MutableMapping[str, Any]) -> tuple[object, MutableMapping[str, Any]]:
        """The message as it is, and both kinds of fields."""
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **(self.extra or {})}
        return msg, kwargs


def _require_writable(topic: str, key: object) -> None:
    """Refuse a key here, where the handler sees it: later on nobody could say whose it is."""
    try:
        if key is None or (isinstance(key, str) and key.encode() is not None):
            return
    except UnicodeEncodeError as bad:
        raise DefinitionError(f"publish({topic!r}): expected a key that UTF-8 can hold, but {bad}") from None
    raise DefinitionError(f"publish({topic!r}): expected text or None as key, but found {key!r}")


def _is_plain(value: object) -> bool:
    return value is None or isinstance(value, str | int | float | bool | list | tuple | dict)
