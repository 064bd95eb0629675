"""What pages for users show must be so: commands exist with their options, code stands in a file that tests run."""

import ast
import os
import re
import shlex
import subprocess
import time
import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from farandole.cli.main import app
from farandole.cli.settings import load_settings

DOCS = Path(__file__).parents[2] / "docs"
PAGES = sorted([*(DOCS / "how-to").rglob("*.md"), *(DOCS / "tutorial").glob("*.md")])
BLOCKS = [
    (page.name, *found)
    for page in PAGES
    for found in re.findall(r"^```(\w+)[^\n]*\n(.*?)^```$", page.read_text(), re.S | re.M)
]
GREETINGS = (DOCS.parent / "framework/farandole/cli/init/templates/minimal/tests/test_greetings.py").read_text()
CLIPS = (DOCS / "how-to" / "clips" / "test_clips.py").read_text()


def commands() -> list[tuple[str, str]]:
    """Every line of a `sh` block that calls us, without what comes before it and what the shell does with it."""
    found = []
    for page, language, text in BLOCKS:
        joined = text.replace("\\\n", " ")
        for line in joined.splitlines() if language == "sh" else ():
            if match := re.match(r"(?:[A-Z_]+=\S+ )*farandole (.*)", line):
                found.append((page, match[1]))
    return found


@pytest.mark.parametrize(("page", "line"), commands(), ids=lambda each: str(each))
def test_command_on_a_page_exists_with_its_options(page: str, line: str) -> None:
    words = [word for word in shlex.split(line, comments=True) if word not in ("<", ">", "|", "&")]
    verbs = [word for word in words[:2] if re.fullmatch(r"[a-z][a-z-]*", word)]
    options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}

    told = CliRunner().invoke(app, [*verbs, "--help"], env={"COLUMNS": "200"})

    assert told.exit_code == 0, told.output
    missing = [option for option in options if not re.search(rf"(^|[\s,]){re.escape(option)}\b", told.output)]
    assert not missing, f"{page}: {missing} of {line}"


@pytest.mark.parametrize("text", [text for page, language, text in BLOCKS if (page, language) == ("test.md", "python")])
def test_test_on_the_page_is_one_that_runs(text: str) -> None:
    """The template's, or those of the clips, which `test_writing.py` runs."""
    assert text.strip() in GREETINGS + CLIPS


@pytest.mark.parametrize(
    ("page", "text"), [(page, text) for page, language, text in BLOCKS if language == "python" and page != "test.md"]
)
def test_python_on_a_page_parses(page: str, text: str) -> None:
    compile(text, page, "exec", flags=ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert text.strip()


@pytest.mark.parametrize(
    "text", [text for page, language, text in BLOCKS if (page, language) == ("operate.md", "toml")]
)
def test_settings_on_the_page_of_operations_are_settings(text: str, tmp_path: Path) -> None:
    file = tmp_path / "farandole.toml"
    file.write_text(text)

    settings = load_settings(file)

    assert tomllib.loads(text).items() <= settings.model_dump().items()


def test_links_between_pages_lead_somewhere() -> None:
    dead = [
        f"{page.relative_to(DOCS)}: {link}"
        for page in DOCS.rglob("*.md")
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / link).exists()
    ]

    assert not dead


def test_store_is_cleared_as_the_page_says_and_the_archive_in_it_is_not(tmp_path: Path) -> None:
    """`find` refused the command that stood there: `-prune` has no effect beside `-delete`."""
    long_ago = time.time() - 101 * 24 * 3600
    old, young, kept = (tmp_path / name for name in ("ab/old", "ab/young", "archive/events/0/1.avro"))
    for each in (old, young, kept):
        each.parent.mkdir(parents=True, exist_ok=True)
        each.touch()
    for each in (old, kept):
        os.utime(each, (long_ago, long_ago))
    (line,) = [line for page, _, text in BLOCKS for line in text.splitlines() if line.startswith("find ")]

    words = shlex.split(line.replace("/mnt/shop/artifacts", str(tmp_path)))
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)

    assert (done.returncode, done.stdout.split(), done.stderr) == (0, [str(old)], "")
    assert [each.exists() for each in (old, young, kept)] == [False, True, True]
