"""The YAML front end: the same definition as Python's, and one precise error for whatever is broken."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from textwrap import dedent, indent

import pytest

from farandole.definition.agents import Agent, agent
from farandole.definition.model import Definition
from farandole.definition.pipelines import pipeline
from farandole.definition.policy import Join, JoinKind, Retry
from farandole.definition.spec import AgentSpec
from farandole.definition.strict_yaml import load_strict
from farandole.definition.validation import check_owner, compile_draft
from farandole.definition.yaml import draft_of, read_yaml
from farandole.errors import DefinitionError


@dataclass(frozen=True)
class Order:
    id: str
    total: int
    discount: float | None = None


@dataclass(frozen=True)
class Other:
    id: str
    total: int


@dataclass(frozen=True)
class Tree:
    below: "list[Tree]"


@agent
def validate(order: Order) -> Order:
    """Checks."""
    return order


@agent
def review(order: Order) -> Other:
    """Looks."""
    return Other(order.id, order.total)


@agent
def ship(order: Order, review: Other | None, note: str = "") -> str:
    """Ships."""
    return order.id


@agent
def extract(n: int) -> list[Order]:
    """Lists."""
    return []


@agent
def summarise(orders: list[Order], factor: float = 1.0) -> int:
    """Adds up."""
    return len(orders)


@agent
def either(a: Order | None, b: Order | None) -> int:
    """Takes what there is."""
    return 0


@agent
def nothing() -> None:
    """Takes nothing."""


AGENTS: Mapping[str, AgentSpec] = {
    each.spec.name: each.spec for each in (validate, review, ship, extract, summarise, either, nothing)
}
NAMES = {"Order": Order, "Other": Other, "Decimal": Decimal, "Tree": Tree, "validate": validate}

HEAD = """\
pipeline: sample
owner: o@example.org
agents: ./agents.py
params: {order: Order, n: int}
"""


def compiled(text: str, agents: Mapping[str, AgentSpec] = AGENTS) -> Definition:
    """The definition of a file."""
    return compile_draft(draft_of(read_yaml(text.encode(), "sample.yaml"), agents, NAMES))


def sample(steps: str, tail: str = "", head: str = HEAD) -> str:
    """A file with these steps, which begin at line 6."""
    return f"{head}steps:\n{indent(dedent(steps).strip(), '  ')}\n{tail}"


def test_file_and_body_of_one_graph_give_one_hash() -> None:
    @pipeline(owner="else", deadline="10m", name="sample")
    def body(order: Order, n: int) -> str:
        good = validate(order)
        seen = review.when(good.total > 1_000)(good)
        many = summarise.options(join="all_done", name="sum")(validate.map(extract(n)), factor=1.5)
        return ship.options(retry=Retry(attempts=5), timeout="5s").after(many)(good, seen, note="a")

    text = sample(
        """
        ship:
          with: {note: a, order: "${validate}", review: "${ review }"}
          after: [sum]
          retry: {attempts: 5}
          timeout: 5s
        review:
          when: (validate.total)>1000
          with: {order: "${validate}"}
        sum:
          agent: summarise
          with: {orders: "${validate_2}", factor: 1.5}
          join: all_done
        validate: {with: {order: "${params.order}"}}
        validate_2: {agent: validate, map: "${extract}", as: order}
        extract: {with: {n: "${params.n}"}}
        """,
        'output: "${ship}"\ndeadline: 600s\n',
    )

    it = compiled(text)

    assert it.canonical == body.definition.canonical
    assert it.hash == body.definition.hash
    assert it.owner == "o@example.org"


def test_values_are_constants_unless_they_are_expressions() -> None:
    it = compiled(
        sample(
            """
            a: {agent: validate, with: {order: {id: "x", total: 010, discount: null}}}
            b: {agent: validate, with: {order: {id: "${params.order.id + 'x'}", total: 1}}}
            c: {agent: summarise, with: {orders: ["${a}", "${params.order}"], factor: 2}}
            d: {agent: ship, with: {order: "${a}", review: ~, note: NO}}
            e: {agent: nothing}
            f:
              agent: nothing
              after: e
            """
        )
    )

    assert it.steps["a"].inputs["order"].expression == '{"discount": null, "id": "x", "total": 10}'
    assert it.steps["b"].inputs["order"].expression == '{"id": params.order.id + "x", "total": 1}'
    assert it.steps["c"].inputs["orders"].expression == "[a, params.order]"
    assert it.steps["c"].inputs["factor"].expression == "2"
    assert it.steps["d"].inputs["note"].expression == '"NO"'
    assert it.steps["f"].after == ("e",)


def test_item_has_one_name_in_the_definition_whatever_the_file_calls_it() -> None:
    named = compiled(
        sample(
            """
            extract: {with: {n: 1}}
            validate: {map: "${extract}", as: day, when: "day.total > 1", with: {order: "${day}"}}
            """
        )
    )
    plain = compiled(sample('extract: {with: {n: 1}}\nvalidate: {map: "${extract}", when: item.total>1}'))

    assert named.hash == plain.hash
    assert named.steps["validate"].when == "item.total > 1"
    assert named.steps["validate"].item_name == "item"


def test_joins_and_params_with_defaults_are_read() -> None:
    it = compiled(
        sample(
            """
            a: {agent: validate, with: {order: "${params.order}"}}
            b: {agent: validate, with: {order: "${params.order}"}}
            c: {agent: either, with: {a: "${a}", b: "${b}"}, join: any}
            d: {agent: either, with: {a: "${a}", b: "${b}"}, join: {n_of: 1}}
            """,
            head=HEAD.replace("n: int", "n: {type: int, default: 3}, xs: 'list[Order | None]', m: 'dict[str, float]'"),
        )
    )

    assert it.steps["c"].join == Join(JoinKind.ANY)
    assert it.steps["d"].join == Join(JoinKind.N_OF, 1)
    assert '"default":3,"name":"n"' in it.params_schema


VALID = 'validate: {with: {order: "${params.order}"}}\n'

BROKEN: list[tuple[str, str, str, str]] = [
    # what is broken, the file, its place, the message
    (
        "a cycle",
        sample('a: {agent: validate, with: {order: "${b}"}}\nb: {agent: validate, with: {order: "${a}"}}'),
        "6:3",
        "sample.a: expected no cycle, but found a -> b -> a",
    ),
    (
        "a step that waits for itself",
        sample("nothing: {after: nothing}"),
        "6:3",
        "sample.nothing: expected no cycle, but found nothing -> nothing",
    ),
    (
        "a cycle through after",
        sample("a: {agent: nothing, after: c}\nb: {agent: nothing, after: a}\nc: {agent: nothing, after: b}"),
        "6:3",
        "sample.a: expected no cycle, but found a -> b -> c -> a",
    ),
    (
        "an unknown step",
        sample(VALID + 'review: {with: {order: "${valdate}"}}'),
        "7:19",
        "sample.review.with.order: expected the step 'validate', params or run, but found 'valdate'",
    ),
    (
        "an unknown step after",
        sample(VALID + "nothing: {after: [valid]}"),
        "7:21",
        "sample.nothing.after: expected the step 'validate', but found 'valid'",
    ),
    (
        "an unknown agent",
        sample("validat: {}"),
        "6:3",
        "sample.validat: expected the agent 'validate', but found 'validat'",
    ),
    (
        "an unknown agent named by agent",
        sample("a: {agent: zzz}"),
        "6:7",
        "sample.a.agent: expected one of the agents either, extract, nothing, review, ship, summarise, validate, "
        "but found 'zzz'",
    ),
    (
        "an unknown param",
        sample('validate: {with: {order: "${params.ordr}"}}'),
        "6:21",
        "sample.validate.with.order: expected a field of params ('order'), but found 'ordr'",
    ),
    (
        "an unknown field of a record",
        sample(VALID + 'review: {when: "validate.totl > 1", with: {order: "${validate}"}}'),
        "7:12",
        "sample.review.when: expected a field of Order ('total'), but found 'totl'",
    ),
    (
        "a missing input",
        sample("validate: {}"),
        "6:3",
        "sample.validate: expected the input 'order' of agent validate, but found nothing",
    ),
    (
        "an input too many",
        sample('validate: {with: {order: "${params.order}", other: 1}}'),
        "6:47",
        "sample.validate.with.other: expected parameters of agent validate (order), but found 'other'",
    ),
    (
        "an input of another type",
        sample(VALID + 'review: {with: {order: "${validate}"}}\nx: {agent: validate, with: {order: "${review}"}}'),
        "8:31",
        "sample.x.with.order: expected Order at order, but found Other",
    ),
    (
        "a constant of another type",
        sample("extract: {with: {n: three}}"),
        "6:20",
        "sample.extract.with.n: expected int at n, but found string",
    ),
    (
        "a float for an int",
        sample("extract: {with: {n: 1.5}}"),
        "6:20",
        "sample.extract.with.n: expected int at n, but found double",
    ),
    (
        "a written record without a field",
        sample("validate: {with: {order: {id: x}}}"),
        "6:21",
        "sample.validate.with.order: expected Order with the field order.total, but it is missing",
    ),
    (
        "a written record with a field too many",
        sample("validate: {with: {order: {id: x, total: 1, ttl: 2}}}"),
        "6:21",
        "sample.validate.with.order: expected the fields of Order, but found order.ttl too",
    ),
    (
        "a value that may be null",
        sample(VALID + 'summarise: {with: {orders: ["${validate}"], factor: "${validate.discount}"}}'),
        "7:47",
        "sample.summarise.with.factor: expected double at factor, but found double or null "
        "(a value that may be null needs a guard)",
    ),
    (
        "a condition that is no bool",
        sample(VALID + 'review: {when: validate.total, with: {order: "${validate}"}}'),
        "7:12",
        "sample.review.when: expected a bool, but 'validate.total' is int",
    ),
    (
        "a map over something that is no list",
        sample(VALID + 'review: {map: "${validate}"}'),
        "7:12",
        "sample.review.map: expected a list, but 'validate' is Order",
    ),
    (
        "an item outside a map",
        sample('validate: {with: {order: "${item}"}}'),
        "6:21",
        "sample.validate.with.order: expected a step, params or run, but found 'item' in a step that is not mapped",
    ),
    (
        "an item whose map calls it otherwise",
        sample('extract: {with: {n: 1}}\nvalidate: {map: "${extract}", as: day, with: {order: "${item}"}}'),
        "7:49",
        "sample.validate.with.order: expected a step, params or run, but found 'item' "
        "in a mapped step whose item has another name",
    ),
    (
        "an item that nothing takes",
        sample('extract: {with: {n: 1}}\nnothing: {map: "${extract}"}'),
        "7:13",
        "sample.nothing.map: expected a parameter of nothing that takes the item, but found none",
    ),
    (
        "an item without a map",
        sample("nothing: {as: day}"),
        "6:13",
        "sample.nothing.as: expected it beside `map` only",
    ),
    (
        "an item with the name of a step",
        sample('extract: {with: {n: 1}}\nvalidate: {map: "${extract}", as: extract}'),
        "7:3",
        "sample.validate.as: expected a name that is no step's, but found 'extract'",
    ),
    (
        "more than a thousand items",
        sample(f"validate: {{map: [{', '.join(['1'] * 1001)}]}}"),
        "6:14",
        "expected at most 1,000 items, but found 1,001",
    ),
    (
        "a whole list where items go one by one",
        sample(
            'extract: {with: {n: 1}}\na: {agent: validate, map: "${extract}"}\n'
            'b: {agent: ship, map: "${a}", with: {order: "${item}", review: ~, note: "${string(size(a))}"}}'
        ),
        "8:69",
        "sample.b.with.note: expected only the item of 'a', over which it is mapped item by item, "
        "but found the whole list",
    ),
    (
        "a guard that is never asked",
        sample(
            VALID + 'quick: {agent: validate, when: params.n > 1, with: {order: "${params.order}"}}\n'
            'x: {agent: validate, with: {order: "${quick == null ? validate : quick}"}, join: all_done}'
        ),
        "8:31",
        "sample.x.with.order: expected order: T | None for the guard 'quick == null', since the step does not run "
        "where quick was skipped, but the agent takes no None",
    ),
    (
        "a fallback that is never asked for",
        sample(
            VALID + 'quick: {agent: validate, when: params.n > 1, with: {order: "${params.order}"}}\n'
            'x: {agent: validate, when: "quick == null", with: {order: "${validate}"}}'
        ),
        "8:24",
        "sample.x.when: expected the join all_done with the guard 'quick == null', since the step does not run where "
        "quick was skipped otherwise, but found all_succeeded",
    ),
    (
        "a fallback that needs what it stands in for",
        sample(
            'quick: {agent: validate, when: params.n > 1, with: {order: "${params.order}"}}\n'
            'x: {agent: validate, when: "params.n > 2 || quick == null", with: {order: "${quick}"}, join: all_done}'
        ),
        "7:24",
        "sample.x.when: expected no input that needs quick beside the guard 'quick == null', since the step does not "
        "run where quick was skipped, but found one",
    ),
    *(
        (
            f"what no process could evaluate: {text}",
            sample(f"nothing: {{when: '{text}'}}"),
            "6:13",
            f"sample.nothing.when: {said}",
        )
        for text, said in [
            ('timestamp("2024-01-01T00:00:00Z").getHours("Europe/Berlin") < 9', "expected no time zone for getHours()"),
            ('timestamp("2024-01-01T00:00:00Z").getMonth("UTC") == 1', "expected no time zone for getMonth()"),
            ('int(timestamp("2024-01-01T00:00:00Z")) > 0', "expected int or double or string for int(), but"),
            ('string(params.n > 1) == "true"', "expected int or double or string or timestamp for string(), but"),
            ('duration("1h") + timestamp("2024-01-01T00:00:00Z") != null', "expected operands that fit +, but found"),
            ('params.n > 1 || -duration("1h") < duration("0s")', "expected int or double for -, but"),
            ("size(params.order.id) == 1", "expected a list or a map for size(), but params.order.id is string"),
            ("params.order.id.size() == 1", "expected a list or a map for size(), but params.order.id is string"),
        ]
    ),
    ("a reserved name", sample("params: {agent: nothing}"), "6:3", "expected a name that is not reserved"),
    ("a name reserved by CEL", sample("import: {agent: nothing}"), "6:3", "expected a name that is not reserved"),
    ("a name that is no name", sample("Ship: {agent: nothing}"), "6:3", "expected a step's name of a-z 0-9 _"),
    ("a name with a minus", sample("a-b: {agent: nothing}"), "6:3", "expected a step's name of a-z 0-9 _"),
    (
        "a pipeline with an odd name",
        sample("nothing: {}", head=HEAD.replace("sample", "My pipeline")),
        "1:1",
        "pipeline 'My pipeline': expected a name of a-z 0-9 _ -",
    ),
    (
        "a step twice",
        sample(VALID + VALID),
        "7:3",
        "expected each key once, but found 'validate' again (line 6)",
    ),
    (
        "params that differ by case",
        sample("nothing: {}", head=HEAD.replace("n: int", "Order: int")),
        "1:1",
        "sample.params: expected names that differ by more than case, but found 'order' and 'Order'",
    ),
    (
        "a param with an odd name",
        sample("nothing: {}", head=HEAD.replace("n: int", "a-b: int")),
        "1:1",
        "sample.params: expected a parameter's name of A-Z a-z 0-9 _, but found 'a-b'",
    ),
    (
        "n of too many",
        sample(
            VALID + 'x: {agent: either, with: {a: "${validate}", b: "${params.order}"}, join: {n_of: 2}}',
        ),
        "7:3",
        "sample.x.join: expected n_of(k) with k of at most 1, the steps it reads, but found 2",
    ),
    (
        "n of nothing",
        sample("nothing: {join: {n_of: 0}}"),
        "6:13",
        "sample.nothing.join: expected all_succeeded, all_done, any or n_of(k), but found 'n_of 0'",
    ),
    ("an unknown join", sample("nothing: {join: most}"), "6:13", "sample.nothing.join: expected all_succeeded"),
    (
        "any with an input that takes no None",
        sample(
            VALID + 'review: {with: {order: "${validate}"}}\n'
            'ship: {with: {order: "${validate}", review: "${review}"}, join: any}'
        ),
        "8:17",
        "sample.ship.join: expected order: T | None, since any may go without it, but the agent takes no None",
    ),
    (
        "a timeout of nothing",
        sample("nothing: {timeout: 0s}"),
        "6:13",
        "sample.nothing.timeout: expected a duration above zero, but found '0s'",
    ),
    (
        "a deadline that is no duration",
        sample("nothing: {deadline: 1 day}"),
        "6:13",
        "sample.nothing.deadline: expected a duration such as '10s', '500ms' or '24h', but found '1 day'",
    ),
    (
        "a deadline of the pipeline below zero",
        sample("nothing: {}", "deadline: -5s\n"),
        "7:1",
        "the file.deadline: expected a duration such as",
    ),
    (
        "a timeout above the deadline",
        sample("nothing: {timeout: 2m, deadline: 1m}"),
        "6:3",
        "sample.nothing: expected a timeout within the deadline 0:01:00, but found 0:02:00",
    ),
    (
        "retry attempts of nothing",
        sample("nothing: {retry: {attempts: 0}}"),
        "6:13",
        "sample.nothing.retry: expected retry attempts between 1 and 1000, but found 0",
    ),
    (
        "an unknown key of a retry",
        sample("nothing: {retry: {atempts: 3}}"),
        "6:21",
        "sample.nothing.retry: expected the key 'attempts', but found 'atempts'",
    ),
    (
        "an unknown meaning of a dead letter",
        sample("nothing: {on_dead_letter: drop}"),
        "6:13",
        "sample.nothing.on_dead_letter: expected hold, fail or skip, but found 'drop'",
    ),
    (
        "an unknown key of a step",
        sample('validate: {wiht: {order: "${params.order}"}}'),
        "6:14",
        "sample.validate: expected the key 'with', but found 'wiht'",
    ),
    (
        "an unknown key of the file",
        sample("nothing: {}", "onwer: me\n"),
        "7:1",
        "the file: expected the key 'owner', but found 'onwer'",
    ),
    ("no steps", HEAD + "steps: {}\n", "1:1", "sample: expected at least one step, but found none"),
    ("no key for the steps", HEAD, "1:1", "the file: expected the key 'steps', but found nothing"),
    ("no name", "agents: ./a.py\nsteps: {}\n", "1:1", "the file: expected the key 'pipeline', but found nothing"),
    (
        "an expression with an error",
        sample('validate: {with: {order: "${params.}"}}'),
        "6:21",
        "sample.validate.with.order: expression 'params.', character 8: expected a field, but found the end",
    ),
    (
        "an expression that is too long",
        sample(f'extract: {{with: {{n: "${{{"1 + " * 2000}1}}"}}}}'),
        "6:20",
        "expected at most 4,096 characters, but found 8,001",
    ),
    (
        "an expression that is too deep",
        sample(f'extract: {{with: {{n: "${{{"(" * 50}1{")" * 50}}}"}}}}'),
        "6:20",
        "expected at most 24 levels of nesting",
    ),
    (
        "an expression with a chain too long",
        sample(f'extract: {{with: {{n: "${{{"1+" * 500}1}}"}}}}'),
        "6:20",
        "expected at most 128 operations in a chain",
    ),
    (
        "an int beside a double",
        sample('extract: {with: {n: "${params.n * 1.5}"}}'),
        "6:20",
        "sample.extract.with.n: expected operands that fit *, but found int and double; write double(x), or 2.0 for 2",
    ),
    (
        "an expression inside a text",
        sample('ship: {with: {order: "${params.order}", review: ~, note: "id ${params.n}"}}'),
        "6:54",
        "sample.ship.with.note: expected one expression as the whole value, but found 'id ${params.n}'",
    ),
    (
        "an unknown output",
        sample("nothing: {}", 'output: "${shp}"\n'),
        "7:1",
        "sample.output: expected a step, params or run, but found 'shp'",
    ),
    (
        "an output without a schema",
        sample("extract: {with: {n: 1}}", "output: {a: '${extract}'}\n"),
        "7:1",
        "sample.output: expected a step's output or a plain value, but found {a}, which has no schema",
    ),
    (
        "a type that cannot travel",
        sample("nothing: {}", head=HEAD.replace("n: int", "n: Decimal")),
        "4:24",
        "the file.params.n: type Decimal: expected one of bool, int",
    ),
    (
        "a type inside itself",
        sample("nothing: {}", head=HEAD.replace("n: int", "n: Tree")),
        "4:24",
        "the file.params.n: type Tree.below[]: expected a type that does not contain itself",
    ),
    (
        "an unknown type",
        sample("nothing: {}", head=HEAD.replace("n: int", "n: Oder")),
        "4:24",
        "the file.params.n: expected the type 'Order', but found 'Oder'",
    ),
    (
        "a type that is code",
        sample("nothing: {}", head=HEAD.replace("n: int", "n: \"__import__('os')\"")),
        "4:24",
        "the file.params.n: expected a type such as Order, list[Order] or int | None",
    ),
    (
        "a list where a mapping belongs",
        HEAD + "steps: [validate]\n",
        "5:1",
        "the file.steps: expected a mapping, but found a list",
    ),
    (
        "a number where a text belongs",
        sample("nothing: {timeout: 10}"),
        "6:13",
        "sample.nothing.timeout: expected a text (quote it), but found 10",
    ),
]


@pytest.mark.parametrize(("text", "place", "claim"), [pytest.param(*rest, id=kind) for kind, *rest in BROKEN])
def test_broken_definition_gets_one_precise_error(text: str, place: str, claim: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        compiled(text)

    assert claim in refused.value.message
    assert refused.value.place == f"sample.yaml:{place}"
    assert str(refused.value) == f"{refused.value.place}: {refused.value.message}"


def test_two_agents_of_one_name_in_a_pipeline_are_refused() -> None:
    def validate(order: Order) -> Order:
        """Another one."""
        return order

    twin: Agent[..., Order] = agent(validate)

    with pytest.raises(DefinitionError, match=r"expected one agent of the name 'validate', but found .* and .*"):
        compiled(sample(VALID + 'twin: {with: {order: "${validate}"}}'), {**AGENTS, "twin": twin.spec})


def test_record_of_the_same_name_with_other_fields_is_refused() -> None:
    def longer() -> type:
        @dataclass(frozen=True)
        class Order:
            id: str
            total: int
            more: str

        return Order

    with pytest.raises(DefinitionError, match=r"with\.order: expected the fields of Order, but found order\.more too"):
        compile_draft(
            draft_of(
                read_yaml(sample('validate: {with: {order: "${params.order}"}}').encode(), "sample.yaml"),
                AGENTS,
                {**NAMES, "Order": longer()},
            )
        )


def test_pipeline_without_an_owner_compiles_and_is_not_applied() -> None:
    it = compiled(sample("nothing: {}", head=HEAD.replace("owner: o@example.org\n", "")))

    with pytest.raises(DefinitionError, match="sample: expected an owner"):
        check_owner(it)


def test_graph_of_a_thousand_steps_is_validated_in_linear_time() -> None:
    steps = "\n".join(
        f's{n}: {{agent: validate, with: {{order: "${{{f"s{n - 1}" if n else "params.order"}}}"}}}}'
        for n in range(1000)
    )

    it = compiled(sample(steps))

    assert len(it.steps) == 1000
    with pytest.raises(DefinitionError, match="expected at most 1000 steps, but found 1001"):
        compiled(sample(steps + "\nnothing: {}"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("NO", "NO"),
        ("yes", "yes"),
        ("on", "on"),
        ("12:30:45", "12:30:45"),
        ("2024-01-01", "2024-01-01"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("1_000", "1_000"),
        ("-7", -7),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'true'", "true"),
        ("1.2.3", "1.2.3"),
        ("=", "="),
    ],
)
def test_scalar_is_read_as_yaml_1_2_says(text: str, expected: object) -> None:
    node = load_strict(f"key: {text}".encode(), "f.yaml")

    found = node.plain()["key"]  # type: ignore[index]
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("content", "place", "claim"),
    [
        (b"a: &x 1\nb: *x", "f.yaml:1:4", "expected no anchor, but found &x"),
        (b"a: 1\nb: *x", "f.yaml:2:4", "expected no alias, but found *x"),
        (b"a: !!python/object:os.system x", "f.yaml:1:4", "expected no tag"),
        (b"a: !x 1", "f.yaml:1:4", "expected no tag, but found !x"),
        (b"a: 1\nb: 2\na: 3", "f.yaml:3:1", "expected each key once, but found 'a' again (line 1)"),
        (b"1: a", "f.yaml:1:1", "expected a text as key, but found 1"),
        (b"[a]: b", "f.yaml:1:1", "expected a text as key, but found ['a']"),
        (b"a: 1\n---\nb: 2", "f.yaml:2:1", "expected one document, but found another one"),
        (b"", "f.yaml:1:1", "expected a mapping, but the file is empty"),
        (b"a: [1", "f.yaml:1:6", "expected YAML, but expected ',' or ']'"),
        (b"a: b: c", "f.yaml:1:5", "expected YAML, but mapping values are not allowed here"),
        (b"a: \xff", "f.yaml", "expected UTF-8, but found byte 0xff at 3"),
        (b"a: 1\nb: \x07", "f.yaml:2", "expected text, but found the character"),
        (b"a: 99999999999999999999", "f.yaml:1:4", "expected an integer of 64 bits (quote it if it is a text)"),
        (b"a: " + b"9" * 10_000, "f.yaml:1:4", "expected an integer of 64 bits"),
        (b"a: .inf", "f.yaml:1:4", "expected a finite number, but found .inf"),
        (b"a: 1e999", "f.yaml:1:4", "expected a finite number, but found 1e999"),
        (b"a: -" + b"9" * 10_000 + b".5", "f.yaml:1:4", "expected a finite number, but found -999"),
        (b"a: " + b"[" * 40, "f.yaml:1:35", "expected at most 32 levels"),
        (b"- 1\n" * 20_001, "f.yaml:20000:3", "expected at most 20,000 values"),
        (b'a: "\\UFFFFFFFF"', "f.yaml", "expected YAML, but found an escape or a version that is none"),
        (b'a: "\\U00110000"', "f.yaml", "expected YAML, but found an escape or a version that is none"),
        (b"%YAML 1." + b"9" * 5_000 + b"\n---\na: 1", "f.yaml", "expected YAML, but found an escape or a version"),
        (b'a: 1\nb: "\\uD800"', "f.yaml:2:4", "expected a text that UTF-8 can hold, but found '\\ud800'"),
        (b'"\\uD800": 1', "f.yaml:1:1", "expected a text that UTF-8 can hold, but found '\\ud800'"),
        (b"#" * 300_000, "f.yaml", "expected at most 262,144 bytes, but found 300,000"),
    ],
)
def test_file_that_is_not_strict_yaml_is_refused_with_line_and_column(content: bytes, place: str, claim: str) -> None:
    with pytest.raises(DefinitionError) as refused:
        load_strict(content, "f.yaml")

    assert claim in refused.value.message
    assert refused.value.place == place


def test_number_beyond_what_a_double_holds_does_not_become_a_name() -> None:
    """It was read as infinity, and written into the expression as `inf`, which a step may be called."""
    steps = 'inf: {agent: nothing}\nsum: {agent: summarise, with: {orders: ["${params.order}"], factor: 1e999}}'

    with pytest.raises(DefinitionError, match=r"sample.yaml:7:71: expected a finite number, but found 1e999"):
        compiled(sample(steps))


def test_definition_that_no_process_could_read_is_refused_when_it_is_made() -> None:
    """`apply` published it, and each process that was to run it left it out."""
    draft = draft_of(read_yaml(sample("ship: {agent: nothing}").encode(), "sample.yaml"), AGENTS, NAMES)

    with pytest.raises(
        DefinitionError, match=r"sample.yaml:1:1: sample: expected a duration above zero, but found '0ms'"
    ):
        compile_draft(replace(draft, hold_max=timedelta(microseconds=400)))


def test_duration_out_of_range_is_refused_with_its_place() -> None:
    for key in ("deadline", "hold_max", "stop_max"):
        with pytest.raises(DefinitionError, match=rf"sample.yaml:7:1: the file.{key}: expected .* at most 10,000 days"):
            compiled(sample("ship: {agent: nothing}", f"{key}: 999999999d\n"))
    with pytest.raises(
        DefinitionError, match=r"sample.yaml:6:\d+: .*retry: expected a duration of at most 10,000 days"
    ):
        compiled(sample("ship: {agent: nothing, retry: {total: 10001d}}"))


def test_duration_that_is_no_text_is_told_under_its_name_once() -> None:
    """It was "the file.the file.deadline"."""
    with pytest.raises(DefinitionError) as refused:
        compiled(sample("ship: {agent: nothing}", "deadline: 600\n"))

    assert str(refused.value) == "sample.yaml:7:1: the file.deadline: expected a text (quote it), but found 600"
