"""`farandole run …`: start, list, show, watch, cancel."""

from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli.options import Bootstrap, ConfigFile, Json, Namespace, RunIdArgument

if TYPE_CHECKING:
    from farandole.client import Client

app = typer.Typer(help="Start runs, and see how they stand.", no_args_is_help=True)

HELD = 11
EXIT_CODES = {"succeeded": 0, "failed": 10, "held": HELD, "partial": 12, "cancelled": 13, "timed_out": 14, "refused": 1}
"""Exit code of `run start --wait` by what became of the run."""


@app.command()
def start(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of an applied pipeline.")],
    params: Annotated[str, typer.Option(help="Params as JSON, `@file`, or `-` for standard input.")] = "{}",
    run_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Run id; the same id twice is one run.", show_default=False)
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait until the run ends or is held; see the exit codes.")
    ] = False,
    timeout: Annotated[
        str | None, typer.Option(help="Wait no longer than this (such as 30s).", show_default=False)
    ] = None,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Start a run.

    Exit codes with --wait: 0 succeeded, 10 failed, 11 held, 12 partial, 13 cancelled, 14 timed out.
    """
    from farandole.cli.connect import settings_of, with_client
    from farandole.cli.starting import start_run
    from farandole.cli.texts import read_text

    settings = settings_of(config, bootstrap, namespace)
    text = read_text(params, "--params")
    code = with_client(settings, lambda client: start_run(client, pipeline, text, run_id, wait, timeout, json))
    raise typer.Exit(code)


@app.command("list")
def list_(
    pipeline: Annotated[str, typer.Option(help="Only runs of this pipeline.", show_default=False)] = "",
    status: Annotated[str, typer.Option(help="Only runs of this status (held, failed, …).", show_default=False)] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many, the latest first; 0 for all.")] = 50,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """List runs, the latest first."""
    from farandole.cli.connect import settings_of, with_client
    from farandole.cli.output import instant, print_json, print_table, shorten
    from farandole.client.query import list_runs

    settings = settings_of(config, bootstrap, namespace)
    rows = with_client(
        settings, lambda client: list_runs(client.session, pipeline=pipeline, status=status, limit=limit)
    )
    if json:
        print_json(rows)
    else:
        cells = [
            (r.run, r.pipeline, r.status, instant(r.started_at), instant(r.updated_at), shorten(r.waiting, 60))
            for r in rows
        ]
        print_table(("RUN", "PIPELINE", "STATUS", "STARTED", "CHANGED", "WHY"), cells)


@app.command()
def show(
    run: RunIdArgument,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show how a run stands: its steps, what it waits for and since when."""
    from farandole.cli.connect import settings_of, with_client
    from farandole.cli.output import print_json
    from farandole.cli.showing import print_detail
    from farandole.client.query import run_detail

    settings = settings_of(config, bootstrap, namespace)
    detail = with_client(settings, lambda client: run_detail(client.session, run))
    if json:
        print_json(detail)
    else:
        print_detail(detail)


@app.command()
def watch(
    run: RunIdArgument,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Print the events of a run from its beginning, and follow it to its end."""
    from farandole.cli.connect import settings_of, with_client
    from farandole.cli.showing import watch_run

    settings = settings_of(config, bootstrap, namespace)
    with_client(settings, lambda client: watch_run(client, run, as_json=json))


@app.command()
def release(
    run: RunIdArgument,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Let a run go on that is held by an error of its definition or by a trigger that seems lost."""
    from farandole.cli.connect import settings_of, with_client
    from farandole.cli.output import print_json

    settings = settings_of(config, bootstrap, namespace)

    async def ask(client: "Client") -> None:
        await (await client.run(run)).status()
        await client.release(run)

    with_client(settings, ask)
    if json:
        print_json({"run": run, "asked": "release"})
    else:
        typer.echo(f"asked that {run} go on; `farandole run watch {run}` shows it")


@app.command()
def cancel(
    run: RunIdArgument,
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the run's history.")] = "",
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Ask that a run stop; steps that have begun are waited for."""
    from farandole.cli.connect import settings_of, with_client
    from farandole.cli.output import print_json

    settings = settings_of(config, bootstrap, namespace)

    async def ask(client: "Client") -> None:
        handle = await client.run(run)
        await handle.status()  # a run that nobody knows is an error here, not silence
        await handle.cancel(reason)

    with_client(settings, ask)
    if json:
        print_json({"run": run, "asked": "cancel"})
    else:
        typer.echo(f"asked {run} to stop; `farandole run watch {run}` shows it end")
