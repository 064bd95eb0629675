"""What the pages on writing pipelines and on starting runs show stands in files; those of pipelines run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from farandole.cli.main import app

DOCS = Path(__file__).parents[2] / "docs"
CLIPS = DOCS / "how-to" / "clips"
FILES = {
    "python": "\n".join(
        path.read_text() for name in ("clips", "starting") for path in (CLIPS.parent / name).glob("*.py")
    ),
    "yaml": (CLIPS / "clips.yaml").read_text(),
}
SHOWN = [
    (language, text)
    for page in ("reference/writing-pipelines.md", "how-to/start-from-code.md")
    for language, text in re.findall(r"^```(python|yaml)\n(.*?)^```", (DOCS / page).read_text(), re.S | re.M)
]


def test_the_pipeline_in_yaml_is_the_one_in_python() -> None:
    """A unit holds one pipeline of a name: a file that differs from the module would be refused."""
    told = CliRunner().invoke(app, ["check", str(CLIPS)])

    assert told.exit_code == 0, told.output
    assert (CLIPS / "clips.yaml").read_text().startswith("pipeline: clips\n")
    assert {"pipeline clips", "pipeline offers"} <= {" ".join(line.split()[:2]) for line in told.output.splitlines()}


def test_the_tests_of_the_clips_pass_as_a_user_runs_them() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=prepend", "-c", "/dev/null",
         str(CLIPS)],
        cwd=CLIPS, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "8 passed" in ran.stdout


@pytest.mark.parametrize(("language", "text"), SHOWN)
def test_code_on_the_page_stands_in_a_file(language: str, text: str) -> None:
    missing = [part for part in re.split(r"\n{3,}", text.strip()) if part.strip() not in FILES[language]]

    assert not missing
