"""docs/how-to/simulate.md: its files run, its snippets are taken from them, its story is what the command prints."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from farandole.cli.main import app

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to"
PAGE = (HOW_TO / "simulate.md").read_text()
SHOP = HOW_TO / "shop"
CODE = "\n".join(path.read_text() for path in sorted(SHOP.glob("*.py")))


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def test_the_shop_s_own_tests_pass_as_a_user_runs_them() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=prepend", "-c", "/dev/null",
         str(SHOP)],
        cwd=SHOP, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "2 passed" in ran.stdout


@pytest.mark.parametrize("block", blocks("python"))
def test_what_the_page_shows_stands_in_the_shop(block: str) -> None:
    for part in re.split(r"\n{2,}", block.strip()):
        assert re.sub(r"\s+", "", part.replace("@shop_as_it_was.invariant\n", "")) in re.sub(r"\s+", "", CODE)


def test_the_command_tells_the_story_that_the_page_tells() -> None:
    shown = blocks("text")[0]

    told = CliRunner().invoke(app, ["simulate", str(SHOP), "--pipeline", "naive"])

    effects = r"→ \w+|calls \w+ of run-1, attempt \d|fails after its work|again: farandole simulate"
    assert re.findall(effects, shown)
    assert re.findall(effects, told.output) == re.findall(effects, shown)


def test_a_stale_writer_is_found_too() -> None:
    """`reserve` ignores the fencing token: found once `charge` is not looked at any more."""
    script = (
        "import sys; sys.path.insert(0, '.')\n"
        "import test_simulation as it\n"
        "only = it.Simulation(it.naive, params=it.an_order)\n"
        "only.before(it.nothing_has_happened)\n"
        "only.invariant(it.who_has_lost_a_step_writes_no_more)\n"
        "print(only.check(300).failure)\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=SHOP, capture_output=True, text=True, timeout=110, check=True
    )

    assert "an older writer overwrote a newer one" in ran.stdout
    assert "stands still" in ran.stdout
