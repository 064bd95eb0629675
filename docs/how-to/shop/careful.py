"""The same shop: the bank is told what it may not do twice, the warehouse who is writing."""

import outside

from farandole import Context, agent, pipeline


@agent
def reserve_fenced(ctx: Context, order: str, pieces: int) -> int:
    """Set aside what was ordered, unless somebody newer has."""
    outside.warehouse.reserve(order, pieces, token=ctx.fencing_token)
    return pieces


@agent
async def charge_once(ctx: Context, order: str, pieces: int) -> str:
    """Take the money once, however often it is tried."""
    return outside.bank.charge(order, 100 * pieces, key=ctx.idempotency_key)


@pipeline(owner="shop@example.org")
def careful(order: str, pieces: int) -> str:
    """Reserve, then charge."""
    return charge_once(order, reserve_fenced(order, pieces))
