"""The pages of daily operations are scripts: each is followed in a fresh project, and what it shows is what comes."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from farandole.testing.pages import Reader, blocks

OPERATE = Path(__file__).parents[2] / "docs" / "how-to" / "operate"
PAGES = sorted(page.name for page in OPERATE.glob("*.md"))


@pytest.fixture
def reader(tmp_path: Path, environment: dict[str, str]) -> Iterator[Reader]:
    """Somebody in a project of their own."""
    subprocess.run(["farandole", "init", "shop"], cwd=tmp_path, env=environment, check=True, capture_output=True)
    for program in OPERATE.glob("*.py"):
        shutil.copy(program, tmp_path / "shop")
    made = Reader(tmp_path / "shop", environment, tmp_path / "shop")
    yield made
    made.close()


@pytest.fixture
def environment() -> dict[str, str]:
    """The command on the path, and no settings of this machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{kept['PATH']}", "NO_COLOR": "1"}


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", PAGES)
def test_page_of_an_operation_does_what_it_says(page: str, reader: Reader) -> None:
    reader.follow((OPERATE / page).read_text())

    assert reader.terminals
    for terminal in reader.terminals.values():
        assert "Traceback" not in terminal.log.read_text()


@pytest.mark.parametrize("page", PAGES)
def test_page_of_an_operation_compares_what_it_types(page: str) -> None:
    found = blocks((OPERATE / page).read_text())

    assert sum(each.language == "sh" for each in found) >= 2
    assert sum(each.language == "text" for each in found) >= 1


def test_program_on_a_page_is_part_of_the_one_that_is_run() -> None:
    code = "".join(program.read_text() for program in OPERATE.glob("*.py"))
    shown = [text for page in PAGES for text in re.findall(r"```python\n(.*?)```", (OPERATE / page).read_text(), re.S)]

    assert shown
    assert all(text.strip() in code for text in shown)
