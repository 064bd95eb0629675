"""How the processes of a parallel test run come to one broker."""

from pathlib import Path

import pytest

from farandole.testing.broker import Broker, BrokerNotOurs, NoBroker, Rendezvous


class Recorder:
    """A control that remembers what was asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def stop(self) -> None:
        self.asked.append("stop")

    def kill(self) -> None:
        self.asked.append("kill")

    def restart(self) -> None:
        self.asked.append("restart")


def test_rendezvous_is_wanted_only_after_somebody_said_so(tmp_path: Path) -> None:
    ours, theirs = Rendezvous(tmp_path), Rendezvous(tmp_path)
    before = theirs.is_wanted

    ours.want()
    ours.want()

    assert (before, theirs.is_wanted) == (False, True)


def test_broker_taken_before_the_answer_is_none(tmp_path: Path) -> None:
    meeting = Rendezvous(tmp_path)

    meeting.want()

    assert meeting.taken() is None


def test_broker_that_was_offered_is_taken_with_all_that_is_said_of_it(tmp_path: Path) -> None:
    broker = Broker("here:1", "Maven jars", Recorder(), ("given: unset",))

    Rendezvous(tmp_path).offer(broker)

    taken = Rendezvous(tmp_path).taken()
    assert taken is not None
    assert (taken.bootstrap, taken.how, taken.passed) == ("here:1", "Maven jars", ("given: unset",))


def test_broker_that_was_taken_can_be_ended_by_its_owner_alone(tmp_path: Path) -> None:
    control = Recorder()
    Rendezvous(tmp_path).offer(Broker("here:1", "Maven jars", control))
    taken = Rendezvous(tmp_path).taken()
    assert taken is not None

    taken.stop()
    with pytest.raises(BrokerNotOurs, match="here:1"):
        taken.kill()
    with pytest.raises(BrokerNotOurs, match="here:1"):
        taken.restart()

    assert control.asked == []


def test_refusal_reaches_who_asks_with_every_reason(tmp_path: Path) -> None:
    Rendezvous(tmp_path).refuse(NoBroker(("given: unset", "maven: no Java")))

    with pytest.raises(NoBroker) as told:
        Rendezvous(tmp_path).taken()

    assert told.value.passed == ("given: unset", "maven: no Java")
