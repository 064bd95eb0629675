"""The embedded log where it is meant to be: under several processes at once, some of which are killed."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.testing.cluster.waiting import wait_until
from farandole.transport.port import MemberSettings, NewRecord, Record, TopicPartition, TopicSpec
from farandole.transport.sqlite import SqliteSettings, SqliteTransport

COPIER = Path(__file__).parent / "processes" / "copier.py"
PARTITIONS = 6
RECORDS = 3_000
KILLS = 6
WITHIN = timedelta(seconds=40)


class Copiers:
    """Processes that copy from `in` to `out`, and what is on both."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.transport = SqliteTransport(SqliteSettings(folder / "log.db"))
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        with closing(self.transport.admin()) as admin:
            admin.create([TopicSpec("in", PARTITIONS), TopicSpec("out", PARTITIONS)])

    def start(self, client: str) -> None:
        """Start one, or start it again."""
        with self.log(client).open("ab") as log:
            self.running[client] = subprocess.Popen(
                [sys.executable, str(COPIER), str(self.transport.settings.path), client], stdout=log, stderr=log
            )

    def kill(self, client: str) -> None:
        """`kill -9`."""
        self.running[client].kill()
        self.running[client].wait()

    def log(self, client: str) -> Path:
        """What it said."""
        return self.folder / f"{client}.log"

    def members(self) -> frozenset[str]:
        """Who is there."""
        with closing(self.transport.admin()) as admin:
            return admin.members("copiers")

    def write(self, numbers: range) -> None:
        """Records with these values, over all partitions."""
        with closing(self.transport.producer("writer")) as producer:
            for n in numbers:
                producer.send(NewRecord("in", None, b"%d" % n, (), n % PARTITIONS))
            assert producer.flush(20) == 0

    def copied(self) -> list[Record]:
        """What is on `out`."""
        with closing(self.transport.reader("looker")) as reader:
            reader.assign({TopicPartition("out", n): 0 for n in range(PARTITIONS)})
            found: list[Record] = []
            while polled := reader.poll(0):
                found += [each for each in polled if isinstance(each, Record)]
            return found

    def said(self) -> str:
        """For a failure."""
        return "\n".join(path.read_text()[-2000:] for path in sorted(self.folder.glob("*.log")))


@pytest.fixture
def copiers(tmp_path: Path) -> Iterator[Copiers]:
    """None is running yet."""
    made = Copiers(tmp_path)
    yield made
    for client in made.running:
        made.kill(client)


def test_processes_share_a_log_and_kill_minus_nine_doubles_and_loses_nothing(copiers: Copiers) -> None:
    seed = time.time_ns() % 1_000_000
    print(f"seed {seed}")
    dice, clients = random.Random(seed), ["a", "b", "c"]
    for each in clients:
        copiers.start(each)
    wait_until(lambda: copiers.members() == set(clients), WITHIN, "three members", copiers.said)

    for n in range(KILLS):
        copiers.write(range(n * RECORDS // KILLS, (n + 1) * RECORDS // KILLS))
        victim = dice.choice(clients)
        time.sleep(dice.uniform(0, 0.05))
        copiers.kill(victim)
        copiers.start(victim)
    wait_until(lambda: len(copiers.copied()) >= RECORDS, WITHIN, "everything to be copied", copiers.said)

    for partition in range(PARTITIONS):
        values = [int(each.value or b"") for each in copiers.copied() if each.partition == partition]
        assert values == list(range(partition, RECORDS, PARTITIONS))


def test_a_process_that_is_killed_is_replaced_long_before_its_session_is_over(copiers: Copiers) -> None:
    copiers.start("first")
    wait_until(lambda: copiers.log("first").read_text(), WITHIN, "the first to be assigned everything", copiers.said)
    copiers.start("second")
    wait_until(lambda: copiers.log("second").read_text(), WITHIN, "the second to be assigned its share", copiers.said)

    copiers.kill("first")

    copiers.write(range(PARTITIONS))
    wait_until(lambda: len(copiers.copied()) == PARTITIONS, WITHIN, "the second to do the work of both", copiers.said)
    assert copiers.members() == {"second"}


def test_a_process_that_stands_still_is_not_taken_for_dead(copiers: Copiers) -> None:
    copiers.start("first")
    wait_until(lambda: copiers.log("first").read_text(), WITHIN, "the first to be assigned everything", copiers.said)
    other = copiers.transport.member(MemberSettings("others", "other"))
    copiers.running["first"].send_signal(signal.SIGSTOP)

    listed = [copiers.members() for _ in range(3)]

    copiers.running["first"].send_signal(signal.SIGCONT)
    other.close()
    assert listed == [{"first"}] * 3
