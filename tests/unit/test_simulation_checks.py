"""What the simulation's own checks take for wrong, and what not."""

from datetime import UTC, datetime

from farandole.events import facts
from farandole.kernel.place import Place
from farandole.testing.simulation.checks import places_taken_back, reported_after_the_end
from farandole.transport.port import Record

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HELD = facts.RunHeld("r", "kernel_error", "ExpressionError: division by zero", until=NOW)
SETTLED = facts.RunSettled("r", "cancelled", NOW, NOW)
REPORT = facts.StepSucceeded("r", "a", 1, b"x")


def found(*told: facts.Event) -> list[str]:
    """What is wrong with a log."""
    log = [(Record("events", 0, n, b"r", b"", (), 0), event) for n, event in enumerate(told)]
    return list(reported_after_the_end(log))


def test_a_report_after_the_end_is_wrong() -> None:
    (told,) = found(SETTLED, REPORT)

    assert "reported after the end" in told
    assert found(REPORT, SETTLED) == []


def test_a_run_that_stood_still_when_it_was_cancelled_may_be_reported_to_after_its_end() -> None:
    """The checker once wanted every attempt waited for, which nobody can whose reports are not folded."""
    assert found(HELD, SETTLED, REPORT) == []


def test_a_run_that_was_released_waits_again() -> None:
    assert len(found(HELD, facts.RunReleased("r", "kernel_error"), SETTLED, REPORT)) == 1


def test_a_run_whose_patience_passed_waits_for_nobody() -> None:
    assert found(facts.DeadlinePassed("r", "stop"), SETTLED, REPORT) == []


def written(*places: Place | None) -> list[str]:
    """What is wrong with a partition of `runs`."""
    headers = [() if place is None else (place.header(),) for place in places]
    return list(places_taken_back(Record("runs", 2, n, b"r", b"", it, 0) for n, it in enumerate(headers)))


def test_places_that_go_on_are_right() -> None:
    assert written(None, Place(1, 0, 1, 5), None, Place(1, 2, 1, 5), Place(7, 2, 3, 9)) == []


def test_a_place_that_goes_back_in_anything_is_told() -> None:
    """A home went on from positions that its broker had lost the end of, and folded a part of its log twice."""
    here = Place(7, 2, 3, 9)

    for later in (Place(6, 2, 4, 9), Place(7, 1, 4, 9), Place(8, 2, 2, 9), Place(8, 2, 3, 8)):
        (told,) = written(here, None, later)

        assert told.startswith("home 2: ")
