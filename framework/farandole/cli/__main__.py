"""Where the command begins, as `farandole` and as `python -m farandole.cli`, whose scripts may be anywhere.

Knows as little as may be: importing the verbs takes a third of a second, and Ctrl-C is no defect in that time either.
"""

import sys

INTERRUPTED = 130
"""That of `exit_codes` (equal by test), which may not have been imported yet."""


def main() -> None:
    """Entry point of the installed command."""
    try:
        from farandole.cli.main import main as carry_out

        carry_out()
    except KeyboardInterrupt:  # before there was a command that could say so
        print("interrupted", file=sys.stderr)
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
