"""`@pipeline`, and the `Pipeline` it leaves in a function's place.

The body runs once, when the pipeline is defined. What stays is the compiled definition with the
agents it names, and the Python types of its params and its result, for typed clients.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, NoReturn, ParamSpec, TypeVar, cast, overload

from farandole.definition.builder import BodyReader
from farandole.definition.draft import Draft
from farandole.definition.model import Definition
from farandole.definition.options import duration_of, require_known
from farandole.definition.shapes import type_hints
from farandole.definition.spec import AgentSpec, Parameter, place_of, read_parameter
from farandole.definition.types import ContractError, from_plain, to_plain
from farandole.definition.validation import compile_draft
from farandole.errors import DefinitionError

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Pipeline(Generic[P, R_co]):
    """A compiled pipeline; `P` are its params and `R_co` its result.

    `result_type` is the Python type of the result, None where a YAML file computes one that has no type.
    """

    def __init__(self, draft: Draft, result_type: object) -> None:
        self.definition: Definition = compile_draft(draft)
        self.agents: Mapping[str, AgentSpec] = {step.spec.name: step.spec for step in draft.steps}
        self.parameters: tuple[Parameter, ...] = tuple(draft.params)
        self.result_type = result_type
        self.place = draft.place
        self.step_places: Mapping[str, str] = {step.name: step.place for step in draft.steps}
        self.__doc__ = draft.description or None

    @property
    def name(self) -> str:
        """The pipeline's name."""
        return self.definition.name

    def __repr__(self) -> str:
        return f"<pipeline {self.name} {self.definition.hash[:12]} at {self.place}>"

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """A pipeline is not called but started."""
        raise DefinitionError(
            f"pipeline {self.name}: expected to be started by a client (client.start({self.name}, ...)) or tried in "
            f"a Harness, but it was called"
        )

    def bind(self, *args: P.args, **kwargs: P.kwargs) -> dict[str, object]:
        """The params of a run as a plain record, from Python arguments.

        Raises:
            ContractError: an argument is missing, unknown or of another type.
        """
        given = self._by_name(args, kwargs)
        return {
            each.name: to_plain(given[each.name], each.type, what=f"params.{each.name}") for each in self.parameters
        }

    def encode_params(self, *args: P.args, **kwargs: P.kwargs) -> bytes:
        """The params of a run as the framed payload of a start command.

        Raises:
            ContractError: an argument is missing, unknown or of another type.
        """
        from farandole.events.avro import Schema

        return Schema.parse(self.definition.params_schema).encode(self.bind(*args, **kwargs))

    def result_from_plain(self, plain: object) -> R_co:
        """The Python result of a run; None where the step that gives it was skipped, plain where no type is known.

        Raises:
            RecordError: it does not fit the pipeline's result type.
        """
        if plain is None or self.result_type is None:
            return cast(R_co, plain)
        return cast(R_co, from_plain(plain, self.result_type, what=f"{self.name}.output"))

    def _by_name(self, args: Sequence[object], kwargs: Mapping[str, object]) -> dict[str, object]:
        names = [each.name for each in self.parameters]
        wanted = f"the params of {self.name} ({', '.join(names) or 'none'})"
        if len(args) > len(names):
            raise ContractError("params", "", wanted, f"{len(args)} arguments")
        given = dict(zip(names, args, strict=False))
        for name, value in kwargs.items():
            if name not in names or name in given:
                raise ContractError("params", f".{name}", wanted, "it twice" if name in given else "another one")
            given[name] = value
        for each in self.parameters:
            if each.name not in given:
                if not each.has_default:
                    raise ContractError("params", f".{each.name}", wanted, "nothing")
                given[each.name] = each.default
        return given


SHOWN_MAX = 200
"""Characters of what stands in a pipeline's place: it may be anything."""


