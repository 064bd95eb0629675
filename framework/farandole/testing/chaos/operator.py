"""A person who looks after the deployment while topics are damaged: ends or releases runs held for it, mends positions.

Does only what a person can: reads the list of runs, sends commands, uses the command line.
"""

import asyncio
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from types import TracebackType
from typing import Self

from farandole.client.client import Client
from farandole.client.query import StepRow, list_runs, run_detail
from farandole.client.waiting import Wait
from farandole.errors import FarandoleError
from farandole.events.commands import CancelRun, ReleaseRun
from farandole.testing.chaos.stage import CANARY, Actor, Stage

LOOK_S = 3.0
"""Between two looks at the runs that are held."""

REASON = "its trigger was deleted"


class Operator:
    """A context. `ended` are the runs that were held because their triggers were deleted, and that were cancelled;
    `released` those whose triggers could not be written, since there was no inbox, and that go on.

    Runs that are held for any other reason stay so, and are told as stuck.
    """

    def __init__(self, stage: Stage) -> None:
        self.ended = stage.cancelled
        self.released = set[str]()
        self._stage = stage
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._watch()), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        self._thread.join()

    async def _watch(self) -> None:
        async with Client(self._stage.transport, self._stage.topics.namespace) as client:
            while not self._is_over.is_set():
                try:
                    for row in await list_runs(client.session, status="held"):
                        detail = await run_detail(client.session, row.run)
                        if misses_its_trigger(detail.steps, self._stage.is_damaged):
                            self.ended.add(row.run)
                            await client.session.send(CancelRun(row.run, REASON))
                        elif misses_an_inbox(detail.waits, self._stage.damaged_topics):
                            self.released.add(row.run)
                            await client.session.send(ReleaseRun(row.run))
                except FarandoleError:
                    pass  # the log is away: the next look is soon
                await asyncio.sleep(LOOK_S)


def misses_its_trigger(steps: Iterable[StepRow], is_damaged: Callable[[str], bool]) -> bool:
    """Whether all that a run is held for are triggers that the watchdog misses in inboxes which were damaged."""
    held = [step for step in steps if step.status in ("suspected", "dead")]
    return bool(held) and all(step.status == "suspected" and is_damaged(step.agent) for step in held)


def misses_an_inbox(waits: Iterable[Wait], damaged: Collection[str]) -> bool:
    """Whether a kernel error holds the run because one of these topics was not there to be written to."""
    return any(wait.kind == "kernel_error" and any(topic in wait.text for topic in damaged) for wait in waits)


def apply(stage: Stage) -> None:
    """Apply the unit again."""
    stage.command("apply", str(CANARY), "--yes")


def stop_agents(stage: Stage) -> list[Actor]:
    """Let all processes of the unit end in order; those to be started again."""
    agents = [actor for actor in stage.actors.values() if actor.unit == CANARY.name]
    stage.stop(agents)
    return agents


def reposition(stage: Stage, agents: Sequence[str]) -> None:
    """Give these agents of the unit, which stands still, positions that exist."""
    for agent in agents:
        # An inbox that was made anew has records that no position let be read: their runs are looked for all the same.
        stage.command("agent", "reposition", agent, "--yes", "--pass-over")
