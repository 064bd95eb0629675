"""One process of a cluster under test: `process.py coordinator SLOT`, or `process.py agents SLOT UNIT [LEDGER]`.

As `farandole coordinator run` and `farandole agent run`, with the shortest session that is allowed, so
that a test need not wait long for the dead; with a ledger every handler writes down when it begins and
ends. Settings come from the environment, as for the command line.
"""

import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from farandole.artifacts import ArtifactStore
from farandole.cli.connect import artifacts_of, transport_of
from farandole.cli.logs import setup_logging
from farandole.cli.processes import agent_loop
from farandole.cli.settings import Settings, load_settings
from farandole.cli.units import Named, load
from farandole.clock import SystemClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.coordinator.loop import Environment
from farandole.definition.spec import AgentSpec
from farandole.runtime.driver import STEP_WAIT_S, Stop, drive, stopping_on_signals
from farandole.runtime.settings import SESSION_MIN, AgentSettings, FusionSettings
from farandole.testing.ledger import executing
from farandole.transport.drift import require_topics
from farandole.transport.port import Transport

FUSING = FusionSettings(p99_max=timedelta(seconds=1), observed_min=3)
"""A machine under load must not turn off what is tested on it."""

CONTEXT = "farandole_ctx"
"""Name under which a handler that wants no context is given one all the same, for the ledger."""


def main(kind: str, slot: str, *rest: str) -> int:
    """Run until SIGTERM; the exit code."""
    setup_logging("info", "text")
    settings = load_settings()
    transport, store, stop = transport_of(settings), artifacts_of(settings), Stop()
    with stopping_on_signals(stop):
        if kind == "coordinator":
            return coordinator(transport, store, settings, slot, stop)
        named = load(Path(rest[0]), None)
        if len(rest) > 1:
            named = recorded(named, Path(rest[1]))
        chosen = AgentSettings(named.name, settings.namespace, slot, session_timeout=SESSION_MIN, fusing=FUSING)
        return drive(agent_loop(transport, store, named, chosen), chosen, stop)


def coordinator(transport: Transport, store: ArtifactStore, settings: Settings, slot: str, stop: Stop) -> int:
    """A coordinator."""
    chosen = CoordinatorSettings(settings.namespace, slot, session_timeout=SESSION_MIN)
    admin = transport.admin()
    partitions = require_topics(admin, chosen.topics)
    admin.close()
    loop = CoordinatorLoop(Environment(transport, SystemClock(), store), chosen, partitions)
    try:
        while not stop.is_set:
            loop.step(STEP_WAIT_S)
    finally:
        loop.close()
    return 0


def recorded(named: Named, ledger: Path) -> Named:
    """The unit with handlers that write to the ledger."""
    agents = {name: _recorded(spec, ledger) for name, spec in named.unit.agents.items()}
    return replace(named, unit=replace(named.unit, agents=agents))


def _recorded(spec: AgentSpec, ledger: Path) -> AgentSpec:
    own, handler = spec.context_parameter, spec.handler
    name = own or CONTEXT

    def given_to(given: dict[str, Any]) -> dict[str, Any]:
        return given if own else {key: value for key, value in given.items() if key != CONTEXT}

    def plain(**given: Any) -> Any:
        with executing(ledger, given[name]):
            return handler(**given_to(given))

    async def coroutine(**given: Any) -> Any:
        with executing(ledger, given[name]):
            return await handler(**given_to(given))

    chosen: Callable[..., Any] = coroutine if spec.is_async else plain
    return replace(spec, handler=chosen, context_parameter=name)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
