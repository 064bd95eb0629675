"""An agent as data: what its signature says, read once.

The runtime calls the handler by it, the front ends fit steps to it. Knows nothing of pipelines.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

from farandole.definition.context import Context
from farandole.definition.options import dead_letter_of, duration_of, memory_of, retry_of
from farandole.definition.policy import OnDeadLetter, Retry
from farandole.definition.shapes import MISSING, type_hints
from farandole.definition.types import Member, is_optional, is_record, record_text, schema_text
from farandole.errors import DefinitionError
from farandole.ids import is_name, is_topic

Isolation = Literal["loop", "thread", "process"]
"""Where a handler runs: async functions on the loop, plain ones in a thread or in a child process."""

Handler = Callable[..., Any]
"""A user's function. `Any`: its types are in its annotations, which `AgentSpec` holds."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One input of an agent. `optional`: takes None; `has_default`: may be left out."""

    name: str
    type: object
    optional: bool
    has_default: bool
    default: object = MISSING


@dataclass(frozen=True)
class AgentSpec:
    """One agent. `whole`: its single record-typed parameter *is* the inbox value.

    `context_parameter` is the name of the parameter annotated `Context`, which is no input;
    `memory_limit` is in bytes; `place` is `file:line` of the handler. `published`: schemas of the
    records that it declares for the topics it publishes to.
    """

    name: str
    handler: Handler
    is_async: bool
    context_parameter: str | None
    parameters: tuple[Parameter, ...]
    result: object
    retry: Retry
    timeout: timedelta | None
    deadline: timedelta | None
    on_dead_letter: OnDeadLetter
    isolation: Isolation
    publishes: tuple[str, ...]
    memory_limit: int | None
    input_schema: str
    output_schema: str
    whole: bool
    place: str
    published: tuple[str, ...] = ()

    @property
    def publishable(self) -> frozenset[str]:
        """Schemas that `apply` publishes for it: only records of these can be read by whoever consumes its topics."""
        return frozenset((*self.published, self.input_schema, self.output_schema))

    def parameter(self, name: str) -> Parameter | None:
        """The input of that name, if there is one."""
        return next((each for each in self.parameters if each.name == name), None)


@dataclass(frozen=True, slots=True)
class AgentOptions:
    """What `@agent(...)` was given, unchecked."""

    name: object = None
    timeout: object = None
    deadline: object = None
    retry: object = None
    isolation: object = None
    publishes: object = ()
    memory: object = None
    on_dead_letter: object = None


