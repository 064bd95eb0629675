"""Pipelines that go wrong in ways of their own, or are wide."""

from farandole import Context, Retry, agent, pipeline


@agent(retry=Retry(attempts=3, base="6s"))
def stumble(ctx: Context, number: int) -> int:
    """Fails the first time."""
    if ctx.attempt == 1:
        raise ValueError("not yet")
    return number + 1


@pipeline(owner="tests@example.org", deadline="5m")
def stumbling(number: int) -> int:
    """One step that needs a second attempt."""
    return stumble(number)


@agent
def given(number: int) -> int:
    """Passes it on."""
    return number


@agent
def halve(number: int) -> int:
    """Half of it."""
    return number // 2


@agent
def listed(count: int) -> list[int]:
    """So many items."""
    return list(range(count))


@agent
async def square(number: int) -> int:
    """One item."""
    return number * number


@agent
def add(numbers: list[int]) -> int:
    """All of them."""
    return sum(numbers)


@pipeline(owner="tests@example.org", deadline="5m")
def wide(count: int) -> int:
    """A map, and its join."""
    return add(square.map(listed(count)))
