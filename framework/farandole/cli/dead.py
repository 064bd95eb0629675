"""`farandole dead …`: list, show, replay."""

from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli.options import Bootstrap, ConfigFile, Json, Namespace, Place

if TYPE_CHECKING:
    pass

app = typer.Typer(help="Dead letters: what was given up on, and another try.", no_args_is_help=True)


@app.command("list")
def list_(
    agent: Annotated[str, typer.Option(help="Only of this agent.", show_default=False)] = "",
    run: Annotated[str, typer.Option(help="Only of this run.", show_default=False)] = "",
    all_: Annotated[bool, typer.Option("--all", help="Also those that were replayed or whose run is over.")] = False,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """List dead letters that wait for somebody, grouped by what caused them."""
    from farandole.cli.connect import settings_of, with_client
    from farandole.cli.dead_letters import print_groups
    from farandole.cli.output import print_json
    from farandole.client.dead import grouped, list_dead

    settings = settings_of(config, bootstrap, namespace)
    letters = with_client(settings, lambda client: list_dead(client.session, agent=agent, run_id=run, closed=all_))
    groups = grouped(letters)
    print_json(groups) if json else print_groups(groups)


@app.command()
def show(
    place: Place,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Show a dead letter with its input."""
    from farandole.cli.connect import settings_of, with_client
    from farandole.cli.dead_letters import look, print_letter
    from farandole.cli.output import print_json

    settings = settings_of(config, bootstrap, namespace)
    letter, given, problem = with_client(settings, lambda client: look(client, place))
    if json:
        print_json({"letter": letter, "input": given, "problem": problem})
    else:
        print_letter(letter, given, problem)


@app.command()
def replay(
    place: Place,
    input_: Annotated[
        str | None,
        typer.Option("--input", metavar="JSON", help="A repaired input: JSON, `@file` or `-`.", show_default=False),
    ] = None,
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    json: Json = False,
) -> None:
    """Give a dead-lettered step one more attempt, with a fresh budget of retries."""
    from farandole.cli.connect import settings_of, with_client
    from farandole.cli.dead_letters import replay_letter
    from farandole.cli.output import print_json
    from farandole.cli.texts import read_text

    settings = settings_of(config, bootstrap, namespace)
    text = read_text(input_, "--input") if input_ is not None else None
    letter = with_client(settings, lambda client: replay_letter(client, place, text))
    if json:
        print_json({"run": letter.run, "step": letter.step, "asked": "replay"})
    else:
        typer.echo(f"asked for another attempt of {letter.step}; `farandole run watch {letter.run}` shows it")
