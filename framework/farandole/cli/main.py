"""The verbs of `farandole`. A command's module is imported with its options only; its work comes when it runs."""

import io
import sys
from typing import Annotated

import typer

from farandole.cli import (
    acls,
    archive,
    config,
    dead,
    deploy,
    history,
    operating,
    running,
    runs,
    schemas,
    simulating,
    state,
    topics,
    transactions,
)
from farandole.cli.demo import command as demo
from farandole.cli.dev import command as dev
from farandole.cli.doctor import command as doctor
from farandole.cli.group import ReportingGroup
from farandole.cli.init import command as init
from farandole.cli.leaving import leaving
from farandole.cli.logs import setup_logging
from farandole.cli.options import Json
from farandole.cli.streams import open_streams

app = typer.Typer(
    name="farandole",
    cls=ReportingGroup,
    help="Event-driven pipelines on Kafka: chains of agents, exactly once.",
    epilog="First steps: farandole init shop, and in that folder: farandole dev. Exit codes: farandole exit-codes.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version_alone(is_wanted: bool) -> None:
    """Before it is missed that no command was given."""
    if is_wanted:
        _print_version()
        raise typer.Exit


@app.callback()
def _farandole(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_version_alone, help="Print the version.")
    ] = False,
) -> None:
    """Event-driven pipelines on Kafka: chains of agents, exactly once."""


app.command()(init.init)
app.command()(dev.dev)
app.command()(deploy.check)
app.command()(deploy.plan)
app.command()(deploy.apply)
running.agent_app.command("list")(operating.list_agents)
running.agent_app.command("move")(operating.move_agent)
running.agent_app.command("reposition")(operating.reposition_agent)
running.coordinator_app.command("reposition")(operating.reposition_coordinators)
app.add_typer(running.agent_app, name="agent")
app.add_typer(running.coordinator_app, name="coordinator")
app.add_typer(runs.app, name="run")
app.add_typer(dead.app, name="dead")
app.add_typer(archive.app, name="archive")
app.command()(operating.lag)
app.command()(history.lineage)
app.add_typer(topics.app, name="topics")
app.add_typer(schemas.app, name="schema")
app.command()(history.verify)
app.command()(simulating.simulate)
app.add_typer(state.app, name="state")
app.command()(demo.demo)
app.add_typer(config.app, name="config")
app.command()(acls.acls)
app.command()(doctor.doctor)
app.add_typer(transactions.app, name="transactions")


@app.command("exit-codes")
def exit_codes(json: Json = False) -> None:
    """Print every exit code and when it is given."""
    from farandole.cli.exit_codes import EXIT_CODES
    from farandole.cli.output import print_json, print_table

    if json:
        print_json(EXIT_CODES)
    else:
        print_table(("CODE", "NAME", "WHEN"), [(str(each.code), each.name, each.when) for each in EXIT_CODES])


@app.command()
def version(json: Json = False) -> None:
    """Print the version."""
    _print_version(json)


def _print_version(json: bool = False) -> None:
    from importlib.metadata import version as of

    from farandole.cli.output import print_json

    number = of("farandole")
    if json:
        print_json({"version": number}, indent=None)
    else:
        typer.echo(f"farandole {number}")


def main() -> None:
    """Carry out the command that was typed. What libraries log is told by our errors, once and with a way out."""
    open_streams()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal that has no `├` is no reason to end
    setup_logging()
    with leaving():
        app()
