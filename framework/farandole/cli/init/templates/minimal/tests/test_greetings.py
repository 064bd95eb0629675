"""The pipeline in memory, on a virtual clock: no broker, and no back-off is waited for."""

from greetings import compose, greetings, send

from farandole.testing.harness import Harness


def test_compose_finds_the_words() -> None:
    assert compose.handler("Ada").text == "hello Ada"


def test_greetings_are_sent_although_sending_fails_twice() -> None:
    run = Harness(greetings).fail(send, times=2).run("Ada")

    assert run.outcome == "succeeded"
    assert run.attempts(send) == 3
    assert run.result.text == "Hello ada."


def test_a_run_without_a_name_waits_for_somebody_to_repair_it() -> None:
    run = Harness(greetings).run(" ")

    assert run.status == "held"
