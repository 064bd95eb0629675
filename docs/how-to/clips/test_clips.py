"""What a test may script: the examples of `test.md`."""

import asyncio
import logging
from dataclasses import dataclass, field

from clips import clips, cut, mail, rate, store
from offers import ask, offers

from farandole.testing.harness import Harness


@dataclass
class Attempt:
    """Stands in for the `Context`: what `store` uses of it."""

    idempotency_key: str = "run-1:store:-"
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("test"))
    published: list[tuple[str, object, str | None]] = field(default_factory=list)

    def publish(self, topic: str, value: object, *, key: str | None = None) -> None:
        self.published.append((topic, value, key))


def test_a_handler_with_a_context() -> None:
    ctx = Attempt()

    assert asyncio.run(store.handler(ctx, "M", [1.0, 2.0])) == "M:2"
    assert ctx.published == [("ratings", {"title": "M", "best": 2.0}, "M")]


def test_a_stub_in_place_of_what_costs() -> None:
    with Harness(clips) as harness:
        run = harness.stub(rate, lambda scene, strict: 1.0).run("M", scenes=2)

    assert run.result == "M:1"
    assert run.steps()["rate"] == 2  # one success for each item


def test_a_step_that_does_not_answer_is_tried_again() -> None:
    with Harness(clips) as harness:
        run = harness.time_out(store).run("M")

    assert (run.outcome, run.attempts(store)) == ("succeeded", 2)


def test_a_crash_between_the_work_and_the_commit() -> None:
    with Harness(clips) as harness:
        run = harness.deliver_twice(store).run("M")

    assert (run.calls(store), run.attempts(store)) == (2, 1)  # called twice under one key, counted once


def test_a_dead_letter_is_repaired() -> None:
    with Harness(clips) as harness:
        run = harness.run("M", scenes=0)

        assert run.status == "held"
        assert run.why == "dead_letter: exception"
        assert run.dead_letters()[0].step == "cut"

        harness.replay(run, cut, input={"title": "M", "scenes": 2})

        assert run.outcome == "succeeded"


def test_a_run_that_is_cancelled_while_it_waits() -> None:
    with Harness(clips) as harness:
        harness.time_out(store, times=3)
        run = harness.start("M")
        harness.advance("5s")

        assert run.status == "running"

        harness.cancel(run, "not needed any more")

        assert run.outcome == "cancelled"
        assert run.why == "not needed any more"


def test_what_was_scripted_has_happened() -> None:
    with Harness(clips) as harness:
        run = harness.fail(mail, times=3).run("M")

        assert run.outcome == "partial"  # on_dead_letter="skip"
        assert not harness.unused


def test_two_offers_of_three_are_enough() -> None:
    with Harness(offers) as harness:
        assert harness.fail(ask, times=3).run("ufa").result == 3.0
