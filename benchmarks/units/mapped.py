"""A list made, each item worked on, all of them joined."""

from farandole import agent, pipeline


@agent
async def spread(count: int) -> list[int]:
    """As many items as asked for."""
    return list(range(count))


@agent
async def work(item: int) -> int:
    """Pass it on."""
    return item


@agent
async def total(items: list[int]) -> int:
    """All items together."""
    return sum(items)


@pipeline(owner="bench@example.org")
def mapped(count: int) -> int:
    """Map and join."""
    return total(work.map(spread(count)))
