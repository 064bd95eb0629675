"""A pipeline as data: what both front ends compile to and every process reads.

Canonical JSON without defaults, named by its SHA-256, so that a field added later never
changes the hash of an old definition. Types are Avro schemas (JSON text). Owner, tags and
description stand outside the hash. Knows nothing of Python functions, YAML or Kafka.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property

from farandole.definition.policy import Join, JoinKind, OnDeadLetter, Retry, duration, duration_text
from farandole.errors import DefinitionError
from farandole.ids import DefinitionHash, sha256

HOLD_MAX = timedelta(hours=24)
STOP_MAX = timedelta(minutes=10)


@dataclass(frozen=True, slots=True)
class Input:
    """One parameter of a step: the CEL expression that gives it, and whether it takes None for what was skipped."""

    expression: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    """One node. `inputs` by parameter name; `whole`: the single parameter's record *is* the inbox value.

    `map_over` is a CEL expression that gives a list (or names a mapped step: item-wise, without barrier), its
    element is `item_name` in the other expressions. `input_schema` and `output_schema` are Avro schemas as
    canonical JSON text; the output schema of a mapped step is that of one item.
    """

    name: str
    agent: str
    inputs: Mapping[str, Input]
    input_schema: str
    output_schema: str
    whole: bool = False
    when: str | None = None
    map_over: str | None = None
    item_name: str = "item"
    after: tuple[str, ...] = ()
    join: Join = Join()
    retry: Retry = Retry()
    timeout: timedelta | None = None
    deadline: timedelta | None = None
    on_dead_letter: OnDeadLetter = OnDeadLetter.HOLD

    @property
    def is_mapped(self) -> bool:
        """Whether it runs once per item of a list."""
        return self.map_over is not None


@dataclass(frozen=True)
class Definition:
    """One pipeline. `params_schema` is a record with a field per parameter; `steps` are in topological order."""

    name: str
    params_schema: str
    steps: Mapping[str, Step]
    output: str | None = None
    output_schema: str | None = None
    deadline: timedelta | None = None
    hold_max: timedelta = HOLD_MAX
    stop_max: timedelta = STOP_MAX
    owner: str = field(default="", compare=False)
    tags: tuple[str, ...] = field(default=(), compare=False)
    description: str = field(default="", compare=False)

    @cached_property
    def canonical(self) -> str:
        """Canonical JSON of all that is inside the hash: sorted keys, no blanks, no defaults."""
        return _dump(_definition_json(self))

    @cached_property
    def hash(self) -> DefinitionHash:
        """SHA-256 of the canonical JSON, hex."""
        return DefinitionHash(sha256(self.canonical.encode()))

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Definition) and self.hash == other.hash)

    def __hash__(self) -> int:
        return hash(self.hash)

    def to_json(self) -> str:
        """Canonical JSON plus what stands outside the hash, under `about`: the value on `definitions`."""
        about = {"owner": self.owner, "tags": list(self.tags), "description": self.description}
        return _dump({**_definition_json(self), "about": {k: v for k, v in about.items() if v}})


def _dump(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _sparse(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (None, (), [], "", False, {})}


def _definition_json(it: Definition) -> dict[str, object]:
    return _sparse(
        version=1,
        name=it.name,
        params=json.loads(it.params_schema),
        steps=[_step_json(step) for step in it.steps.values()],
        output=it.output,
        output_schema=json.loads(it.output_schema) if it.output_schema else None,
        deadline=duration_text(it.deadline) if it.deadline else None,
        hold_max=duration_text(it.hold_max) if it.hold_max != HOLD_MAX else None,
        stop_max=duration_text(it.stop_max) if it.stop_max != STOP_MAX else None,
    )


def _step_json(it: Step) -> dict[str, object]:
    return _sparse(
        name=it.name,
        agent=it.agent if it.agent != it.name else None,
        inputs={k: _sparse(expression=v.expression, optional=v.optional) for k, v in it.inputs.items()},
        input_schema=json.loads(it.input_schema),
        output_schema=json.loads(it.output_schema),
        whole=it.whole,
        when=it.when,
        map=it.map_over,
        **{"as": it.item_name if it.is_mapped and it.item_name != "item" else None},
        after=list(it.after),
        join=_join_json(it.join),
        retry=_retry_json(it.retry),
        timeout=duration_text(it.timeout) if it.timeout else None,
        deadline=duration_text(it.deadline) if it.deadline else None,
        on_dead_letter=str(it.on_dead_letter) if it.on_dead_letter is not OnDeadLetter.HOLD else None,
    )


def _join_json(it: Join) -> dict[str, object]:
    kind = str(it.kind) if it.kind is not JoinKind.ALL_SUCCEEDED else None
    return _sparse(kind=kind, needed=it.needed)


def _retry_json(it: Retry) -> dict[str, object]:
    usual = Retry()
    return _sparse(
        attempts=it.attempts if it.attempts != usual.attempts else None,
        base=duration_text(it.base) if it.base != usual.base else None,
        cap=duration_text(it.cap) if it.cap != usual.cap else None,
        total=duration_text(it.total) if it.total else None,
    )


def parse_definition(text: str | bytes) -> Definition:
    """The definition in a record of `definitions`.

    Raises:
        DefinitionError: the JSON is malformed or of a version that this code does not know.
    """
    try:
        raw = json.loads(text)
        if raw["version"] != 1:
            raise DefinitionError(f"expected definition version 1, but found {raw['version']!r}: upgrade this process")
        about = raw.get("about", {})
        return Definition(
            name=raw["name"],
            params_schema=_dump(raw["params"]),
            steps=_parse_steps(raw["steps"]),
            output=raw.get("output"),
            output_schema=_dump(raw["output_schema"]) if "output_schema" in raw else None,
            deadline=_parse_duration(raw, "deadline"),
            hold_max=_parse_duration(raw, "hold_max") or HOLD_MAX,
            stop_max=_parse_duration(raw, "stop_max") or STOP_MAX,
            owner=about.get("owner", ""),
            tags=tuple(about.get("tags", ())),
            description=about.get("description", ""),
        )
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, OverflowError) as bad:
        raise DefinitionError(f"expected a compiled definition, but it is malformed: {bad!r}") from bad


def _parse_duration(raw: Mapping[str, str], name: str) -> timedelta | None:
    return duration(raw[name]) if name in raw else None


def _parse_steps(raw: Sequence[Mapping[str, dict[str, dict[str, object]]]]) -> Mapping[str, Step]:
    steps: dict[str, Step] = {}
    for each in raw:
        step = _parse_step(each)
        if step.name in steps:  # the last would stand for all, under its own hash
            raise DefinitionError(f"expected each step once, but found {step.name!r:.80} again")
        steps[step.name] = step
    return steps


def _parse_step(raw: Mapping[str, dict[str, dict[str, object]]]) -> Step:
    fields: dict[str, object] = dict(raw)
    join, retry = raw.get("join", {}), raw.get("retry", {})
    inputs = {k: Input(str(v["expression"]), bool(v.get("optional", False))) for k, v in raw.get("inputs", {}).items()}
    return Step(
        name=str(raw["name"]),
        agent=str(raw.get("agent", raw["name"])),
        inputs=inputs,
        input_schema=_dump(raw["input_schema"]),
        output_schema=_dump(raw["output_schema"]),
        whole=bool(raw.get("whole", False)),
        when=_text(fields.get("when")),
        map_over=_text(fields.get("map")),
        item_name=str(raw.get("as", "item")),
        after=tuple(str(name) for name in raw.get("after", ())),
        join=Join(JoinKind(str(join.get("kind", "all_succeeded"))), int(str(join.get("needed", 0)))),
        retry=_parse_retry(retry),
        timeout=duration(str(raw["timeout"])) if "timeout" in raw else None,
        deadline=duration(str(raw["deadline"])) if "deadline" in raw else None,
        on_dead_letter=OnDeadLetter(str(raw.get("on_dead_letter", "hold"))),
    )


def _parse_retry(raw: Mapping[str, object]) -> Retry:
    usual, total = Retry(), raw.get("total")
    return Retry(
        attempts=int(str(raw.get("attempts", usual.attempts))),
        base=str(raw["base"]) if "base" in raw else usual.base,
        cap=str(raw["cap"]) if "cap" in raw else usual.cap,
        total=None if total is None else str(total),
    )


def _text(value: object) -> str | None:
    return None if value is None else str(value)
