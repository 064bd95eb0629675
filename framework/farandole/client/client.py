"""The client of asyncio applications: start runs, find them again, repair them.

    async with Client() as client:
        run = await client.start(orders, order, run_id="o-1")
        label = await run.result(timeout="30s")

One per process and event loop: all waiters share one tail over `events`.
"""

import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar, cast, overload

from farandole.artifacts import ArtifactStore
from farandole.client.arguments import require_text
from farandole.client.direct import begun_id, directly, send_start
from farandole.client.following import Ending, Start
from farandole.client.given import Given
from farandole.client.payload import (
    definition_of,
    framed_input,
    framed_params,
    only_params,
    params_by_name,
    result_of,
)
from farandole.client.rerun import prepare_rerun
from farandole.client.run import GRACE, Followed, Run, follow
from farandole.client.session import Rerun, Session
from farandole.clock import Clock, SystemClock
from farandole.definition.model import Definition
from farandole.definition.pipelines import Pipeline, require_pipeline
from farandole.errors import ConfigError, RecordError, RunNotFound, RunRefused, TransportError, UnknownPipeline
from farandole.events.commands import DiscardDeadLetter, ReleaseRun, ReplayDeadLetter, StartRun
from farandole.events.outgoing import Trigger
from farandole.events.topics import Topics
from farandole.ids import NO_ITEM, generated_run_id, is_run_id
from farandole.kernel.admission import expired_id
from farandole.transport.port import Transport

R = TypeVar("R")

RUN_ID_SHAPE = "1 to 128 of A-Z a-z 0-9 . _ : - (a letter or digit first)"

UUID_BITS = 74
"""Random bits of a UUIDv7 (RFC 9562)."""


