"""The command line of the simulation.

    python -m farandole.testing.simulation FROM TO [--jobs N] [--record FILE]
    python -m farandole.testing.simulation --replay SEED [--faults a@1,b@2] [--runs run-0]

The first lives seeds in a row: what was violated, what was seen; for each seed that failed it
prints commit, seed, a shrunken schedule, and the command that replays it. The second tells one
seed, or that part of it, as a readable trace.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from farandole.testing.simulation.many import lived
from farandole.testing.simulation.outcome import Outcome, simulate
from farandole.testing.simulation.shrink import Shrinking
from farandole.testing.simulation.world import Part

SHRUNKEN_MAX = 3
"""Failures that are shrunken: those that follow are mostly the same."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code says whether anything was violated."""
    given = _parsed(arguments)
    logging.disable(logging.CRITICAL)
    return _replay(given) if given.replay is not None else _row(given)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m farandole.testing.simulation", description="Simulated worlds.")
    parser.add_argument("first", type=int, nargs="?", default=0, help="first seed")
    parser.add_argument("last", type=int, nargs="?", default=500, help="the seed after the last")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes")
    parser.add_argument("--record", type=Path, help="append the outcome to this file")
    parser.add_argument("--replay", type=int, metavar="SEED", help="tell one seed as a trace")
    parser.add_argument("--faults", help="only these faults, by name; an empty text for none")
    parser.add_argument("--runs", help="only these runs")
    return parser.parse_args(arguments)


def _replay(given: argparse.Namespace) -> int:
    part = Part(_names(given.faults), _names(given.runs))
    outcome = simulate(given.replay, part, _say)
    _say(f"trace {outcome.trace[:16]}, {outcome.steps} steps, {len(outcome.faults)} faults: {dict(outcome.ended)}")
    for finding in outcome.findings:
        _say(f"VIOLATED {finding}")
    return bool(outcome.findings)


def _names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(filter(None, text.split(",")))


def _row(given: argparse.Namespace) -> int:
    began, commit = time.monotonic(), _commit()
    rare, ended, bad = Counter[str](), Counter[str](), 0
    for outcome in lived(range(given.first, given.last), given.jobs):
        rare += outcome.rare
        ended += outcome.ended
        if outcome.findings:
            bad += 1
            _tell(outcome, commit, shrink=bad <= SHRUNKEN_MAX)
    spent = time.monotonic() - began
    line = (
        f"seeds {given.first} to {given.last - 1}: {bad} violated; {spent:.0f} s in {given.jobs} processes; "
        f"commit {commit}; runs {dict(sorted(ended.items()))}"
    )
    _say(line)
    _say(f"seen {dict(sorted(rare.items()))}")
    if given.record is not None:
        with given.record.open("a") as file:
            file.write(line + "\n")
    return bool(bad)


def _tell(outcome: Outcome, commit: str, *, shrink: bool) -> None:
    _say(f"seed {outcome.seed} at commit {commit}: {len(outcome.findings)} findings; {outcome.findings[0]}")
    if shrink:
        small = Shrinking(outcome).run()
        _say(f"  shrunken from {len(outcome.faults)} to {len(small.faults)} faults; {small.findings[0]}")
        _say(f"  replay: {replay_command(small)}")


def replay_command(outcome: Outcome) -> str:
    """The command that tells this part of the seed as a trace."""
    faults, runs = ",".join(outcome.faults), ",".join(outcome.runs)
    return f"python -m farandole.testing.simulation --replay {outcome.seed} --faults '{faults}' --runs {runs}"


def _commit() -> str:
    try:
        told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return told.stdout.strip() or "unknown"


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
