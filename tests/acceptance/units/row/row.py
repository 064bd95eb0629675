"""Three quick steps in a row, which one transaction may hold."""

from farandole import agent, pipeline


@agent(timeout="5s")
async def one(number: int) -> int:
    """Count on."""
    return number + 1


@agent(timeout="5s")
async def two(number: int) -> int:
    """Count on."""
    return number + 1


@agent(timeout="5s")
async def three(number: int) -> int:
    """Count on."""
    return number + 1


@pipeline(owner="tests@example.org")
def row(number: int) -> int:
    """Three hops."""
    return three(two(one(number)))