def place_of(handler: object) -> str:
    """`file:line` of a function."""
    code = getattr(handler, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def read_agent(handler: Handler, given: AgentOptions) -> AgentSpec:
    """The agent that a handler and its options make.

    Raises:
        DefinitionError: the signature or an option is wrong; placed at the handler.
    """
    place = place_of(handler)
    try:
        return _read(handler, given, place)
    except DefinitionError as bad:
        raise bad if bad.place else DefinitionError(bad.message, place=place) from None


def _read(handler: Handler, given: AgentOptions, place: str) -> AgentSpec:
    if not inspect.isfunction(handler):
        raise DefinitionError(f"@agent: expected a function, but found {handler!r}")
    name = given.name if given.name is not None else handler.__name__
    if not isinstance(name, str) or not is_name(name):
        raise DefinitionError(f"agent {name!r}: expected a name of a-z 0-9 _ - (a letter first, at most 63)")
    if inspect.isgeneratorfunction(handler) or inspect.isasyncgenfunction(handler):
        raise DefinitionError(f"agent {name}: expected a function that returns its result, but found a generator")
    is_async = inspect.iscoroutinefunction(handler)
    context, parameters, result = _signature(handler, name)
    isolation = _isolation(name, given.isolation, is_async)
    memory = memory_of(given.memory)
    if memory is not None and isolation != "process":
        raise DefinitionError(f"agent {name}: memory: expected isolation='process' with it, but found {isolation!r}")
    whole = len(parameters) == 1 and is_record(parameters[0].type)
    return AgentSpec(
        name=name,
        handler=handler,
        is_async=is_async,
        context_parameter=context,
        parameters=parameters,
        result=result,
        retry=retry_of(given.retry) or Retry(),
        timeout=duration_of("timeout", given.timeout),
        deadline=duration_of("deadline", given.deadline),
        on_dead_letter=dead_letter_of(given.on_dead_letter) or OnDeadLetter.HOLD,
        isolation=isolation,
        publishes=_publishes(name, given.publishes),
        memory_limit=memory,
        input_schema=schema_text(parameters[0].type) if whole else members_text(f"{name}_input", parameters),
        output_schema=schema_text(result),
        whole=whole,
        place=place,
        published=_published(name, given.publishes),
    )


def members_text(name: str, parameters: Sequence[Parameter]) -> str:
    """The schema of a record with one field per parameter; `-` is no letter of Avro names."""
    return record_text(name.replace("-", "_"), [Member(each.name, each.type, each.default) for each in parameters])


def _signature(handler: Handler, name: str) -> tuple[str | None, tuple[Parameter, ...], object]:
    signature, hints = inspect.signature(handler), type_hints(handler, f"agent {name}")
    if "return" not in hints:
        raise DefinitionError(f"agent {name}: expected a return annotation (`-> None` if it gives nothing)")
    context: str | None = None
    parameters: list[Parameter] = []
    for each in signature.parameters.values():
        if hints.get(each.name) is Context:
            if context is not None:
                raise DefinitionError(f"agent {name}: expected one Context, but found {context} and {each.name}")
            context = each.name
        else:
            parameters.append(read_parameter(each, hints, f"agent {name}"))
    return context, tuple(parameters), hints["return"]


def read_parameter(each: inspect.Parameter, hints: dict[str, object], whose: str) -> Parameter:
    """One parameter of an agent or a pipeline.

    Raises:
        DefinitionError: it is not annotated, or cannot be given by name.
    """
    if each.kind not in (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY):
        raise DefinitionError(f"{whose}: expected parameters that can be given by name, but found {each}")
    if each.name not in hints:
        raise DefinitionError(f"{whose}: expected an annotation on the parameter {each.name!r}, but found none")
    has_default = each.default is not inspect.Parameter.empty
    tp = hints[each.name]
    return Parameter(each.name, tp, is_optional(tp), has_default, each.default if has_default else MISSING)


def _isolation(name: str, value: object, is_async: bool) -> Isolation:
    if is_async:
        if value is not None:
            raise DefinitionError(
                f"agent {name}: isolation: an async function runs on the loop, but found isolation={value!r}; "
                f"make it a plain function"
            )
        return "loop"
    if value is None or value == "thread":
        return "thread"
    if value == "process":
        return "process"
    raise DefinitionError(f"agent {name}: isolation: expected 'thread' or 'process', but found {value!r}")


def _publishes(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple | Mapping):
        raise DefinitionError(
            f"agent {name}: publishes: expected a list of topics or a dict of topics and types, but found {value!r}"
        )
    for topic in value:
        if not isinstance(topic, str) or not is_topic(topic):
            raise DefinitionError(f"agent {name}: publishes: expected a topic (A-Z a-z 0-9 . _ -), but found {topic!r}")
    return tuple(value)


def _published(name: str, value: object) -> tuple[str, ...]:
    """None as the type of a topic stands for bytes and JSON, which need no schema."""
    types = [each for each in value.values() if each is not None] if isinstance(value, Mapping) else []
    for each in types:
        if not is_record(each):
            raise DefinitionError(
                f"agent {name}: publishes: expected a dataclass, a model or None for a topic, but found {each!r}"
            )
    return tuple(dict.fromkeys(schema_text(each) for each in types))
