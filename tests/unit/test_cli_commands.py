"""The command line from outside: what it prints, how it fails, and what it does not import."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer import Typer
from typer.testing import CliRunner

from farandole.cli import connect
from farandole.cli.exit_codes import EXIT_CODES, OUTCOMES, as_markdown
from farandole.cli.group import ReportingGroup
from farandole.cli.main import app
from farandole.cli.overview import SECTIONS
from farandole.cli.settings import Settings
from farandole.client.applying import apply, plan
from farandole.client.planning import Deployment
from farandole.errors import TransportError
from farandole.events.topics import Topics
from farandole.transport.memory import MemoryTransport

FLIGHTS = Path(__file__).parents[2] / "agents" / "flights"

UNIT = """
from farandole import agent, pipeline

@agent(publishes=["numbers.done"])
def double(number: int) -> int:
    return 2 * number

@pipeline(owner="tests@example.org")
def twice(number: int) -> int:
    return double(number)
"""

COMMANDS = [
    ["check"], ["plan"], ["apply"], ["agent", "run"], ["agent", "list"], ["agent", "move"],
    ["agent", "reposition"], ["coordinator", "run"], ["coordinator", "reposition"],
    ["run", "start"], ["run", "rerun"], ["run", "list"], ["run", "show"], ["run", "watch"], ["run", "events"],
    ["run", "result"], ["run", "cancel"], ["run", "release"], ["dead", "list"], ["dead", "show"], ["dead", "replay"],
    ["dead", "edit"], ["dead", "discard"], ["dead", "export"], ["lag"], ["lineage"], ["verify"], ["state", "rebuild"],
    ["topics", "list"], ["topics", "describe"], ["topics", "consume"], ["topics", "produce"], ["schema", "list"],
    ["schema", "show"], ["schema", "check"], ["schema", "diff"], ["simulate"], ["demo"], ["exit-codes"], ["version"],
    ["config", "show"], ["config", "reference"], ["acls"], ["doctor"], ["archive", "run"], ["archive", "list"],
    ["init"], ["dev"], ["transactions", "list"], ["transactions", "end"],
]  # fmt: skip


@pytest.fixture
def cli() -> CliRunner:
    """Runs commands in this process."""
    return CliRunner()


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> MemoryTransport:
    """A log in memory that every command talks to."""
    transport = MemoryTransport()
    monkeypatch.chdir(tmp_path)
    for module in ("farandole.cli.connect",):
        monkeypatch.setattr(f"{module}.transport_of", lambda settings: transport)
    return transport


@pytest.fixture
def unit(tmp_path: Path, unique: str) -> Path:
    """A folder with one agent and one pipeline."""
    folder = tmp_path / unique
    folder.mkdir()
    (folder / f"unit_{unique}.py").write_text(UNIT)
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_of_every_command_tells_what_it_does(cli: CliRunner, command: list[str]) -> None:
    result = cli.invoke(app, [*command, "--help"])

    assert result.exit_code == 0
    assert "Usage:" in result.output


SPEECHLESS = ("run", "dev", "reference")
"""Processes, whose logs have a format of their own, and a page that is Markdown."""


@pytest.mark.parametrize("command", [c for c in COMMANDS if c[-1] not in SPEECHLESS], ids=" ".join)
def test_every_command_but_the_processes_speaks_json(cli: CliRunner, command: list[str]) -> None:
    result = cli.invoke(app, [*command, "--help"])

    assert "--json" in result.output


HEAVY = [
    "confluent_kafka", "aiokafka", "fastavro", "asyncio", "rich", "cel",
    "farandole.definition.agents", "farandole.client", "farandole.cli.settings",
]  # fmt: skip
"""What takes a good part of the 200 ms in which help must be there; a count of modules depends on no machine.

