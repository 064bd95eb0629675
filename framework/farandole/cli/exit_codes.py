"""Every exit code of `farandole`, in one table: what scripts may rely on.

`docs/reference/exit-codes.md` is this table, equal by test. A number never changes its meaning.
"""

from dataclasses import dataclass

OK = 0
FAILED = 1
USAGE = 2
UNREACHABLE = 3
HELD = 11
INTERRUPTED = 130
"""As a shell reports a process that SIGINT ended."""

OUTCOMES = {"succeeded": OK, "failed": 10, "held": HELD, "partial": 12, "cancelled": 13, "timed_out": 14, "refused": 1}
"""Exit code by what became of a run, for every command that waits for one."""


@dataclass(frozen=True, slots=True)
class ExitCode:
    """A code, the word for it, and when it is given."""

    code: int
    name: str
    when: str


EXIT_CODES: tuple[ExitCode, ...] = (
    ExitCode(OK, "ok", "Done. A run that was waited for succeeded; a check found nothing."),
    ExitCode(
        FAILED,
        "failed",
        "It could not be done, or a check found something: nothing is known of the run, it was refused (as for "
        "params or an id that do not fit), there is no such dead letter or it is closed, your own "
        "`--timeout` passed (the run goes on), nobody confirmed, the output was closed.",
    ),
    ExitCode(
        USAGE, "usage", "What you gave must change: an option, a setting, a file, an expression, a definition, a topic."
    ),
    ExitCode(
        UNREACHABLE, "unreachable", "The log, the registry or a store cannot be reached, or refused us. Try again."
    ),
    ExitCode(OUTCOMES["failed"], "run_failed", "The run that was waited for ended `failed`."),
    ExitCode(HELD, "run_held", "The run that was waited for is held: `farandole run show RUN` says what releases it."),
    ExitCode(OUTCOMES["partial"], "run_partial", "The run ended `partial`: a dead letter was skipped or discarded."),
    ExitCode(OUTCOMES["cancelled"], "run_cancelled", "The run ended `cancelled`."),
    ExitCode(OUTCOMES["timed_out"], "run_timed_out", "The run ended `timed_out`: its own deadline passed."),
    ExitCode(
        INTERRUPTED,
        "interrupted",
        "You pressed Ctrl-C. Runs go on. `dev`, `agent run` and `coordinator run` end with 0: that is their end.",
    ),
)
"""All of them, ascending."""


def as_markdown() -> str:
    """The page of the reference."""
    lines = [
        "# Exit codes",
        "",
        "Of every `farandole` command; `farandole exit-codes` prints the same table. Those from 10 to 14 are given by",
        "commands that wait for a run: `run start --wait`, `run rerun --wait`, `run result`.",
        "",
        "| Code | Name | When |",
        "|---|---|---|",
        *(f"| {each.code} | `{each.name}` | {each.when} |" for each in EXIT_CODES),
    ]
    return "\n".join(lines) + "\n"
