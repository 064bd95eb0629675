"""Planted bugs: each is put into the product's text as a process imports it, and must be found by the simulation.

    python tests/simulation/mutation.py [--quick] [--only NAME ...] [--seeds N] [--jobs N] [--write MUTANTS.md]

Mutants stand in `mutants/*.toml`:

    [[mutant]]
    name = "doubt_taken_for_abort"        # unique
    rule = "R4"                           # what it breaks: a rule of DESIGN, or the place where it says so
    why = "one line: what goes wrong"
    quick = 40                            # optional: in `make test`, and found within so many seeds
    seeds = 2000                          # optional: found within so many seeds by `make mutants`; 2000 is the most

    [[mutant.edit]]                       # one or more
    file = "runtime/committing.py"        # below framework/farandole
    old = '''exact text, which occurs once'''
    new = '''what stands there instead'''

    [[later]]                             # what cannot be told from the sound product yet
    name = "..."
    rule = "R3"
    reason = "..."

Text that no longer matches is an error, never a mutant passed over. No file is changed: a child process
compiles the changed text in place of the file's.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType

HERE = Path(__file__).parent
PACKAGE = HERE.parents[1] / "framework" / "farandole"
SEEDS_MAX = 2_000
"""What a planted bug may cost."""


class BadMutants(Exception):  # noqa: N818 - says what it is
    """The table is wrong, or the product has changed under it."""


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of one file's text."""

    file: str
    old: str
    new: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A planted bug. `quick`: found within so many seeds, and so a part of `make test`."""

    name: str
    rule: str
    why: str
    edits: tuple[Edit, ...]
    quick: int | None = None
    seeds: int = SEEDS_MAX

    def texts(self) -> dict[str, str]:
        """The changed text of each file it touches.

        Raises:
            BadMutants: what is to be changed is not there, or more than once.
        """
        texts: dict[str, str] = {}
        for edit in self.edits:
            text = texts.get(edit.file) or (PACKAGE / edit.file).read_text()
            found = text.count(edit.old)
            if found != 1 or edit.old == edit.new:
                raise BadMutants(
                    f"mutant {self.name}: expected its text once in {edit.file}, but found it {found} times. "
                    f"The product has changed: say anew where the bug is planted.\n{edit.old}"
                )
            texts[edit.file] = text.replace(edit.old, edit.new)
        return texts


@dataclass(frozen=True, slots=True)
class Later:
    """A bug of the list that cannot show yet, and why."""

    name: str
    rule: str
    reason: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a mutant: the first seed that found it, and by which predicates."""

    mutant: Mutant
    seed: int | None
    tried: int
    predicates: tuple[str, ...]
    message: str
    seconds: float


def load(folder: Path = HERE / "mutants") -> tuple[list[Mutant], list[Later]]:
    """All mutants, in the order of files and of their lines.

    Raises:
        BadMutants: a table is malformed, or a name occurs twice.
    """
    mutants: list[Mutant] = []
    later: list[Later] = []
    for path in sorted(folder.glob("*.toml")):
        try:
            table = tomllib.loads(path.read_text())
            mutants += [_mutant(each) for each in table.pop("mutant", [])]
            later += [Later(**each) for each in table.pop("later", [])]
        except (TypeError, KeyError, tomllib.TOMLDecodeError) as bad:
            raise BadMutants(f"{path.name}: expected tables as mutation.py describes them, but {bad}") from bad
        if table:
            raise BadMutants(f"{path.name}: expected `mutant` and `later`, but found {', '.join(table)}")
    names = [each.name for each in mutants] + [each.name for each in later]
    if twice := {name for name in names if names.count(name) > 1}:
        raise BadMutants(f"expected each name once, but found twice: {', '.join(sorted(twice))}")
    return mutants, later


def _mutant(raw: dict[str, object]) -> Mutant:
    edits = raw.pop("edit")
    assert isinstance(edits, list)
    return Mutant(edits=tuple(Edit(**each) for each in edits), **raw)  # type: ignore[arg-type]


# --- in the child ---------------------------------------------------------------------------


class _Planted(SourceFileLoader):
    """Loads a module of which the text is ours."""

    text = ""

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.text, self.path, "exec", dont_inherit=True)


class Finder:
    """Finds the modules that a mutant changes, before anybody else does."""

    def __init__(self, texts: dict[str, str]) -> None:
        self._files = {_module_of(file): (PACKAGE / file, text) for file, text in texts.items()}

    def find_spec(self, name: str, path: object = None, target: object = None) -> ModuleSpec | None:
        """The spec of a changed module; None for all others."""
        if name not in self._files:
            return None
        file, text = self._files[name]
        loader = _Planted(name, str(file))
        loader.text = text
        return spec_from_file_location(name, file, loader=loader)


def _module_of(file: str) -> str:
    return ".".join(("farandole", *Path(file).with_suffix("").parts))


def plant(mutant: Mutant) -> None:
    """From now on this process imports the changed product.

    Raises:
        BadMutants: the text is not as expected, or the product has been imported already.
    """
    finder = Finder(mutant.texts())
    if early := [name for name in map(_module_of, mutant.texts()) if name in sys.modules]:
        raise BadMutants(f"{early} was imported before its bug was planted")
    sys.meta_path.insert(0, finder)


