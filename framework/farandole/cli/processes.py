"""From settings to a running loop of agents: what `agent run` does, and the demo in a thread.

A process checks its topics before it joins anything, runs its loop until it is told to stop,
and lets go of what it holds in order.
"""

import logging
import secrets
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace

from farandole.artifacts import ArtifactStore
from farandole.cli.connect import artifacts_of, exchange_of
from farandole.cli.heaps import bound_heaps
from farandole.cli.observing import Observed, observing
from farandole.cli.settings import Settings
from farandole.cli.units import Named, schemas_of
from farandole.clock import SystemClock
from farandole.events.avro import Schema
from farandole.events.catalogue import ALL, schema_of
from farandole.runtime.attempts import Executor
from farandole.runtime.driver import Stop, drive, stopping_on_signals, tune_interpreter
from farandole.runtime.handlers.executors import Executors
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings
from farandole.runtime.startup import check
from farandole.transport.port import Transport

log = logging.getLogger("farandole.group")


def agent_process(transport: Transport, settings: Settings, named: Named, slot: str | None) -> int:
    """Run a unit's agents until a signal; the exit code of the process.

    Raises:
        ConfigError: topics are missing or not as declared, or an inbox is another unit's.
    """
    bound_heaps()
    chosen = agent_settings(settings, named, slot)
    loop, stop = agent_loop(transport, artifacts_of(settings), named, chosen), Stop()
    tune_interpreter()
    observed = Observed("agent", named.name, chosen.client_id, loop.view, loop.view.samples)
    with closing(loop), observing(observed, transport, settings) as stepped, stopping_on_signals(stop):
        log.info("%s has started, after %.2f s of processor time", chosen.client_id, time.process_time())
        return drive(loop, chosen, stop, stepped)


def agent_settings(settings: Settings, named: Named, slot: str | None) -> AgentSettings:
    """How one process of a unit runs."""
    return AgentSettings.within(settings.agent, named.name, settings.namespace, slot or random_slot())


def agent_loop(
    transport: Transport,
    artifacts: ArtifactStore,
    named: Named,
    chosen: AgentSettings,
    around: Callable[[Executor], Executor] | None = None,
) -> AgentLoop:
    """The loop of one process of a unit, its topics checked; `around` is put around what runs its handlers."""
    require_registered(transport, named)
    agents = named.unit.agents
    admin = transport.admin()
    try:
        layout = check(admin, chosen.topics, agents.values())
    finally:
        admin.close()
    given = Surrounding(transport, SystemClock(), artifacts, layout)
    if around is not None:
        given = replace(
            given,
            executor=lambda environment: around(Executors(environment, chosen, list(agents.values()), named.path)),
        )
    return AgentLoop(agents, given, chosen, named.path)


def require_registered(transport: Transport, named: Named | None = None) -> None:
    """Where a registry is configured, check that it knows our schemas and the unit's.

    Raises:
        ConfigError: it does not; `apply` registers them.
    """
    exchange = exchange_of(transport)
    if exchange is None:
        return
    exchange.require(schema_of(record) for record in ALL)
    if named is not None:
        exchange.require(Schema.parse(text) for text in schemas_of(named))


def random_slot() -> str:
    """A slot nobody else has. A restart gets another one, and takes over only when the old one's session is over."""
    return secrets.token_hex(4)
