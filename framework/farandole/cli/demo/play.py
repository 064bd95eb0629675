"""The demo as a play in acts: start, fail, look, repair, replay, finish; then what it left on the topics.

What is under the stage (`Stage`) is a log of the demo's own or a real Kafka, and processes on
it; the play cannot tell the difference.
"""

import asyncio
import os
import secrets
import time
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path

from farandole.cli.demo.flights import HOME_VARIABLE, Flights, find_folder
from farandole.cli.demo.screen import Screen
from farandole.cli.demo.stage import Stage, embedded_stage, kafka_stage
from farandole.cli.demo.tally import Tally
from farandole.cli.history import lineage_tree
from farandole.cli.logs import setup_logging
from farandole.cli.output import as_fields, print_json, shorten
from farandole.client import Client, Run
from farandole.client.dead import DeadLetter, list_dead
from farandole.client.query import event_of
from farandole.errors import FarandoleError
from farandole.events import facts
from farandole.lineage.render import render

ACT_TIMEOUT = 120.0
"""Longest that the demo waits for the run to be held, or to end, seconds: ten times what a slow machine takes."""

GUARD_EVERY = 0.25
"""How often the crew is looked after, seconds."""

DONE, FAILED = 0, 1


@dataclass(frozen=True, slots=True)
class Play:
    """What the demo was asked for."""

    bootstrap: str | None
    path: Path | None
    month: int
    day: int
    home: Path
    namespace: str
    json: bool


@dataclass(frozen=True, slots=True)
class Played:
    """What the play leaves: counts, the report, the dead letter as it was, the lineage as text."""

    tally: Tally
    report: object
    letter: DeadLetter
    lineage: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the last line says."""

    runs: int
    succeeded: int
    steps: int
    attempts: int
    dead_letters: int
    replayed: int
    seconds: float
    report: Path

    @property
    def line(self) -> str:
        """The last line of the demo."""
        return (
            f"demo: runs={self.runs} succeeded={self.succeeded} steps={self.steps} attempts={self.attempts} "
            f"dead_letters={self.dead_letters} replayed={self.replayed} seconds={self.seconds:.1f} report={self.report}"
        )


def play(it: Play) -> int:
    """Play the demo; its exit code.

    Raises:
        ConfigError: the flights are not there, or Kafka is not.
    """
    began = time.monotonic()
    setup_logging("error")  # failures are part of the play; it tells them itself
    flights = Flights(it.path or find_folder(Path.cwd()), (it.home / "flights").absolute(), it.month, it.day)
    os.environ[HOME_VARIABLE] = str(flights.home)
    with Screen(quiet=it.json) as screen:
        flights.lay_out()
        screen.say(f"laid out the flights of 2013-{it.month:02}, the file of day {it.day} cut to half")
        with _stage(it, flights) as stage:
            screen.say(stage.told)
            played = asyncio.run(_acts(stage, flights, screen))
    tally = played.tally
    outcome = Outcome(
        runs=1,
        succeeded=int(len(tally.done) == tally.total),
        steps=len(tally.done),
        attempts=tally.attempts,
        dead_letters=tally.dead_letters,
        replayed=tally.replayed,
        seconds=time.monotonic() - began,
        report=flights.report,
    )
    if it.json:
        print_json({**as_fields(outcome), "dead_letter": played.letter})
    else:
        screen.show(f"{flights.head(played.report)}\n\n{played.lineage}\n\n{outcome.line}")
    return DONE if outcome.succeeded == outcome.runs else FAILED


def _stage(it: Play, flights: Flights) -> Stage:
    if it.bootstrap is None:
        return embedded_stage(flights.folder, it.namespace, it.home)
    return kafka_stage(flights.folder, it.namespace, it.home, it.bootstrap)


async def _acts(stage: Stage, flights: Flights, screen: Screen) -> Played:
    """The play, unless the crew fails it first."""
    acting = asyncio.create_task(_act(stage, flights, screen))
    guarding = asyncio.create_task(_guard(stage))
    try:
        await asyncio.wait((acting, guarding), return_when=asyncio.FIRST_COMPLETED)
        if guarding.done():
            guarding.result()
        return await acting
    finally:
        for task in (acting, guarding):
            task.cancel()
        await asyncio.gather(acting, guarding, return_exceptions=True)


async def _guard(stage: Stage) -> None:
    while True:
        stage.check()
        await asyncio.sleep(GUARD_EVERY)


async def _act(stage: Stage, flights: Flights, screen: Screen) -> Played:
    pipeline = stage.pipeline
    async with Client(stage.transport, stage.namespace, artifacts=stage.artifacts, name="demo") as client:
        run = await client.start(pipeline, flights.month, run_id=f"demo-2013-{flights.month:02}-{secrets.token_hex(4)}")
        screen.say(f"started {run.id}")
        tally, held = Tally(pipeline.definition), asyncio.Event()
        screen.begin("nightly")
        watching = asyncio.create_task(_watch(run, tally, screen, held))
        try:
            letter = await _held(client, run, held, watching)
            _show_letter(screen, letter)
            screen.say(f"repaired {flights.repair().name}")
            await client.replay(letter.place, letter.run, letter.step, letter.attempt, item=letter.item)
            screen.say("replayed it; the waiting join goes on")
            report = await run.result(f"{ACT_TIMEOUT:.0f}s", held="wait")  # it may not have been taken up yet
            await watching
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        screen.end()
        return Played(tally, report, letter, render(await lineage_tree(client, run.id, [])))


async def _watch(run: Run[object], tally: Tally, screen: Screen, held: asyncio.Event) -> None:
    async with aclosing(run.watch_records()) as records:
        async for record in records:
            event = event_of(record)
            tally.take(event)
            screen.update(len(tally.done), tally.total, f"nightly: {tally.last}")
            if isinstance(event, facts.StepFailed):
                screen.say(f"  {event.step}[{event.item}] attempt {event.attempt} failed: {shorten(event.error, 70)}")
            elif isinstance(event, facts.RunHeld):
                held.set()


async def _held(client: Client, run: Run[object], held: asyncio.Event, watching: "asyncio.Task[None]") -> DeadLetter:
    """The dead letter for which the run is held.

    Raises:
        FarandoleError: the run was not held, although it should have been.
    """
    waiting = asyncio.create_task(held.wait())
    try:
        await asyncio.wait((waiting, watching), timeout=ACT_TIMEOUT, return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiting.cancel()
    if watching.done() and not held.is_set():
        watching.result()
        status = await run.status()
        raise FarandoleError(f"demo: expected the run to be held by the damaged day, but it is {status.status}")
    if not held.is_set():
        raise FarandoleError(f"demo: expected the run to be held within {ACT_TIMEOUT:.0f} s, but it was not")
    letters = await list_dead(client.session, run_id=run.id)
    if len(letters) != 1:
        raise FarandoleError(f"demo: expected one dead letter, but found {len(letters)}")
    return letters[0]


def _show_letter(screen: Screen, letter: DeadLetter) -> None:
    screen.say(f"the run is held by a dead letter at {letter.place}")
    screen.say(f"  step {letter.step}[{letter.item}], attempt {letter.attempt}, {letter.reason}")
    screen.say(f"  {letter.error.splitlines()[0]}")