def hunt(mutant: Mutant, seeds: range) -> dict[str, object]:
    """Plant the bug in this very process and live seeds until one finds it."""
    plant(mutant)
    import logging

    from farandole.testing.simulation.outcome import simulate

    logging.disable(logging.CRITICAL)
    for seed in seeds:
        found = simulate(seed).findings
        if found:
            names = list(dict.fromkeys(each.predicate for each in found))
            return {"seed": seed, "tried": seed - seeds.start + 1, "predicates": names, "message": str(found[0])}
    return {"seed": None, "tried": len(seeds), "predicates": [], "message": ""}


# --- in the parent --------------------------------------------------------------------------


def verdict_of(mutant: Mutant, seeds: range) -> Verdict:
    """Hunt a mutant in a process of its own.

    Raises:
        BadMutants: the child could not even begin.
    """
    mutant.texts()
    began = time.monotonic()
    command = [sys.executable, __file__, "--hunt", mutant.name, "--from", str(seeds.start), "--to", str(seeds.stop)]
    child = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONHASHSEED": "0"}
    )
    if child.returncode:
        raise BadMutants(f"mutant {mutant.name}: expected it to run, but it said: {child.stderr[-2000:]}")
    told = json.loads(child.stdout.splitlines()[-1])
    return Verdict(
        mutant, told["seed"], told["tried"], tuple(told["predicates"]), told["message"], time.monotonic() - began
    )


def verdicts(mutants: Sequence[Mutant], *, quick: bool, most: int, jobs: int) -> Iterator[Verdict]:
    """Hunt all of them, `jobs` at a time; each is told as soon as it is known."""

    def one(mutant: Mutant) -> Verdict:
        limit = mutant.quick if quick and mutant.quick else mutant.seeds
        return verdict_of(mutant, range(min(limit, most)))

    with ThreadPoolExecutor(jobs) as pool:
        for each in as_completed([pool.submit(one, mutant) for mutant in mutants]):
            yield each.result()


def report(found: Sequence[Verdict], later: Sequence[Later], commit: str, most: int = SEEDS_MAX) -> str:
    """The table of results, as it is kept beside this file."""
    lines = [
        "# Planted bugs, and what finds them",
        "",
        f"Written by `make mutants` at commit {commit}. *Seeds*: how many were lived until one found the bug,",
        f"from 0 on; at most {most}. The table of bugs is in `mutants/`, how they are planted in `mutation.py`.",
        "",
        "| Bug | Rule | Seeds | Found by | What it is |",
        "|---|---|---|---|---|",
    ]
    for each in found:
        seeds = f"**not in {each.tried}**" if each.seed is None else str(each.tried)
        by = ", ".join(f"`{name}`" for name in each.predicates[:3])
        lines.append(f"| {each.mutant.name} | {each.mutant.rule} | {seeds} | {by} | {each.mutant.why} |")
    lines += ["", "## Not yet to be told from the sound product", "", "| Bug | Rule | Why |", "|---|---|---|"]
    lines += [f"| {each.name} | {each.rule} | {each.reason} |" for each in later]
    return "\n".join(lines) + "\n"


def _commit() -> str:
    told = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return told.stdout.strip() or "unknown"


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Plant bugs, and see whether the simulation finds them.")
    parser.add_argument("--quick", action="store_true", help="only those that few seeds find, within as many")
    parser.add_argument("--only", nargs="*", default=[], help="names of mutants")
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help="most seeds each")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes at a time")
    parser.add_argument("--write", type=Path, help="write the table of results there")
    parser.add_argument("--hunt", help=argparse.SUPPRESS)
    parser.add_argument("--from", dest="first", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--to", dest="last", type=int, default=SEEDS_MAX, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> int:
    """The command line; the exit code says whether a mutant lived."""
    given = _arguments()
    mutants, later = load()
    if given.hunt:
        chosen = next(each for each in mutants if each.name == given.hunt)
        sys.stdout.write(json.dumps(hunt(chosen, range(given.first, given.last))) + "\n")
        return 0
    if given.only:
        mutants = [each for each in mutants if each.name in given.only]
    if given.quick:
        mutants = [each for each in mutants if each.quick]
    found: list[Verdict] = []
    for each in verdicts(mutants, quick=given.quick, most=given.seeds, jobs=given.jobs):
        found.append(each)
        told = f"LIVED through {each.tried} seeds" if each.seed is None else f"{each.tried} seeds; {each.message[:150]}"
        sys.stdout.write(f"{each.mutant.name} ({each.mutant.rule}, {each.seconds:.0f} s): {told}\n")
        sys.stdout.flush()
    found.sort(key=lambda each: mutants.index(each.mutant))
    if given.write:
        given.write.write_text(report(found, later, _commit(), given.seeds))
    lived = [each.mutant.name for each in found if each.seed is None]
    sys.stdout.write(
        f"{len(found) - len(lived)} of {len(found)} found" + (f"; lived: {', '.join(lived)}" * bool(lived)) + "\n"
    )
    return bool(lived)


if __name__ == "__main__":
    sys.exit(main())
