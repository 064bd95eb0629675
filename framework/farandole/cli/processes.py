"""From settings to running loops: what `agent run` and `coordinator run` do, and the demo in threads.

A process checks its topics before it joins anything, runs its loop until it is told to stop,
and lets go of what it holds in order.
"""

import secrets
from dataclasses import replace

from farandole.artifacts import ArtifactStore
from farandole.cli.connect import artifacts_of
from farandole.cli.settings import Settings
from farandole.cli.units import Named
from farandole.clock import SystemClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.runtime.driver import STEP_WAIT_S, Stop, drive, stopping_on_signals, tune_interpreter
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings
from farandole.runtime.startup import check
from farandole.transport.drift import require_topics
from farandole.transport.port import Transport


def agent_process(
    transport: Transport, settings: Settings, named: Named, slot: str | None, *, fusion: bool = True
) -> int:
    """Run a unit's agents until a signal; the exit code of the process.

    Raises:
        ConfigError: topics are missing or not as declared, or an inbox is another unit's.
    """
    chosen = replace(agent_settings(settings.namespace, named, slot), fusion=fusion)
    loop, stop = agent_loop(transport, artifacts_of(settings), named, chosen), Stop()
    tune_interpreter()
    with stopping_on_signals(stop):
        return drive(loop, chosen, stop)


def coordinator_process(transport: Transport, settings: Settings, slot: str | None) -> int:
    """Run a coordinator until a signal; the exit code of the process.

    Raises:
        ConfigError: topics are missing or not as declared.
    """
    loop, stop = coordinator_loop(transport, artifacts_of(settings), settings.namespace, slot), Stop()
    tune_interpreter()
    with stopping_on_signals(stop):
        try:
            while not stop.is_set:
                loop.step(STEP_WAIT_S)
        finally:
            loop.close()
    return 0


def agent_settings(namespace: str, named: Named, slot: str | None) -> AgentSettings:
    """How one process of a unit runs."""
    return AgentSettings(named.name, namespace, slot or random_slot())


def agent_loop(transport: Transport, artifacts: ArtifactStore, named: Named, chosen: AgentSettings) -> AgentLoop:
    """The loop of one process of a unit, its topics checked."""
    agents = named.unit.agents
    admin = transport.admin()
    try:
        layout = check(admin, chosen.topics, agents.values())
    finally:
        admin.close()
    return AgentLoop(agents, Surrounding(transport, SystemClock(), artifacts, layout), chosen, named.path)


def coordinator_loop(
    transport: Transport, artifacts: ArtifactStore, namespace: str, slot: str | None
) -> CoordinatorLoop:
    """The loop of one coordinator, its topics checked."""
    chosen = CoordinatorSettings(namespace, slot or random_slot())
    admin = transport.admin()
    try:
        partitions = require_topics(admin, chosen.topics)
    finally:
        admin.close()
    return CoordinatorLoop(Environment(transport, SystemClock(), artifacts), chosen, partitions)


def random_slot() -> str:
    """A slot nobody else has. A restart gets another one, and takes over only when the old one's session is over."""
    return secrets.token_hex(4)