def require_pipeline(given: object, other: str = "") -> None:
    """Tell who hands over an agent, or a plain function, what is wanted; `other` is what else may stand there.

    Raises:
        TypeError: it is no pipeline.
    """
    if not isinstance(given, Pipeline):
        found = repr(given)[:SHOWN_MAX]
        raise TypeError(f"expected a pipeline, which `@pipeline` makes of a function,{other} but found {found}")


@dataclass(frozen=True, slots=True)
class PipelineOptions:
    """What `@pipeline(...)` was given, unchecked."""

    name: object = None
    owner: object = ""
    deadline: object = None
    hold_max: object = None
    stop_max: object = None
    tags: object = ()


class PipelineDecorator:
    """What `@pipeline(...)` gives: it turns a body into a `Pipeline`."""

    def __init__(self, given: PipelineOptions) -> None:
        self._given = given

    def __call__(self, body: Callable[P, R], /) -> Pipeline[P, R]:
        """The pipeline of that body."""
        return Pipeline[P, R](*_read(body, self._given))


@overload
def pipeline(body: Callable[P, R], /) -> Pipeline[P, R]: ...
@overload
def pipeline(
    *,
    owner: str = "",
    deadline: str | timedelta | None = None,
    hold_max: str | timedelta | None = None,
    stop_max: str | timedelta | None = None,
    tags: Sequence[str] = (),
    name: str | None = None,
) -> PipelineDecorator: ...
def pipeline(body: Callable[..., object] | None = None, /, **given: object) -> object:
    """Define a pipeline by a body that calls agents; it runs once, now.

    `owner` answers for it and is needed to apply it; `deadline` bounds a run; `hold_max` is how long a
    run waits on a dead letter (24 h unless told), `stop_max` how long one that stops waits for the steps that are
    under way (10 min).

    Raises:
        DefinitionError: the body, an option or the graph is wrong.
    """
    if body is None:
        require_known("@pipeline", given, PipelineOptions.__slots__)
        return PipelineDecorator(PipelineOptions(**given))
    return Pipeline[..., object](*_read(body, PipelineOptions()))


def _read(body: Callable[..., object], given: PipelineOptions) -> tuple[Draft, object]:
    place = place_of(body)
    name = given.name if given.name is not None else getattr(body, "__name__", "")
    try:
        return _draft(body, str(name), given, place)
    except DefinitionError as bad:
        raise bad if bad.place else DefinitionError(bad.message, place=place) from None


def _draft(body: Callable[..., object], name: str, given: PipelineOptions, place: str) -> tuple[Draft, object]:
    if not inspect.isfunction(body) or inspect.iscoroutinefunction(body) or inspect.isgeneratorfunction(body):
        raise DefinitionError(f"pipeline {name}: expected a plain function as body, but found {body!r}")
    hints = type_hints(body, place)
    if "return" not in hints:
        raise DefinitionError(f"pipeline {name}: expected a return annotation (`-> None` if it gives nothing)")
    signature = inspect.signature(body)
    params = [read_parameter(each, hints, f"pipeline {name}") for each in signature.parameters.values()]
    reader = BodyReader(name, params)
    reader.read(body, place)
    draft = Draft(
        name=name,
        place=place,
        params=params,
        steps=reader.steps,
        output=reader.output,
        declared=hints["return"],
        deadline=duration_of("deadline", given.deadline),
        hold_max=duration_of("hold_max", given.hold_max),
        stop_max=duration_of("stop_max", given.stop_max),
        owner=_text("owner", given.owner),
        tags=tags_of(given.tags),
        description=inspect.getdoc(body) or "",
    )
    return draft, hints["return"]


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise DefinitionError(f"{name}: expected a text, but found {value!r}")
    return value


def tags_of(value: object) -> tuple[str, ...]:
    """Tags from a list of texts.

    Raises:
        DefinitionError: they are something else.
    """
    if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
        raise DefinitionError(f"tags: expected a list of texts, but found {value!r}")
    return tuple(value)
