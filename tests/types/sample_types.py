"""Read by mypy, never run: what is revealed stands behind each line, and what must fail is ignored by its code."""

from dataclasses import dataclass
from typing import assert_type

from farandole import Context, Retry, agent, pipeline
from farandole.definition.agents import Agent
from farandole.definition.pipelines import Pipeline


@dataclass(frozen=True)
class Order:
    """What a customer wants."""

    id: str
    total: int


@dataclass(frozen=True)
class Stock:
    """What was set aside."""

    id: str


@dataclass(frozen=True)
class Day:
    """One day."""

    date: str


@agent
def validate(order: Order) -> Order:
    """Bare."""
    return order


@agent(isolation="process", retry=Retry(attempts=3, base="1s", cap="1m"))
def reserve(order: Order) -> Stock:
    """With options."""
    return Stock(order.id)


@agent(timeout="10s", publishes=["payments.settled"])
async def charge(ctx: Context, order: Order) -> int:
    """Async, with a context."""
    return order.total


@agent
async def look(order: Order) -> Stock:
    """Async and bare."""
    return Stock(order.id)


@agent
def ship(ctx: Context, order: Order, stock: Stock, payment: int, seen: Stock | None, note: str = "") -> str:
    """With a context, several inputs and a default."""
    return order.id


@agent
def extract(month: int) -> list[Day]:
    """Lists."""
    return []


@agent
def clean(day: Day) -> Stock:
    """Is mapped."""
    return Stock(day.date)


@agent
def summarise(stocks: list[Stock]) -> str:
    """Joins."""
    return ""


bare: Agent[[Order], Order] = validate
with_context: Agent[[Order], int] = charge
assert_type(clean.map([Day("")]), list[Stock])


@pipeline(owner="shop@example.org", deadline="10m")
def orders(order: Order) -> str:
    """A body as users write it."""
    good = validate(order)
    assert_type(good, Order)
    assert_type(good.total, int)
    assert_type(reserve(good), Stock)
    assert_type(charge(good), int)
    assert_type(look(good), Stock)
    seen = look.when(good.total > 1_000)(good)
    assert_type(seen, Stock)
    label = ship.options(retry=Retry(attempts=10), name="shipped").after(seen)(good, reserve(good), charge(good), seen)
    assert_type(label, str)
    validate(good.total)  # type: ignore[arg-type]
    validate()  # type: ignore[call-arg]
    good.totl  # type: ignore[attr-defined]  # noqa: B018
    charge(1, good)  # type: ignore[call-arg, arg-type]
    return label


@pipeline
def nightly(month: int) -> str:
    """A map between lists."""
    days = extract(month)
    assert_type(days, list[Day])
    assert_type(clean.map(days), list[Stock])
    summarise(days)  # type: ignore[arg-type]
    return summarise(clean.map(days))


of_an_order: Pipeline[[Order], str] = orders
of_a_month: Pipeline[[int], str] = nightly
anything: Pipeline[..., object] = orders
assert_type(orders.result_from_plain(None), str)
orders.bind("x")  # type: ignore[arg-type]
orders.bind(order=Order("", 1))
