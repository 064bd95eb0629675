"""What a process tells of the log: of what it has now, and of nothing that it had once."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from importlib import metadata
from types import SimpleNamespace
from typing import cast

import pytest

from farandole.cli import coordinators, observing
from farandole.cli.observing import Observed, _Watcher
from farandole.cli.settings import Settings
from farandole.errors import TransportError
from farandole.runtime.driver import Stop
from farandole.telemetry.catalogue import INFO
from farandole.telemetry.health import Pulse
from farandole.telemetry.server import TelemetryServer
from farandole.telemetry.settings import MetricsSettings
from farandole.transport import probing
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import End, Isolation, Polled, Record, TopicPartition, Transport, Trouble
from farandole.transport.probing import BEGINNING, Look, Probe

AT = TopicPartition("ns.inbox.charge", 0)
OTHER = TopicPartition("ns.inbox.send", 0)


def until(is_so: Callable[[], bool]) -> None:
    """Wait for that."""
    end = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < end, "it does not become so"
        time.sleep(0.01)


def test_lag_of_partitions_that_went_is_not_told_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """One idle process held an alert for ever with the lag of partitions that another had long since read."""
    owned: dict[TopicPartition, int] = {AT: 7}
    probe = SimpleNamespace(look=lambda *_: Look({AT.topic: 500.0}), close=lambda: None)
    monkeypatch.setattr(observing, "Probe", lambda *_: probe)
    monkeypatch.setattr(observing, "LOOK_EVERY_S", 0.05)
    view = SimpleNamespace(positions=lambda: dict(owned), kept=list)
    watcher = _Watcher(cast(Observed, SimpleNamespace(view=view, client_id="me")), MemoryTransport())
    watcher.start()
    try:
        until(lambda: watcher.look.lag_records == {AT.topic: 500.0})
        owned.clear()
        until(lambda: not watcher.look.lag_records)
    finally:
        watcher.stop()

    assert watcher.look == Look()
    assert watcher.looks["failed"] == 0


class SlowLog:
    """Tells its ends, and gives records only when it is let: as a log whose fetches are slow."""

    def __init__(self) -> None:
        self.given: list[Polled] = []
        self.ended = {AT: 500, OTHER: 3}

    def admin(self) -> "SlowLog":
        """Who tells ends."""
        return self

    def reader(self, client_id: str) -> "SlowLog":
        """Who reads."""
        return self

    def ends(self, places: Sequence[TopicPartition], isolation: Isolation) -> Mapping[TopicPartition, int]:
        """As they are."""
        return {at: self.ended[at] for at in places}

    def assign(self, positions: Mapping[TopicPartition, int]) -> None:
        """Nothing to do."""

    def poll(self, timeout: float) -> list[Polled]:
        """What is given, once."""
        given, self.given = self.given, []
        return given


def test_lag_in_seconds_of_records_that_could_not_be_reached_is_not_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    """It said 0, as if all were read, while 500 records waited: just when the log was slow, and an alert was due."""
    monkeypatch.setattr(probing, "READ_WITHIN_S", 0.01)
    slow = SlowLog()
    probe = Probe(cast(Transport, slow), "me", lambda: 100.0)
    places = {AT: 0, OTHER: 3}

    unknown = probe.look(places, [])
    slow.given = [Record(AT.topic, AT.partition, 0, b"k", b"v", (), 40_000)]
    reached = probe.look(places, [])
    slow_again = probe.look(places, [])
    slow.given = [End(AT, 500)]
    only_markers = probe.look({AT: 499, OTHER: 3}, [])
    caught_up = probe.look({AT: 500, OTHER: 3}, [])

    assert unknown.lag_records == {AT.topic: 500.0, OTHER.topic: 0.0}
    assert unknown.lag_seconds == {OTHER.topic: 0.0}
    assert reached.lag_seconds == {AT.topic: 60.0, OTHER.topic: 0.0}
    assert slow_again.lag_seconds == reached.lag_seconds
    assert only_markers.lag_seconds == {AT.topic: 0.0, OTHER.topic: 0.0}
    assert caught_up.lag_seconds == {AT.topic: 0.0, OTHER.topic: 0.0}


def test_age_of_the_oldest_record_is_told_as_soon_as_there_is_one_to_tell_of() -> None:
    """It was asked for at the first look, when homes were being restored yet, and then after five minutes."""
    log = SlowLog()
    log.ended = {AT: 0, OTHER: 3}
    assigned: list[Mapping[TopicPartition, int]] = []

    def assign(positions: Mapping[TopicPartition, int]) -> None:
        assigned.append(dict(positions))
        log.given = [Record(*at, 0, b"k", b"v", (), 40_000) for at in positions]

    log.assign = assign  # type: ignore[method-assign]
    log.beginnings = lambda places: dict.fromkeys(places, 0)  # type: ignore[attr-defined]
    probe = Probe(cast(Transport, log), "me", lambda: 100.0)

    nothing_is_served = probe.look({}, [])
    one_is_empty = probe.look({}, [AT, OTHER])
    log.ended[AT] = 1
    both = probe.look({}, [AT, OTHER])
    as_before = probe.look({}, [AT, OTHER])
    one_went = probe.look({}, [AT])

    assert nothing_is_served.oldest_seconds == {}
    assert one_is_empty.oldest_seconds == {OTHER.topic: 60.0}
    assert both.oldest_seconds == as_before.oldest_seconds == {AT.topic: 60.0, OTHER.topic: 60.0}
    assert one_went.oldest_seconds == {AT.topic: 60.0}
    assert [dict(each) for each in assigned if each] == [{OTHER: 0}, {AT: 0}]


def test_oldest_record_that_could_not_be_reached_is_asked_for_at_the_next_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "READ_WITHIN_S", 0.01)
    log = SlowLog()
    log.beginnings = lambda places: dict.fromkeys(places, 0)  # type: ignore[attr-defined]
    probe = Probe(cast(Transport, log), "me", lambda: 100.0)

    unreached = probe.look({}, [AT])
    log.given = [Record(*AT, 0, b"k", b"v", (), 40_000)]
    reached = probe.look({}, [AT])

    assert unreached.oldest_seconds == {}
    assert reached.oldest_seconds == {AT.topic: 60.0}


@pytest.mark.parametrize("error", [TransportError("no answer"), ValueError("of another kind")])
def test_lag_is_not_told_while_the_log_does_not_answer_and_again_afterwards(
    error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It stayed at what it was when all was well, and an error that was not ours ended the looking for good."""
    now: list[Look | Exception] = [Look({AT.topic: 0.0}, {AT.topic: 0.0})]

    def look(*_: object) -> Look:
        if isinstance(now[-1], Exception):
            raise now[-1]
        return now[-1]

    monkeypatch.setattr(observing, "Probe", lambda *_: SimpleNamespace(look=look, close=lambda: None))
    monkeypatch.setattr(observing, "LOOK_EVERY_S", 0.05)
    view = SimpleNamespace(positions=lambda: {AT: 7}, kept=list)
    watcher = _Watcher(cast(Observed, SimpleNamespace(view=view, client_id="me")), MemoryTransport())
    watcher.start()
    try:
        until(lambda: AT.topic in watcher.look.lag_seconds)
        now.append(error)
        until(lambda: watcher.looks["failed"] > 0)
        unknown = watcher.look
        now.append(Look({AT.topic: 5.0}))
        until(lambda: watcher.look.lag_records == {AT.topic: 5.0})
    finally:
        watcher.stop()

    assert unknown == Look()
    assert ("the log could not be looked at" in caplog.messages) == isinstance(error, ValueError)


