"""The verbs of `farandole`. A command's module is imported with its options only; its work comes when it runs."""

import typer

from farandole.cli import acls, archive, config, dead, deploy, history, running, runs, simulating
from farandole.cli.demo import command as demo
from farandole.cli.dev import command as dev
from farandole.cli.doctor import command as doctor
from farandole.cli.group import ReportingGroup
from farandole.cli.init import command as init
from farandole.cli.options import Json

app = typer.Typer(
    name="farandole",
    cls=ReportingGroup,
    help="Event-driven pipelines on Kafka: chains of agents, exactly once.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

app.command()(init.init)
app.command()(dev.dev)
app.command()(deploy.check)
app.command()(deploy.plan)
app.command()(deploy.apply)
app.add_typer(running.agent_app, name="agent")
app.add_typer(running.coordinator_app, name="coordinator")
app.add_typer(runs.app, name="run")
app.add_typer(dead.app, name="dead")
app.add_typer(archive.app, name="archive")
app.command()(history.lineage)
app.command()(history.verify)
app.command()(simulating.simulate)
app.command()(demo.demo)
app.add_typer(config.app, name="config")
app.command()(acls.acls)
app.command()(doctor.doctor)


@app.command()
def version(json: Json = False) -> None:
    """Print the version."""
    from importlib.metadata import version as of

    from farandole.cli.output import print_json

    number = of("farandole")
    if json:
        print_json({"version": number}, indent=None)
    else:
        typer.echo(f"farandole {number}")


def main() -> None:
    """Entry point of the installed command."""
    app()
