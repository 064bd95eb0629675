"""The broker goes away and comes back: everybody keeps trying, says so once a minute, and goes on alone."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from farandole.errors import TransportError
from farandole.testing.broker import Broker

if TYPE_CHECKING:
    from tests.acceptance.conftest import Cluster, Process

pytestmark = pytest.mark.kafka

AWAY = re.compile(r"the log (is unreachable|does not deliver \(unreachable\))")
KIND = re.compile(r"^\S+ (WARNING|ERROR) ")


@pytest.fixture
def alone(
    own_broker: Broker, cluster_of: Callable[[str, str, Path], "Cluster"], unique: str, tmp_path: Path
) -> Iterator["Cluster"]:
    """A cluster on a broker that this test alone may kill."""
    made = cluster_of(own_broker.bootstrap, unique, tmp_path)
    yield made
    made.end()


def since(process: "Process", mark: int) -> list[str]:
    """What a process has logged since its log was `mark` characters long."""
    return process.log.read_text()[mark:].splitlines()


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_outage_of_the_broker_is_told_once_a_minute_and_everything_goes_on_when_it_is_over(
    alone: "Cluster", own_broker: Broker, units: Path, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    gate.touch()
    alone.apply(units / "steps", 2)
    processes = [alone.coordinator("c1"), alone.agents("a1", units / "steps")]
    with alone.client() as client:
        before = client.start("line", params={"gate": str(gate)}, run_id="before")
        assert before.result("60s") == 3
        pids, marks = [each.pid for each in processes], [len(each.log.read_text()) for each in processes]

        own_broker.kill()
        began = time.monotonic()
        for process, mark in zip(processes, marks, strict=True):
            alone.until(
                lambda process=process, mark=mark: any(AWAY.search(line) for line in since(process, mark)),  # type: ignore[misc]
                f"{process.name} to say that the log is away",
                40,
            )
        with pytest.raises(TransportError) as refused:
            client.start("line", params={"gate": str(gate)}, run_id="during")
        # Long enough that whoever tells it every second, or at every try, is found.
        alone.until(lambda: time.monotonic() - began > 15, "an outage of 15 s", 30)
        told = [since(process, mark) for process, mark in zip(processes, marks, strict=True)]
        lasted = time.monotonic() - began
        own_broker.restart()

        after = client.start("line", params={"gate": str(gate)}, run_id="after")
        assert after.result("90s") == 3

    assert str(refused.value)
    alone.check()
    assert [each.pid for each in processes] == pids
    for process, lines in zip(processes, told, strict=True):
        away = [line for line in lines if AWAY.search(line)]
        assert 1 <= len(away) <= 1 + lasted // 60, (process.name, away)
        assert not [line for line in lines if "Traceback" in line or line.startswith("%")], process.name
        # What else became of it is told once each: partitions lost, a transaction in doubt, a producer not renewed.
        others = [KIND.sub("", line)[:30] for line in lines if " INFO " not in line and line not in away]
        assert len(others) == len(set(others)) <= 3, (process.name, others)
