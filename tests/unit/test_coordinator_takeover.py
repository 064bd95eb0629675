"""How homes become ours: the dead are fenced one after the other, and a home that does not come says why."""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from farandole.artifacts import LocalArtifacts
from farandole.clock import ManualClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.claimed import Stage
from farandole.coordinator.intake import halves
from farandole.coordinator.loop import Environment
from farandole.coordinator.takeover import FENCE_TRIES, MISSING_RETRY_S, SLOW_S, Takeover
from farandole.errors import TransportError
from farandole.events.topics import Topics
from farandole.transport.memory import MemoryTransport
from farandole.transport.metadata import Metadata, encode
from farandole.transport.port import (
    FenceWriter,
    ListMembers,
    Position,
    ReadEnds,
    ReadPositions,
    Reply,
    Request,
    TopicPartition,
)
from farandole.transport.topology import system_topics


def takeover() -> Takeover:
    """One whose questions nobody answers."""

    def ask(request: Request, then: Callable[[Reply], None]) -> None:
        pass

    return Takeover(Topics("ns"), "ns.coordinator.c1", ask)


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    """What was warned of."""
    caplog.set_level(logging.WARNING, "farandole.coordinator")
    return lambda: [record.getMessage() for record in caplog.records]


def test_home_that_is_long_on_its_way_says_what_it_waits_for(told: Callable[[], list[str]]) -> None:
    """One stood still for minutes after an outage, and no line told which or why."""
    it = takeover()
    it.begin(3)
    for second in range(2 * int(SLOW_S)):
        it.tell_slow(100.0 + second)
    it.claimed[3].stage = Stage.RESTORE
    it.tell_slow(100.0 + 2 * SLOW_S)

    assert told() == [
        "home 3 is not served yet: it waits for the positions that its last owner left",
        "home 3 is not served yet: it waits for its runs to be read",
    ]


def test_home_that_comes_in_time_says_nothing(told: Callable[[], list[str]]) -> None:
    it = takeover()
    it.begin(3)
    it.tell_slow(0.0)
    it.drop(3)
    it.tell_slow(SLOW_S)

    assert told() == []


@pytest.mark.parametrize("stage", [each for each in Stage if each is not Stage.RUNNING])
def test_every_stage_has_its_words_or_has_told_already(stage: Stage, told: Callable[[], list[str]]) -> None:
    it = takeover()
    it.begin(0)
    it.claimed[0].stage = stage
    it.tell_slow(0.0)
    it.tell_slow(SLOW_S)

    assert len(told()) == (stage is not Stage.STOPPED)


def test_partitions_of_which_the_other_half_is_not_ours_are_told(told: Callable[[], list[str]]) -> None:
    # The story: `commands` was given more partitions than `events` has. The assignor dealt them out unevenly, homes had
    # one half here and one there, and nobody served them or said so.
    topics = Topics()
    ours = {TopicPartition(topics.commands, n) for n in (0, 1, 2)} | {TopicPartition(topics.events, n) for n in (0, 1)}
    transport = MemoryTransport()
    transport.admin().create(system_topics(topics, 2))
    environment = Environment(transport, ManualClock(), LocalArtifacts(Path()))
    loop = CoordinatorLoop(environment, CoordinatorSettings(), 2)

    loop.assigned(sorted(ours))
    loop.close()

    assert halves(ours, topics) == [TopicPartition(topics.commands, 2)]
    assert sorted(loop._takeover.claimed) == [0, 1]
    assert [line.partition(":")[0] for line in told()] == ["farandole.commands/2"]


class Answering:
    """A takeover of homes that these writers left, whose questions are answered; some cannot be fenced."""

    def __init__(self, writers: Mapping[int, str], refused: str = "") -> None:
        self.writers = writers
        self.refused = refused
        self.fenced = Counter[str]()
        self.without_position: set[int] = set()
        self.looks = 0
        self.unanswered: type[Request] | None = None
        """Of this kind every question is refused at once."""
        self.asked: list[tuple[Request, Callable[[Reply], None]]] = []
        self.takeover = Takeover(Topics("ns"), "us", lambda request, then: self.asked.append((request, then)))
        for number in writers:
            self.takeover.begin(number)

    def answer(self) -> None:
        asked, self.asked = self.asked, []
        for request, then in asked:
            then(self._reply(request))

    def _reply(self, request: Request) -> Reply:
        if type(request) is self.unanswered:
            return Reply(1, request, error=TransportError("connection refused"))
        match request:
            case ReadPositions(partitions=partitions):
                self.looks += 1
                left: dict[TopicPartition, Position | None] = {
                    at: Position(0, encode(Metadata(self.writers[at.partition], 1, 1))) for at in partitions
                }
                left.update({at: None for at in partitions if at.partition in self.without_position})
                return Reply(1, request, positions=left)
            case ListMembers():
                return Reply(1, request, members=frozenset({"us"}))
            case FenceWriter(transactional_id=writer):
                self.fenced[writer] += 1
                return Reply(1, request, error=TransportError("not allowed") if writer == self.refused else None)
            case _:
                return Reply(1, request)

    def stages(self) -> dict[int, Stage]:
        return {number: claimed.stage for number, claimed in self.takeover.claimed.items()}


