"""The log in memory answers as a real broker and the embedded log do, and the comparison would notice if it did not."""

from collections.abc import Callable

import pytest

from farandole.testing.twin import compare
from farandole.testing.twin.compare import STAGES, difference
from farandole.testing.twin.embedded import SqliteStage
from farandole.testing.twin.operations import Fence, Renew, Shake, Transact, script_of
from farandole.testing.twin.play import Played, play
from farandole.testing.twin.stages import KafkaStage, MemoryStage
from farandole.transport.memory.log import PartitionLog
from farandole.transport.memory.positions import Positions
from farandole.transport.memory.transactions import Transactions, Writer, _Id
from farandole.transport.port import Isolation

SEEDS = range(6)
"""In `make test`; `make twin SEEDS=n` plays more."""

EMBEDDED = range(8)
"""The same on the embedded log: a second each; `make twin STAGE=sqlite` plays more."""

CHEAP = range(60)
"""Seeds of the log in memory alone: a hundredth of a second each."""


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_real_broker_answers_like_the_log_in_memory(seed: int, kafka: str) -> None:
    found = difference(seed, lambda: KafkaStage(kafka))

    assert found == ""


@pytest.mark.parametrize("seed", EMBEDDED)
def test_embedded_log_answers_like_the_log_in_memory(seed: int) -> None:
    found = difference(seed, SqliteStage)

    assert found == ""


@pytest.mark.parametrize("flaw", ["large", "topic", "partition", "metadata"])
def test_fenced_producer_hears_that_first_whatever_else_is_wrong(flaw: str) -> None:
    """The embedded log told a zombie that a record of its was refused: it looked for a culprit, of all things."""
    script = (Renew("b"), Fence("a", "b"), Transact("b", (), ((0, 1, ""),), flaw))

    played = [play(script, stage).answers for stage in (MemoryStage(), SqliteStage())]

    for answers in played:
        assert [answer for what, answer in answers if what.startswith("Transact")] == ["fenced"]


def test_stale_member_hears_that_before_its_positions_are_looked_at() -> None:
    script = (Shake("b"), Transact("b", (), ((0, 1, ""),), "metadata", is_old=True))

    played = [play(script, stage).answers for stage in (MemoryStage(), SqliteStage())]

    for answers in played:
        assert [answer for what, answer in answers if what.startswith("Transact")] == ["stale"]


def test_script_of_a_seed_is_always_the_same_and_of_another_seed_another() -> None:
    first, again, other = script_of(3), script_of(3), script_of(4)

    assert first == again
    assert first != other


def test_every_stage_can_be_compared_by_its_name() -> None:
    made = STAGES["memory"]("")

    assert difference(1, lambda: made) == ""
    assert set(STAGES) >= {"memory", "kafka", "sqlite"}


def test_only_kafka_is_asked_again_after_a_slow_transaction_and_that_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A seed that differed on the embedded log was played up to four times on a slow machine, without a word."""

    def slow(script: object, stage: object, expected: object = (), scope: object = None) -> Played:
        played.append(type(stage))
        return Played([("see it", "right" if isinstance(stage, MemoryStage) else "wrong")], 1.0)

    played, said = list[type](), list[str]()
    monkeypatch.setattr(compare, "play", slow)

    embedded = difference(1, SqliteStage, say=said.append)
    of_embedded, told = played.count(SqliteStage), list(said)
    kafka = difference(1, lambda: KafkaStage("nowhere:1"), say=said.append)

    assert (of_embedded, told, played.count(KafkaStage)) == (1, [], compare.PLAYS_MAX)
    assert said[0] == "seed 1, play 1: another answer, and a transaction of 1.000 s; played again"
    assert "expected right, but found wrong" in embedded
    assert "expected right, but found wrong" in kafka


def test_answers_of_many_seeds_contain_all_that_matters() -> None:
    told: set[tuple[str, str]] = set()
    pending = 0

    for seed in CHEAP:
        for what, answer in play(script_of(seed), MemoryStage()).answers:
            if what.startswith("see "):
                pending += "pending" in str(answer)
            else:
                told.add((what.partition("(")[0], str(answer)))

    assert {answer for kind, answer in told if kind == "Transact"} >= {"committed", "fenced", "stale", "refused"}
    assert {answer for kind, answer in told if kind == "Late"} >= {"done", "fenced"}
    assert ("Lapse", "ended") in told
    assert ("Begin", "TransportError") in told
    assert pending > 100


def no_last_stable(log: PartitionLog, isolation: Isolation) -> int:
    """A committed end that an open transaction does not hold back."""
    return log.end


def nothing_pending(
    self: Positions, group: str, partitions: object, *, stable: bool, real: Callable[..., object] = Positions.get
) -> object:
    """A stable read that does not wait."""
    return real(self, group, partitions, stable=False)


def nobody_fenced(self: Transactions, writer: Writer) -> _Id:
    """An old producer that may go on."""
    return self._ids[writer.transactional_id]


def first_told_wins(self: Positions, writer: str, group: str, *, commit: bool) -> None:
    """Of two transactions the one that ends later wins, whichever told its positions first."""
    for partition in self._groups.get(group, {}).values():
        told = partition.pending.pop(writer, None)
        if told is not None and commit:
            partition.committed = told


@pytest.mark.parametrize(
    ("owner", "name", "broken"),
    [
        (PartitionLog, "end_of", no_last_stable),
        (Positions, "get", nothing_pending),
        (Transactions, "check", nobody_fenced),
        (Positions, "settle", first_told_wins),
        (Transactions, "expire", lambda self, now: None),
    ],
    ids=["last_stable_offset", "pending_positions", "fencing", "order_of_positions", "time_out"],
)
def test_log_that_is_wrong_in_one_thing_is_found(
    owner: type, name: str, broken: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = {seed: play(script_of(seed), MemoryStage()).answers for seed in CHEAP}
    monkeypatch.setattr(owner, name, broken)

    def is_found(seed: int) -> bool:
        try:
            return play(script_of(seed), MemoryStage(), right[seed]).answers != right[seed]
        except AssertionError:
            return True  # it waited for what never came

    assert any(is_found(seed) for seed in CHEAP)
