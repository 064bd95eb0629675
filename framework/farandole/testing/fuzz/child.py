"""`python -m farandole.testing.fuzz.child [FILE]`: serves cases from standard input until it is killed.

A case is a line of JSON (`target`, `length`) and that many bytes; the answer is a line of JSON. What
a target prints goes nowhere: the pipe for answers is kept apart. FILE is Python whose `TARGETS` are added to ours.
"""

import contextlib
import json
import logging
import os
import resource
import runpy
import sys
import traceback
from pathlib import Path
from typing import BinaryIO

from farandole.errors import FarandoleError
from farandole.testing.fuzz.targets import TARGETS

MEMORY_MORE = 768 * 1024 * 1024
"""Address space beyond what the child has when it is ready, bytes."""


def main() -> None:
    """Serve."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    logging.disable(logging.CRITICAL)
    if len(sys.argv) > 1:
        TARGETS.update(runpy.run_path(sys.argv[1])["TARGETS"])
    _limit_memory()
    answers.write(b"ready\n")
    serve(sys.stdin.buffer, answers)


def serve(cases: BinaryIO, answers: BinaryIO) -> None:
    """Case after case."""
    for line in cases:
        head = json.loads(line)
        case = cases.read(head["length"])
        _forget_peak()
        before = _peak_kib()
        verdict, text = judged(head["target"], case)
        answer = {"verdict": verdict, "text": text, "growth_kib": _peak_kib() - before}
        answers.write(json.dumps(answer).encode() + b"\n")


def judged(target: str, case: bytes) -> tuple[str, str]:
    """What a target makes of a case."""
    try:
        TARGETS[target](case)
    except FarandoleError as refused:
        return "refused", f"{type(refused).__name__}: {str(refused)[:1000]}"
    except BaseException:
        return "escaped", traceback.format_exc(limit=-12)[-6000:]
    return "accepted", ""


def _forget_peak() -> None:
    """From now on the peak is what is resident: else a case that took much would hide all that come after it."""
    with contextlib.suppress(OSError):
        CLEAR.write_text(FORGET_PEAK)  # macOS has no such file, and there it does hide them


CLEAR, FORGET_PEAK = Path("/proc/self/clear_refs"), "5"
"""Source: proc(5), `/proc/pid/clear_refs`."""


def _peak_kib() -> int:
    with contextlib.suppress(FileNotFoundError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1024 if sys.platform == "darwin" else 1)


def _limit_memory() -> None:
    try:
        with open("/proc/self/statm") as statm:
            size = int(statm.read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY_MORE, size + MEMORY_MORE))
    except (OSError, ValueError):
        return  # macOS knows neither; the growth is looked at all the same


if __name__ == "__main__":
    main()
