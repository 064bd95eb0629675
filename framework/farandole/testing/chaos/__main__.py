"""The command line of the faults: `python -m farandole.testing.chaos [F1 F5 …] [--rounds N] [--write FILE.md]`.

Without names, all. Prints a table; the exit code says whether anything was found.
"""

import argparse
import logging
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from farandole.testing.chaos.faults import FAULTS
from farandole.testing.chaos.report import Report, as_json, table
from farandole.testing.chaos.trial import trial


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code says whether anything was violated, or a trial did not come to its end."""
    given = _parsed(arguments)
    logging.disable(logging.CRITICAL)
    reports: list[Report] = []
    for n, name in enumerate(given.faults or list(FAULTS)):
        reports.append(trial(name, given.rounds, given.seed + n))
        _say(table(reports[-1:]))
        _write(given, reports)
    return not all(each.is_good for each in reports)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m farandole.testing.chaos", description="Faults on a real broker.")
    parser.add_argument("faults", nargs="*", metavar="FAULT", help=f"of {', '.join(FAULTS)}; default: all")
    parser.add_argument("--rounds", type=int, default=1, help="how often each is gone through")
    parser.add_argument("--seed", type=int, default=0, help="of what is left to chance")
    parser.add_argument("--write", type=Path, help="write the table to this file, and all figures beside it as .json")
    given = parser.parse_args(arguments)
    if unknown := [name for name in given.faults if name not in FAULTS]:
        parser.error(f"expected faults of {', '.join(FAULTS)}, but found {', '.join(unknown)}")
    return given


def _write(given: argparse.Namespace, reports: Sequence[Report]) -> None:
    if given.write is None:
        return
    told = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}, seed {given.seed}, {given.rounds} rounds"
    text = (
        f"# Faults on a real broker\n\nMade by `python -m farandole.testing.chaos --write` ({told}); {BACKGROUND}\n\n"
        f"{table(reports)}\n"
    )
    given.write.write_text(text)
    given.write.with_suffix(".json").write_text(as_json(reports) + "\n")


BACKGROUND = (
    "what each column says is in [Reliability](reliability.md). Two processes of agents and two coordinators unless "
    "told otherwise, sessions of 6 s, one broker on the same two cores."
)


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
