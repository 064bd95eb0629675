"""`farandole dev`: its options, and nothing heavy."""

from pathlib import Path
from typing import Annotated

import typer

from farandole.cli.options import Bootstrap, ConfigFile, LogLevel, Namespace


def dev(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="[PATH]", help="Folder of agents (else each one in `agents/` of the project)."),
    ] = None,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    log_level: LogLevel = None,
) -> None:
    """Run everything in this terminal: log, coordinator, agents; agents start anew when you save. Ctrl-C ends it."""
    from farandole.cli.connect import settings_of
    from farandole.cli.dev.session import run

    raise typer.Exit(run(settings_of(config, bootstrap, namespace, log_level=log_level), path, config))
