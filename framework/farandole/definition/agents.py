"""`@agent`, and what it leaves in a function's place.

An `Agent` stands for the step in a pipeline's body; the function itself is `.handler`. The static
types follow the handler's: a call is of its return type. Knows nothing of how agents are run.
"""

import functools
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Concatenate, Generic, Literal, ParamSpec, TypeVar, cast, overload

from farandole.definition.body import Call, reading
from farandole.definition.context import Context
from farandole.definition.options import DeadLetterChoice, JoinChoice, StepOptions, require_known, step_options
from farandole.definition.policy import Retry
from farandole.definition.spec import AgentOptions, AgentSpec, Handler, read_agent
from farandole.errors import DefinitionError

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)


class Agent(Generic[P, R_co]):
    """An agent, as pipelines use it: `.when .after .options .map` act before the call."""

    def __init__(
        self,
        spec: AgentSpec,
        options: StepOptions | None = None,
        when: object = None,
        after: tuple[object, ...] = (),
    ) -> None:
        self.spec = spec
        self._options = options or StepOptions()
        self._when = when
        self._after = after
        functools.update_wrapper(self, spec.handler)

    @property
    def name(self) -> str:
        """The agent's name, which names its inbox."""
        return self.spec.name

    @property
    def handler(self) -> Handler:
        """The function itself, for unit tests and for the runtime."""
        return self.spec.handler

    def __repr__(self) -> str:
        return f"<agent {self.spec.name} at {self.spec.place}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """A step of the pipeline whose body is being read; outside of one it raises `DefinitionError`."""
        return cast(R_co, self._call(args, kwargs))

    def map(self, items: Iterable[object], **constants: object) -> list[R_co]:
        """A step that runs once per item of a list; `constants` are the same for each item."""
        return cast("list[R_co]", self._call((), constants, items=items, is_mapped=True))

    def when(self, condition: object) -> "Agent[P, R_co]":
        """The step runs only if the condition holds; else it is skipped and its output is None."""
        if self._when is not None:
            raise DefinitionError(f"agent {self.name}: expected one .when(), but found two; join them with `&`")
        return Agent(self.spec, self._options, condition, self._after)

    def after(self, *steps: object) -> "Agent[P, R_co]":
        """The step waits for these to end, however they end, and takes no data of theirs."""
        return Agent(self.spec, self._options, self._when, (*self._after, *steps))

    def options(
        self,
        *,
        name: str | None = None,
        retry: Retry | None = None,
        timeout: str | timedelta | None = None,
        deadline: str | timedelta | None = None,
        on_dead_letter: DeadLetterChoice | None = None,
        join: JoinChoice | None = None,
    ) -> "Agent[P, R_co]":
        """Choices of this one step, in place of the agent's own."""
        chosen = step_options(
            name=name, retry=retry, timeout=timeout, deadline=deadline, on_dead_letter=on_dead_letter, join=join
        )
        named = {key: value for key in chosen.__slots__ if (value := getattr(chosen, key)) is not None}
        return Agent(self.spec, replace(self._options, **named), self._when, self._after)

    def _call(
        self, given: Sequence[object], named: dict[str, object], *, items: object = None, is_mapped: bool = False
    ) -> object:
        body = reading.get()
        if body is None:
            raise DefinitionError(
                f"agent {self.name}: expected to be called in the body of a @pipeline, but there is none; "
                f"call {self.name}.handler(...) to run the function itself"
            )
        return body.call(Call(self.spec, self._options, self._when, self._after, given, named, items, is_mapped))


class AgentDecorator:
    """What `@agent(...)` with options gives: it turns a function into an `Agent`."""

    def __init__(self, given: AgentOptions) -> None:
        self._given = given

    @overload
    def __call__(self, handler: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Agent[P, R]: ...
    @overload
    def __call__(self, handler: Callable[P, Coroutine[Any, Any, R]], /) -> Agent[P, R]: ...
    @overload
    def __call__(self, handler: Callable[Concatenate[Context, P], R], /) -> Agent[P, R]: ...
    @overload
    def __call__(self, handler: Callable[P, R], /) -> Agent[P, R]: ...
    def __call__(self, handler: Handler, /) -> object:
        """The agent of that handler."""
        return Agent[..., object](read_agent(handler, self._given))


@overload
def agent(handler: Callable[Concatenate[Context, P], Coroutine[Any, Any, R]], /) -> Agent[P, R]: ...
@overload
def agent(handler: Callable[P, Coroutine[Any, Any, R]], /) -> Agent[P, R]: ...
@overload
def agent(handler: Callable[Concatenate[Context, P], R], /) -> Agent[P, R]: ...
@overload
def agent(handler: Callable[P, R], /) -> Agent[P, R]: ...
@overload
def agent(
    *,
    name: str | None = None,
    timeout: str | timedelta | None = None,
    deadline: str | timedelta | None = None,
    retry: Retry | None = None,
    isolation: Literal["thread", "process"] | None = None,
    publishes: Sequence[str] | Mapping[str, type | None] = (),
    memory: str | None = None,
    on_dead_letter: DeadLetterChoice | None = None,
) -> AgentDecorator: ...
def agent(handler: Handler | None = None, /, **given: object) -> object:
    """Declare a function as an agent, bare or with options.

    `timeout` bounds one attempt, `deadline` the whole step, and with it each of its attempts; `memory` (`512MiB`)
    needs `isolation="process"`; `publishes` names the topics that `Context.publish` may write to, as a dict with the
    type of their records where that is none of the agent's own.

    Raises:
        DefinitionError: the signature or an option is wrong.
    """
    if handler is None:
        require_known("@agent", given, AgentOptions.__slots__)
        return AgentDecorator(AgentOptions(**given))
    return Agent[..., object](read_agent(handler, AgentOptions()))
