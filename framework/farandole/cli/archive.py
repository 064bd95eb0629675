"""`farandole archive`: copies of what retention is going to take."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli.options import ConfigFile, Json
from farandole.cli.target import Target, on_log
from farandole.events.envelope import instant_of

if TYPE_CHECKING:
    from farandole.artifacts.archive import Span
    from farandole.client.archiving import Report

app = typer.Typer(help="Copies of records, kept beyond their topic's retention.", no_args_is_help=True)

INCOMPLETE = 1
"""Exit code when records were lost to retention before they could be archived."""

Folder = Annotated[
    Path | None,
    typer.Option(
        "--into",
        metavar="FOLDER",
        help="Folder of the archive (else `archive` among the artifacts).",
        show_default=False,
    ),
]


@app.command("run")
@on_log
def run_archive(
    target: Target,
    older_than: Annotated[str, typer.Option(metavar="AGE", help="Copy what is older than this.")] = "1d",
    topic: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOPIC", help="Topic to copy (else events and settled); may be repeated.", show_default=False
        ),
    ] = None,
    into: Folder = None,
) -> None:
    """Copy old records to Avro files, each record once. Run it again at any time: it goes on where it ended."""
    from datetime import UTC, datetime

    from farandole.artifacts.archive import Archive
    from farandole.cli.connect import looked_at, topics_of
    from farandole.cli.texts import given_duration
    from farandole.client.archiving import Archiver

    age = given_duration("--older-than", older_than)
    assert age is not None  # it has a default
    settings = target.settings()
    names = topics_of(settings)
    archive = Archive(into or settings.artifacts / "archive")
    tell = _quiet if target.json else _told
    archiver = Archiver(looked_at(settings), archive, f"{settings.namespace}.archive", tell)
    try:
        report = archiver.run(topic or [names.events, names.settled], age, datetime.now(UTC))
    finally:
        archiver.close()
    _print(report, target.json)
    raise typer.Exit(INCOMPLETE if report.lost else 0)


@app.command("list")
def list_archive(into: Folder = None, config: ConfigFile = None, json: Json = False) -> None:
    """List the files of the archive: what each covers and holds."""

    from farandole.artifacts.archive import Archive, content_of
    from farandole.cli.connect import settings_of
    from farandole.cli.output import print_json, print_table
    from farandole.errors import ConfigError

    if into is not None and not into.is_dir():
        raise ConfigError(f"--into {into}: expected the folder that `farandole archive run` fills, but there is none")
    folder = into or settings_of(config, None, None).artifacts / "archive"
    files = [(span, content_of(span.path)) for span in Archive(folder).all_spans()]
    if json:
        print_json([{"span": span, "content": content} for span, content in files])
        return
    rows = [
        (
            span.topic,
            str(span.partition),
            str(span.first),
            str(span.end - 1),
            str(content.records),
            _instant(content.oldest_ms),
            _instant(content.newest_ms),
            str(content.size),
        )
        for span, content in files
    ]
    print_table(("TOPIC", "PARTITION", "FROM", "TO", "RECORDS", "OLDEST", "NEWEST", "BYTES"), rows)


def _instant(ms: int | None) -> str:
    from farandole.cli.output import instant

    return instant(None if ms is None else instant_of(ms))


def _told(span: "Span", records: int) -> None:
    typer.echo(f"{span.topic}[{span.partition}] {span.first} to {span.end - 1}: {records} records")


def _quiet(span: "Span", records: int) -> None:
    """The report says it all at the end."""


def _print(report: "Report", json: bool) -> None:
    from farandole.cli.output import print_json

    if json:
        print_json(report)
        return
    for lost in report.lost:
        typer.echo(
            f"{lost.topic}[{lost.partition}]: expected offset {lost.first} to be there still, but retention has taken "
            f"all up to {lost.end - 1}. They are not in the archive: run it more often than retention.ms",
            err=True,
        )
    typer.echo(f"archived {report.records} records in {len(report.written)} files")
