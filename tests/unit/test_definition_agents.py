"""Agents: what a signature says, what is refused, and how a handler is called by it."""

import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from farandole.definition.agents import Agent, agent
from farandole.definition.calling import arguments, result_plain
from farandole.definition.context import Context
from farandole.definition.policy import OnDeadLetter, Retry
from farandole.definition.types import ContractError
from farandole.errors import DefinitionError, RecordError


@dataclass(frozen=True)
class Order:
    id: str
    total: int


@agent
def price(order: Order) -> int:
    """What an order costs."""
    return order.total


@agent(
    name="card-charge",
    timeout="10s",
    deadline="1h",
    retry=Retry(attempts=5),
    publishes=["payments.settled"],
    on_dead_letter="skip",
)
async def charge(ctx: Context, order: Order, rate: float = 0.5, note: str | None = None) -> Order | None:
    """Charges."""
    return order if ctx.attempt else None


@agent(isolation="process", memory="512MiB")
def heavy(a: int, b: list[Order]) -> None:
    """Heavy."""


def test_agent_bare_takes_everything_from_the_signature() -> None:
    spec = price.spec

    assert (spec.name, spec.is_async, spec.context_parameter, spec.whole) == ("price", False, None, True)
    assert (spec.isolation, spec.retry, spec.on_dead_letter) == ("thread", Retry(), OnDeadLetter.HOLD)
    assert json.loads(spec.input_schema)["name"] == "Order"
    assert spec.output_schema == '"long"'
    assert spec.place.split(":")[0].endswith("test_definition_agents.py")
    assert price.__doc__ == "What an order costs."


def test_agent_declares_types_of_records_that_it_publishes() -> None:
    @agent(publishes={"notes": Order, "raw": None})
    def note(n: int) -> int:
        """An agent."""
        return n

    assert note.spec.publishes == ("notes", "raw")
    assert [json.loads(each)["name"] for each in note.spec.published] == ["Order"]
    assert note.spec.publishable == {*note.spec.published, note.spec.input_schema, note.spec.output_schema}
    assert charge.spec.published == ()


def test_agent_with_options_keeps_them_and_does_not_count_its_context_as_input() -> None:
    spec = charge.spec

    assert (spec.name, spec.is_async, spec.context_parameter, spec.isolation) == ("card-charge", True, "ctx", "loop")
    assert (spec.timeout, spec.deadline, spec.retry.attempts) == (timedelta(seconds=10), timedelta(hours=1), 5)
    assert (spec.publishes, spec.on_dead_letter) == (("payments.settled",), OnDeadLetter.SKIP)
    assert [(each.name, each.optional, each.has_default) for each in spec.parameters] == [
        ("order", False, False),
        ("rate", False, True),
        ("note", True, True),
    ]
    assert not spec.whole
    assert json.loads(spec.input_schema)["name"] == "card_charge_input"
    assert [field.get("default", "-") for field in json.loads(spec.input_schema)["fields"]] == ["-", 0.5, None]


def test_agent_in_a_process_keeps_its_memory_limit_in_bytes() -> None:
    assert (heavy.spec.isolation, heavy.spec.memory_limit) == ("process", 512 * 2**20)
    assert heavy.spec.output_schema == '"null"'


def test_agent_handler_is_the_function_itself() -> None:
    assert price.handler(Order("1", 7)) == 7


@pytest.mark.parametrize("use", [lambda: price(Order("1", 7)), lambda: price.map([Order("1", 7)])])
def test_agent_called_outside_a_pipeline_names_its_handler(use: Callable[[], object]) -> None:
    with pytest.raises(DefinitionError, match=r"call price\.handler\(\.\.\.\) to run the function itself"):
        use()


def no_annotation(order) -> int:  # type: ignore[no-untyped-def]
    """Lacks a type."""
    return 1


def no_return(order: Order):  # type: ignore[no-untyped-def]
    """Lacks a return type."""


def variadic(*orders: Order) -> None:
    """Takes any number."""


def only_positional(order: Order, /) -> None:
    """Cannot be given by name."""


def generator(order: Order) -> Iterator[int]:
    """Yields."""
    yield 1


def two_contexts(a: Context, b: Context) -> None:
    """Takes two."""


def bad_default(order: Order, at: object = object()) -> None:
    """Has an odd type."""


def default_of_no_schema(n: int = "x") -> None:  # type: ignore[assignment]
    """Has a default that is no int."""


def unknown_name(order: "Nowhere") -> None:  # type: ignore[name-defined]  # noqa: F821
    """Names a type that is not there."""


async def asynchronous(order: Order) -> None:
    """Is async."""


