"""Who does what `doctor` says while faults play: what is counted, and what is told."""

from collections.abc import Iterator
from datetime import timedelta

import pytest

from farandole.errors import TransportError
from farandole.testing.chaos import markers
from farandole.testing.chaos.markers import Janitor
from farandole.testing.cluster import wait_until
from farandole.transport.kafka import KafkaSettings
from farandole.transport.kafka.markers import Answer


def test_what_was_committed_and_what_was_aborted_by_hand_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[Answer | None]] = [
        [Answer.COMMITTED, Answer.ABORTED, Answer.OVER],
        [Answer.CHANGED, None],
        [Answer.ABORTED],
    ]
    looks = iter(seen)

    def end_forgotten(settings: KafkaSettings, prefix: str) -> Iterator[tuple[None, Answer]]:
        for answer in next(looks, []):
            if answer is None:
                raise TransportError("the log is away")
            yield None, answer

    monkeypatch.setattr(markers, "end_forgotten", end_forgotten)
    monkeypatch.setattr(markers, "LOOK_S", 0.001)
    janitor = Janitor(KafkaSettings("nowhere:1"), "ns.")
    try:
        wait_until(lambda: janitor.aborted == 2, timedelta(seconds=10), "all looks")
    finally:
        janitor.close()

    assert janitor.notes == ["3 transactions that a broker had forgotten were ended by hand: 1 committed, 2 aborted"]


def test_nothing_is_told_of_a_janitor_with_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    janitor = Janitor(KafkaSettings("nowhere:1"), "ns.")
    janitor.close()

    assert janitor.notes == []
