"""Reading a pipeline's body: it runs once, with references for its parameters."""

from collections.abc import Callable, Sequence

from farandole.definition.body import Call, reading
from farandole.definition.cel_nodes import Name, Select
from farandole.definition.draft import Given, StepDraft
from farandole.definition.problems import problem
from farandole.definition.references import Reference, caller_place, steps_of, text_of, types_of
from farandole.definition.spec import AgentSpec, Parameter, members_text
from farandole.definition.value_types import Many, Record, ValueType, value_type
from farandole.errors import DefinitionError

_ITEM = object()
"""Stands for the item of a map among the inputs of its step."""


class BodyReader:
    """Collects the steps of one body, in the order of its calls."""

    def __init__(self, pipeline: str, params: Sequence[Parameter]) -> None:
        self.pipeline = pipeline
        self.steps: list[StepDraft] = []
        self.output: Given | None = None
        record = value_type(members_text(f"{pipeline}_params", params))
        assert isinstance(record, Record)
        self._types: dict[str, ValueType] = {"params": Record("params", record.members)}
        self._params = params

    def read(self, body: Callable[..., object], place: str) -> None:
        """Run the body; fills `steps` and `output`.

        Raises:
            DefinitionError: a call or an operation in it is wrong.
        """
        if reading.get() is not None:
            raise problem(place, self.pipeline, "expected no pipeline to be defined in the body of another one")
        token = reading.set(self)
        try:
            given = {p.name: Reference(Select(Name("params"), p.name), self._types) for p in self._params}
            returned = body(**given)
            if returned is not None:
                self.output = Given(self._returned(returned, place), place)
        finally:
            reading.reset(token)

    def call(self, call: Call) -> object:
        """Add the step; gives the reference to its output."""
        place, name = caller_place(), self._name(call)
        where = f"{self.pipeline}.{name}"
        for each in (*call.given, *call.named.values(), call.when, call.items, *call.after):
            self._check_ours(each, where, place)
        inputs = self._bound(call, where, place)
        step = StepDraft(
            name=name,
            spec=call.spec,
            inputs={
                key: Given(self._text(value, f"{where}.with.{key}", place), place) for key, value in inputs.items()
            },
            place=place,
            when=None if call.when is None else Given(self._condition(call.when, where, place), place),
            over=Given(self._text(call.items, f"{where}.map", place), place) if call.is_mapped else None,
            after=tuple(Given(step, place) for each in call.after for step in self._waited(each, where, place)),
            options=call.options,
        )
        self.steps.append(step)
        output = value_type(call.spec.output_schema)
        self._types[name] = Many(output) if call.is_mapped else output
        return Reference(Name(name), self._types)

    def _name(self, call: Call) -> str:
        if call.options.name is not None:
            return call.options.name
        base, n, taken = call.spec.name.replace("-", "_"), 1, {step.name for step in self.steps}
        name = base
        while name in taken:
            n += 1
            name = f"{base}_{n}"
        return name

    def _check_ours(self, value: object, where: str, place: str) -> None:
        if isinstance(value, Reference) and types_of(value) is not self._types:
            raise problem(place, where, f"expected a value of this pipeline, but found {value!r} of another one")

    def _bound(self, call: Call, where: str, place: str) -> dict[str, object]:
        """Inputs by parameter; unknown and missing ones are left to validation, as for YAML."""
        names = [each.name for each in call.spec.parameters]
        if call.is_mapped:
            return self._bound_map(call, names, where, place)
        if len(call.given) > len(names):
            raise problem(place, where, _too_many(call.spec, len(call.given)))
        bound: dict[str, object] = dict(zip(names, call.given, strict=False))
        for name, value in call.named.items():
            if name in bound:
                raise problem(place, where, f"expected {name!r} once, but found it by place and by name")
            bound[name] = value
        return bound

    def _bound_map(self, call: Call, names: list[str], where: str, place: str) -> dict[str, object]:
        free = [name for name in names if name not in call.named]
        if not free:
            raise problem(place, where, f"expected a parameter of {call.spec.name} that takes the item, but found none")
        return {free[0]: _ITEM, **call.named}

    def _text(self, value: object, where: str, place: str) -> str:
        if value is _ITEM:
            return "item"
        try:
            return text_of(value)
        except DefinitionError as bad:
            raise bad if bad.message.startswith(self.pipeline) else problem(place, where, bad.message) from None

    def _condition(self, value: object, where: str, place: str) -> str:
        if not isinstance(value, Reference):
            fact = (
                f"expected a condition on a value of the run, but found {value!r}, which Python decided already "
                f"(`is`, `and`, `or`, `not` do; write ==, `&`, `|`, `~`)"
            )
            raise problem(place, f"{where}.when", fact)
        return text_of(value)

    def _waited(self, value: object, where: str, place: str) -> list[str]:
        steps = sorted((steps_of(value) or frozenset()) & {step.name for step in self.steps})
        if not steps:
            raise problem(place, f"{where}.after", f"expected the result of a step, but found {value!r}")
        return steps

    def _returned(self, value: object, place: str) -> str:
        where = f"{self.pipeline}.output"
        self._check_ours(value, where, place)
        if not isinstance(value, Reference):
            raise problem(place, where, f"expected the body to return the result of a step, but found {value!r}")
        return text_of(value)


def _too_many(spec: AgentSpec, found: int) -> str:
    names = ", ".join(each.name for each in spec.parameters) or "none"
    return f"expected at most {len(spec.parameters)} inputs of agent {spec.name} ({names}), but found {found}"