def test_lag_of_records_whose_first_were_deleted_is_that_of_the_first_that_are_there() -> None:
    slow, deleted = SlowLog(), {AT: 3, OTHER: 1}
    probe = Probe(cast(Transport, slow), "me", lambda: 100.0)
    assigned: list[Mapping[TopicPartition, int]] = []

    def assign(positions: Mapping[TopicPartition, int]) -> None:
        assigned.append(dict(positions))
        there = [at for at, position in positions.items() if position == BEGINNING]
        slow.given = [Trouble("position_out_of_range", "gone", at) for at in positions if at not in there]
        slow.given += [Record(*at, 400, b"k", b"v", (), 40_000) for at in there]

    slow.assign = assign  # type: ignore[method-assign]
    found = probe.look(deleted, [])

    assert found.lag_seconds == {AT.topic: 60.0, OTHER.topic: 60.0}
    assert assigned[0] == deleted


def test_coordinator_that_is_told_to_stop_lets_its_homes_go_before_it_waits_for_a_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A look at a slow log was waited for first, up to 15 s in which nobody served its homes."""
    stop, looking, order = Stop(), threading.Event(), list[str]()

    def look(*_: object) -> Look:
        looking.set()
        assert released.wait(20)
        order.append("the look has ended")
        return Look()

    def step(_: float) -> None:
        if looking.wait(20):
            stop.set()

    released = threading.Event()
    view = SimpleNamespace(samples=lambda *_: [], unready=list, positions=lambda: {AT: 7}, kept=list)

    def close() -> None:
        order.append("homes are let go")
        released.set()

    def closed_server(server: TelemetryServer) -> None:
        order.append("the server is closed")
        close_server(server)

    close_server = TelemetryServer.close
    monkeypatch.setattr(TelemetryServer, "close", closed_server)
    monkeypatch.setattr(observing, "Probe", lambda *_: SimpleNamespace(look=look, close=lambda: None))
    loop = SimpleNamespace(view=view, client_id="me", step=step, close=close)
    monkeypatch.setattr(coordinators, "coordinator_loop", lambda *_: loop)
    monkeypatch.setattr(coordinators, "Stop", lambda: stop)
    monkeypatch.setattr(coordinators, "tune_interpreter", lambda: None)
    monkeypatch.setattr(coordinators, "stopping_on_signals", nullcontext)

    settings = Settings(metrics=MetricsSettings(listen="127.0.0.1:0"))
    ended = coordinators.coordinator_process(MemoryTransport(), settings, None)

    assert (ended, order[0]) == (0, "homes are let go")
    assert "the server is closed" in order


def test_process_whose_code_runs_from_a_path_tells_that_its_version_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each scrape ended in PackageNotFoundError: such a process showed no metrics at all."""

    def unknown(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", unknown)
    observing._version.cache_clear()
    observed = cast(Observed, SimpleNamespace(process="agent", unit="shop"))

    shown = dict(observing._own(observed, Pulse(lambda: 0.0)))
    observing._version.cache_clear()

    assert shown[INFO] == {("unknown", "agent", "shop"): 1.0}
