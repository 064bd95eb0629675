"""`farandole topics …`: list, describe, consume, produce."""

from typing import Annotated

import typer

from farandole.cli import completing
from farandole.cli.target import Target, on_log

app = typer.Typer(help="Topics: what is on them, readable; and records written to your own.", no_args_is_help=True)

TopicArgument = Annotated[
    str,
    typer.Argument(
        metavar="TOPIC",
        help="A topic's name; the namespace may be left out (`events`).",
        autocompletion=completing.topics,
    ),
]


@app.command("list")
@on_log
def list_(
    target: Target,
    all_: Annotated[bool, typer.Option("--all", help="Also those outside the namespace.")] = False,
) -> None:
    """List topics: partitions, records, how long they are kept, what they hold."""
    from farandole.cli.connect import looked_at, topics_of
    from farandole.cli.output import print_json
    from farandole.cli.topic_tables import print_topics
    from farandole.client.topic_facts import topic_rows

    settings = target.settings()
    rows = topic_rows(looked_at(settings), topics_of(settings), everything=all_)
    print_json(rows) if target.json else print_topics(rows)


@app.command()
@on_log
def describe(
    target: Target,
    topic: TopicArgument,
) -> None:
    """Show a topic: what it holds, its partitions, its settings, and what differs from what is declared."""
    from farandole.cli.connect import looked_at, topics_of
    from farandole.cli.output import print_json
    from farandole.cli.topic_tables import print_topic
    from farandole.client.topic_facts import topic_facts

    settings = target.settings()
    found = topic_facts(looked_at(settings), topics_of(settings), topic)
    print_json(found) if target.json else print_topic(found)


@app.command()
@on_log
def consume(
    target: Target,
    topic: TopicArgument,
    partition: Annotated[int | None, typer.Option(min=0, help="Only this partition.", show_default=False)] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="WHERE",
            help="beginning (if nothing is said), end, or an offset (with --partition).",
            show_default=False,
        ),
    ] = None,
    last: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="The last N of each partition; not with --from.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="At most so many; 0 for all.")] = 0,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    run: Annotated[str, typer.Option(metavar="ID", help="Only of this run.", show_default=False)] = "",
    headers: Annotated[bool, typer.Option("--headers", help="Print the headers too.")] = False,
) -> None:
    """Print the committed records of a topic, decoded; with --json one object a line. Moves no position."""
    from farandole.cli.connect import with_client
    from farandole.cli.consuming import Wanted, consume_topic

    settings = target.settings()
    wanted = Wanted(topic, partition, since, last, limit, follow, run)
    with_client(settings, lambda client: consume_topic(client, wanted, headers=headers, as_json=target.json))


@app.command()
@on_log
def produce(
    target: Target,
    topic: TopicArgument,
    value: Annotated[str, typer.Option(metavar="JSON", help="The value: JSON, `@file`, or `-`.")] = "-",
    key: Annotated[
        str | None, typer.Option(help="The key, which places the record as Java would.", show_default=False)
    ] = None,
    schema: Annotated[
        str | None,
        typer.Option(
            metavar="SCHEMA",
            help="Check and encode the value with this one (see `schema list`), or a file.",
            show_default=False,
        ),
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="May be repeated.", show_default=False)
    ] = None,
    partition: Annotated[int | None, typer.Option(min=0, help="Else the key decides.", show_default=False)] = None,
) -> None:
    """Write one record, checked first, to a topic of your own or a command to `commands`."""
    from farandole.cli.connect import with_client
    from farandole.cli.output import print_json
    from farandole.cli.producing import Given, produce_record
    from farandole.cli.texts import read_text

    settings = target.settings()
    given = Given(topic, read_text(value, "--value"), key, schema, tuple(header or ()), partition)
    place = with_client(settings, lambda client: produce_record(client, given))
    print_json({"place": place}, indent=None) if target.json else typer.echo(place)
