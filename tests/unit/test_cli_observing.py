"""What a process tells of the log: of what it has now, and of nothing that it had once."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import cast

import pytest

from farandole.cli import observing
from farandole.cli.observing import Observed, _Watcher
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import TopicPartition
from farandole.transport.probing import Look

AT = TopicPartition("ns.inbox.charge", 0)


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
