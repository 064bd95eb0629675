"""Standard streams that are closed, or full: one line and an exit code, and no traceback. Each in a process."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

FARANDOLE = f"{sys.executable} -m farandole.cli"

BUFFERED = [pytest.param("", id="buffered"), pytest.param("1", id="unbuffered")]
"""PYTHONUNBUFFERED, which containers set: what was not written is gone, where it would be kept for another try."""


def typed(folder: Path, command: str, unbuffered: str = "", given: str = "") -> subprocess.CompletedProcess[str]:
    """A line of a shell, in a folder without a project."""
    environment = {name: each for name, each in os.environ.items() if not name.startswith("FARANDOLE_")}
    return subprocess.run(
        ["bash", "-c", command],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={**environment, "PYTHONUNBUFFERED": unbuffered},
        input=given,
    )


def lines(ran: subprocess.CompletedProcess[str]) -> Sequence[str]:
    """What it said on standard error, which must be no traceback."""
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr
    return ran.stderr.splitlines()


@pytest.mark.parametrize("unbuffered", BUFFERED)
@pytest.mark.parametrize("words", ["exit-codes", "--help", "version --json", "config show"])
def test_full_disk_behind_the_output_is_one_line_and_1(tmp_path: Path, words: str, unbuffered: str) -> None:
    """It was a traceback of 40 lines, of `--help` too."""
    ran = typed(tmp_path, f"{FARANDOLE} {words} > /dev/full", unbuffered)

    assert ran.returncode == 1
    assert [line.partition(", but ")[0] for line in lines(ran)] == ["error: standard output: expected to write to it"]


def test_full_disk_behind_another_file_is_not_blamed_on_the_output() -> None:
    """A defect keeps its traceback: that its error is of a file says nothing of standard output."""
    script = (
        "from farandole.cli.streams import is_of_output\n"
        "try:\n    open('/dev/full', 'w').write('x' * 100_000)\n"
        "except OSError as bad:\n    print(is_of_output(bad))"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)

    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize("unbuffered", BUFFERED)
@pytest.mark.parametrize("words", ["exit-codes", "--help", "config show --json"])
def test_output_that_is_closed_from_the_beginning_is_1_as_the_table_says(
    tmp_path: Path, words: str, unbuffered: str
) -> None:
    """Python has None in its place: a traceback, or 0 with nothing told."""
    ran = typed(tmp_path, f"{FARANDOLE} {words} >&-", unbuffered)

    assert ran.returncode == 1
    assert [line.partition(":")[0] for line in lines(ran)] == ["error"]
    assert "standard output is closed" in ran.stderr


def test_command_that_tells_nothing_does_not_mind_a_closed_output(tmp_path: Path) -> None:
    """What it did say went to standard error, and its code says what became of it."""
    ran = typed(tmp_path, f"{FARANDOLE} run list >&-")

    assert ran.returncode == 2
    assert "expected the log of a project" in ran.stderr


def test_all_streams_may_be_closed(tmp_path: Path) -> None:
    assert typed(tmp_path, f"{FARANDOLE} version <&- >&- 2>&-").returncode == 1
    assert typed(tmp_path, f"{FARANDOLE} check nowhere <&- >&- 2>&-").returncode == 2


def test_standard_input_that_is_closed_and_asked_for_is_a_wrong_option(tmp_path: Path) -> None:
    ran = typed(tmp_path, f"{FARANDOLE} topics produce mine --value - <&-")

    assert ran.returncode == 2
    assert lines(ran) == ["error: --value: expected a readable file of UTF-8 text, but standard input is closed"]


def test_file_that_is_opened_next_does_not_become_standard_output(tmp_path: Path) -> None:
    """It gets the lowest number that is free: what a child of ours prints would be written into the log."""
    script = (
        "import os, sys; from farandole.cli.streams import open_streams; open_streams(); "
        f"file = open({str(tmp_path / 'log')!r}, 'w'); os.system('echo printed'); sys.exit(file.fileno() < 3)"
    )

    ran = typed(tmp_path, f'{sys.executable} -c "{script}" <&- >&-')

    assert (ran.returncode, (tmp_path / "log").read_text()) == (0, "")


def test_process_whose_output_is_closed_runs_as_ever() -> None:
    """Who supervises it may have closed it; what its handlers print is nobody's answer."""
    script = (
        "import sys\nfrom farandole.cli.streams import is_missed, nobody_waits, open_streams\n"
        "open_streams()\nnobody_waits()\nprint('from a handler', flush=True)\nsys.exit(is_missed())"
    )

    ran = subprocess.run(["bash", "-c", f'{sys.executable} -c "{script}" >&-'], timeout=60, check=False)

    assert ran.returncode == 0
