"""The orders pipeline: an order is checked, reviewed if it is large, reserved, paid and shipped.

The sample that tests and documentation use; `orders.yaml` defines the same pipeline and gets the
same hash. Everything is deterministic and in memory, so that every run of it can be compared.
"""

import hashlib
from dataclasses import dataclass

from farandole import Context, Retry, TerminalStepError, agent, pipeline

REVIEW_ABOVE = 1_000
"""Orders above this total, in cents, are looked at before they are shipped."""


@dataclass(frozen=True, slots=True)
class Line:
    """One position of an order; `price` in cents."""

    sku: str
    quantity: int
    price: int


@dataclass(frozen=True, slots=True)
class Order:
    """What a customer wants; `total` in cents is 0 until it is known."""

    id: str
    customer: str
    lines: list[Line]
    total: int = 0


@dataclass(frozen=True, slots=True)
class Review:
    """What came of looking at a large order."""

    order: str
    approved: bool
    note: str


@dataclass(frozen=True, slots=True)
class Stock:
    """What was set aside, by stock-keeping unit."""

    order: str
    reserved: dict[str, int]


@dataclass(frozen=True, slots=True)
class Payment:
    """A charge that went through; `amount` in cents."""

    id: str
    order: str
    amount: int


@dataclass(frozen=True, slots=True)
class Label:
    """What is stuck on the parcel."""

    order: str
    parcel: str
    pieces: int
    reviewed: bool


def _code(*parts: str) -> str:
    """A short code that is the same for the same parts."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:12]


@agent
def validate(order: Order) -> Order:
    """Refuse an order that cannot be fulfilled, and add up its total."""
    if not order.lines:
        raise TerminalStepError(f"order {order.id}: expected at least one line, but found none")
    for line in order.lines:
        if line.quantity < 1 or line.price < 0:
            raise TerminalStepError(f"order {order.id}: expected a quantity of 1 or more and a price, but found {line}")
    return Order(order.id, order.customer, order.lines, sum(line.quantity * line.price for line in order.lines))


@agent
def review(order: Order) -> Review:
    """Look at a large order; one customer in sixteen is asked back."""
    approved = int(_code(order.customer), 16) % 16 != 0
    return Review(order.id, approved, f"{order.total / 100:.2f} of {order.customer}")


@agent
def reserve(order: Order) -> Stock:
    """Set aside what was ordered."""
    reserved: dict[str, int] = {}
    for line in order.lines:
        reserved[line.sku] = reserved.get(line.sku, 0) + line.quantity
    return Stock(order.id, reserved)


@agent(timeout="10s", publishes=["payments.settled"])
async def charge(ctx: Context, order: Order) -> Payment:
    """Charge the order, and say so on a topic of our own in the same transaction."""
    paid = Payment(_code(ctx.idempotency_key), order.id, order.total)
    ctx.publish("payments.settled", paid, key=order.id)
    return paid


@agent
def ship(order: Order, stock: Stock, payment: Payment, review: Review | None) -> Label:
    """Make the label once everything is there."""
    return Label(order.id, _code(order.id, payment.id), sum(stock.reserved.values()), review is not None)


@agent
def notify(order: Order, label: Label) -> None:
    """Tell the customer. A real one would send mail; being told twice must not hurt."""
    assert label.order == order.id


@pipeline(owner="shop@example.org", deadline="10m")
def orders(order: Order) -> Label:
    """From an order to its parcel."""
    good = validate(order)
    checked = review.when(good.total > REVIEW_ABOVE)(good)
    stock, payment = reserve(good), charge(good)
    label = ship(good, stock, payment, checked)
    notify.options(retry=Retry(attempts=10))(good, label)
    return label
