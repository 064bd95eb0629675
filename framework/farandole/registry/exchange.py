"""Which frame payloads have on the topics of a deployment with a registry: a `Framing` for `transport.framed`.

Asks the registry for ids, and the log for what a fingerprint stands for: a registry cannot be
asked for that. Thread-safe; one per process.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Set
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta

from farandole.clock import Clock, SystemClock
from farandole.errors import ConfigError, RecordError, RegistryError, UnknownSchema
from farandole.events.avro import Schema, SchemaBook
from farandole.events.framing import FINGERPRINT_BYTES, SINGLE_OBJECT, Kind, unframe
from farandole.registry.confluent import UNKNOWN_MAX, ConfluentRegistry
from farandole.registry.http import HttpSettings, JsonHttp
from farandole.registry.log import LogRegistry, SchemaTopic

ASK_TIMEOUT = timedelta(seconds=2)
"""Longest wait of a running process for one answer: its loop stands still meanwhile, and asks again by itself."""

READ_AGAIN = timedelta(seconds=5)
"""How long the log is not read again for a fingerprint that it did not have."""


class Exchange:
    """Exchanges our frame for the registry's, and back."""

    def __init__(self, settings: HttpSettings, topic: Callable[[], SchemaTopic], clock: Clock | None = None) -> None:
        """Asks nothing before the first question. `topic` opens `<ns>.schemas`, each time it is read."""
        once = replace(settings, attempts_max=1, timeout=min(settings.timeout, ASK_TIMEOUT))
        self._clock = clock or SystemClock()
        self._book = SchemaBook()
        self._registry = ConfluentRegistry(JsonHttp(once), self._book, self._clock, lambda name: self._learn({name}))
        self._patient = ConfluentRegistry(JsonHttp(settings), self._book, self._clock)
        self._topic = topic
        self._missing: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def meet(self, values: Iterable[bytes]) -> None:
        """Look for the schemas of values on the log; each that was met needs no look of its own to go out.

        Raises:
            TransportError: the log cannot be reached.
        """
        with self._lock, _while_running():
            self._learn({name for each in values if (name := _named(each))})

    def outbound(self, framed: bytes) -> bytes:
        """A value as it stands on the topics; what is no payload of ours (state, texts) as it is.

        Raises:
            UnknownSchema: nobody published its schema.
            TransportError: the registry, or the log, cannot be reached.
        """
        name = _named(framed)
        if not name:
            return framed
        with self._lock, _while_running():
            self._learn({name})
            return self._registry.outbound(framed)

    def inbound(self, value: bytes) -> bytes:
        """A value as everybody inside sees it; errors as `outbound`. An id that is refused to us is unknown."""
        if not _is_theirs(value):
            return value
        with self._lock, _while_running():
            return self._registry.inbound(value)

    def publish(self, schemas: Iterable[Schema]) -> None:
        """Register schemas, for `apply`.

        Raises:
            SchemaRefused: the registry finds one incompatible, or invalid.
            TransportError: it cannot be reached.
        """
        with self._lock:
            self._patient.publish(list(schemas))

    def require(self, schemas: Iterable[Schema]) -> None:
        """Check at the start of a process that the registry has these.

        Raises:
            ConfigError: it does not know one, or does not let us in.
            TransportError: it cannot be reached.
        """
        with self._lock:
            for each in schemas:
                self._book.add(each)
                try:
                    self._patient.outbound(each.frame)
                except UnknownSchema as unknown:
                    raise ConfigError(
                        f"registry: {unknown}. Nothing was started. Run `farandole apply` with the same [registry]"
                    ) from None

    def _learn(self, fingerprints: Set[bytes]) -> None:
        """Look fingerprints up on the log that were not met before.

        The topic is small, opened and read whole for that, and closed: nobody tells us when the last client is done.
        It is read anew for each question, because what it did not have may have been published since: so whoever has
        many, asks them at once.
        """
        now = self._clock.monotonic()
        if all(each in self._book or self._missing.get(each, now) > now for each in fingerprints):
            return
        with closing(self._topic()) as topic:
            LogRegistry(topic, self._book).catch_up()
        missing = [each for each in fingerprints if each not in self._book]
        if len(self._missing) + len(missing) > UNKNOWN_MAX:
            self._missing.clear()
        self._missing |= dict.fromkeys(missing, self._clock.monotonic() + READ_AGAIN.total_seconds())


def _named(value: bytes) -> bytes:
    """The fingerprint in a frame of ours; empty if it is in none."""
    end = len(SINGLE_OBJECT) + FINGERPRINT_BYTES
    return value[len(SINGLE_OBJECT) : end] if value.startswith(SINGLE_OBJECT) and len(value) >= end else b""


@contextmanager
def _while_running() -> Iterator[None]:
    """A registry that lets us in no more is one that is away: whoever runs already waits for it, and does not end."""
    try:
        yield
    except ConfigError as refused:
        raise RegistryError(str(refused)) from refused


def _is_theirs(value: bytes) -> bool:
    try:
        return unframe(value).kind is Kind.CONFLUENT
    except RecordError:
        return False
