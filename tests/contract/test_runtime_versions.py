"""Runs that began under another version of an agent's code than the one that serves them, either way round."""

import asyncio
import dataclasses
from contextlib import aclosing
from pathlib import Path

from farandole import Client, Pipeline, SyncClient, agent, pipeline
from farandole.events.facts import RunStarted
from farandole.testing.inprocess import InProcess
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import Transport


@dataclasses.dataclass(frozen=True)
class Order:
    """What travels."""

    n: int


def counting() -> Pipeline[[Order], object]:
    """A pipeline whose agent tells a number."""

    @dataclasses.dataclass(frozen=True)
    class Count:
        total: int

    @agent(name="work")
    def work(order: Order) -> Count:
        return Count(order.n)

    @pipeline(owner="tests@example.org", name="shop")
    def shop(order: Order) -> Count:
        return work(order)

    return shop


def noting() -> Pipeline[[Order], object]:
    """The same, whose result has one field more."""

    @dataclasses.dataclass(frozen=True)
    class Count:
        total: int
        note: str = ""

    @agent(name="work")
    def work(order: Order) -> Count:
        return Count(order.n, "counted")

    @pipeline(owner="tests@example.org", name="shop")
    def shop(order: Order) -> Count:
        return work(order)

    return shop


def alone() -> Pipeline[[Order], object]:
    """A pipeline whose agent takes one record, which is its inbox value."""

    @agent(name="work")
    def work(order: Order) -> int:
        return order.n

    @pipeline(owner="tests@example.org", name="shop")
    def shop(order: Order) -> int:
        return work(order)

    return shop


def accompanied() -> Pipeline[[Order], object]:
    """The same, with a second parameter that has a default; its inbox value is a record of both."""

    @agent(name="work")
    def work(order: Order, factor: int = 3) -> int:
        return factor * order.n

    @pipeline(owner="tests@example.org", name="shop")
    def shop(order: Order) -> int:
        return work(order)

    return shop


async def begin(log: Transport, it: Pipeline[..., object]) -> None:
    """A run begins."""
    async with Client(log, "v") as client:
        run = await client.start(it, Order(7), run_id="r")
        async with aclosing(run.watch()) as events:
            assert isinstance(await anext(events), RunStarted)


def result_of_run(folder: Path, began: Pipeline[..., object], served: Pipeline[..., object]) -> object:
    """What a run gives that began under one version, while nobody served it, and that the code of another one ends."""
    log = MemoryTransport()
    with InProcess(log, [began], namespace="v", folder=folder, units=0):
        asyncio.run(begin(log, began))
    with InProcess(log, [served], namespace="v", folder=folder), SyncClient(log, "v") as client:
        return client.run("r").result("20s")


def test_run_under_way_ends_though_its_agents_result_has_a_field_more_by_now(tmp_path: Path) -> None:
    """It was held with a dead letter, `contract`, and each replay failed alike."""
    assert result_of_run(tmp_path, began=counting(), served=noting()) == {"total": 7}


def test_run_of_the_new_version_ends_though_an_old_process_serves_it(tmp_path: Path) -> None:
    """As the order has it that we ask for: apply, then replace one process after the other."""
    assert result_of_run(tmp_path, began=noting(), served=counting()) == {"total": 7, "note": ""}


def test_run_under_way_ends_though_its_agent_takes_a_second_parameter_by_now(tmp_path: Path) -> None:
    """The story: the definition said that the record is the inbox value, and the code looked for it in a field.

    It was held as `undecodable`, and no input would have fitted both.
    """
    assert result_of_run(tmp_path, began=alone(), served=accompanied()) == 21


def test_run_of_the_new_version_ends_though_the_old_process_knows_no_second_parameter(tmp_path: Path) -> None:
    assert result_of_run(tmp_path, began=accompanied(), served=alone()) == 7