`pydantic` itself is typer's: it builds its parameters with it as soon as a command has one.
"""


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["--show-completion", "bash"]], ids=" ".join)
def test_help_and_completion_import_nothing_heavy(words: list[str]) -> None:
    heavy = [*HEAVY, "pydantic"] if words == ["--help"] else HEAVY
    script = (
        "import sys\n"
        "from farandole.cli.main import app\n"
        f"try:\n    app({words!r})\nexcept SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", script],
        # Else typer looks for a shell among its ancestors, and a run in the background has none.
        env={**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )

    assert ran.stderr.strip() == "[]"


def test_help_of_no_command_imports_anything_heavy() -> None:
    script = (
        "import sys\n"
        "from farandole.cli.main import app\n"
        f"for words in {COMMANDS!r}:\n"
        "    try:\n        app([*words, '--help'])\n    except SystemExit:\n        pass\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )

    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert ran.stderr.strip() == "[]"
    assert ran.stdout.count("Usage:") == len(COMMANDS)


def test_every_command_is_in_the_list_above() -> None:
    def commands(app: Typer, *path: str) -> list[list[str]]:
        own = [[*path, str(each.name or each.callback.__name__)] for each in app.registered_commands if each.callback]
        below = [commands(each.typer_instance, *path, str(each.name)) for each in app.registered_groups
                 if each.typer_instance]  # fmt: skip
        return own + [one for several in below for one in several]

    assert sorted(commands(app)) == sorted(COMMANDS)


@pytest.mark.parametrize(("words", "begins"), [(["dead", "re"], "replay"), (["schema", "sh"], "show")])
def test_shell_completes_verbs(words: list[str], begins: str) -> None:
    line = " ".join(["farandole", *words])
    asked = {"_FARANDOLE_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words))}

    ran = subprocess.run(
        [sys.executable, "-c", "from farandole.cli.main import app; app(prog_name='farandole')"],
        env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip

    assert ran.stdout.split() == [begins]


def test_exit_codes_are_those_of_the_reference(cli: CliRunner) -> None:
    page = Path(__file__).parents[2] / "docs" / "reference" / "exit-codes.md"
    codes = [each.code for each in EXIT_CODES]

    printed = cli.invoke(app, ["exit-codes"])

    assert page.read_text() == as_markdown(), "write `as_markdown()` of `farandole.cli.exit_codes` to it"
    assert codes == sorted(set(codes))
    assert set(OUTCOMES.values()) <= set(codes)
    assert [line.split()[0] for line in printed.output.splitlines()[1:]] == [str(code) for code in codes]


def test_output_that_is_closed_by_its_reader_ends_the_command_quietly() -> None:
    script = "from farandole.cli.main import app; app(['exit-codes'])"
    shell = f'{sys.executable} -c "{script}" | true; exit ${{PIPESTATUS[0]}}'

    ran = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=60, check=False)

    assert (ran.returncode, ran.stderr) == (1, "")


def test_unreachable_log_exits_with_3_and_says_where_to_look(
    cli: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)

    def unreachable(settings: Settings) -> MemoryTransport:
        raise TransportError("nowhere:1: cannot be reached")

    monkeypatch.setattr("farandole.cli.connect.transport_of", unreachable)
    result = cli.invoke(app, ["lag", "--bootstrap", "nowhere:1"])

    assert result.exit_code == 3
    assert "farandole.toml" in result.output


@pytest.mark.parametrize("age", ["0s", "-1d", "old"])
def test_age_that_is_no_duration_is_told_with_its_option(cli: CliRunner, tmp_path: Path, age: str) -> None:
    """It said what it expected and not of what: the command has other options that could be meant."""
    told = cli.invoke(app, ["archive", "run", "--older-than", age, "--into", str(tmp_path)])

    assert told.exit_code == 2
    assert "--older-than: expected a duration" in told.output


def test_version_is_that_of_the_package(cli: CliRunner) -> None:
    result = cli.invoke(app, ["version", "--json"])

    assert json.loads(result.output)["version"]


def test_version_is_told_by_a_flag_too(cli: CliRunner) -> None:
    assert cli.invoke(app, ["--version"]).output == cli.invoke(app, ["version"]).output


def test_pipeline_without_an_owner_is_warned_of_by_check_and_refused_by_apply_with_a_way_out(
    cli: CliRunner, log: MemoryTransport, unit: Path
) -> None:
    """`check` said that `apply` would ask for one; it did not, and named neither a place nor what to write."""
    file = next(unit.glob("*.py"))
    file.write_text(file.read_text().replace('@pipeline(owner="tests@example.org")', "@pipeline"))

    checked, applied = cli.invoke(app, ["check", str(unit)]), cli.invoke(app, ["apply", str(unit), "--yes"])

    assert (checked.exit_code, applied.exit_code) == (0, 2)
    for told in (checked.output, applied.output):
        assert 'add @pipeline(owner="you@example.org")' in told
    assert "will ask" not in checked.output


def test_plan_that_is_refused_says_so_once_and_not_that_there_is_nothing_to_do(
    cli: CliRunner, log: MemoryTransport, unit: Path
) -> None:
    assert cli.invoke(app, ["apply", str(unit), "--yes"]).exit_code == 0

    refused = cli.invoke(app, ["plan", str(unit), "--unit", "other"])

    assert refused.exit_code == 2
    assert refused.output.count("expected its inbox to belong to unit other") == 1
    assert "nothing to do" not in refused.output
    assert "farandole agent move double --to other" in refused.output


def test_check_of_a_folder_of_units_names_them(cli: CliRunner, unit: Path, tmp_path: Path) -> None:
    result = cli.invoke(app, ["check", str(tmp_path)])

    assert result.exit_code == 2
    assert str(unit) in result.output.replace("\n", "")


def test_simulate_of_a_folder_whose_name_is_none_does_not_advise_an_option_that_it_lacks(
    cli: CliRunner, unit: Path
) -> None:
    """It said "pass --unit NAME", and was refused with that as well."""
    result = cli.invoke(app, ["simulate", str(unit.rename(unit.with_name("My Shop")))])

    assert result.exit_code == 2
    assert "rename the folder" in result.output
    assert "--unit" not in result.output


def test_check_describes_agents_and_steps(cli: CliRunner) -> None:
    result = cli.invoke(app, ["check", str(FLIGHTS)])

    assert result.exit_code == 0
    assert "pipeline nightly" in result.output
    assert "for each item of extract" in result.output
    assert "fired by its agent" in result.output


def test_check_of_a_broken_unit_names_the_place_and_exits_with_2(cli: CliRunner, unit: Path) -> None:
    (unit / "broken.py").write_text("from farandole import agent\n\n@agent\ndef lost(n: int):\n    return n\n")

    result = cli.invoke(app, ["check", str(unit)])

    assert result.exit_code == 2
    assert "broken.py:3" in result.output
    assert "Traceback" not in result.output


def test_check_of_a_missing_path_exits_with_2(cli: CliRunner) -> None:
    result = cli.invoke(app, ["check", "nowhere"])

    assert result.exit_code == 2
    assert "does not exist" in result.output


def test_unknown_option_exits_with_2(cli: CliRunner) -> None:
    result = cli.invoke(app, ["run", "list", "--nonsense"])

    assert result.exit_code == 2


def test_plan_shows_and_changes_nothing(cli: CliRunner, log: MemoryTransport, unit: Path) -> None:
    result = cli.invoke(app, ["plan", str(unit)])

    assert result.exit_code == 0, result.output
    assert "create topic farandole.inbox.double: 12 partitions" in result.output
    assert "create topic numbers.done" in result.output
    assert log.admin().topics() == {}


def test_apply_does_what_plan_showed_and_then_nothing_is_left(cli: CliRunner, log: MemoryTransport, unit: Path) -> None:
    applied = cli.invoke(app, ["apply", str(unit), "--yes"])
    again = cli.invoke(app, ["plan", str(unit), "--json"])

    assert applied.exit_code == 0, applied.output
    assert "farandole.events" in log.admin().topics()
    assert json.loads(again.output)["empty"] is True


def test_apply_that_is_declined_changes_nothing(cli: CliRunner, log: MemoryTransport, unit: Path) -> None:
    result = cli.invoke(app, ["apply", str(unit)], input="n\n")

    assert result.exit_code == 1
    assert log.admin().topics() == {}


def test_apply_of_a_foreign_inbox_is_refused_with_2(cli: CliRunner, log: MemoryTransport, unit: Path) -> None:
    apply(log, plan(log, Topics(), Deployment("bank", ("double",)), partitions=3))

    result = cli.invoke(app, ["apply", str(unit), "--yes"])

    assert result.exit_code == 2
    assert "belongs to bank" in result.output


def test_apply_in_production_makes_topics_with_three_replicas_of_which_two_must_have_it(
    cli: CliRunner, log: MemoryTransport, unit: Path, tmp_path: Path
) -> None:
    settings = 'profile = "production"\nallow_plaintext = true\nbootstrap = "kafka:9092"\nartifacts = "store"\n'
    (tmp_path / "farandole.toml").write_text(settings)

    applied = cli.invoke(app, ["apply", str(unit), "--yes"])

    assert applied.exit_code == 0, applied.output
    made = log.admin().topics()
    assert {spec.config["min.insync.replicas"] for spec in made.values()} == {"2"}
    assert {"farandole.runs", "farandole.inbox.double", "numbers.done"} <= made.keys()


def test_topic_files_override_what_is_declared(cli: CliRunner, log: MemoryTransport, unit: Path) -> None:
    folder = Path("topics")
    folder.mkdir()
    (folder / "events.yaml").write_text('topic: "<ns>.events"\nconfig: {retention.ms: "1"}\n')

    result = cli.invoke(app, ["apply", str(unit), "--yes"])

    assert result.exit_code == 0, result.output
    assert log.admin().topics()["farandole.events"].config["retention.ms"] == "1"


def test_topic_file_with_an_unknown_key_is_refused_with_2(cli: CliRunner, log: MemoryTransport, unit: Path) -> None:
    folder = Path("topics")
    folder.mkdir()
    (folder / "events.yaml").write_text('topic: "<ns>.events"\nretention: 1\n')

    result = cli.invoke(app, ["plan", str(unit)])

    assert result.exit_code == 2
    assert "retention" in result.output


@pytest.mark.parametrize(
    "command",
    [
        ["run", "list"],
        ["run", "show", "r-1"],
        ["run", "start", "orders"],
        ["lineage", "r-1"],
        ["dead", "list"],
        ["run", "result", "r-1"],
        ["run", "events", "r-1"],
        ["lag"],
        ["agent", "list"],
        ["schema", "list"],
        ["state", "rebuild", "--check"],
        ["agent", "move", "a", "--to", "b"],
        ["agent", "reposition", "a"],
        ["coordinator", "reposition"],
        ["dead", "export"],
    ],
    ids=" ".join,
)
def test_command_on_a_namespace_never_applied_names_apply(
    cli: CliRunner, log: MemoryTransport, command: list[str]
) -> None:
    result = cli.invoke(app, command)

    assert result.exit_code == 2
    assert "farandole apply" in result.output
    assert "Traceback" not in result.output


def test_process_on_a_namespace_never_applied_refuses_with_2(cli: CliRunner, log: MemoryTransport, unit: Path) -> None:
    agents = cli.invoke(app, ["agent", "run", str(unit)])
    coordinator = cli.invoke(app, ["coordinator", "run"])

    assert (agents.exit_code, coordinator.exit_code) == (2, 2)
    assert "farandole.inbox.double: missing" in agents.output
    assert "Nothing was started" in coordinator.output


def test_settings_reach_the_transport(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)

    settings = connect.settings_of(None, "elsewhere:9092", "shop")

    assert isinstance(settings, Settings)
    assert (settings.bootstrap, connect.topics_of(settings).events) == ("elsewhere:9092", "shop.events")


def test_help_lists_every_command_once_by_what_people_do(cli: CliRunner) -> None:
    told = cli.invoke(app, ["--help"], env={"COLUMNS": "80"}).output

    listed = [name for names in SECTIONS.values() for name in names]
    group = typer.main.get_command(app)
    assert isinstance(group, ReportingGroup)
    assert sorted(listed) == sorted(group.commands)
    places = [told.index(f"\n  {name} ") for name in listed]
    assert places == sorted(places)
    assert [told.index(f"\n{heading}:") for heading in SECTIONS] == sorted(
        told.index(f"\n{head}:") for head in SECTIONS
    )
