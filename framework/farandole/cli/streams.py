"""Standard streams that are closed, or cannot be written to: a file is put in their place, and what was lost is told.

Python has None where a stream is closed, which nobody expects; and the next file that is opened gets its number, so
that what a child prints would be written into it.
"""

import io
import os
import sys

import typer

from farandole.cli.exit_codes import FAILED

CLOSED = "error: standard output is closed: what was to be told is lost; what was asked may be done all the same"


class Nowhere(io.TextIOWrapper):
    """Stands for a stream that is closed. `is_missed` says whether something was written that somebody wants."""

    is_missed = False

    def write(self, text: str, /) -> int:
        """Note it, and let go of it."""
        self.is_missed = self.is_missed or bool(text)
        return super().write(text)


def open_streams() -> None:
    """Give each stream that is closed a place to read nothing from, or to write to for nobody. First of all."""
    for name, flags in (("stdin", os.O_RDONLY), ("stdout", os.O_WRONLY), ("stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            place = os.open(os.devnull, flags)  # the lowest number that is free, so that of the stream
            os.set_inheritable(place, True)
            raw = io.FileIO(place, "r" if flags == os.O_RDONLY else "w", closefd=False)
            buffer = io.BufferedReader(raw) if flags == os.O_RDONLY else io.BufferedWriter(raw)
            setattr(sys, name, Nowhere(buffer, encoding="utf-8"))


def is_closed(stream: object) -> bool:
    """Whether a stream was closed when we began."""
    return stream is None or isinstance(stream, Nowhere)


def nobody_waits() -> None:
    """What comes from now on is no answer: who runs a process for ever may well have closed its output."""
    if isinstance(sys.stdout, Nowhere):
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - it lives as long as the process


def is_missed() -> bool:
    """Whether something was told to an output that is closed."""
    return isinstance(sys.stdout, Nowhere) and sys.stdout.is_missed


def is_of_output(error: OSError) -> bool:
    """Whether an error is of standard output, and of no other file.

    What could not be written is still to be, and fails once more; with PYTHONUNBUFFERED it is gone, and only the frame
    of `typer.echo` tells where it was to go.
    """
    if isinstance(error, BrokenPipeError):
        return True
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is not None and trace.tb_frame.f_locals.get("file") is sys.stdout:
        return True
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def give_up_output(error: OSError) -> int:
    """Say why nothing more can be told, but for a reader that has seen enough (`| head`); the exit code."""
    if not isinstance(error, BrokenPipeError):
        typer.echo(
            f"error: standard output: expected to write to it, but {error.strerror or error}. "
            "What was asked may be done all the same",
            err=True,
        )
    nowhere = os.open(os.devnull, os.O_WRONLY)  # what is still buffered, or the interpreter complains once more
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return FAILED
