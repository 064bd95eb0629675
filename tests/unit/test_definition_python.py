"""The Python front end: what a body becomes, and what a reference refuses."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any

import pytest

from farandole.definition.agents import agent
from farandole.definition.graph import graph_of
from farandole.definition.model import Step, parse_definition
from farandole.definition.pipelines import Pipeline, pipeline
from farandole.definition.policy import Join, JoinKind, OnDeadLetter, Retry
from farandole.definition.types import ContractError
from farandole.errors import DefinitionError


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Inner:
    n: int
    name: str | None = None


@dataclass(frozen=True)
class Thing:
    id: str
    count: int
    price: float
    paid: bool
    at: datetime
    day: date
    tags: list[str]
    by: dict[str, int]
    inner: Inner
    colour: Colour
    maybe: Inner | None = None


@agent
def make(n: int) -> Thing:
    """Makes one."""
    raise NotImplementedError


@agent
def take(thing: Thing) -> Thing:
    """Takes one."""
    return thing


@agent(name="to-pay", timeout="5s", retry=Retry(attempts=2), on_dead_letter="skip")
def pay(amount: float, colour: Colour = Colour.RED, note: str | None = None) -> int:
    """Pays."""
    return int(amount)


@agent
def numbers(n: int) -> list[int]:
    """Lists."""
    return list(range(n))


@agent
def double(n: int, factor: int = 2) -> int:
    """Doubles."""
    return n * factor


@agent
def total(ns: list[int]) -> int:
    """Adds up."""
    return sum(ns)


@agent
def either(a: int | None, b: int | None) -> int:
    """Takes what there is."""
    return a or b or 0


@agent
def build(inner: Inner, when: datetime | None = None) -> None:
    """Takes a record that a body may write down."""


# What mypy refuses must be refused at run time too.
loose_double: Any = double
loose_take: Any = take
loose_make: Any = make
loose_pay: Any = pay
loose_build: Any = build


def step(made: Pipeline[..., object], name: str) -> Step:
    """One step of a pipeline."""
    return made.definition.steps[name]


def test_body_becomes_steps_with_canonical_expressions() -> None:
    @pipeline(owner="o@example.org", deadline="10m", hold_max="1h", stop_max="5s", tags=["a"])
    def sample(n: int, limit: int = 3) -> int | None:
        """Says what it does."""
        thing = make(n)
        same = take.after(thing).options(name="again", deadline="1h")(thing)
        return pay.when((same.count > 1_000) & ~same.paid | (limit == 3))(same.price, note=same.id)

    it = sample.definition

    assert (it.name, it.owner, it.tags, it.description) == ("sample", "o@example.org", ("a",), "Says what it does.")
    assert (it.deadline, it.hold_max) == (timedelta(minutes=10), timedelta(hours=1))
    assert it.stop_max == timedelta(seconds=5)
    assert list(it.steps) == ["make", "again", "to_pay"]
    assert it.steps["make"].inputs["n"].expression == "params.n"
    assert it.steps["again"].agent == "take"
    assert it.steps["again"].after == ()  # its data says so already
    assert it.steps["again"].deadline == timedelta(hours=1)
    paid = it.steps["to_pay"]
    assert paid.when == "again.count > 1000 && !again.paid || params.limit == 3"
    assert {name: given.expression for name, given in paid.inputs.items()} == {
        "amount": "again.price",
        "note": "again.id",
    }
    assert (paid.agent, paid.timeout, paid.retry.attempts) == ("to-pay", timedelta(seconds=5), 2)
    assert (paid.on_dead_letter, paid.inputs["note"].optional, paid.inputs["amount"].optional) == (
        OnDeadLetter.SKIP,
        True,
        False,
    )
    assert (it.output, it.output_schema) == ("to_pay", '"long"')


def test_agent_used_again_gets_a_number() -> None:
    @pipeline
    def sample(n: int) -> None:
        double(n)
        double(double(n))

    assert sorted(sample.definition.steps) == ["double", "double_2", "double_3"]
    assert step(sample, "double_3").inputs["n"].expression == "double_2"


def test_map_becomes_items_and_constants_and_gives_a_list() -> None:
    @pipeline
    def sample(n: int) -> int:
        ns = numbers(n)
        twice = double.map(ns)
        return total(double.map(twice, factor=n + 1))

    first, second = step(sample, "double"), step(sample, "double_2")
    assert (first.map_over, first.item_name, first.inputs["n"].expression) == ("numbers", "item", "item")
    assert (second.map_over, second.inputs["factor"].expression) == ("double", "params.n + 1")
    assert graph_of(sample.definition).items_of(second) == "double"
    assert step(sample, "total").inputs["ns"].expression == "double_2"


def test_map_over_written_items_is_a_literal_list() -> None:
    @pipeline
    def sample() -> list[int]:
        return double.map([1, 2, 3])

    assert step(sample, "double").map_over == "[1, 2, 3]"
    assert json.loads(sample.definition.output_schema or "") == {"type": "array", "items": "long"}


def test_join_is_kept() -> None:
    @pipeline
    def sample(n: int) -> int | None:
        a = double(n)
        b = double.options(name="other")(n)
        either.options(join=Join(JoinKind.N_OF, 1), name="first")(a, b)
        return either.options(join="any")(a, b)

    assert step(sample, "first").join == Join(JoinKind.N_OF, 1)
    assert step(sample, "either").join == Join(JoinKind.ANY)


def test_constants_become_literals() -> None:
    @pipeline
    def sample(n: int) -> None:
        build(Inner(n=1, name='a "b"\n'), when=datetime(2024, 1, 2, tzinfo=UTC))
        build.options(name="with_reference")(Inner(n=n, name=None), None)  # a record that holds a value of the run
        pay(2, Colour.BLUE)

    assert step(sample, "build").inputs["inner"].expression == r'{"n": 1, "name": "a \"b\"\n"}'
    assert step(sample, "build").inputs["when"].expression == 'timestamp("2024-01-02T00:00:00Z")'
    assert step(sample, "with_reference").inputs["inner"].expression == '{"n": params.n, "name": null}'
    assert step(sample, "to_pay").inputs["colour"].expression == '"blue"'


def test_arithmetic_is_what_python_would_compute() -> None:
    @pipeline
    def sample(n: int) -> None:
        thing = make(n)
        pay(thing.price * 2 + n)
        pay(thing.count / 2)
        pay(1 - thing.price)
        double(-thing.count + 3 * n - 1)
        double.when(thing.inner.name == None)(thing.by["k"])  # noqa: E711
        take.when(
            (thing.tags[0] == "x") | (thing.colour != Colour.RED) & (thing.at < datetime(2024, 1, 1, tzinfo=UTC))
        )(thing)

    steps = sample.definition.steps
    assert steps["to_pay"].inputs["amount"].expression == "make.price * 2.0 + double(params.n)"
    assert steps["to_pay_2"].inputs["amount"].expression == "double(make.count) / 2.0"
    assert steps["to_pay_3"].inputs["amount"].expression == "1.0 - make.price"
    assert steps["double"].inputs["n"].expression == "-make.count + 3 * params.n - 1"
    assert steps["double_2"].when == "make.inner.name == null"
    assert steps["double_2"].inputs["n"].expression == 'make.by["k"]'
    assert steps["take"].when == (
        'make.tags[0] == "x" || make.colour != "red" && make.at < timestamp("2024-01-01T00:00:00Z")'
    )


def test_long_chain_of_operations_needs_no_brackets() -> None:
    @pipeline
    def sample(n: int) -> None:
        value = n
        for _ in range(100):
            value = value + n
        double(value)

    assert step(sample, "double").inputs["n"].expression == " + ".join(["params.n"] * 101)


def test_definition_survives_its_record() -> None:
    @pipeline(owner="o")
    def sample(n: int) -> int | None:
        ns = numbers.options(join="all_done", retry=Retry(attempts=5, total="1h"))(n)
        return total.when(n > 1).after(pay(1.5))(double.map(ns))

    again = parse_definition(sample.definition.to_json())

    assert again == sample.definition
    assert again.hash == sample.definition.hash
    assert again.owner == "o"


def test_owner_tags_and_description_are_outside_the_hash() -> None:
    def body(n: int) -> int:
        return double(n)

    plain = pipeline(body)
    described = pipeline(owner="someone", tags=["x"])(body)

    assert described.definition.hash == plain.definition.hash


def test_order_of_independent_calls_does_not_change_the_hash() -> None:
    def one(n: int) -> int:
        a, b = double(n), numbers(n)
        return total.after(a)(b)

    def other(n: int) -> int:
        b = numbers(n)
        return total.after(double(n))(b)

    assert pipeline(name="p")(one).definition.hash == pipeline(name="p")(other).definition.hash


@pytest.mark.parametrize(
    ("use", "claim"),
    [
        (lambda t: bool(t.paid), r"make.paid: expected no decision in the body, but found if, and, or, not"),
        (lambda t: t.paid and t.paid, r"write agent.when(condition), `&`, `|` or `~`"),
        (lambda t: list(t.tags), r"write agent.map(items)"),
        (lambda t: len(t.tags), r"make.tags: expected no length in the body"),
        (lambda t: "x" in t.tags, r"but found in: the value is not known until a run"),
        (lambda t: str(t.id), r"but found str(): the value is not known until a run; format it in an agent"),
        (lambda t: f"{t.id}", r"an f-string or format()"),
        (lambda t: int(t.count), r"but found int()"),
        (lambda t: float(t.count), r"but found float()"),
        (lambda t: t.count // 2, r"its rounding differs"),
        (lambda t: t.count % 2, r"its sign differs"),
        (lambda t: t.id.upper(), r"make.id: expected a record with a field 'upper', but it is string"),
        (lambda t: t.idd, r"expected a field of Thing ('id'), but found 'idd'"),
        (lambda t: t.tags[-1], r"expected an index of at least 0, but found [-1]"),
        (lambda t: t.tags[1:], r"slice in an agent"),
        (lambda t: t.tags + [1, "a"], r'[1, "a"]: expected values of one type, but found int'),  # noqa: RUF005
        (lambda t: [1, "a"] + t.tags, r'[1, "a"]: expected values of one type, but found int'),  # noqa: RUF005
        (lambda t: t.count + "x", r"expected operands that fit +, but found int and string"),
        (lambda t: t.day < t.day, r"make.day holds date, which can be passed on whole but not computed with"),
        (lambda t: t.colour == "green", r"expected one of red, blue, but found 'green'"),
        (lambda t: t.paid & t.count, r"expected bool for &&, but make.count is int"),
        (lambda t: ~t.count, r"expected bool for !, but make.count is int"),
        (lambda t: t.price < "x", r"expected operands that fit <, but found double and string"),
        (lambda t: t(), r"but found a call"),
        (lambda t: t.count > 2**63, r"expected an integer of 64 bits, but found 9223372036854775808"),
        (lambda t: t.count > 10**5000, r"expected an integer of 64 bits, but found one of 16,610"),
        (lambda t: t.price > float("nan"), r"expected a finite number, but found nan"),
        (lambda t: t.at > datetime(2024, 1, 1), r"expected a datetime with a time zone"),
        (lambda t: t.id == object(), r"expected a reference, or a constant of"),
    ],
)
def test_reference_refuses_what_python_would_decide_at_once(use: Callable[[Thing], object], claim: str) -> None:
    def sample(n: int) -> None:
        use(make(n))

    with pytest.raises(DefinitionError) as refused:
        pipeline(sample)

    assert claim in str(refused.value)
    assert refused.value.place.split(":")[0].endswith("test_definition_python.py")


@pytest.mark.parametrize(
    ("body", "claim"),
    [
        (
            lambda n: loose_double(n, 1, 2),
            "sample.double: expected at most 2 inputs of agent double (n, factor), but found 3",
        ),
        (lambda n: loose_double(n, n=n), "sample.double: expected 'n' once, but found it by place and by name"),
        (
            lambda n: loose_double(n, fator=1),
            "sample.double.with.fator: expected parameters of agent double (n, factor)",
        ),
        (lambda n: loose_double(factor=1), "sample.double: expected the input 'n' of agent double, but found nothing"),
        (lambda n: loose_double.map(n), "sample.double.map: expected a list, but 'params.n' is int"),
        (lambda n: loose_double.map(numbers(n), n=1, factor=2), "expected a parameter of double that takes the item"),
        (lambda n: loose_double.map([1] * 1001), "expected at most 1,000 items, but found 1,001"),
        (lambda n: loose_double.map([]), "expected a list of 1 to 1000 items, but found []"),
        (lambda n: loose_double.when(n is None)(n), "sample.double.when: expected a condition on a value of the run"),
        (lambda n: loose_double.when(n + 1)(n), "sample.double.when: expected a bool, but 'params.n + 1' is int"),
        (lambda n: loose_double.after(n)(n), "sample.double.after: expected the result of a step"),
        (lambda n: loose_take(n), "sample.take.with.thing: expected Thing at thing, but found int"),
        (lambda n: loose_double(loose_make(n).maybe.n), "make.maybe may be null: guard it"),
        (
            lambda n: loose_build(make(n).maybe),
            "expected Inner at inner, but found Inner or null (a value that may be null",
        ),
        (lambda n: loose_pay(1, "green"), "expected Colour at colour, but found string"),
        (lambda n: loose_build(date(2024, 1, 1)), "sample.build.with.inner: expected a reference, or a constant"),
        (lambda n: loose_double.options(name="run")(n), "sample.run: expected a name that is not reserved"),
        (
            lambda n: loose_double.options(name="loop")(n),
            '(CEL); give the step another one: .options(name="loop_step")',
        ),
        (lambda n: loose_double.options(name="A")(n), "sample.A: expected a step's name of a-z 0-9 _"),
        (
            lambda n: (loose_double.options(name="x")(n), loose_double.options(name="x")(n)),
            "sample.x: expected a new name, but a step at",
        ),
        (
            lambda n: loose_double.options(timeout="2m", deadline="1m")(n),
            "expected a timeout within the deadline 0:01:00",
        ),
        (lambda n: None, "sample: expected at least one step, but found none"),
    ],
)
def test_body_that_is_wrong_is_refused_at_its_line(body: Callable[[object], object], claim: str) -> None:
    def sample(n: int) -> None:
        body(n)

    with pytest.raises(DefinitionError) as refused:
        pipeline(sample)

    assert claim in str(refused.value)
    file, line = refused.value.place.split(":")
    assert file.endswith("test_definition_python.py")
    assert int(line) > 0


def wrong_type(n: int) -> str:
    """Declares another type."""
    return double(n)  # type: ignore[return-value]


def lacks_none(n: int) -> int:
    """Does not say that it may be skipped."""
    return double.when(n > 1)(n)


def follows_a_skip(n: int) -> int:
    """Its input may be skipped, so it may be."""
    return double(double.when(n > 1)(n))


def returns_a_constant(n: int) -> int:
    """Returns what Python knows."""
    double(n)
    return 5


def returns_nothing(n: int) -> int:  # type: ignore[return]
    """Forgets its result."""
    double(n)


def no_annotation(n: int):  # type: ignore[no-untyped-def]
    """Has no result type."""
    return double(n)


def defines_another(n: int) -> None:
    """Nests."""
    pipeline(wrong_type)


@pytest.mark.parametrize(
    ("body", "claim"),
    [
        (wrong_type, "wrong_type.output: expected string, but found int in the returned value"),
        (lacks_none, "lacks_none.output: expected -> int | None, since the step 'double' may be skipped"),
        (follows_a_skip, "expected -> int | None, since the step 'double_2' may be skipped"),
        (returns_a_constant, "expected the body to return the result of a step, but found 5"),
        (returns_nothing, "expected the body to return int, but it returns nothing"),
        (no_annotation, "expected a return annotation"),
        (defines_another, "expected no pipeline to be defined in the body of another one"),
    ],
)
def test_result_that_is_not_as_declared_is_refused(body: Callable[[int], object], claim: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        pipeline(body)

    assert claim in str(refused.value)


def test_value_of_another_pipeline_is_refused() -> None:
    kept: list[int] = []

    def first(n: int) -> None:
        kept.append(double(n))

    def second(n: int) -> None:
        double(kept[0])

    pipeline(first)
    with pytest.raises(DefinitionError, match="expected a value of this pipeline, but found <reference double: int>"):
        pipeline(second)


def test_pipeline_binds_arguments_as_plain_params() -> None:
    @pipeline
    def sample(thing: Thing, n: int, factor: float = 1.5) -> None:
        take(thing)
        double.after(pay(factor))(n)

    thing = Thing("a", 1, 2.0, True, datetime(2024, 1, 1, tzinfo=UTC), date(2024, 1, 1), [], {}, Inner(1), Colour.RED)

    bound = sample.bind(thing, n=3)

    assert bound["n"] == 3
    assert bound["factor"] == 1.5
    assert bound["thing"]["inner"] == {"n": 1, "name": None}  # type: ignore[index]
    for args, named, claim in (
        ((thing,), {}, "params.n: expected the params of sample (thing, n, factor), but found nothing"),
        ((thing, "3"), {}, "params.n: expected int, but found '3' (str)"),
        ((thing, 3), {"other": 1}, "params.other: expected the params of sample"),
        ((thing, 3), {"n": 1}, "but found it twice"),
        ((thing, 3, 1.0, 4), {}, "but found 4 arguments"),
    ):
        with pytest.raises(ContractError) as refused:
            sample.bind(*args, **named)  # type: ignore[arg-type]
        assert claim in str(refused.value)


def test_pipeline_called_says_how_to_start_it() -> None:
    def sample(n: int) -> int:
        return double(n)

    made = pipeline(sample)

    with pytest.raises(DefinitionError, match=r"expected to be started by a client"):
        made(3)
    assert made.result_from_plain(4) == 4
    assert made.result_from_plain(None) is None
    assert made.agents == {"double": double.spec}


@pytest.mark.parametrize(
    ("options", "claim"),
    [
        ({"deadline": "0s"}, "deadline: expected a duration above zero"),
        ({"hold_max": "soon"}, "hold_max: expected a duration"),
        ({"tags": "a"}, "tags: expected a list of texts"),
        ({"owner": 3}, "owner: expected a text"),
        ({"name": "No Name"}, "pipeline 'No Name': expected a name of a-z 0-9 _ -"),
    ],
)
def test_pipeline_option_that_is_wrong_is_refused(options: dict[str, object], claim: str) -> None:
    def sample(n: int) -> int:
        return double(n)

    with pytest.raises(DefinitionError) as refused:
        pipeline(**options)(sample)  # type: ignore[call-overload]

    assert claim in str(refused.value)


@agent
def remind(inner: Inner = Inner(3)) -> int:
    """Takes one record, or its own."""
    return inner.n


def test_record_that_is_the_whole_value_of_a_step_must_be_given() -> None:
    """It was taken, and nobody could fire the step: a success of the step before it became a failure."""
    with pytest.raises(DefinitionError, match=r"expected the input 'inner' of agent remind, whose record is all that"):

        @pipeline
        def sample(n: int) -> int:
            return remind.after(double(n))()
