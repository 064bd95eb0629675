"""A process that has done its work ends, whatever its last breath waits for."""

import subprocess
import sys

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
