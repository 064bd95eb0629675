"""What the README shows must be so: its Python parses, its commands exist, its order starts a run."""

import ast
import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from farandole.cli.main import app
from farandole.definition.loading import load_unit
from farandole.events.avro import Schema, SchemaBook

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.S)
COMMANDS = [
    words
    for language, text in BLOCKS
    if language == "sh"
    for line in text.splitlines()
    if line.startswith("farandole ") and (words := line.partition(" &&")[0].split(" #")[0].split()[1:])
]


@pytest.mark.parametrize("text", [text for language, text in BLOCKS if language == "python"])
def test_the_readme_s_python_parses(text: str) -> None:
    assert ast.parse(text).body


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_of_the_readme_exists_with_its_options(words: list[str]) -> None:
    path = [word for word in words[:2] if re.fullmatch(r"[a-z]+", word)]
    options = [word for word in words if word.startswith("--")]

    told = CliRunner().invoke(app, [*path, "--help"], env={"COLUMNS": "200"})

    assert told.exit_code == 0, told.output
    assert all(option in told.output for option in options), told.output


def test_the_readme_s_command_for_kcat_fits_the_sample() -> None:
    found = re.search(r"echo '(\{.*?\})' \\", README)
    assert found is not None
    command = json.loads(found[1])

    definition = load_unit(REPOSITORY / "agents" / "orders").pipelines[command["pipeline"]].definition

    schema = Schema.parse(definition.params_schema)
    assert SchemaBook([schema]).decode_as(schema, json.dumps(command["params"]).encode())


def test_the_readme_repairs_the_run_that_it_started() -> None:
    replayed = set(re.findall(r"dead replay --run (\S+)", README))

    assert replayed
    assert replayed <= set(re.findall(r"run start \w+ .*--id (\S+)", README))
