"""The command line of the faults: `python -m farandole.testing.chaos [F1 F5 …] [--rounds N] [--write FILE.md]`.

Without names, all. Prints a table; the exit code says whether anything was found.
"""

import argparse
import logging
import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from farandole.testing.chaos.faults import FAULTS
from farandole.testing.chaos.report import Report, as_json, from_json, table
from farandole.testing.chaos.trial import trial


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code says whether anything was violated, or a trial did not come to its end."""
    given = _parsed(arguments)
    logging.disable(logging.CRITICAL)
    reports: list[Report] = []
    for n, name in enumerate(given.faults or list(FAULTS)):
        reports.append(trial(name, given.rounds, given.seed + n))
        reports[-1].told = f"{datetime.now(UTC):%Y-%m-%d}, {_commit()}, load {os.getloadavg()[1]:.0f}"
        _say(table(reports[-1:]))
        _write(given, reports)
    return not all(each.is_good for each in reports)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m farandole.testing.chaos", description="Faults on a real broker.")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; default: all")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is gone through")
    parser.add_argument("--seed", type=int, default=0, help="of what is left to chance")
    parser.add_argument("--write", type=Path, help="renew the rows of these faults in this file; figures as .json")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.faults if name not in FAULTS]:
        parser.error(f"expected faults of {', '.join(FAULTS)}, but found {', '.join(unknown)}")
    return given


def _write(given: argparse.Namespace, reports: Sequence[Report]) -> None:
    if given.write is None:
        return
    figures = given.write.with_suffix(".json")
    known = {each.name: each for each in from_json(figures.read_text())} if figures.exists() else {}
    known |= {each.name: each for each in reports}
    chosen = [known[name] for name in FAULTS if name in known]
    given.write.write_text(f"{BACKGROUND}\n{table(chosen)}\n")
    figures.write_text(as_json(chosen) + "\n")


BACKGROUND = """# Faults on a real broker

Written by `make chaos` (`python -m farandole.testing.chaos --write FILE`); which fault is which, and what the columns
say, is in [Reliability](reliability.md). Each row: one broker (F4R and F4C: three), two processes of agents and two
coordinators with sessions of 6 s, 15 runs a second (F16 8, F4R, F4C and F16P 4, F14 2) with a fork, a join and a retry,
all on the same machine; *load* is the machine's load average over five minutes.
"""


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
