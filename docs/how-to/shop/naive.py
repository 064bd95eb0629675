"""A shop as one writes it on the first day. It works, until a process dies at the wrong moment."""

import outside

from farandole import agent, pipeline


@agent
def reserve(order: str, pieces: int) -> int:
    """Set aside what was ordered."""
    outside.warehouse.reserve(order, pieces)
    return pieces


@agent
async def charge(order: str, pieces: int) -> str:
    """Take the money."""
    return outside.bank.charge(order, 100 * pieces)


@pipeline(owner="shop@example.org")
def naive(order: str, pieces: int) -> str:
    """Reserve, then charge."""
    return charge(order, reserve(order, pieces))
