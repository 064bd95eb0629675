"""`farandole agent run` and `farandole coordinator run`: the processes of a deployment."""

import typer

from farandole.cli.options import (
    Bootstrap,
    ConfigFile,
    Fusion,
    LogFormat,
    LogLevel,
    Namespace,
    Slot,
    UnitName,
    UnitPath,
)

agent_app = typer.Typer(help="Processes that run agents.", no_args_is_help=True)
coordinator_app = typer.Typer(help="Processes that follow the events.", no_args_is_help=True)


@agent_app.callback()
def _agent() -> None:
    """Processes that run agents."""


@coordinator_app.callback()
def _coordinator() -> None:
    """Processes that follow the events."""


@agent_app.command("run")
def run_agent(
    path: UnitPath,
    unit: UnitName = None,
    slot: Slot = None,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    fusion: Fusion = True,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Run the agents of a unit until SIGTERM or SIGINT, then finish what has begun."""
    from farandole.cli.connect import settings_of, transport_of
    from farandole.cli.logs import setup_logging
    from farandole.cli.processes import agent_process
    from farandole.cli.units import load

    setup_logging(log_level, log_format)
    settings = settings_of(config, bootstrap, namespace)
    raise typer.Exit(agent_process(transport_of(settings), settings, load(path, unit), slot, fusion=fusion))


@coordinator_app.command("run")
def run_coordinator(
    slot: Slot = None,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    log_level: LogLevel = "info",
    log_format: LogFormat = "text",
) -> None:
    """Run a coordinator until SIGTERM or SIGINT."""
    from farandole.cli.connect import settings_of, transport_of
    from farandole.cli.logs import setup_logging
    from farandole.cli.processes import coordinator_process

    setup_logging(log_level, log_format)
    settings = settings_of(config, bootstrap, namespace)
    raise typer.Exit(coordinator_process(transport_of(settings), settings, slot))
