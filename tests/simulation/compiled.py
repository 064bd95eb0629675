"""Seeds in less time: the loops, the broker in memory and the world around them, compiled by mypyc from their own text.

    python tests/simulation/compiled.py FROM TO [--jobs N] [--record FILE]

A copy of the package is compiled below `build/compiled`, once per state of the sources; the kernel, the codecs and
the history checker stay interpreted. Before anything is lived, the first seeds are lived both ways and must leave the
same traces and findings: what is compiled behaves as what users run, or the command ends there.
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "framework"
BUILD = ROOT / "build" / "compiled"

COMPILED = (
    "clock.py",
    "coordinator/asking.py",
    "coordinator/claimed.py",
    "coordinator/home.py",
    "coordinator/intake.py",
    "coordinator/logclock.py",
    "coordinator/loop.py",
    "coordinator/reading.py",
    "coordinator/takeover.py",
    "coordinator/writing.py",
    "lineage/entries.py",
    "runtime/committing.py",
    "runtime/loop.py",
    "runtime/ownership.py",
    "runtime/rooms.py",
    "runtime/timing.py",
    "runtime/working.py",
    "testing/history/standing.py",
    "testing/simulation/[!_]*.py",
    "transport/memory/[!_]*.py",
    "transport/metadata.py",
)
"""Where most of the time of a seed goes; the rest of it is spent in libraries, and gains nothing."""

INTERPRETED = (
    "testing/simulation/many.py",  # outcomes go from process to process by pickle, which native classes refuse
    "testing/simulation/outcome.py",
    "transport/memory/edge.py",  # async generators
)

ADAPTED = (
    (r"slots=True, |, slots=True|\(slots=True\)", ""),  # a native class has nothing but slots
    (r"field\(default=0, init=False\)", "field(default_factory=int, init=False)"),  # and no defaults of its own
    (r"field\(default=0\.0, init=False\)", "field(default_factory=float, init=False)"),
)
"""What mypyc does not take as Python does."""

PROOF = 40
"""Seeds that are lived both ways."""

TRACES = """
import logging, sys
from farandole.testing.simulation.outcome import simulate
logging.disable(logging.CRITICAL)
for seed in range(int(sys.argv[1]), int(sys.argv[2])):
    lived = simulate(seed)
    print(seed, lived.trace, lived.findings, sorted(lived.rare.items()))
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code is that of the simulation."""
    parser = argparse.ArgumentParser(prog="compiled.py", description="Simulated worlds, compiled.")
    parser.add_argument("first", type=int, help="first seed")
    parser.add_argument("last", type=int, help="the seed after the last")
    given, rest = parser.parse_known_args(arguments)
    built = _built()
    proof = ("-c", TRACES, str(given.first), str(min(given.first + PROOF, given.last)))
    if _told(SOURCES, *proof) != _told(built, *proof):
        sys.exit("the compiled package lives other lives than the interpreted one: not to be trusted")
    seeds = ("-m", "farandole.testing.simulation", str(given.first), str(given.last), *rest)
    return subprocess.run([sys.executable, *seeds], env=_environment(built), check=False).returncode


def _built() -> Path:
    built = BUILD / _state()
    if not (built / "done").exists():
        shutil.rmtree(BUILD, ignore_errors=True)
        shutil.copytree(SOURCES, built, ignore=shutil.ignore_patterns("__pycache__"))
        files = [str(file.relative_to(built)) for file in _adapted(built / "farandole")]
        _say(f"compiling {len(files)} modules: some minutes")
        _compile(built, files)
        (built / "done").touch()
    return built


def _state() -> str:
    """Other sources are compiled anew."""
    texts = (file.read_bytes() for file in (Path(__file__), *sorted(SOURCES.rglob("*.py"))))
    return hashlib.sha256(b"\0".join(texts)).hexdigest()[:12]


def _adapted(package: Path) -> list[Path]:
    kept = {package / name for name in INTERPRETED}
    files = [file for glob in COMPILED for file in sorted(package.glob(glob)) if file not in kept]
    for file in files:
        text = file.read_text()
        for pattern, instead in ADAPTED:
            text = re.sub(pattern, instead, text)
        file.write_text(text)
    return files


def _compile(folder: Path, files: Sequence[str]) -> None:
    (folder / "setup.py").write_text(
        "from mypyc.build import mypycify\nfrom setuptools import setup\n"
        f"setup(name='compiled', packages=[], ext_modules=mypycify(['--strict', *{files!r}], opt_level='1'))\n"
    )
    built = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        check=False,
    )
    if built.returncode:
        sys.exit(f"mypyc: {built.stdout[-2000:]}{built.stderr[-2000:]}")


def _told(package: Path, *command: str) -> str:
    asked = [sys.executable, *command]
    return subprocess.run(asked, env=_environment(package), stdout=subprocess.PIPE, text=True, check=True).stdout


def _environment(package: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(package), "PYTHONHASHSEED": "0"}


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
