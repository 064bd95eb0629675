"""What is said when nobody is there to serve a run that is waited for: a newcomer would otherwise wait for ever.

Only says so, and waits on: who serves it may be about to start. Asks the groups, knows nothing of the run's state
but which of its agents still have something to do.
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import typer

from farandole.cli import connect
from farandole.cli.output import ago
from farandole.cli.settings import Settings
from farandole.client import Client
from farandole.client.lookup import state_of
from farandole.client.serving import commands_lag, coordinators, nobody_serves, serving_of
from farandole.errors import FarandoleError
from farandole.kernel.state import TERMINAL

LOOK_AFTER = timedelta(seconds=4)
"""When it is looked who serves a run that has not ended. A take-over after a kill lasts 5 s on Kafka, and is not worth
a word if it ends well; `dev` is ready in 2 s."""

LOOK_EVERY_MAX = timedelta(minutes=1)
"""Longest between two looks: who waits for an hour costs the log next to nothing."""

LOCK_WAIT = timedelta(seconds=1)
"""For the write lock, before it is said that nobody gets it: our own transactions take milliseconds."""

NO_COORDINATOR = "no coordinator runs (`farandole coordinator run`)"


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a command waits for a run before it looks who serves it, and where it looks."""

    settings: Settings
    after: timedelta = LOOK_AFTER

    @asynccontextmanager
    async def while_waiting(self, agents: Callable[[], Awaitable[Collection[str]]]) -> AsyncGenerator[None]:
        """Around a wait for a run: say on standard error whom it waits for in vain; `agents` are those it needs."""
        looking = asyncio.create_task(self._say_if_unserved(agents))
        try:
            yield
        finally:
            looking.cancel()
            await asyncio.gather(looking, return_exceptions=True)

    async def _say_if_unserved(self, agents: Callable[[], Awaitable[Collection[str]]]) -> None:
        """Look again and again, ever more rarely; say it once.

        More than once, because who was killed counts as there until its session has run out.
        """
        pause, missing = self.after, Missing()
        with suppress(FarandoleError):  # the wait itself meets what is wrong with the log, and reports it
            while missing == Missing():
                await asyncio.sleep(pause.total_seconds())
                pause = min(2 * pause, LOOK_EVERY_MAX)
                missing = await asyncio.to_thread(absent, self.settings, await agents())
            typer.echo(missing.told, err=True)


async def agents_of(client: Client, pipeline: str) -> Collection[str]:
    """The agents of a pipeline as it is applied now."""
    return {step.agent for step in (await client.session.book.by_name(pipeline)).steps.values()}


async def agents_left(client: Client, run_id: str) -> Collection[str]:
    """The agents of the steps that a run has not done; none where no coordinator has told of it yet."""
    state = await state_of(client.session, run_id)
    if state is None or state.is_settled:
        return ()
    graph = state.graph
    return {graph.step(name).agent for name in graph.names if state.step(name).status not in TERMINAL}


@dataclass(frozen=True, slots=True)
class Missing:
    """Who is not there: a coordinator, agents of which no process of their unit runs, and of which some run without."""

    coordinator: bool = False
    agents: tuple[str, ...] = ()
    without: tuple[tuple[str, str], ...] = ()
    """Agent and unit."""

    @property
    def told(self) -> str:
        """As a sentence, with what mends it."""
        parts = [NO_COORDINATOR] if self.coordinator else []
        if self.agents:
            parts.append(f"no process serves {', '.join(self.agents)} (`farandole agent run FOLDER`)")
        everybody = "; `farandole dev` in the project's folder is all of them" if parts else ""
        sentences = [f"{', and '.join(parts)}{everybody}"] if parts else []
        sentences += [
            f"{nobody_serves(agent, unit, 1)}: start it anew from code that has the agent"
            for agent, unit in self.without
        ]
        return (
            f"still waiting: {'. '.join(sentences)}. "
            "The run is kept and goes on as soon as they are there; Ctrl-C ends only the waiting."
        )


def absent(settings: Settings, agents: Collection[str]) -> Missing:
    """Who is not there of a coordinator and some agents. Blocking."""
    transport, topics = connect.transport_of(settings), connect.topics_of(settings)
    is_alone = not coordinators(transport, topics)
    served = serving_of(transport, topics, agents)
    without = {agent: served[agent].unit for agent in sorted(served) if served[agent].without}
    nobody = [agent for agent in sorted(agents) if agent not in without]
    gone = tuple(agent for agent in nobody if agent not in served or not served[agent].processes)
    return Missing(is_alone, gone, tuple(without.items()))


def held_off(settings: Settings) -> str:
    """That nobody can write to the embedded log; empty if somebody can, and on Kafka. Blocking, for a moment.

    Processes tell of themselves by writing: while one holds the lock, all others count as gone, however alive.
    """
    if settings.bootstrap is not None or not settings.embedded.path.exists():
        return ""
    from farandole.transport.sqlite.lock import is_locked

    if not is_locked(replace(settings.embedded, patience=LOCK_WAIT)):
        return ""
    return (
        f"{settings.embedded.path}: another process holds the write lock: nobody can write, and who runs counts as "
        "gone; `farandole doctor` says more"
    )


def starts_waiting(settings: Settings) -> str:
    """What keeps runs from beginning; empty if nothing is known to. Blocking.

    Where a coordinator runs, a command that came in the last moment is under way.
    """
    transport, topics = connect.transport_of(settings), connect.topics_of(settings)
    try:
        found = commands_lag(transport, topics)
    except FarandoleError:  # the list itself was told, and who may not ask for the coordinators has it all the same
        return ""
    if not found.processes and (told := held_off(settings)):
        return told
    now, one = datetime.now(UTC), found.behind == 1
    waiting = f"{found.behind:,} command{'' if one else 's'} in {found.topic} wait{'s' if one else ''}"
    since = found.oldest if found.behind else None  # without an age: markers alone, which nobody must read
    if not found.processes:
        return f"{waiting}, and {NO_COORDINATOR}" if since else f"{NO_COORDINATOR}: no run begins or ends"
    if since is not None and now - since > LOOK_AFTER:
        return f"{waiting}, since {ago(since, now)}: `farandole lag` and `farandole doctor` say why"
    return ""
