"""What `agent reposition` says of positions that it would give, or has given."""

from typing import TYPE_CHECKING

import typer

from farandole.errors import RunError

if TYPE_CHECKING:
    from farandole.client.repositioning import Reposition
    from farandole.transport.port import TopicPartition

_WHY = "they are farther below than an agent ever works, or somebody skipped them"


def reposition_rows(it: "Reposition") -> list[dict[str, int | None]]:
    """For programs: by partition from where to where, the last that was answered, and how many are passed over."""
    return [
        {
            "partition": at.partition,
            "from": it.stale[at],
            "to": position.offset,
            "answered": it.back.get(at),
            "unanswered": it.unanswered.get(at, 0),
        }
        for at, position in it.fresh.items()
    ]


def print_reposition(it: "Reposition") -> None:
    """For people: a line for each partition, and one for the agent."""
    for at, position in it.fresh.items():
        passed = f", {it.unanswered[at]:,} without an answer are passed over: {_WHY}" if at in it.unanswered else ""
        typer.echo(f"partition {at.partition}: {_why(it, at)} -> {position.offset:,}{passed}")
    typer.echo(
        f"agent {it.agent} of unit {it.unit}: {len(it.fresh)} positions; {it.waiting:,} offsets are read from there"
    )


def check_passed_over(it: "Reposition", is_allowed: bool) -> None:
    """Nothing that was never answered is passed over unless somebody says so.

    Raises:
        RunError: something would be.
    """
    if it.unanswered and not is_allowed:
        count = sum(it.unanswered.values())
        raise RunError(
            f"agent {it.agent}: expected every record that is passed over to have an answer, but {count:,} have none: "
            f"{_WHY}. Nothing was done; --pass-over leaves them out for good."
        )


def _why(it: "Reposition", at: "TopicPartition") -> str:
    """The position that a partition has, what is wrong with it, and what leads to the new one."""
    from farandole.client.answered import done_of

    before, answered, to = it.before[at], it.back.get(at), it.fresh[at].offset
    if answered is None:
        return "none" if before is None else f"{before.offset:,}, which the log does not have"
    first = f"; {to:,} is the first that was not" if to <= answered else ""
    if before is None:
        said = "none, but"
    elif done_of(before, 0, 0) is None:
        said = f"{before.offset:,}, which nobody can read, but"
    else:
        said = f"{before.offset:,}, which went back:"
    return f"{said} {answered:,} was answered{first}"
