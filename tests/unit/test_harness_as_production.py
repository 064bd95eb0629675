"""What a pipeline does in production it does in the harness: each test tells of a difference that there was."""

from farandole import agent, pipeline
from farandole.testing.harness import Harness

ABOVE_INLINE = 300_000
"""Characters that do not travel in a record."""


@agent
def inflate(n: int) -> str:
    """A text as long as one likes."""
    return "x" * n


@pipeline(owner="tests@example.org")
def large(n: int) -> str:
    """Its result may be a claim."""
    return inflate(n)


@pipeline(owner="tests@example.org")
def perhaps(n: int) -> str | None:
    """Its result is skipped for small numbers."""
    return inflate.when(n > 10)(n)


@agent
def forget(n: int) -> None:
    """Gives nothing."""


@pipeline(owner="tests@example.org")
def silent(n: int) -> None:
    """It has no result."""
    forget(n)


def test_a_result_above_the_inline_limit_is_fetched_from_the_store() -> None:
    """It was decoded as it stands on the log, a claim: `UnknownSchema`."""
    with Harness(large) as harness:
        assert len(harness.run(ABOVE_INLINE).result) == ABOVE_INLINE


def test_a_run_without_a_result_gives_none() -> None:
    """`result` raised `RunError`, where a client's `Run.result` gives None."""
    with Harness(silent) as harness:
        run = harness.run(1)

        assert run.outcome == "succeeded"
        assert run.result is None


def test_a_result_whose_step_was_skipped_is_none() -> None:
    with Harness(perhaps) as harness:
        assert harness.run(1).result is None
        assert harness.run(11).result == "x" * 11
