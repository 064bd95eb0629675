"""`farandole agent run` and `farandole coordinator run`: the processes of a deployment."""

from typing import TYPE_CHECKING

import typer

from farandole.cli.options import (
    Bootstrap,
    ConfigFile,
    Fusion,
    LogFormat,
    LogLevel,
    MetricsAt,
    Namespace,
    Slot,
    UnitName,
    UnitPath,
)
from farandole.cli.streams import nobody_waits

if TYPE_CHECKING:
    from farandole.cli.settings import Settings

agent_app = typer.Typer(help="Agents: run, list, move them, mend their positions.", no_args_is_help=True)
coordinator_app = typer.Typer(
    help="Processes that follow the events: run them, mend their positions.", no_args_is_help=True
)


@agent_app.callback()
def _agent() -> None:
    """Agents: run, list, move them, mend their positions."""


@coordinator_app.callback()
def _coordinator() -> None:
    """Processes that follow the events: run them, mend their positions."""


@agent_app.command("run")
def run_agent(
    path: UnitPath,
    unit: UnitName = None,
    slot: Slot = None,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    fusion: Fusion = None,
    metrics: MetricsAt = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run the agents of a unit until SIGTERM or SIGINT, then finish what has begun."""
    from farandole.cli.connect import settings_of, transport_of
    from farandole.cli.logs import setup_logging
    from farandole.cli.processes import agent_process
    from farandole.cli.units import load

    more = {"log_level": log_level, "log_format": log_format, "metrics_listen": metrics, "agent_fusion": fusion}
    settings = settings_of(config, bootstrap, namespace, **more)
    setup_logging(settings.log.level, settings.log.format)
    _require_safe(settings)
    nobody_waits()
    raise typer.Exit(agent_process(transport_of(settings), settings, load(path, unit), slot))


@coordinator_app.command("run")
def run_coordinator(
    slot: Slot = None,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    metrics: MetricsAt = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
) -> None:
    """Run a coordinator until SIGTERM or SIGINT."""
    from farandole.cli.connect import settings_of, transport_of
    from farandole.cli.coordinators import coordinator_process
    from farandole.cli.logs import setup_logging

    more = {"log_level": log_level, "log_format": log_format, "metrics_listen": metrics}
    settings = settings_of(config, bootstrap, namespace, **more)
    setup_logging(settings.log.level, settings.log.format)
    _require_safe(settings)
    nobody_waits()
    raise typer.Exit(coordinator_process(transport_of(settings), settings, slot))


def _require_safe(settings: "Settings") -> None:
    """In production, refuse topics that are not safe; elsewhere a start does not wait for the doctor to be imported."""
    if settings.is_production:
        from farandole.cli.doctor.gather import require_safe

        require_safe(settings)
