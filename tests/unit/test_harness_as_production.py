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


def test_a_result_above_the_inline_limit_is_fetched_from_the_store() -> None:
    """It was decoded as it stands on the log, a claim: `UnknownSchema`."""
    with Harness(large) as harness:
        assert len(harness.run(ABOVE_INLINE).result) == ABOVE_INLINE