@pytest.mark.parametrize(
    ("make", "claim"),
    [
        (lambda: agent(no_annotation), "expected an annotation on the parameter 'order'"),
        (lambda: agent(no_return), "expected a return annotation"),
        (lambda: agent(variadic), "expected parameters that can be given by name, but found *orders"),
        (lambda: agent(only_positional), "expected parameters that can be given by name"),
        (lambda: agent(generator), "but found a generator"),
        (lambda: agent(two_contexts), "expected one Context, but found a and b"),
        (lambda: agent(bad_default), "but found object"),
        (lambda: agent(default_of_no_schema), "default_of_no_schema_input.n: expected a default"),
        (lambda: agent(unknown_name), "name 'Nowhere' is not defined"),
        (lambda: agent(name="No Name")(only_positional), "agent 'No Name': expected a name of a-z"),
        (lambda: agent(timeout="10 s")(heavy.handler), "timeout: expected a duration"),
        (lambda: agent(timeout="0s")(heavy.handler), "timeout: expected a duration above zero"),
        (lambda: agent(deadline=timedelta(-1))(heavy.handler), "deadline: expected a duration above zero"),
        (lambda: agent(retry=3)(heavy.handler), "retry: expected Retry("),  # type: ignore[call-overload]
        (lambda: agent(isolation="fibre")(heavy.handler), "isolation: expected 'thread' or 'process'"),  # type: ignore[call-overload]
        (lambda: agent(isolation="process")(asynchronous), "an async function runs on the loop"),
        (lambda: agent(memory="512MiB")(heavy.handler), "expected isolation='process' with it"),
        (lambda: agent(memory="much", isolation="process")(heavy.handler), "memory: expected a size"),
        (lambda: agent(publishes=["a b"])(heavy.handler), "publishes: expected a topic"),
        (lambda: agent(publishes="a")(heavy.handler), "publishes: expected a list of topics"),
        (lambda: agent(publishes={"a b": Order})(heavy.handler), "publishes: expected a topic"),
        (lambda: agent(publishes={"notes": int})(heavy.handler), "publishes: expected a dataclass"),
        (lambda: agent(on_dead_letter="drop")(heavy.handler), "on_dead_letter: expected hold, fail or skip"),  # type: ignore[call-overload]
        (lambda: agent(Order), "expected a function"),
    ],
)
def test_agent_that_is_declared_wrongly_is_refused(make: Callable[[], object], claim: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        make()

    assert claim in str(refused.value)


def test_refused_agent_names_file_and_line() -> None:
    with pytest.raises(DefinitionError) as refused:
        agent(no_return)

    line = no_return.__code__.co_firstlineno
    assert refused.value.place.endswith(f"test_definition_agents.py:{line}")


def test_arguments_of_a_whole_input_are_the_record() -> None:
    assert arguments(price.spec, {"id": "1", "total": 7}) == {"order": Order("1", 7)}


def test_arguments_of_several_inputs_go_by_name_and_leave_defaults_out() -> None:
    plain = {"order": {"id": "1", "total": 7}, "note": None}

    assert arguments(charge.spec, plain) == {"order": Order("1", 7), "note": None}


@agent
def ship(order: Order, express: bool = False) -> int:
    """Takes a record, and more."""
    return order.total


ORDER = {"id": "1", "total": 7}


@pytest.mark.parametrize(
    ("used", "plain", "whole"),
    [
        (price, ORDER, "order"),
        (price, ORDER, "called_otherwise"),
        (price, {"order": ORDER, "express": True}, ""),
        (ship, {"order": ORDER}, ""),
        (ship, ORDER, "order"),
    ],
    ids=["alone", "renamed", "alone by now", "among others", "among others by now"],
)
def test_arguments_are_found_where_the_runs_definition_has_them_whatever_the_code_takes_by_now(
    used: Agent[..., object], plain: object, whole: str
) -> None:
    """The code was asked whether its record is the inbox value, and the run had begun under other code."""
    assert arguments(used.spec, plain, whole) == {"order": Order("1", 7)}


def test_arguments_that_the_code_takes_apart_by_now_are_the_fields_of_the_record() -> None:
    """An agent that took a record takes its fields: there is no input of the name that the run's definition has."""

    @agent
    def fields(id: str, total: int) -> int:  # noqa: A002 - the field's name
        return total

    assert arguments(fields.spec, ORDER, "order") == ORDER


@pytest.mark.parametrize(
    ("used", "plain", "claim"),
    [
        (price, {"id": "1"}, "order: expected the field 'total'"),
        (charge, {"rate": 1.0}, "expected the field 'order' of card-charge"),
        (charge, {"order": {"id": "1", "total": 7}, "rate": "x"}, "rate: expected float"),
        (charge, 5, "expected a record with a field per parameter"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(used: Agent[..., Awaitable[object]], plain: object, claim: str) -> None:
    with pytest.raises(RecordError) as refused:
        arguments(used.spec, plain)

    assert claim in str(refused.value)


def test_result_is_made_plain_or_breaks_the_contract() -> None:
    assert result_plain(charge.spec, Order("1", 7)) == {"id": "1", "total": 7}
    assert result_plain(charge.spec, None) is None
    with pytest.raises(ContractError, match="result: expected int, but found 'x'"):
        result_plain(price.spec, "x")


def test_agent_options_make_a_new_agent_and_refuse_a_second_condition() -> None:
    slow = price.options(timeout="1m", join="n_of(2)").after(1)

    assert slow.spec is price.spec
    with pytest.raises(DefinitionError, match=r"expected one \.when\(\)"):
        price.when(True).when(False)
