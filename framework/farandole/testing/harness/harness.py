"""A pipeline in memory, for users' own tests: the real kernel, coordinator and agents on a virtual clock.

    harness = Harness(orders).fail(charge, times=2)
    run = harness.run(order=big)
    assert run.attempts(charge) == 3 and run.outcome == "succeeded"

Back-offs, deadlines and time-outs pass in no time at all; what a test does not script happens as
the handlers do it. `start` and `advance` let a test look between.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from types import TracebackType
from typing import Generic, ParamSpec, Self, TypeVar

from farandole.client.payload import framed_input, plain_of
from farandole.definition.agents import Agent
from farandole.definition.pipelines import Pipeline, require_pipeline
from farandole.definition.policy import duration
from farandole.definition.types import to_plain
from farandole.errors import DefinitionError, RecordError, RetryableStepError, RunNotFound, RunRefused
from farandole.events.avro import Schema
from farandole.events.catalogue import decode, encode, type_name
from farandole.events.commands import CancelRun, Command, ReplayDeadLetter, StartRun
from farandole.events.envelope import Envelope
from farandole.ids import partition_of
from farandole.testing.harness.result import HarnessRun, name_of
from farandole.testing.harness.script import Mishap, Rule
from farandole.testing.harness.stage import PARTITIONS, Stage
from farandole.transport.port import NewRecord

P = ParamSpec("P")
R = TypeVar("R")

HORIZON = timedelta(hours=1)
"""How far `run` looks ahead for something to do: past every usual back-off, before a hold of 24 h ends."""


class Harness(Generic[P, R]):
    """One pipeline with its agents: first what goes wrong, then runs.

    A context manager; without `close` its folder goes when the harness does.

    Raises:
        TypeError: it is no pipeline.
    """

    def __init__(self, pipeline: Pipeline[P, R]) -> None:
        require_pipeline(pipeline)
        self._pipeline = pipeline
        self._stage = Stage(pipeline.definition, pipeline.agents)
        self._runs: dict[str, HarnessRun[R]] = {}
        self._read = 0
        self._commands = 0

    # --- what goes wrong ------------------------------------------------------------------

    def fail(self, agent: "Agent[..., object] | str", times: int = 1, error: BaseException | None = None) -> Self:
        """The next attempts of an agent fail with `error` (default: a retryable one) without calling its handler."""
        rule = Rule(Mishap.FAIL, error or RetryableStepError("scripted by the test"))
        return self._script(agent, rule, times)

    def time_out(self, agent: "Agent[..., object] | str", times: int = 1) -> Self:
        """The next attempts of an agent never answer; without a timeout or a deadline the attempt hangs for ever."""
        return self._script(agent, Rule(Mishap.TIME_OUT), times)

    def deliver_twice(self, agent: "Agent[..., object] | str", times: int = 1) -> Self:
        """The next attempts run twice, as if the process had died between the handler and its commit."""
        return self._script(agent, Rule(Mishap.TWICE), times)

    def stub(self, agent: "Agent[..., object] | str", handler: Callable[..., object]) -> Self:
        """Call `handler` in place of an agent's own, with the same arguments; either may be async.

        Raises:
            DefinitionError: the pipeline has no such agent.
            TypeError: `handler` cannot be called.
        """
        name = self._known(agent)
        if not callable(handler):
            raise TypeError(f"stub of {name}: expected a function in place of its handler, but found {handler!r}")
        self._stage.script.stubs[name] = handler
        return self

    @property
    def unused(self) -> dict[str, int]:
        """Scripted mishaps that have not happened, by agent."""
        return self._stage.script.unused

    # --- runs -----------------------------------------------------------------------------

    def run(self, *args: P.args, **kwargs: P.kwargs) -> HarnessRun[R]:
        """Start a run and live until it has ended, waits for a person, or has nothing to do for an hour."""
        return self._live(self.start(*args, **kwargs))

    def start(self, *args: P.args, **kwargs: P.kwargs) -> HarnessRun[R]:
        """Write the start of a run; nothing has happened yet."""
        run_id = f"run-{len(self._runs) + 1}"
        plain = self._pipeline.bind(*args, **kwargs)
        params = Schema.parse(self._pipeline.definition.params_schema).encode(plain)
        run: HarnessRun[R] = HarnessRun(
            run_id, self._pipeline.definition, self._result, lambda: self._stage.executor.calls
        )
        self._runs[run_id] = run
        self._send(StartRun(self._pipeline.definition.name, params, run_id))
        return run

    def advance(self, by: str | timedelta) -> Self:
        """Let time pass, with everything that comes due on the way."""
        self._stage.pass_time(duration(by))
        self._take()
        return self

    def cancel(self, run: HarnessRun[R], reason: str = "") -> HarnessRun[R]:
        """Ask that a run stop, and live until it has."""
        self._send(CancelRun(run.id, reason))
        return self._live(run)

    def replay(
        self,
        run: HarnessRun[R],
        step: "Agent[..., object] | str",
        *,
        item: int = -1,
        input: object = None,  # noqa: A002
    ) -> HarnessRun[R]:
        """Replay a dead-lettered step, with another input if one is given, and live on.

        `input` is the plain inbox value or JSON text of it, as for a client, or a record with its fields.

        Raises:
            RunNotFound: the run has no dead letter of that step.
            RunRefused: the input does not fit the step.
        """
        name = name_of(step)
        dead = next((d for d in reversed(run.dead_letters()) if d.step == name and d.item == item), None)
        if dead is None:
            raise RunNotFound(f"run {run.id}: expected a dead letter of {name}, but there is none", run_id=run.id)
        given = None if input is None else self._input(run.id, name, input)
        self._send(ReplayDeadLetter(run.id, name, dead.attempt, "harness", given, item))
        return self._live(run)

    # --- inside ---------------------------------------------------------------------------

    def close(self) -> None:
        """Free everything; idempotent in effect."""
        self._stage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _script(self, agent: "Agent[..., object] | str", rule: Rule, times: int) -> Self:
        self._stage.script.add(self._known(agent), rule, times)
        return self

    def _known(self, agent: "Agent[..., object] | str") -> str:
        """The name of one of the pipeline's agents: a slip must not let the real handler run.

        Raises:
            DefinitionError: it is none of them.
        """
        name = name_of(agent)
        known = {spec.name for spec in self._pipeline.agents.values()}
        if name not in known:
            raise DefinitionError(
                f"{self._pipeline.name}: expected one of its agents ({', '.join(sorted(known))}), but found {name}"
            )
        return name

    def _send(self, command: Command) -> None:
        self._commands += 1
        run_id = command.run_id or ""
        envelope = Envelope(
            f"{run_id}/command/{self._commands}",
            type_name(type(command)),
            "harness",
            self._stage.clock.now(),
            run=run_id,
        )
        home = partition_of(run_id, PARTITIONS)
        self._stage.send(
            NewRecord(self._stage.topics.commands, run_id.encode(), encode(command), envelope.headers(), home)
        )

    def _live(self, run: HarnessRun[R]) -> HarnessRun[R]:
        """Live on until the run has ended or waits for a person."""

        def enough() -> bool:
            self._take()
            return run.waits_for_a_person

        self._stage.settle(HORIZON, enough)
        self._take()
        return run

    def _take(self) -> None:
        """Hand new facts to the runs they are about."""
        for record in self._stage.records[self._read :]:
            try:
                event = decode(record.value or b"")
            except RecordError:
                continue  # somebody else's, which coordinators pass over too
            run = self._runs.get(getattr(event, "run", ""))
            if run is not None:
                run.events.append(event)  # type: ignore[arg-type]
        self._read = len(self._stage.records)

    def _input(self, run: str, step: str, given: object) -> bytes:
        try:
            plain = given if isinstance(given, Mapping | str | bytes) else to_plain(given, type(given))
            return framed_input(self._pipeline.definition.steps[step], plain)
        except RecordError as bad:
            raise RunRefused(f"run {run}: input of {step}: {bad}. Nothing was sent.", run_id=run) from bad

    def _result(self, framed: bytes | None) -> R:
        schema = self._pipeline.definition.output_schema
        if framed is None or schema is None:
            return self._pipeline.result_from_plain(None)
        return self._pipeline.result_from_plain(plain_of(schema, framed, self._stage.artifacts))
