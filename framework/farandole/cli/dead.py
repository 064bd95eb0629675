"""`farandole dead …`: list, show, replay, edit, discard, export."""

from pathlib import Path
from typing import Annotated

import typer

from farandole.cli import completing
from farandole.cli.options import DryRun, Place, Yes
from farandole.cli.target import Target, on_log

app = typer.Typer(help="Dead letters: what was given up on, and what may be done about it.", no_args_is_help=True)

Places = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PLACE]...", help="Places (topic/partition/offset), from `dead list`.", show_default=False),
]
Agent = Annotated[
    str,
    typer.Option(
        "--agent", metavar="NAME", help="Only of this agent.", show_default=False, autocompletion=completing.agents
    ),
]
Run = Annotated[
    str,
    typer.Option(
        "--run", metavar="ID", help="Only of this run.", show_default=False, autocompletion=completing.run_ids
    ),
]
Where = Annotated[
    str,
    typer.Option(
        "--where",
        metavar="CEL",
        help="Only those for which this holds, such as 'step == \"charge\" && payload.total > 1000'.",
        show_default=False,
    ),
]
All = Annotated[bool, typer.Option("--all", help="Also those that were replayed or whose run stops or is over.")]
Rate = Annotated[float, typer.Option("--rate", min=0, metavar="N", help="At most so many a second; 0 for no limit.")]


@app.command("list")
@on_log
def list_(
    target: Target,
    agent: Agent = "",
    run: Run = "",
    where: Where = "",
    all_: All = False,
    full: Annotated[bool, typer.Option("--full", help="Every letter of a cause, however many.")] = False,
) -> None:
    """List dead letters that wait for somebody, grouped by what caused them."""
    from farandole.cli.connect import with_client
    from farandole.cli.dead_filter import Choice, filtered
    from farandole.cli.dead_letters import print_groups, print_next_steps
    from farandole.cli.output import print_json
    from farandole.client.dead import grouped

    settings, choice = target.settings(), Choice((), agent, run, where, all_)
    found = with_client(settings, lambda client: filtered(client.session, choice))
    groups = grouped(letter for letter, _ in found)
    if target.json:
        print_json(groups)
    else:
        print_groups(groups, full=full)
        print_next_steps(groups, run=run, where=where)


@app.command()
@on_log
def show(
    target: Target,
    place: Place,
) -> None:
    """Show a dead letter with its input."""
    from farandole.cli.connect import with_client
    from farandole.cli.dead_filter import PAYLOAD
    from farandole.cli.dead_letters import look, print_letter
    from farandole.cli.output import print_json

    settings = target.settings()
    letter, given, problem = with_client(settings, lambda client: look(client, place))
    if target.json:
        print_json({"letter": letter, PAYLOAD: given, "problem": problem})
    else:
        print_letter(letter, given, problem)


@app.command()
@on_log
def replay(
    target: Target,
    places: Places = None,
    agent: Agent = "",
    run: Run = "",
    where: Where = "",
    input_: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="JSON",
            help="A repaired input, for exactly one letter: JSON, `@file` or `-`.",
            show_default=False,
        ),
    ] = None,
    rate: Rate = 0,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Give dead-lettered steps one more attempt, with a fresh budget of retries."""
    from farandole.cli.connect import with_client
    from farandole.cli.dead_bulk import Manner, ask_all
    from farandole.cli.dead_filter import Choice
    from farandole.cli.texts import read_text

    settings = target.settings()
    text = read_text(input_, "--input") if input_ is not None else None
    choice = Choice(places or (), agent, run, where)
    manner = Manner("replay", False, yes, dry_run, rate, target.json, "" if text is None else "--input")
    with_client(
        settings,
        lambda client: ask_all(
            client,
            choice,
            manner,
            lambda it: client.replay(it.place, it.run, it.step, it.attempt, item=it.item, input=text),
        ),
    )


@app.command()
@on_log
def edit(
    target: Target,
    place: Place,
) -> None:
    """Repair the input of a dead letter in $EDITOR, then replay it with that. What does not fit is not sent."""
    from farandole.cli.connect import with_client
    from farandole.cli.editing import edit_and_replay, in_editor
    from farandole.cli.output import print_json

    settings = target.settings()
    letter = with_client(settings, lambda client: edit_and_replay(client, place, in_editor))
    if target.json:
        print_json({"asked": "replay", "letters": [letter]})
    else:
        typer.echo(f"asked: replay {place} with the edited input; `farandole run watch {letter.run}` shows it")


@app.command()
@on_log
def discard(
    target: Target,
    places: Places = None,
    agent: Agent = "",
    run: Run = "",
    where: Where = "",
    reason: Annotated[str, typer.Option(help="Why, for whoever reads the run's history.", show_default=False)] = "",
    rate: Rate = 0,
    yes: Yes = False,
    dry_run: DryRun = False,
) -> None:
    """Go on without the dead-lettered steps: their runs end `partial`. This cannot be undone."""
    from farandole.cli.connect import with_client
    from farandole.cli.dead_bulk import Manner, ask_all
    from farandole.cli.dead_filter import Choice

    settings = target.settings()
    choice, manner = Choice(places or (), agent, run, where), Manner("discard", True, yes, dry_run, rate, target.json)
    with_client(
        settings,
        lambda client: ask_all(
            client,
            choice,
            manner,
            lambda it: client.discard(it.place, it.run, it.step, it.attempt, item=it.item, reason=reason),
        ),
    )


@app.command()
@on_log
def export(
    target: Target,
    agent: Agent = "",
    run: Run = "",
    where: Where = "",
    all_: All = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Else standard output.", show_default=False)
    ] = None,
) -> None:
    """Write dead letters as lines of JSON, with their inputs decoded and their records as they stand."""
    from farandole.cli.connect import with_client
    from farandole.cli.dead_filter import Choice
    from farandole.cli.exporting import export_letters
    from farandole.cli.output import print_json

    settings, choice = target.settings(), Choice((), agent, run, where, all_)
    count = with_client(settings, lambda client: export_letters(client, choice, output))
    if output is None:
        return
    if target.json:
        print_json({"written": count, "file": output})
    else:
        typer.echo(f"wrote {count} dead letters: {output}")
