"""The parent's side: start the child, send cases, judge answers, start it anew when it dies."""

import json
import os
import select
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Self

TIMEOUT_S = 10.0
"""Longest that a case may take: no input within our bounds takes more than a tenth of it on a busy machine."""

STILL = 6
"""So many times as long a child is waited for that does not compute: it waits for a disk, or for what never comes. What
it waits for the processor does not count: beside thirty others, with `nice -n 19`, an innocent case took a minute."""

START_S = 60.0
"""Longest that the child may take to import everything."""

GROWTH_MAX_KIB = 200 * 1024
"""Most memory that a case may add to the child's peak, KiB; inputs are at most 1 MiB."""


class Verdict(Enum):
    """What became of a case."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    ESCAPED = "escaped"
    """An exception that is none of ours, or a promise that was broken (a partition that stands still)."""
    DIED = "died"
    HUNG = "hung"
    GREW = "grew"


@dataclass(frozen=True, slots=True)
class Answer:
    """`text` is the error, with its traceback where it escaped."""

    verdict: Verdict
    text: str = ""

    @property
    def is_fine(self) -> bool:
        """Taken, or refused as it should be."""
        return self.verdict in (Verdict.ACCEPTED, Verdict.REFUSED)


class Sandbox:
    """One child at a time. `restarts` counts those that died or were killed.

    `more` is a Python file whose `TARGETS` (functions of bytes by name) are added to those of `targets`.
    """

    def __init__(self, more: Path | None = None, *, timeout_s: float = TIMEOUT_S) -> None:
        self._more = [] if more is None else [str(more)]
        self._timeout_s = timeout_s
        self._child: subprocess.Popen[bytes] | None = None
        self.restarts = 0

    def run(self, target: str, case: bytes) -> Answer:
        """One case for one of the targets of `farandole.testing.fuzz.targets`."""
        child = self._child or self._start()
        assert child.stdin is not None
        head = json.dumps({"target": target, "length": len(case)}).encode() + b"\n"
        try:
            child.stdin.write(head + case)
            child.stdin.flush()
        except BrokenPipeError:
            return self._died()
        line = self._answer_of(child)
        if line is None:
            self._stop()
            return Answer(Verdict.HUNG, f"no answer within {self._timeout_s} s")
        if not line.endswith(b"\n"):
            return self._died()
        said = json.loads(line)
        if said["verdict"] != Verdict.ESCAPED.value and said["growth_kib"] > GROWTH_MAX_KIB:
            return Answer(Verdict.GREW, f"{said['growth_kib'] // 1024} MiB for {len(case)} bytes; {said['text']}")
        return Answer(Verdict(said["verdict"]), said["text"])

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "farandole.testing.fuzz.child", *self._more]
        self._child = child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        if self._line(child, START_S) is None:
            self._stop()
            raise TimeoutError(f"expected the fuzzing child to be ready within {START_S} s, but it was not")
        return child

    def _answer_of(self, child: "subprocess.Popen[bytes]") -> bytes | None:
        """As `_line`; a hang is one of the child's, not of a machine that gives it no time."""
        began, before, queued = time.monotonic(), _processor_s(child.pid), _queued_s(child.pid)
        while True:
            line = self._line(child, self._timeout_s)
            spent = _processor_s(child.pid)
            if line is not None or before is None or spent is None or spent - before >= self._timeout_s:
                return line
            if time.monotonic() - began - (_queued_s(child.pid) - queued) >= STILL * self._timeout_s:
                return None

    def _line(self, child: "subprocess.Popen[bytes]", timeout_s: float) -> bytes | None:
        """The next line; cut short if the child died, None if nothing came in time."""
        assert child.stdout is not None
        # The child writes whole lines at once, so that the first byte means all of it.
        if not select.select([child.stdout], [], [], timeout_s)[0]:
            return None
        return child.stdout.readline()

    def _died(self) -> Answer:
        assert self._child is not None
        code = self._child.wait()
        self._stop()
        return Answer(Verdict.DIED, f"exit code {code}")

    def _stop(self) -> None:
        child, self._child = self._child, None
        assert child is not None
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with suppress(BrokenPipeError):  # a case may be on its way to a child that died
                    pipe.close()
        self.restarts += 1


def _queued_s(pid: int) -> float:
    """Seconds that a process was ready and another had the processor; 0 where that cannot be known."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _processor_s(pid: int) -> float | None:
    """Seconds that a process has had the processor; None where that cannot be known."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