class Client:
    """Starts and follows runs of one namespace; every method belongs to one event loop.

    What is not given is what the command line would take in the same folder: from `FARANDOLE_*`, then from the nearest
    `farandole.toml` of the working folder or above, with `[kafka]` (TLS, SASL) and `[registry]`; read at the first use.
    `log` is a transport, the address of a Kafka broker, or the path of an embedded log; `artifacts` the store that the
    agents use, needed only where results are too large to travel. `direct`: where
    a pipeline allows it, a run under a generated id is started by one record in the inbox of its first step, and its
    result taken from the success of its last, both without waiting for a coordinator; a run is then unknown until its
    first step has run, and may be `running` in the tables for a moment after its result (docs/decisions/0072).
    """

    def __init__(
        self,
        log: Transport | str | Path | None = None,
        namespace: str | None = None,
        *,
        artifacts: ArtifactStore | None = None,
        clock: Clock | None = None,
        name: str = "client",
        direct: bool = False,
    ) -> None:
        self._given = Given(log, namespace, artifacts)
        self._clock = clock or SystemClock()
        self._direct = direct
        self._name = f"{name}.{secrets.token_hex(4)}"
        self._session: Session | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop following and free everything; runs go on without us."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    @property
    def session(self) -> Session:
        """The connection, made at its first use inside a running event loop.

        Raises:
            TransportError: the client was closed.
            ConfigError: settings are wrong, or name the log of a project in which nothing was started yet.
        """
        if self._is_closed:
            raise TransportError("expected an open client, but it was closed; make a new one")
        if self._session is None:
            work = self._given.complete()
            work.require_made()
            name = f"{work.namespace}.{self._name}"
            topics = Topics(work.namespace)
            self._session = Session(work.transport.edge(name), topics, name, work.artifacts, self._clock)
        return self._session

    @overload
    async def start(
        self, pipeline: Pipeline[..., R], *args: object, run_id: str | None = None, **kwargs: object
    ) -> Run[R]: ...
    @overload
    async def start(
        self, pipeline: str, *, params: Mapping[str, object] | str | bytes = b"{}", run_id: str | None = None
    ) -> Run[object]: ...
    async def start(
        self, pipeline: Pipeline[..., R] | str, *args: object, run_id: str | None = None, **kwargs: object
    ) -> Run[R] | Run[object]:
        """Start a run of a pipeline with its arguments, or of an applied one by name with `params`.

        The same `run_id` with the same arguments is one run, however often it is started; without one an id is
        generated. `params` are plain values by name, or JSON text.

        Generated ids are UUIDv7, and one that is older than a day (`coordinator.dedupe_window`) begins no run: a
        UUIDv7 of your own, such as that of an order, needs a word before it (`order-0198...`).

        Raises:
            RunRefused: the arguments do not fit the pipeline, or the id is malformed, or looks like a generated one
                that is too old; or no pipeline of that name was applied (`UnknownPipeline`). What else the coordinator
                refuses (a conflict, a `Pipeline` that was not applied) is raised by `Run.result`.
            ConfigError: the namespace was never applied.
            TypeError: it is no pipeline; or one by name was given arguments other than `params`; or the id is no text.
            TransportError: the start was not acknowledged. With an id chosen here starting again is safe; the
                message says so, or that the run may have begun.
        """
        if run_id is not None:
            require_text("run_id", run_id)
        if run_id is not None and not is_run_id(run_id):
            raise RunRefused(f"run id: expected {RUN_ID_SHAPE}, but found {run_id[:140]!r}")
        chosen = run_id or generated_run_id(self._clock.now(), secrets.randbits(UUID_BITS))
        returns: object = None
        try:
            if isinstance(pipeline, str):
                given = only_params(pipeline, args, kwargs)
                definition = await self._named(pipeline, chosen)
                params = await params_by_name(self.session, definition, given)
            else:
                require_pipeline(pipeline, " or the name of one,")
                definition, returns = pipeline.definition, pipeline.result_type
                params = framed_params(definition, pipeline.bind(*args, **kwargs))
        except RecordError as bad:
            raise RunRefused(f"run {chosen}: params: {bad}. Nothing was sent.", run_id=chosen) from bad
        if run_id is None and self._direct:
            trigger = await directly(self.session, definition, params, chosen)
            if trigger is not None:
                return await self._start_directly(trigger, definition, returns)
        return await self._start(StartRun(definition.name, params, chosen), definition, returns, is_new=run_id is None)

    async def _named(self, pipeline: str, run_id: str) -> Definition:
        try:
            return await self.session.book.by_name(pipeline)
        except ConfigError as unknown:
            await self.session.partitions()  # raises, where it is the namespace that was never applied
            raise UnknownPipeline(str(unknown), run_id=run_id) from unknown

    async def rerun(
        self,
        run_id: str,
        *,
        params: Mapping[str, object] | str | bytes | None = None,
        new_id: str | None = None,
    ) -> Run[object]:
        """Start a new run like an ended one: its pipeline as it is applied now, its params unless others are given.

        The new run's start names the old one (`farandole_rerun_of`); the old one is untouched.

        Raises:
            RunNotFound: nothing is known of it, or its beginning is no longer on the log.
            RunRefused: it has not ended, or its params do not fit the pipeline as it is now; or `new_id` is its own.
            ConfigError: the pipeline is no longer applied.
            TypeError: an id is no text.
        """
        require_text("run_id", run_id)
        if new_id is not None:
            require_text("new_id", new_id)
        if new_id == run_id:  # the same start once more, which is answered by how it ended
            raise RunRefused(
                f"run {run_id}: expected another id for the new run, but found its own. Nothing was started; "
                "leave it out, or choose one that no run has",
                run_id=run_id,
            )
        again = await prepare_rerun(self.session, run_id, params)
        chosen = new_id or generated_run_id(self._clock.now(), secrets.randbits(UUID_BITS))
        if not is_run_id(chosen):
            raise RunRefused(f"run id: expected {RUN_ID_SHAPE}, but found {chosen[:140]!r}")
        command = StartRun(again.definition.name, again.params, chosen)
        return await self._start(command, again.definition, None, is_new=new_id is None, rerun_of=again.old)

    async def _start(
        self,
        command: StartRun,
        definition: Definition,
        returns: object,
        *,
        is_new: bool,
        rerun_of: Rerun | None = None,
    ) -> "Run[R]":
        session = self.session
        command_id = session.command_id(command)
        sent = Start(command, command_id, is_new)
        followed = await follow(session, command.run_id or "", sent)
        await session.send(command, command_id, rerun_of=rerun_of)
        if not is_new and expired_id(followed.run, self._clock.now()):
            await _check_taken(followed)
        return self._run(followed, definition, returns)

    async def _start_directly(self, trigger: Trigger, definition: Definition, returns: object) -> "Run[R]":
        """Start by the root's trigger: one record, sent once, whatever becomes of it.

        Where a coordinator refuses the start, it names what the agent wrote of it: there is no command of ours.
        """
        command = StartRun(definition.name, trigger.start, trigger.run)
        sent = Start(command, begun_id(trigger), is_new=True, is_direct=True)
        followed = await follow(self.session, trigger.run, sent)
        await send_start(self.session, trigger, definition)
        return self._run(followed, definition, returns)

    def _run(self, followed: Followed, definition: Definition, returns: object) -> "Run[R]":
        session = self.session

        async def read(ending: Ending) -> R:
            return cast(R, await result_of(session, ending, definition, returns))

        return Run(session, followed, read, ends_early=self._direct)

    @overload
    async def run(self, run_id: str, pipeline: Pipeline[..., R]) -> Run[R]: ...
    @overload
    async def run(self, run_id: str, pipeline: None = None) -> Run[object]: ...
    async def run(self, run_id: str, pipeline: Pipeline[..., R] | None = None) -> Run[R] | Run[object]:
        """A run that was started elsewhere; with its pipeline the result is typed, else plain values.

        Raises:
            RunNotFound: no run can have such an id.
            ConfigError: the namespace was never applied.
            TypeError: it is no pipeline; or the id is no text.
        """
        require_text("run_id", run_id)
        if pipeline is not None:
            require_pipeline(pipeline)
        session = self.session
        hint = pipeline.definition if pipeline is not None else None
        returns = pipeline.result_type if pipeline is not None else None

        async def read(ending: Ending) -> R:
            return cast(R, await result_of(session, ending, hint if ending.definition else None, returns))

        return Run(session, await follow(session, run_id), read)

    async def replay(
        self,
        dead_letter: str,
        run_id: str,
        step: str,
        attempt: int,
        *,
        item: int = NO_ITEM,
        input: Mapping[str, object] | str | bytes | None = None,  # noqa: A002 - the word of DESIGN for it
    ) -> None:
        """Give a dead-lettered step one more attempt, with a repaired input if one is given.

        `dead_letter` is the place of the dead record (`topic/partition/offset`). Taken once, and only while the
        run is live and the step still dead-lettered. `input` is the plain inbox value, or JSON text.

        Raises:
            RunNotFound: the run is not known, so that the input cannot be checked.
            RunRefused: the input does not fit the step.
        """
        framed = None
        if input is not None:
            status = await (await self.run(run_id)).status()
            definition = await definition_of(self.session, status.definition)
            if step not in definition.steps:
                raise RunNotFound(
                    f"run {run_id}: expected a step of {definition.name}, but found {step!r}", run_id=run_id
                )
            try:
                framed = framed_input(definition.steps[step], input)
            except RecordError as bad:
                raise RunRefused(f"run {run_id}: input of {step}: {bad}. Nothing was sent.", run_id=run_id) from bad
        await self.session.send(ReplayDeadLetter(run_id, step, attempt, dead_letter, framed, item))

    async def discard(
        self, dead_letter: str, run_id: str, step: str, attempt: int, *, item: int = NO_ITEM, reason: str = ""
    ) -> None:
        """Go on without a dead-lettered step, as `on_dead_letter: skip` would have; the run ends `partial`.

        Taken only while the run is live and this attempt of the step still dead-lettered.
        """
        await self.session.send(DiscardDeadLetter(run_id, step, attempt, dead_letter, reason, item))

    async def release(self, run_id: str) -> None:
        """Let a run go on that was held by a kernel error or a suspected trigger."""
        await self.session.send(ReleaseRun(run_id))


async def _check_taken(followed: Followed) -> None:
    """Wait a moment for the answer to a start whose id looks too old: a live run may have it, else it is refused.

    Raises:
        RunRefused: so it is.
    """
    await followed.following.is_known(GRACE)
    ending = followed.following.ending
    if ending is not None and ending.outcome == "refused":
        raise RunRefused(f"run {followed.run}: it was refused: {ending.reason}", run_id=followed.run)
