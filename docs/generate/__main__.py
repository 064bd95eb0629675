"""Write the reference pages that are made from code: `python docs/generate`; `tests/docs` compares them.

Each page has a module of its own beside this one, with one pure function `page() -> str`.
"""

from pathlib import Path

import cli
import errors
import events
import life
import states
import topics

FOLDER = Path(__file__).parents[1]

PAGES = {
    "reference/command-line.md": cli.page,
    "reference/events.md": events.page,
    "reference/topics.md": topics.page,
    "reference/errors.md": errors.page,
    "explanation/states.md": states.page,
    "explanation/states-of-a-step.svg": states.step_picture,
    "explanation/states-of-a-run.svg": states.run_picture,
    "explanation/life-of-a-run.svg": life.page,
}


def main() -> None:
    """Write every page anew."""
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main()
