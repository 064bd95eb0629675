"""An application that starts runs within its own trace: what `trace.md` shows."""

from agents import Label, Order, orders
from opentelemetry import trace

from farandole import Client


async def checkout(client: Client, order: Order) -> Label:
    """One trace from the click to the parcel."""
    with trace.get_tracer("shop").start_as_current_span("checkout"):
        run = await client.start(orders, order)
        return await run.result(timeout="30s")
