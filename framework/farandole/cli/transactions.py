"""`farandole transactions …`: what a broker has forgotten to end, listed, and ended as its coordinator ended it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli.options import DryRun, Yes
from farandole.cli.target import Target, on_log

if TYPE_CHECKING:
    from farandole.cli.settings import Settings
    from farandole.errors import TransportError
    from farandole.transport.kafka.forgotten import Forgotten
    from farandole.transport.kafka.markers import Answer
    from farandole.transport.kafka.settings import KafkaSettings
    from farandole.transport.port import TopicPartition

app = typer.Typer(help="Transactions that a broker forgot to end: readers wait behind them.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class _Look:
    """What is forgotten in what could be asked, which partitions could not, and whether we may look at positions."""

    found: "Sequence[Forgotten]"
    not_asked: "Sequence[TopicPartition]"
    sees_positions: bool


@app.command("list")
@on_log
def list_(target: Target) -> None:
    """List transactions that are open in a partition and over for their coordinator, and how it ended them.

    Exit code 1 if a partition could not be asked, because it has no leader: there may be more.
    """
    from farandole.cli.exit_codes import FAILED, OK
    from farandole.cli.output import print_json

    settings = target.settings()
    look = _looked(settings)
    if target.json:
        print_json({"transactions": [_row(each) for each in look.found], **_gaps(look)})
    else:
        _print(look, settings.namespace)
    raise typer.Exit(FAILED if look.not_asked else OK)


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

    So it is if one would be left (--dry-run), and if a partition could not be asked, because it has no leader. Those of
    unknown outcome are left unless --abort-unknown is given. It takes the right ClusterAction on the cluster.
    """
    from farandole.cli.confirming import confirmed
    from farandole.cli.connect import kafka_of
    from farandole.cli.exit_codes import FAILED, OK
    from farandole.cli.output import print_json
    from farandole.transport.kafka.endings import Ending

    settings = target.settings()
    look = _looked(settings)
    meant = [each for each in look.found if abort_unknown or each.ending is not Ending.UNKNOWN]
    if not target.json:
        _print(look, settings.namespace)
    if meant and not dry_run:
        confirmed(f"{_deeds(meant)}, each in its partition?", yes)
    answers: dict[Forgotten, Answer | TransportError] = {}
    for each in [] if dry_run else look.found:
        answers[each] = _ended(kafka_of(settings), each, abort_unknown)
        if not target.json:
            typer.echo(_told(each, answers[each]))
    is_left = len(meant) < len(look.found) if dry_run else any(map(_is_left, answers.values()))
    if target.json:
        print_json({**_answered(look, answers), **_gaps(look)})
    elif dry_run and look.found:
        left = f"; it would leave {len(look.found) - len(meant)}" if is_left else ""
        typer.echo(f"--dry-run: nothing was changed{left}")
    raise typer.Exit(FAILED if is_left or look.not_asked else OK)


def _looked(settings: "Settings") -> _Look:
    """What is forgotten. That there is nothing is believed where topics are seen: without a right none are.

    What can be asked is looked at before and after: a partition that has no leader for a moment may have been passed
    over in between.

    Raises:
        ConfigError: the log is the embedded one, or the namespace was never applied.
        TransportError: the cluster cannot be reached, or we may not look.
    """
    from contextlib import closing

    from farandole.cli.connect import kafka_of, looked_at, topics_of
    from farandole.errors import ConfigError
    from farandole.transport.kafka.forgotten import OFFSETS, forgotten
    from farandole.transport.kafka.markers import CLIENT_ID
    from farandole.transport.kafka.producers import unasked

    kafka, prefix = kafka_of(settings), f"{settings.namespace}."
    before, _ = unasked(kafka, CLIENT_ID, prefix, OFFSETS)
    found = forgotten(kafka, prefix)
    after, sees_positions = unasked(kafka, CLIENT_ID, prefix, OFFSETS)
    name = topics_of(settings).events
    if not found:
        with closing(looked_at(settings).admin()) as admin:
            if not admin.topics([name]):
                raise ConfigError(f"{name}: expected the topic to exist, but it does not. Run `farandole apply` first.")
    return _Look(found, sorted({*before, *after}), sees_positions)


def _ended(kafka: "KafkaSettings", it: "Forgotten", abort_unknown: bool) -> "Answer | TransportError":
    """What became of one; an error of it is none of the others'."""
    from farandole.errors import TransportError
    from farandole.transport.kafka.markers import end as end_one

    try:
        return end_one(kafka, it, abort_unknown=abort_unknown)
    except TransportError as error:
        return error


def _is_left(answer: "Answer | TransportError") -> bool:
    """Whether it stands there as before."""
    return isinstance(answer, Exception) or answer.is_left


def _deeds(meant: "Sequence[Forgotten]") -> str:
    """What is to be done, in numbers."""
    from farandole.transport.kafka.endings import Ending

    commits = sum(each.ending is Ending.COMMITTED for each in meant)
    unknown = sum(each.ending is Ending.UNKNOWN for each in meant)
    return f"commit {commits} and abort {len(meant) - commits}" + (f" ({unknown} of them unknown)" if unknown else "")


def _answered(look: _Look, answers: "Mapping[Forgotten, Answer | TransportError]") -> dict[str, object]:
    """For programs: each with its answer, none in a rehearsal."""
    rows = []
    for each in look.found:
        answer = answers.get(each)
        told = {"answer": "failed", "error": str(answer)} if isinstance(answer, Exception) else {"answer": answer}
        rows.append({**_row(each), **told})
    is_done = any(not isinstance(each, Exception) and each.is_done for each in answers.values())
    return {"transactions": rows, "done": is_done}


def _gaps(look: _Look) -> dict[str, object]:
    """For programs: what was not looked at."""
    from farandole.transport.kafka.forgotten import OFFSETS

    not_asked = [{"topic": each.topic, "partition": each.partition} for each in look.not_asked]
    return {"not_asked": not_asked, "not_allowed": [] if look.sees_positions else [OFFSETS]}


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


def _print(look: _Look, namespace: str) -> None:
    """For people: a line for each, and what was not looked at."""
    from farandole.cli.output import print_table
    from farandole.transport.kafka.forgotten import OFFSETS
    from farandole.transport.kafka.producers import named

    if look.found:
        rows = [(_place(each), each.transactional_id, each.state, each.ending.value) for each in look.found]
        print_table(("OPEN FROM", "TRANSACTIONAL ID", "COORDINATOR SAYS", "OUTCOME"), rows)
    else:
        seen = "" if look.sees_positions and not look.not_asked else " where we could look"
        typer.echo(f"namespace {namespace}: no transaction is forgotten{seen}")
    if look.not_asked:
        typer.echo(
            f"not asked, for no leader answers for them: {named(look.not_asked)}; look again when they have one "
            "(`farandole doctor` says more)"
        )
    if not look.sees_positions:
        typer.echo(
            f"not looked at, for we may not read it: {OFFSETS}, where the positions of groups are; "
            "`farandole acls transactions` prints the right"
        )


def _told(it: "Forgotten", answer: "Answer | TransportError") -> str:
    from farandole.cli.output import visible
    from farandole.transport.kafka.markers import Answer

    match answer:
        case Exception():
            what = f"failed: {visible(str(answer))}"
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
