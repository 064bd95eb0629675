"""What `run start --wait` says when nobody is there to serve the run: a newcomer would otherwise wait for ever.

Only says so, and waits on: who serves it may be about to start. Asks the groups, knows nothing of the run's state.
"""

import asyncio
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import typer

from farandole.cli import connect
from farandole.cli.settings import Settings
from farandole.client import Client
from farandole.client.planning import COORDINATOR
from farandole.client.serving import processes_of
from farandole.errors import FarandoleError

LOOK_AFTER = timedelta(seconds=4)
"""When it is looked who serves a run that has not ended. A take-over after a kill lasts 5 s on Kafka, and is not worth
a word if it ends well; `dev` is ready in 2 s."""

LOOK_EVERY_MAX = timedelta(minutes=1)
"""Longest between two looks: who waits for an hour costs the log next to nothing."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a command waits for a run before it looks who serves it, and where it looks."""

    settings: Settings
    after: timedelta = LOOK_AFTER

    async def say_if_unserved(self, client: Client, pipeline: str) -> None:
        """Look again and again, ever more rarely; say once on standard error whom the run waits for in vain.

        More than once, because who was killed counts as there until its session has run out.
        """
        pause, missing = self.after, list[str]()
        with suppress(FarandoleError):  # the wait itself meets what is wrong with the log, and reports it
            while not missing:
                await asyncio.sleep(pause.total_seconds())
                pause = min(2 * pause, LOOK_EVERY_MAX)
                steps = (await client.session.book.by_name(pipeline)).steps.values()
                agents = sorted({step.agent for step in steps})
                missing = await asyncio.to_thread(absent, self.settings, agents)
            typer.echo(_told(missing), err=True)


def absent(settings: Settings, agents: Collection[str]) -> list[str]:
    """`coordinator` if there is none, and which of the agents no process serves. Blocking."""
    transport, topics = connect.transport_of(settings), connect.topics_of(settings)
    admin = transport.admin()
    try:
        found = [] if admin.members(topics.group(COORDINATOR)) else [COORDINATOR]
    finally:
        admin.close()
    served = processes_of(transport, topics, agents)
    return [*found, *(agent for agent in agents if not served.get(agent))]


def _told(missing: list[str]) -> str:
    agents = [name for name in missing if name != COORDINATOR]
    parts = ["no coordinator runs (`farandole coordinator run`)"] if COORDINATOR in missing else []
    if agents:
        parts.append(f"no process serves {', '.join(agents)} (`farandole agent run FOLDER`)")
    return (
        f"still waiting: {', and '.join(parts)}; `farandole dev` in the project's folder is all of them. "
        "The run is kept and goes on as soon as they are there; Ctrl-C ends only the waiting."
    )
