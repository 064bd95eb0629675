"""Canaries and random faults for a long time: memory, state and lag must stay flat. `make soak MINUTES=60`.

    python -m farandole.testing.chaos.soak MINUTES [--seed N] [--every SECONDS] [--write FILE.md]

A sample is taken before each fault; what grows with time, and not with load, is a leak (`growth.py`). One agent and
one coordinator are never killed, so that there is a process as old as the soak. One that is too short to tell a leak
from noise fails.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from datetime import timedelta
from pathlib import Path

from farandole.testing.broker.settings import SHORT_POSITIONS
from farandole.testing.chaos.dying import COMMIT_PATH, HANDLER
from farandole.testing.chaos.faults import kill, lose_reply, open_transaction, poison, start_again
from farandole.testing.chaos.growth import Sample, growths
from farandole.testing.chaos.injection import Hit
from farandole.testing.chaos.report import Report, table
from farandole.testing.chaos.stage import Plan, Stage, pause
from farandole.testing.chaos.trial import own_broker
from farandole.testing.history import lag
from farandole.testing.proxy import END_TXN, PRODUCE, TXN_OFFSET_COMMIT

PLAN = Plan(per_second=8, proxied=True, variables=(("FARANDOLE_COORDINATOR__DEDUPE_WINDOW", "5m"),))
"""Stubs of ended runs are forgotten while we look, else state would grow for the first 24 hours, as it should."""

OUTAGE_MAX = timedelta(minutes=7)
"""For what is under way to end after a kill of the only broker: once in some 40 its groups stand still for the 5
minutes that a rebalance may last, and nobody but it can end that (decision 0112, the third)."""

SPARED = ("a1", "c1")
"""Slots whose processes live as long as the soak."""


def freeze_one(stage: Stage) -> Iterator[Hit]:
    """SIGSTOP for half a session to one and a half."""
    victim = stage.actors[stage.dice.choice(sorted(stage.actors))]
    victim.process.sigstop()
    is_open = stage.is_open(victim)
    pause(stage.dice.uniform(0.5, 1.5) * stage.plan.session_s)
    victim.process.sigcont()
    yield Hit(time.monotonic(), is_open)


def kill_one(stage: Stage) -> Iterator[Hit]:
    """kill -9 of anybody who is not spared, at any place."""
    slot = stage.dice.choice(sorted(stage.actors.keys() - set(SPARED)))
    places = COMMIT_PATH if slot.startswith("c") else (HANDLER, *COMMIT_PATH)
    yield from kill(stage, stage.actors[slot], stage.dice.choice(places), waits=stage.dice.random() < 0.3)


def lose_one(stage: Stage) -> Iterator[Hit]:
    """A lost reply to anybody."""
    victim = stage.actors[stage.dice.choice(sorted(stage.actors))]
    yield from lose_reply(stage, victim, stage.dice.choice((END_TXN, TXN_OFFSET_COMMIT, PRODUCE)))


def break_broker(stage: Stage) -> Iterator[Hit]:
    """kill -9 of the broker, and back after some seconds."""
    stage.broker.kill()
    pause(stage.dice.uniform(0, 8))
    stage.restart_broker()
    yield Hit(time.monotonic())


Play = Callable[[Stage], Iterator[Hit]]
PLAYS: Mapping[Play, int] = {
    kill_one: 5,
    freeze_one: 2,
    lose_one: 3,
    break_broker: 1,
    poison: 1,
    start_again: 1,
    open_transaction: 1,
}
"""How often each is chosen, relative to the others."""


def soak(minutes: float, every: float, seed: int, folder: Path, report: Report, samples: list[Sample]) -> Counter[str]:
    """All of it; the report counts as for one fault. What was seen is kept, whatever goes wrong."""
    played, began = Counter[str](), time.monotonic()
    with ExitStack() as stack:
        broker = stack.enter_context(own_broker(SHORT_POSITIONS, log=folder / "broker.log"))
        stage = stack.enter_context(Stage(broker, f"x{uuid.uuid4().hex[:8]}", folder, replace(PLAN, seed=seed)))
        try:
            stage.up()
            began = time.monotonic()
            while time.monotonic() - began < minutes * 60:
                samples.append(_sample(stage, began))
                play = stage.dice.choices(list(PLAYS), list(PLAYS.values()))[0]
                played[play.__name__] += 1
                for hit in play(stage):
                    report.add(hit.is_open)
                    within = OUTAGE_MAX if play is break_broker else None
                    report.recoveries.append(stage.recovery(hit.since, hit.runs, within=within))
                pause(every)
            samples.append(_sample(stage, began))
            stage.finish(report)
        except Exception as error:
            report.trouble = f"{error!r}; logs in {folder}\n{traceback.format_exc()}"
            report.lost = report.doubled = None
    report.seconds = time.monotonic() - began
    return played


def _sample(stage: Stage, began: float) -> Sample:
    """Taken when all is quiet but the canaries."""
    assert stage.load is not None
    return Sample(
        round(time.monotonic() - began, 1),
        {slot: actor.process.memory_mib for slot, actor in sorted(stage.actors.items())},
        lag(stage.transport, stage.topics.namespace),
        len(stage.load.waiting()),
        {slot: actor.process.generation for slot, actor in sorted(stage.actors.items())},
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code says whether anything was found, or grew, or could not be judged."""
    parser = argparse.ArgumentParser(prog="python -m farandole.testing.chaos.soak", description=__doc__)
    parser.add_argument("minutes", type=float)
    parser.add_argument("--every", type=float, default=5, help="seconds of peace between two faults")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="write the outcome to this file, and all samples beside it as .json")
    given = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    folder = Path(tempfile.mkdtemp(prefix="farandole-soak-"))
    sys.stdout.write(f"The logs of all processes are in {folder}\n")
    sys.stdout.flush()
    report, samples = Report("soak", f"random faults for {given.minutes:g} minutes"), list[Sample]()
    played = soak(given.minutes, given.every, given.seed, folder, report, samples)
    found = growths(samples)
    grown = [each.what for each in found if each.is_found]
    unjudged = [each.what for each in found if not each.is_judged]
    lines = [
        table([report]),
        f"Seed {given.seed}, {report.seconds:.0f} s, {len(samples)} samples. Played: {dict(played.most_common())}.",
        *(f"- {each}" for each in found),
        f"Memory at the end, MiB: {dict(samples[-1].memory_mib) if samples else {}}.",
        *([f"**Grown: {', '.join(grown)}**"] if grown else []),
        *([f"**Not judged, for it was too short: {', '.join(unjudged)}**"] if unjudged else []),
    ]
    text = "\n\n".join(lines)
    sys.stdout.write(text + "\n")
    if given.write is not None:
        given.write.write_text(text + "\n")
        given.write.with_suffix(".json").write_text(json.dumps([asdict(each) for each in samples], indent=1) + "\n")
    return not report.is_good or bool(grown or unjudged)


if __name__ == "__main__":
    sys.exit(main())
