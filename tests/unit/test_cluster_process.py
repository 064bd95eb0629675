"""Processes for tests: started, frozen, killed and started again, and none left behind."""

import os
import signal
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.testing.cluster import Cluster, ManagedProcess, NotYet, wait_until

SOON = timedelta(seconds=20)
WAITS = "import signal, sys; signal.signal(signal.SIGTERM, lambda *_: sys.exit(3)); print('up'); signal.pause()"
# Only the parent says the child's id: the child would say 0, now and then first.
FORKS = "import os, signal; child = os.fork(); child and print(child, flush=True); signal.pause()"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """A cluster without a broker."""
    with Cluster("nowhere:1", "ns", tmp_path) as it:
        yield it


def up(cluster: Cluster, code: str = WAITS, name: str = "p") -> ManagedProcess:
    """A process that has said something."""
    process = cluster.spawn(name, [sys.executable, "-c", code])
    wait_until(lambda: process.said(), SOON, "a first word", cluster.said)
    return process


def test_a_process_is_told_where_its_broker_is(cluster: Cluster) -> None:
    code = "import os; print(os.environ['FARANDOLE_BOOTSTRAP'], os.environ['FARANDOLE_NAMESPACE'], os.getcwd())"

    process = up(cluster, code)

    assert process.wait(SOON) == 0
    assert process.said().split() == ["nowhere:1", "ns", str(cluster.folder)]


def test_a_killed_process_is_dead_at_once_and_starts_again(cluster: Cluster) -> None:
    process = up(cluster)
    first = process.pid

    process.kill9()
    dead = process.is_alive
    process.restart()

    assert not dead
    assert process.is_alive
    assert process.pid != first
    assert process.generation == 2


def test_a_frozen_process_does_nothing_until_it_goes_on(cluster: Cluster) -> None:
    process = up(cluster)

    process.sigstop()
    process.sigterm()

    assert process.is_alive
    process.sigcont()
    assert process.wait(SOON) == 3


def test_terminate_ends_all_in_order_frozen_ones_too(cluster: Cluster) -> None:
    up(cluster, name="one")
    up(cluster, name="two").sigstop()

    assert cluster.terminate() == {"one": 3, "two": 3}


def test_what_a_killed_process_started_is_ended_with_the_cluster(cluster: Cluster) -> None:
    process = up(cluster, FORKS)
    child = int(process.said().split()[0])
    process.kill9()
    orphan = is_running(child)

    cluster.end()

    assert orphan
    wait_until(lambda: not is_running(child), SOON, "the child to be gone")


def test_what_a_process_left_behind_is_ended_though_somebody_waited_for_it(cluster: Cluster) -> None:
    """Waiting gave its id back, so that nobody could name its group any more: its children outlived every test."""
    process = up(cluster, "import os, signal; child = os.fork(); print(child, flush=True) if child else signal.pause()")
    child = int(process.said().split()[0])
    code, orphan = process.wait(SOON), is_running(child)

    cluster.end()

    assert (code, orphan) == (0, True)
    wait_until(lambda: not is_running(child), SOON, "the child to be gone")


def test_process_tells_how_it_ended_before_anybody_waits_for_it(cluster: Cluster) -> None:
    killed, ended = up(cluster, name="one"), up(cluster, name="two")
    alive = ended.ended_with

    killed.kill9()
    ended.sigterm()

    assert (alive, killed.ended_with) == (None, -signal.SIGKILL)
    assert ended.wait(SOON) == ended.ended_with == 3


def test_peak_of_memory_is_told_when_the_memory_has_been_given_back(cluster: Cluster) -> None:
    process = up(cluster, "import signal; big = b'x' * (64 << 20); del big; print('up', flush=True); signal.pause()")

    assert process.memory_peak_mib > process.memory_mib + 32


def is_running(pid: int) -> bool:
    """Whether a process that is not our child exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_process_that_was_never_started_has_no_id(tmp_path: Path) -> None:
    process = ManagedProcess("p", ["true"], tmp_path, {})

    with pytest.raises(ProcessLookupError, match="expected a process that was started"):
        process.kill9()


def test_a_guard_ends_the_process_when_the_test_is_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from farandole.testing.cluster import ManagedProcess;"
        "p = ManagedProcess('p', ['sleep', '600'], Path('.'), {}).start(); print(p.pid, flush=True);"
        "import signal; signal.pause()"
    )
    with Cluster("nowhere:1", "ns", tmp_path) as cluster:
        test = up(cluster, code, "test")
        sleeper = int(test.said().split()[0])

        os.kill(test.pid, signal.SIGKILL)

        wait_until(lambda: not is_running(sleeper), SOON, "the guard to end it")
        assert not is_running(sleeper)


def test_wait_until_gives_the_value_and_says_what_it_saw_last() -> None:
    values = iter([0, 0, 7])

    assert wait_until(lambda: next(values), SOON) == 7
    with pytest.raises(NotYet, match="expected rain within 0:00:00, but the last look gave ''\nlook outside"):
        wait_until(lambda: "", timedelta(), "rain", lambda: "look outside")


def test_run_gives_exit_code_and_output(cluster: Cluster) -> None:
    other = Cluster("nowhere:1", "ns", cluster.folder, command=[sys.executable, "-c"])

    ended = other.run("import sys; print(sys.stdin.read()); sys.exit(4)", text="hello")

    assert (ended.code, ended.stdout.strip(), ended.stderr) == (4, "hello", "")
