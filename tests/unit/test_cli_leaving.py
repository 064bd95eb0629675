"""A process that has done its work ends, whatever its last breath waits for."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from farandole.cli import __main__ as entry
from farandole.cli.exit_codes import INTERRUPTED

STUCK = """
import sys, time
from farandole.cli import leaving
leaving.LEAVE_S = leaving.FLUSH_S = leaving.TEARDOWN_S = 0.2
class Stuck:
    def __del__(self, wait=time.sleep):
        wait(1000)
with leaving.leaving():
    sys.stuck = Stuck()
    print("done", flush=True)
"""


def test_process_whose_interpreter_cannot_tear_itself_down_ends_and_says_where_it_stood() -> None:
    """A coordinator that was told to stop stood for 100 s without a word, once in a hundred runs of a busy suite; when
    the interpreter tears itself down, no thread that could end it runs any more."""
    ended = subprocess.run([sys.executable, "-c", STUCK], capture_output=True, text=True, timeout=60, check=False)

    assert ended.stdout == "done\n"
    assert ended.returncode == 1
    assert "in __del__" in ended.stderr


INTERRUPTED_EARLY = """
import sys
pressed_at, sys.argv[1] = sys.argv[1], "version"
class Pressed:
    def find_spec(self, name, path=None, target=None):
        if name == pressed_at:
            raise KeyboardInterrupt
sys.meta_path.insert(0, Pressed())
from farandole.cli.__main__ import main
main()
"""


@pytest.mark.parametrize("module", ["farandole.cli.main", "typer", "farandole.cli.leaving", "farandole.cli.output"])
def test_command_that_is_interrupted_while_it_is_imported_says_so_without_a_traceback(module: str) -> None:
    """For a third of a second after Enter, Ctrl-C gave a traceback through our imports, and exit code 1."""
    command = [sys.executable, "-c", INTERRUPTED_EARLY, module]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stderr) == (INTERRUPTED, "interrupted\n")


def test_installed_command_begins_where_an_interruption_is_caught() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]

    assert project["scripts"] == {"farandole": "farandole.cli.__main__:main"}
    assert entry.INTERRUPTED == INTERRUPTED
