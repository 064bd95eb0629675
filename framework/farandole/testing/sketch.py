"""Definitions in few words, for tests of whatever reads them.

Every step gives a `Value` (a number `n`, a list of numbers `items`, and a text `pad` that makes
it large) and takes what its inputs name; schemas follow from the expressions. No handler
exists: what a step gives is said by the test. Knows nothing of the front ends.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from farandole.definition.model import HOLD_MAX, STOP_MAX, Definition, Input, Step
from farandole.definition.policy import Join, JoinKind, OnDeadLetter, Retry
from farandole.events.avro import Schema

ITEM = "item"
"""The name of a mapped step's element in its expressions."""

_ITEMS = {"type": "array", "items": "long"}
_FIELDS = [{"name": "n", "type": "long"}, {"name": "items", "type": _ITEMS}, {"name": "pad", "type": "string"}]
_VALUE = {"type": "record", "name": "Value", "fields": _FIELDS}
_LONG = "long"


def _text(schema: object) -> str:
    return json.dumps(schema, separators=(",", ":"))


VALUE_SCHEMA = _text(_VALUE)
"""What every step gives."""

PARAMS_SCHEMA = _text({"type": "record", "name": "Params", "fields": _FIELDS})
"""Params of every pipeline: the same fields."""


def value(n: int = 0, items: Sequence[int] = (), pad: str = "") -> dict[str, object]:
    """A plain `Value`, or plain params."""
    return {"n": n, "items": list(items), "pad": pad}


def framed(n: int = 0, items: Sequence[int] = (), pad: str = "") -> bytes:
    """A `Value` as a step reports it."""
    return Schema.parse(VALUE_SCHEMA).encode(value(n, items, pad))


def framed_params(n: int = 0, items: Sequence[int] = (), pad: str = "") -> bytes:
    """Params as a client sends them."""
    return Schema.parse(PARAMS_SCHEMA).encode(value(n, items, pad))


@dataclass(frozen=True, slots=True)
class Node:
    """A step to be: `inputs` are expressions, with a `?` at the end of those that take None for what was skipped.

    `over` is what a mapped step runs over. `whole`: None means that a single `Value` is passed on as it is.
    """

    name: str
    inputs: tuple[str, ...]
    when: str | None = None
    over: str | None = None
    after: tuple[str, ...] = ()
    join: Join = Join()
    retry: Retry = Retry()
    deadline: timedelta | None = None
    on_dead_letter: OnDeadLetter = OnDeadLetter.HOLD
    whole: bool | None = None
    timeout: timedelta | None = None


def node(
    name: str,
    *inputs: str,
    when: str | None = None,
    over: str | None = None,
    after: Sequence[str] = (),
    join: str | Join = "all_succeeded",
    retry: Retry | int = 3,
    deadline: timedelta | None = None,
    on_dead_letter: str = "hold",
    whole: bool | None = None,
) -> Node:
    """A step; without inputs it takes its element if it is mapped, else `params.n`."""
    return Node(
        name,
        inputs or ((ITEM,) if over else ("params.n",)),
        when,
        over,
        tuple(after),
        join if isinstance(join, Join) else Join(JoinKind(join)),
        retry if isinstance(retry, Retry) else Retry(attempts=retry),
        deadline,
        OnDeadLetter(on_dead_letter),
        whole,
    )


def define(
    *nodes: Node,
    output: str | None = None,
    name: str = "sketch",
    deadline: timedelta | None = None,
    hold_max: timedelta = HOLD_MAX,
    stop_max: timedelta = STOP_MAX,
) -> Definition:
    """The pipeline of some steps, which stand in topological order."""
    typed = _Types({each.name: each for each in nodes})
    return Definition(
        name=name,
        params_schema=PARAMS_SCHEMA,
        steps={each.name: _step(typed, each) for each in nodes},
        output=output,
        output_schema=_text(typed.of(output, None)) if output else None,
        deadline=deadline,
        hold_max=hold_max,
        stop_max=stop_max,
        owner="tests@example.org",
    )


@dataclass(frozen=True, slots=True)
class _Types:
    """Which Avro type an expression gives; anything but a plain path gives a number."""

    nodes: Mapping[str, Node]

    def of(self, text: str, over: str | None) -> object:
        """The type of an expression in a step that runs over `over`."""
        root, _, rest = text.partition(".")
        if rest:
            return _ITEMS if rest == "items" else _LONG
        if root == ITEM and over is not None:
            return _VALUE if over in self.nodes else _LONG
        if root in self.nodes:
            return {"type": "array", "items": _VALUE} if self.nodes[root].over else _VALUE
        return _LONG


def _step(typed: _Types, it: Node) -> Step:
    inputs = {f"p{n}": Input(text.removesuffix("?"), text.endswith("?")) for n, text in enumerate(it.inputs)}
    types = [typed.of(given.expression, it.over) for given in inputs.values()]
    whole = it.whole if it.whole is not None else types == [_VALUE] and not inputs["p0"].optional
    fields = [
        {"name": name, "type": ["null", kind] if given.optional else kind}
        for (name, given), kind in zip(inputs.items(), _named_once(types), strict=True)
    ]
    return Step(
        name=it.name,
        agent=it.name,
        inputs=inputs,
        input_schema=VALUE_SCHEMA if whole else _text({"type": "record", "name": f"{it.name}_in", "fields": fields}),
        output_schema=VALUE_SCHEMA,
        whole=whole,
        when=it.when,
        map_over=it.over,
        item_name=ITEM,
        after=it.after,
        join=it.join,
        retry=it.retry,
        timeout=it.timeout,
        deadline=it.deadline,
        on_dead_letter=it.on_dead_letter,
    )


def _named_once(types: Sequence[object]) -> Iterator[object]:
    """A named type is written out at its first use in a schema, and named afterwards."""
    seen = False
    for kind in types:
        is_list = isinstance(kind, dict) and kind.get("items") == _VALUE
        if kind == _VALUE or is_list:
            again = {"type": "array", "items": "Value"} if is_list else "Value"
            yield again if seen else kind
            seen = True
        else:
            yield kind