def test_nobody_is_fenced_while_a_transaction_of_ours_is_under_way() -> None:
    """The answer to a Commit that hung was given to the FenceWriter behind it: the coordinator stood still for ever."""
    it = Answering({0: "dead"})
    for _ in range(5):
        it.takeover.step(0.0, may_fence=False)
        it.answer()
    assert it.stages() == {0: Stage.FENCING}
    assert it.fenced == {}

    looks = []
    for look in (lambda: it.takeover.step(0.0, may_fence=True), it.answer):
        look()
        looks.append(it.takeover.is_fencing)

    assert looks == [True, False]
    assert it.fenced == {"dead": 1}


def test_writer_that_cannot_be_fenced_holds_up_no_other_and_its_own_home_only_for_a_while() -> None:
    """It was tried for ever, and before all others. The broker ends what it left when its time is over."""
    it = Answering({0: "a", 1: "b"}, refused="a")
    for second in range(20):
        it.takeover.step(100.0 + second, may_fence=True)
        it.answer()

    assert it.stages() == {0: Stage.EPOCH, 1: Stage.EPOCH}
    assert it.fenced == {"a": FENCE_TRIES, "b": 1}


def test_home_without_positions_says_both_ways_on(told: Callable[[], list[str]]) -> None:
    """It named `apply` alone, which gives none to a home that had some: it stood still for ever."""
    asked: list[tuple[Request, Callable[[Reply], None]]] = []
    it = Takeover(Topics("ns"), "us", lambda request, then: asked.append((request, then)))
    it.begin(0)
    it.step(0.0, may_fence=True)
    ((request, then),) = asked
    assert isinstance(request, ReadPositions)

    then(Reply(1, request, positions=dict.fromkeys(request.partitions)))

    assert it.claimed[0].stage is Stage.STOPPED
    (line,) = told()
    assert "if it never had one, run `farandole apply`" in line
    assert "run `farandole coordinator reposition`" in line


def test_home_without_start_positions_is_looked_at_again_and_told_once(told: Callable[[], list[str]]) -> None:
    # The story: a coordinator was started while the first `apply` was under way. It found all topics, and no start
    # position yet; its homes were stopped for ever, and only a new process served them.
    it = Answering({0: "", 1: ""})
    it.without_position = {0, 1}
    seconds = range(4 * int(MISSING_RETRY_S))
    for second in seconds:
        it.takeover.step(100.0 + second, may_fence=True)
        it.answer()
        it.takeover.look_again(100.0 + second)
        it.takeover.tell_slow(100.0 + second)
    stopped, asked = it.stages(), it.looks
    it.without_position = set()
    for second in seconds:
        it.takeover.step(200.0 + second, may_fence=True)
        it.answer()
        it.takeover.look_again(200.0 + second)

    assert stopped == {0: Stage.STOPPED, 1: Stage.STOPPED}
    assert asked == 4, "every five seconds"
    assert [line.partition(";")[0] for line in told()] == [f"ns.events/{n} has no start position" for n in (0, 1)]
    assert it.stages() == {0: Stage.EPOCH, 1: Stage.EPOCH}


@pytest.mark.parametrize(
    ("stage", "kind"),
    [
        (Stage.LAST_WRITER, ReadPositions),
        (Stage.FENCING, ListMembers),
        (Stage.FENCING, FenceWriter),
        (Stage.POSITIONS, ReadPositions),
        (Stage.ENDS, ReadEnds),
    ],
)
def test_question_that_is_refused_at_once_is_asked_again_after_a_pause(stage: Stage, kind: type[Request]) -> None:
    # The story: while no broker took connections, each coordinator asked four hundred times a second, with a line each.
    it = Answering({0: "dead"})
    while it.takeover.claimed[0].stage not in (stage, Stage.EPOCH):
        it.takeover.step(0.0, may_fence=True)
        it.answer()
    it.takeover.claimed[0].stage = stage
    it.unanswered = kind
    asked: list[float] = []
    for n in range(400):
        now = n / 400
        it.takeover.step(now, may_fence=True)
        asked += [now for request, _ in it.asked if isinstance(request, kind)]
        it.answer()

    assert asked[:5] == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4], abs=0.01)
    assert len(asked) <= 10


def test_positions_that_are_still_pending_are_asked_for_again_after_a_pause() -> None:
    asked: list[tuple[Request, Callable[[Reply], None]]] = []
    it = Takeover(Topics("ns"), "us", lambda request, then: asked.append((request, then)))
    it.begin(0)
    for n in range(400):
        it.step(n / 400, may_fence=True)
        for request, then in asked[-1:] if it.claimed[0].waiting else []:
            then(Reply(1, request))

    assert 5 <= len(asked) <= 10


def test_lag_of_a_home_that_is_restored_or_stopped_is_told_as_far_as_it_is_known() -> None:
    """Only homes that were served told theirs: none was behind while none was served."""
    it = takeover()
    for number in (1, 2, 3):
        it.begin(number)
    commands = TopicPartition("ns.commands", 3)
    it.claimed[2].stage = Stage.RESTORE
    it.claimed[2].home.events_at, it.claimed[2].home.commands_at = 20, 10
    it.refuse(3, commands, 7)

    told = {at: position for claimed in it.claimed.values() for at, position in claimed.folded_to(it.topics).items()}

    assert told == {TopicPartition("ns.events", 2): 20, TopicPartition("ns.commands", 2): 10, commands: 7}
