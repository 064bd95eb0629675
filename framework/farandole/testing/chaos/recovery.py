"""How long it takes until work goes on, on a broker with its default settings: `make recovery`.

    python -m farandole.testing.chaos.recovery [--rounds N] [--write FILE.md]

A partition has been taken over when somebody else has committed a position in it; all has recovered when
every run that was under way has ended, and some more over all partitions. Told apart is what nobody here can hurry: the
rest of the session of a process that is not started again, and the start of one that is.
"""

import argparse
import logging
import os
import re
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from farandole.testing.chaos.dying import OFFSETS
from farandole.testing.chaos.restoring import runs_per_second
from farandole.testing.chaos.stage import CANARY, Actor, Plan, Stage, pause
from farandole.testing.chaos.starting import starts
from farandole.testing.chaos.trial import own_broker
from farandole.testing.cluster import wait_until
from farandole.transport.metadata import decode
from farandole.transport.port import TopicPartition

DEFAULTS = {
    "group.initial.rebalance.delay.ms": "3000",
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "10000",
}
"""Kafka's own defaults where test brokers are quicker."""

TAKEN_OVER_MAX = timedelta(seconds=60)
HOME = re.compile(r"home (\d+): \d+ runs, epoch (\d+), (kept|restored)")


@dataclass
class Figure:
    """One line of the table: seconds, and how many of them there may be at most.

    `before` are those in which the dead one was still a member, or its heir not yet ready to join; `after` those from
    there to the takeover; `processor` what the heir's start took of the processor.
    """

    what: str
    bound: float
    taken_over: list[float] = field(default_factory=list)
    recovered: list[float] = field(default_factory=list)
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    @property
    def is_kept(self) -> bool:
        """Whether every takeover was within the bound."""
        return bool(self.taken_over) and max(self.taken_over) <= self.bound

    def __str__(self) -> str:
        before = _row(self.before) + (f" ({_row(self.processor, 2)} of the processor)" if self.processor else "")
        cells = [self.what, f"{self.bound:g}", before, _row(self.after), _row(self.taken_over), _row(self.recovered)]
        return "| " + " | ".join([*cells, "yes" if self.is_kept else "**no**"]) + " |"


def kills(rounds: int, session_s: float, folder: Path) -> list[Figure]:
    """Agents killed outside a transaction, inside one with the slot lost, and inside one with the slot filled again."""
    outside = Figure("kill -9 outside a transaction, slot lost", session_s + 1)
    inside = Figure("kill -9 inside a transaction, slot lost", session_s + 3)
    fresh = Figure("kill -9 in its first transaction after joining, slot lost", session_s + 3)
    again = Figure("kill -9 inside a transaction, same slot started again", 3)
    with _stage(folder, Plan(coordinators=1, session_s=session_s)) as stage:
        stage.up()
        for _ in range(rounds):
            for figure in (outside, inside, again):
                _kill(stage, stage.actors["a1"], figure, is_open=figure is not outside, is_filled=figure is again)
            _kill_newcomer(stage, fresh)
    return [outside, inside, fresh, again]


def _kill(stage: Stage, victim: Actor, figure: Figure, *, is_open: bool, is_filled: bool) -> None:
    # It has committed in partitions of its own: the work of a newcomer is another story.
    wait_until(lambda: _epochs(stage, victim), TAKEN_OVER_MAX, f"{victim.slot} to own partitions", stage.said)
    if is_open:
        _die_inside(stage, victim)
    else:
        _kill_outside(stage, victim)
    since, began = time.monotonic(), datetime.now(UTC)
    left = _epochs(stage, victim)
    assert left, f"expected {victim.slot} to have left partitions behind: of none, every takeover is over at once"
    if is_filled:
        victim.process.restart()
    else:
        stage.await_departure(victim)
        figure.before.append(time.monotonic() - since)
    wait_until(lambda: _all_rose(left, _epochs(stage)), TAKEN_OVER_MAX, "a takeover", stage.said)
    figure.taken_over.append(time.monotonic() - since)
    figure.recovered.append(stage.recovery(since))
    if is_filled:
        _tell_start(stage, victim, began, figure)
    else:
        figure.after.append(figure.taken_over[-1] - figure.before[-1])
        victim.process.restart()
        stage.await_members([victim])


def _tell_start(stage: Stage, victim: Actor, began: datetime, figure: Figure) -> None:
    """What its own log says of its start; others may have had its partitions meanwhile."""
    told = wait_until(
        lambda: list(starts(victim.process.log.read_text(), began)), TAKEN_OVER_MAX, "the heir's partitions", stage.said
    )
    figure.before.append(told[0].joining_s)
    figure.after.append(told[0].group_s)
    figure.processor.append(told[0].processor_s)


def _kill_newcomer(stage: Stage, figure: Figure) -> None:
    """It dies in the transaction of its epochs: nobody finds its name in what is committed."""
    newcomer = stage.add("a8")
    _die_inside(stage, newcomer)
    since = time.monotonic()
    figure.recovered.append(stage.recovery(since))
    figure.taken_over.append(figure.recovered[-1])  # whose partitions they would have been, nothing tells


def _die_inside(stage: Stage, victim: Actor) -> None:
    is_open = stage.die(victim, OFFSETS)
    assert is_open, f"expected {victim.slot} to leave a transaction open, but the broker has none of it"


