"""The parts of an agent loop, put together: which one knows which others.

Nothing runs here. The loop owns the member and the questions asked of it, and hands both in.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from secrets import randbits

from farandole.artifacts import ArtifactStore, check_in, check_out
from farandole.clock import Clock
from farandole.definition.spec import AgentSpec
from farandole.runtime.attempts import Executor
from farandole.runtime.committing import Committer
from farandole.runtime.fusion import Fusion
from farandole.runtime.handlers.environment import Environment
from farandole.runtime.handlers.executors import Executors
from farandole.runtime.handlers.results import Results
from farandole.runtime.handlers.storing import Payloads
from farandole.runtime.intake import Intake
from farandole.runtime.lanes import Load
from farandole.runtime.ownership import Ask, Ownership
from farandole.runtime.planner import Flight, Limits, Planner
from farandole.runtime.reactions import Surroundings
from farandole.runtime.rechecking import Recheck
from farandole.runtime.recording import Counts, Troubles
from farandole.runtime.settings import AgentSettings
from farandole.runtime.spans import Spans
from farandole.runtime.startup import Layout
from farandole.runtime.tables import AgentTables
from farandole.runtime.telemetry import Signals
from farandole.runtime.working import Workplace
from farandole.telemetry.tracing import tracer
from farandole.transport.metadata import NUMBER_BITS
from farandole.transport.port import Member, Transport

MakeExecutor = Callable[[Environment], Executor]


@dataclass(frozen=True, slots=True)
class Surrounding:
    """What a loop is given from outside. `executor` makes another one than that of `handlers`."""

    transport: Transport
    clock: Clock
    artifacts: ArtifactStore
    layout: Layout
    executor: MakeExecutor | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """One process of a unit: its agents by inbox topic, what it is given, and where its code is."""

    agents: Mapping[str, AgentSpec]
    given: Surrounding
    settings: AgentSettings
    path: Path | None


@dataclass(frozen=True, slots=True)
class Parts:
    """What the loop steps."""

    counts: Counts
    troubles: Troubles
    signals: Signals
    executor: Executor
    tables: AgentTables
    ownership: Ownership
    committer: Committer
    recheck: Recheck
    work: Workplace
    intake: Intake


def assemble(unit: Unit, member: Member, ask: Ask, committed: Callable[[Flight], None]) -> Parts:
    """Put the parts together; `committed` is told of each transaction that stands."""
    settings, given = unit.settings, unit.given
    counts, troubles = Counts(), Troubles(logging.getLogger("farandole.runtime"))
    environment = _environment(unit, member)
    executor = _executor(unit, environment)
    reader = given.transport.reader(f"{settings.client_id}.tables")
    tables = AgentTables(reader, settings.topics, given.layout.tables, ask, troubles, given.clock.monotonic)
    ownership = Ownership(settings.client_id, ask, window=settings.window, pause=member.pause)
    load = Load(settings.in_flight_records_max, settings.in_flight_bytes_max)
    limits = Limits(settings.transaction_records_max, settings.transaction_bytes_max)
    planner = Planner(settings.client_id, randbits(NUMBER_BITS), limits)
    settle_after_s = settings.settle_after.total_seconds()
    recheck = Recheck(ask, ownership)
    committer = Committer(
        member, ask, planner, ownership, load, counts, given.clock, committed, settle_after_s, recheck, troubles
    )
    payloads = environment.payloads
    work = Workplace(
        settings,
        given.clock,
        executor,
        tables,
        ownership,
        planner,
        environment.signals,
        counts,
        Surroundings(settings.topics, settings.source, payloads.check_in, payloads.check_out),
        unit.agents,
        given.layout.home_partitions,
        load,
        Fusion(settings.fusing if settings.fusion else None, {spec.name: spec for spec in unit.agents.values()}),
        None if (traced := tracer()) is None else Spans(traced),
    )
    intake = Intake(settings, given.clock, member, ownership, committer, work, counts, troubles)
    return Parts(counts, troubles, environment.signals, executor, tables, ownership, committer, recheck, work, intake)


def _environment(unit: Unit, member: Member) -> Environment:
    settings, given = unit.settings, unit.given
    producer = given.transport.producer(f"{settings.client_id}.telemetry")
    signals = Signals(producer, settings.topics, settings.source, given.layout.home_partitions)
    payloads = Payloads(partial(check_in, given.artifacts), partial(check_out, given.artifacts))
    return Environment(payloads, given.clock, signals, Results(member.wake), settings.progress_every)


def _executor(unit: Unit, environment: Environment) -> Executor:
    if unit.given.executor is not None:
        return unit.given.executor(environment)
    return Executors(environment, unit.settings, list(unit.agents.values()), unit.path)
