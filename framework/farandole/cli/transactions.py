"""`farandole transactions …`: what a broker has forgotten to end, listed, and ended as its coordinator ended it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli.options import DryRun, Yes
from farandole.cli.target import Target, on_log

if TYPE_CHECKING:
    from farandole.cli.settings import Settings
    from farandole.transport.kafka.forgotten import Forgotten
    from farandole.transport.kafka.markers import Answer

app = typer.Typer(help="Transactions that a broker forgot to end: readers wait behind them.", no_args_is_help=True)


@app.command("list")
@on_log
def list_(target: Target) -> None:
    """List transactions that are open in a partition and over for their coordinator, and how it ended them."""
    from farandole.cli.output import print_json

    settings = target.settings()
    found = _found(settings)
    print_json([_row(each) for each in found]) if target.json else _print(found, settings.namespace)


@app.command()
@on_log
def end(
    target: Target,
    yes: Yes = False,
    dry_run: DryRun = False,
    abort_unknown: Annotated[
        bool,
        typer.Option(
            "--abort-unknown",
            help="Abort those of which nobody can tell how they ended; a committed one is torn by it.",
        ),
    ] = False,
) -> None:
    """End forgotten transactions as their coordinators ended them: committed or aborted. Exit code 1 if one is left.

    Those of unknown outcome are left unless --abort-unknown is given. It takes the right ClusterAction on the cluster.
    """
    from farandole.cli.confirming import confirmed
    from farandole.cli.connect import kafka_of
    from farandole.cli.exit_codes import FAILED, OK
    from farandole.cli.output import print_json
    from farandole.transport.kafka.endings import Ending
    from farandole.transport.kafka.markers import end as end_one

    settings = target.settings()
    kafka, found = kafka_of(settings), _found(settings)
    meant = [each for each in found if abort_unknown or each.ending is not Ending.UNKNOWN]
    if not target.json:
        _print(found, settings.namespace)
    if meant and not dry_run:
        commits = sum(each.ending is Ending.COMMITTED for each in meant)
        confirmed(f"commit {commits} and abort {len(meant) - commits} of them, each in its partition?", yes)
    answers: dict[Forgotten, Answer] = {}
    for each in [] if dry_run else found:
        answers[each] = end_one(kafka, each, abort_unknown=abort_unknown)
        if not target.json:
            typer.echo(_told(each, answers[each]))
    if target.json:
        rows = [{**_row(each), "answer": answers.get(each)} for each in found]
        print_json({"transactions": rows, "done": any(each.is_done for each in answers.values())})
    elif dry_run and found:
        typer.echo("--dry-run: nothing was changed")
    raise typer.Exit(FAILED if any(each.is_left for each in answers.values()) else OK)


def _found(settings: "Settings") -> "list[Forgotten]":
    """What is forgotten. That there is nothing is believed where topics are seen: without a right none are.

    Raises:
        ConfigError: the log is the embedded one, or the namespace was never applied.
        TransportError: the cluster cannot be reached, or we may not look.
    """
    from contextlib import closing

    from farandole.cli.connect import kafka_of, looked_at, topics_of
    from farandole.errors import ConfigError
    from farandole.transport.kafka.forgotten import forgotten

    if found := forgotten(kafka_of(settings), f"{settings.namespace}."):
        return found
    name = topics_of(settings).events
    with closing(looked_at(settings).admin()) as admin:
        if not admin.topics([name]):
            raise ConfigError(f"{name}: expected the topic to exist, but it does not. Run `farandole apply` first.")
    return []


def _row(it: "Forgotten") -> dict[str, object]:
    """For programs."""
    return {
        "topic": it.at.topic,
        "partition": it.at.partition,
        "start": it.start,
        "transactional_id": it.transactional_id,
        "producer_id": it.producer_id,
        "producer_epoch": it.producer_epoch,
        "state": it.state,
        "outcome": it.ending,
    }


def _place(it: "Forgotten") -> str:
    return f"{it.at.topic}/{it.at.partition}/{it.start}"


def _print(found: "Sequence[Forgotten]", namespace: str) -> None:
    """For people: a line for each."""
    from farandole.cli.output import print_table

    if not found:
        typer.echo(f"namespace {namespace}: no transaction is forgotten")
        return
    rows = [(_place(each), each.transactional_id, each.state, each.ending.value) for each in found]
    print_table(("OPEN FROM", "TRANSACTIONAL ID", "COORDINATOR SAYS", "OUTCOME"), rows)


def _told(it: "Forgotten", answer: "Answer") -> str:
    from farandole.transport.kafka.markers import Answer

    match answer:
        case Answer.LEFT:
            what = (
                "left: its coordinator does not tell any more how it ended; --abort-unknown aborts it, and tears it if "
                "it was committed (then records of it are visible in another partition)"
            )
        case Answer.CHANGED:
            what = "left: its coordinator tells something else by now; look again"
        case Answer.OVER:
            what = "nothing to do: it has ended, or its writer goes on with it"
        case _:
            what = answer.value
    return f"{_place(it)} of {it.transactional_id}: {what}"