def _kill_outside(stage: Stage, victim: Actor) -> None:
    """Stop it again and again until it stands still with no transaction open."""
    while True:
        victim.process.sigstop()
        if not stage.is_open(victim):
            victim.process.kill9()
            return
        victim.process.sigcont()
        pause(0.01)


Epochs = dict[TopicPartition, int]


def _epochs(stage: Stage, writer: Actor | None = None) -> Epochs:
    """The committed epoch of every partition of the agents, or of those that this process was the last to write."""
    group = stage.topics.group(CANARY.name)
    with closing(stage.transport.admin()) as admin:
        found = {at: decode(position.metadata) for at, position in admin.positions(group).items()}
    wanted = None if writer is None else writer.transactional_id
    return {at: it.epoch for at, it in found.items() if wanted in (None, it.writer)}


def _all_rose(before: Epochs, now: Epochs) -> bool:
    return all(now.get(at, 0) > epoch for at, epoch in before.items())


# --- coordinators that come and go ------------------------------------------------------------


@dataclass
class Moves:
    """What became of homes while coordinators came and went: `again` are restored by who had them in memory."""

    kept: int = 0
    moved: int = 0
    again: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        """Whether homes did change hands, and none was restored in vain; of logs that say nothing, nothing is known."""
        return self.moved > 0 and not self.again

    def __str__(self) -> str:
        return (
            f"Ten coordinators joined and left under load: homes changed hands {self.moved} times, were kept in memory "
            f"{self.kept} times, and were restored by a process that had them in memory {len(self.again)} times."
        )


def coordinators(folder: Path) -> Moves:
    """Ten coordinators join one by one and leave again, in order, under load."""
    with _stage(folder, Plan(agents=1, coordinators=1, partitions=12)) as stage:
        stage.up()
        for n in range(2, COORDINATORS + 1):
            stage.await_members([stage.add(f"c{n}")])
        for n in range(COORDINATORS, 1, -1):
            stage.stop([stage.actors[f"c{n}"]])
        since = time.monotonic()
        stage.recovery(since)
        logs = {slot: actor.process.log.read_text() for slot, actor in stage.actors.items() if slot.startswith("c")}
    return moves(logs)


COORDINATORS = 10


def moves(logs: dict[str, str]) -> Moves:
    """From what coordinators log of the homes that they take over, each with a higher epoch than the last."""
    takeovers: dict[tuple[int, int], tuple[str, bool]] = {}
    for slot, text in logs.items():
        for home, epoch, state in HOME.findall(text):
            takeovers[int(home), int(epoch)] = slot, state == "kept"
    found = Moves()
    last: dict[int, str] = {}
    for (home, epoch), (slot, is_kept) in sorted(takeovers.items()):
        if is_kept:
            found.kept += 1
        elif last.get(home) == slot:
            found.again.append(f"home {home}, epoch {epoch}, by {slot}")
        else:
            found.moved += 1
        last[home] = slot
    return found


# --- the command ------------------------------------------------------------------------------

HEAD = (
    "| What | At most, s | Session or start, s (p50 / max) | Then, s (p50 / max) | Taken over after, s (p50 / max) "
    "| All recovered after, s (p50 / max) | Kept |\n"
    "|---|---|---|---|---|---|---|"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code says whether every bound was kept."""
    parser = argparse.ArgumentParser(prog="python -m farandole.testing.chaos.recovery", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="kills of each kind")
    parser.add_argument("--session", type=float, default=6, help="seconds, 6 to 15")
    parser.add_argument("--kills-only", action="store_true", help="without the restore and the coordinators")
    parser.add_argument("--write", type=Path, help="write the table to this file")
    given = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="farandole-recovery-"))
    lines: list[str] = []

    def tell(*more: str) -> None:
        lines.extend(more)
        sys.stdout.write("\n".join(more) + "\n")
        sys.stdout.flush()

    figures = kills(given.rounds, given.session, folder / "kills")
    tell(HEAD, *map(str, figures), "", f"Load of the machine: {os.getloadavg()[1]:.0f}.", "")
    is_good = given.kills_only or _coordinators(folder, tell)
    if given.write is not None:
        given.write.write_text("\n".join(lines) + "\n")
    return not (all(each.is_kept for each in figures) and is_good)


def _coordinators(folder: Path, tell: Callable[..., None]) -> bool:
    """How fast one restores, and what becomes of homes while ten come and go; whether that was as it should be."""
    with own_broker(DEFAULTS) as broker:
        by_time, by_processor = runs_per_second(broker.bootstrap)
    tell(f"Restored: {by_time:,.0f} runs a second, {by_processor:,.0f} a second of processor time.", "")
    found = coordinators(folder / "coordinators")
    tell(str(found), *found.again)
    return found.is_good


def _row(seconds: Sequence[float], digits: int = 1) -> str:
    return f"{median(seconds):.{digits}f} / {max(seconds):.{digits}f}" if seconds else "-"


@contextmanager
def _stage(folder: Path, plan: Plan) -> Iterator[Stage]:
    with ExitStack() as stack:
        broker = stack.enter_context(own_broker(DEFAULTS))
        yield stack.enter_context(Stage(broker, f"x{uuid.uuid4().hex[:8]}", folder, plan))


if __name__ == "__main__":
    sys.exit(main())
