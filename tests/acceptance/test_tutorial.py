"""A newcomer's ten minutes: docs/tutorial/first-pipeline.md is the script, and what it shows is what comes.

An empty folder, an environment with the wheel in it, two terminals (`farandole.testing.pages` says how it is read).
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from farandole.testing.pages import Reader, blocks, edit, pattern_of

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "first-pipeline.md"
ON_KAFKA = "## On Kafka"


@pytest.fixture
def reader(newcomer: Mapping[str, str], tmp_path: Path) -> Iterator[Reader]:
    """Somebody with the wheel, a folder and a page."""
    folder = tmp_path / "empty"
    folder.mkdir()
    made = Reader(folder, newcomer, folder / "shop")
    yield made
    made.close()


@pytest.mark.timeout(400)
def test_a_newcomer_goes_through_the_tutorial_with_nothing_but_the_wheel(reader: Reader) -> None:
    reader.follow(PAGE.read_text().partition(ON_KAFKA)[0])

    assert "Traceback" not in reader.terminals["terminal 1"].log.read_text()
    assert "ready after" in reader.terminals["terminal 1"].log.read_text()


@pytest.mark.timeout(400)
def test_the_end_of_the_tutorial_runs_on_a_real_kafka(
    newcomer: Mapping[str, str], kafka: str, unique: str, tmp_path: Path
) -> None:
    page, _, rest = PAGE.read_text().partition(ON_KAFKA)
    edits = [block for block in blocks(page) if block.language == "diff"]
    folder = tmp_path / "empty"
    folder.mkdir()
    subprocess.run(["farandole", "init", "shop"], cwd=folder, env=dict(newcomer), check=True, capture_output=True)
    for each in edits:
        edit(folder / "shop" / each.title, each.text)
    reader = Reader(folder / "shop", {**newcomer, "FARANDOLE_NAMESPACE": unique}, folder / "shop")

    try:
        reader.follow(rest.replace("localhost:9092", kafka).replace("shop.commands", f"{unique}.commands"))
        reader.terminals["terminal 1"].type("^C")
        said = reader.terminals["terminal 1"].finish()
    finally:
        reader.close()

    assert "ending: what has begun is finished first" in said
    assert "hello-5" in said or "hello-5" in reader.terminals["terminal 1"].log.read_text()


@pytest.mark.parametrize(
    ("line", "shown", "fits"),
    [
        ("02:58:14.473  run  hello-1  done", "11:00:00.001  run    hello-1  done", True),
        ("greeting  …, fired send", "greeting  0 ms, fired send", True),
        ("ready after 1.4 s; starts", "ready after 12.0 s; starts", True),
        ("in 5 min 35 s  asked", "in 3 s  asked", True),
        ("attempt 1", "attempt 2", False),
        ("hello-1  held", "hello-1  succeeded", False),
    ],
)
def test_a_line_of_the_page_fits_what_differs_in_time_only(line: str, shown: str, fits: bool) -> None:
    assert bool(re.fullmatch(pattern_of(line), shown)) is fits
