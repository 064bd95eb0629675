"""The HTTP side of a process: its loop's view, a thread that looks at the log, and the server, put together.

A process that was not told to listen has none of it.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Protocol

from farandole.cli.settings import Settings
from farandole.errors import FarandoleError
from farandole.telemetry import catalogue as m
from farandole.telemetry.samples import Sample, by_word, plain
from farandole.transport.port import TopicPartition, Transport
from farandole.transport.probing import Look, Probe

if TYPE_CHECKING:
    from farandole.telemetry.health import Pulse

LOOK_EVERY_S = 15.0
"""Prometheus' usual interval: looking more often tells nobody."""

LEAVE_S = 2.0
"""How long a look under way is waited for at the end. What takes longer ends with the process: nothing hangs on it."""

log = logging.getLogger("farandole.metrics")


class Shown(Protocol):
    """What a loop's view says of the log, and of its readiness."""

    def unready(self) -> Sequence[str]:
        """Why it is not ready; called by the loop's thread."""
        ...

    def positions(self) -> dict[TopicPartition, int]:
        """Next offsets to be answered."""
        ...

    def kept(self) -> Sequence[TopicPartition]:
        """Partitions of which the oldest record is to be told."""
        ...


@dataclass(frozen=True, slots=True)
class Observed:
    """One process: who it is, its view, and its own samples."""

    process: str
    unit: str
    client_id: str
    view: Shown
    samples: Callable[[], Iterator[Sample]]


@contextmanager
def observing(observed: Observed, transport: Transport, settings: Settings) -> Iterator[Callable[[], None]]:
    """Serve metrics and health if an address is set; gives what is to be called after each step.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    if settings.metrics.listen is None:
        yield _nothing
        return
    # Only who listens pays for Prometheus' client and for a server of HTTP.
    from farandole.telemetry.exposition import Exposition
    from farandole.telemetry.health import Pulse
    from farandole.telemetry.server import TelemetryServer

    pulse = Pulse(time.monotonic, settings.metrics.live_within.total_seconds())
    watcher = _Watcher(observed, transport)
    exposition = Exposition([observed.samples, watcher.samples, lambda: _own(observed, pulse)])
    server = TelemetryServer(settings.metrics.listen, exposition, pulse)
    log.info("metrics and health on port %d", server.port)
    watcher.start()
    try:
        yield lambda: pulse.beat(observed.view.unready)
    finally:
        server.close()
        watcher.stop()


def wall() -> datetime:
    """The instant of a scrape."""
    return datetime.now(UTC)


def _nothing() -> None:
    """Nobody watches."""


def _own(observed: Observed, pulse: "Pulse") -> Iterator[Sample]:
    yield plain(m.STEP_AGE, pulse.age_s)
    yield m.INFO, {(_version(), observed.process, observed.unit): 1.0}


@cache
def _version() -> str:
    """Of what is installed, looked up once: it reads files."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("farandole")
    except PackageNotFoundError:  # the code runs from a path
        return "unknown"


@dataclass(slots=True)
class _Watcher:
    """Looks at the log every so often, in a thread of its own."""

    observed: Observed
    transport: Transport
    look: Look = field(default_factory=Look)
    looks: dict[str, int] = field(default_factory=lambda: {"ok": 0, "failed": 0})
    _ended: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._watch, name="farandole-probe", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(timeout=LEAVE_S)

    def samples(self) -> Iterator[Sample]:
        """The last look."""
        yield by_word(m.LAG_RECORDS, self.look.lag_records)
        yield by_word(m.LAG_SECONDS, self.look.lag_seconds)
        yield by_word(m.KEPT_SECONDS, self.look.oldest_seconds)
        yield by_word(m.KEPT_RECORDS, self.look.records)
        yield by_word(m.PROBES, self.looks)

    def _failed(self) -> None:
        """What was seen last says nothing of now: it would be the lag of a log that was well."""
        self.look = Look()
        self.looks["failed"] += 1

    def _watch(self) -> None:
        probe: Probe | None = None
        view, pause = self.observed.view, 1.0
        while not self._ended.wait(pause):
            try:
                probe = probe or Probe(self.transport, self.observed.client_id, time.time)
                positions = view.positions()
                if not positions:
                    self.look = Look()  # nothing is ours: what was told last is somebody else's to tell
                    continue
                self.look = probe.look(positions, view.kept())
                self.looks["ok"] += 1
            except FarandoleError as error:
                self._failed()
                log.debug("the log was not looked at: %s", error)
            except Exception:  # else nobody would look any more
                self._failed()
                log.exception("the log could not be looked at")
            pause = LOOK_EVERY_S
        if probe is not None:
            probe.close()
