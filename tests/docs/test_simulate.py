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


def charged_twice(story: str) -> str:
    """The order that a story says was charged twice, and which it shows twice at the bank; the claim of the page."""
    found = re.search(
        r"^naive, seed (\d+): no_order_is_charged_twice\n  AssertionError: (\S+) was charged (\d) times", story
    )
    assert found, story
    seed, order, times = found.groups()
    assert story.count(f"→ charged order={order} ") == int(times) > 1, story
    assert re.search(r"calls charge of (\S+), attempt \d.*calls charge of \1, attempt \d", story, re.S), story
    assert f"--pipeline naive --from {seed} --seeds 1" in story
    return order


@pytest.mark.parametrize("told", ["by the page", "by the command"])
def test_the_story_of_the_shop_is_an_order_charged_twice_and_how_to_live_it_again(told: str) -> None:
    """Which mishap of which seed leads there is the dice's, and changes with each change of the engine."""
    if told == "by the page":
        story = blocks("text")[0]
    else:
        story = CliRunner().invoke(app, ["simulate", str(SHOP), "--pipeline", "naive"]).output

    assert charged_twice(story).startswith("o-")


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
