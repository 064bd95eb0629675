"""Units loaded by path, the orders sample, and what is said of a definition."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from unittest.mock import create_autospec

import pytest

from farandole.definition.calling import arguments, result_plain
from farandole.definition.context import Context
from farandole.definition.describe import describe
from farandole.definition.inputs import holds, inbox_value
from farandole.definition.loading import Unit, load_unit
from farandole.errors import DefinitionError
from farandole.events.avro import Schema

SAMPLE = Path(__file__).parents[2] / "agents" / "orders"


SHARES = """
from farandole import agent, pipeline
from shared import label

@agent
def greet(name: str) -> str:
    return label(name)

@pipeline(owner="tests@example.org")
def hello(name: str) -> str:
    return greet(name)
"""


@pytest.fixture(autouse=True)
def path_of_this_test_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading leaves the unit's folder on the path."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def write(tmp_path: Path, unique: str) -> Callable[..., Path]:
    """Files of a unit: text by name; `RECORDS` stands for a module name of its own."""

    def files(**texts: str) -> Path:
        for name, text in texts.items():
            suffix = ".yaml" if name.endswith("_yaml") else ".py"
            stem = name.removesuffix("_yaml").replace("RECORDS", f"records_{unique}")
            (tmp_path / f"{stem}{suffix}").write_text(dedent(text).replace("RECORDS", f"records_{unique}"))
        return tmp_path

    return files


RECORDS = """
from dataclasses import dataclass

@dataclass(frozen=True)
class Thing:
    n: int
"""

TAKE = """
from RECORDS import Thing
from farandole import agent

@agent
def take(thing: Thing) -> Thing:
    return thing
"""

TAKES = """
pipeline: takes
agents: ./agents.py
params: {thing: Thing}
steps:
  take: {with: {thing: "${params.thing}"}}
output: "${take}"
"""


@pytest.mark.parametrize("path", ["", "agents.py", "orders.yaml"])
def test_orders_have_one_hash_however_they_are_loaded(path: str) -> None:
    unit, whole = load_unit(SAMPLE / path), load_unit(SAMPLE)

    assert unit.pipelines["orders"].definition.hash == whole.pipelines["orders"].definition.hash
    assert sorted(unit.agents) == ["charge", "notify", "reserve", "review", "ship", "validate"]


def test_orders_from_yaml_alone_are_the_same_definition(write: Callable[..., Path]) -> None:
    folder = write(agents=(SAMPLE / "agents.py").read_text().split("@pipeline")[0])
    (folder / "orders.yaml").write_text((SAMPLE / "orders.yaml").read_text())

    unit = load_unit(folder)

    assert unit.pipelines["orders"].place.endswith("orders.yaml:2:1")
    assert unit.pipelines["orders"].definition.hash == load_unit(SAMPLE).pipelines["orders"].definition.hash
    assert unit.pipelines["orders"].result_type is unit.agents["ship"].result


def run_by_hand(unit: Unit, params: dict[str, object]) -> dict[str, object]:
    """Each step once, in order, with its values through Avro; skipped ones give None."""
    definition = unit.pipelines["orders"].definition
    context = create_autospec(Context, instance=True)
    context.idempotency_key = "o-1:charge:-"
    env: dict[str, object] = {
        "params": Schema.parse(definition.params_schema).decode(_framed(definition.params_schema, params))
    }
    for step in definition.steps.values():
        spec = unit.agents[step.agent]
        if not holds(step, env):
            env[step.name] = None
            continue
        schema = Schema.parse(step.input_schema)
        given = arguments(spec, schema.decode(schema.encode(inbox_value(step, env))))
        if spec.context_parameter:
            given[spec.context_parameter] = context
        result = spec.handler(**given)
        plain = result_plain(spec, asyncio.run(result) if spec.is_async else result)
        env[step.name] = Schema.parse(step.output_schema).decode(_framed(step.output_schema, plain))
    return env


def _framed(schema: str, plain: object) -> bytes:
    return Schema.parse(schema).encode(plain)


@pytest.mark.parametrize(("quantity", "reviewed"), [(1, False), (3, True)])
def test_orders_run_by_hand_give_their_label(quantity: int, reviewed: bool) -> None:
    unit = load_unit(SAMPLE)
    line = {"sku": "a", "quantity": quantity, "price": 500}
    order = {"id": "o-1", "customer": "ann", "lines": [line], "total": 0}

    env = run_by_hand(unit, {"order": order})

    assert env["ship"] == {
        "order": "o-1",
        "parcel": "4393dd3da725",
        "pieces": quantity,
        "reviewed": reviewed,
    }
    assert (env["review"] is not None) is reviewed
    label = unit.pipelines["orders"].result_from_plain(env["ship"])
    assert type(label).__name__ == "Label"


def test_modules_of_a_unit_find_each_other_and_are_loaded_once(write: Callable[..., Path]) -> None:
    folder = write(RECORDS=RECORDS, agents=TAKE, takes_yaml=TAKES)

    first, again = load_unit(folder), load_unit(folder)

    assert first.agents["take"] is again.agents["take"]
    assert first.pipelines["takes"].result_type is first.agents["take"].result
    assert "agents" not in sys.modules


@pytest.mark.parametrize(
    "command", [["check", "agents/shop"], ["simulate", "agents/shop", "--seeds", "1"]], ids=" ".join
)
def test_what_units_share_stands_in_the_project_s_folder_for_every_command(command: list[str], tmp_path: Path) -> None:
    """Only `dev` found it, whose child was started with `-m` and so had the working folder on its path."""
    (tmp_path / "farandole.toml").write_text("")
    (tmp_path / "shared.py").write_text("def label(name: str) -> str:\n    return name.upper()\n")
    (tmp_path / "agents" / "shop").mkdir(parents=True)
    (tmp_path / "agents" / "shop" / "shop.py").write_text(SHARES)

    program = str(Path(sys.executable).with_name("farandole"))
    done = subprocess.run([program, *command], cwd=tmp_path, capture_output=True, text=True, timeout=90, check=False)

    assert done.returncode == 0, done.stdout + done.stderr


def test_module_of_a_unit_goes_before_one_of_the_project(tmp_path: Path, unique: str) -> None:
    (tmp_path / "farandole.toml").write_text("")
    folder = tmp_path / "agents"
    folder.mkdir()
    (tmp_path / f"shared_{unique}.py").write_text("raise AssertionError('the other one')\n")
    (folder / f"shared_{unique}.py").write_text("def label(name: str) -> str:\n    return name\n")
    (folder / f"unit_{unique}.py").write_text(SHARES.replace("shared", f"shared_{unique}"))

    assert list(load_unit(folder).agents) == ["greet"]


def test_bodies_of_a_folder_are_found_beside_its_agents(write: Callable[..., Path], unique: str) -> None:
    body = """
    from RECORDS import Thing
    from more_RECORDS import take
    from farandole import pipeline

    @pipeline
    def twice(thing: Thing) -> Thing:
        return take(take(thing))
    """
    folder = write(RECORDS=RECORDS, more_RECORDS=TAKE, body_RECORDS=body, _private="raise SystemExit", test_it="1 / 0")

    unit = load_unit(folder)

    assert list(unit.agents) == ["take"]
    assert list(unit.pipelines["twice"].definition.steps) == ["take", "take_2"]


MAILS = """
from farandole import agent, pipeline

@agent(name="mail-out")
def first(to: str) -> str:
    return to

@agent(name="mail_out")
def second({parameter}) -> str:
    return ""

@pipeline(name="send-all")
def one(to: str) -> str:
    return first(to)

@pipeline(name="send_all")
def other({param}) -> str:
    return first("ada")
"""


@pytest.mark.parametrize(
    ("parameter", "param", "claim"),
    [
        (
            "count: int",
            "to: str",
            "agent mail_out: expected a name that differs .* by more than - and _, but found mail-out",
        ),
        (
            "to: str",
            "n: int",
            "but found send-all at .* both have the name send_all_params. Rename one",
        ),
    ],
)
def test_names_that_differ_by_a_dash_alone_are_refused_where_their_records_differ(
    write: Callable[..., Path], parameter: str, param: str, claim: str
) -> None:
    """Both published the subject `mail_out_input`: a registry refused the second, or took it for a newer version."""
    with pytest.raises(DefinitionError, match=claim):
        load_unit(write(mails_RECORDS=MAILS.format(parameter=parameter, param=param)))


def test_class_that_is_called_as_the_record_of_a_yaml_files_params_is_told_with_the_place(
    write: Callable[..., Path],
) -> None:
    records = RECORDS + "\n\n@dataclass\nclass takes_params:\n    n: int\n"
    takes = TAKES.replace("params: {", "params: {more: takes_params, ") + "\n"
    folder = write(RECORDS=records, agents="from RECORDS import takes_params\n" + dedent(TAKE), takes_yaml=takes)

    with pytest.raises(DefinitionError, match=r"takes\.yaml:\d+:\d+: type takes_params: expected a class of ano"):
        load_unit(folder)


def test_names_that_differ_by_a_dash_alone_pass_where_their_records_are_the_same(write: Callable[..., Path]) -> None:
    unit = load_unit(write(mails_RECORDS=MAILS.format(parameter="to: str", param="to: str")))

    assert list(unit.agents) == ["mail-out", "mail_out"]


@pytest.mark.parametrize(
    ("files", "claim"),
    [
        (
            {"broken_RECORDS": "x = 1\n1 / 0\n"},
            ":2: expected a module that can be loaded, but it raised ZeroDivisionError",
        ),
        ({"broken_RECORDS": "def f(:\n"}, "but it raised SyntaxError"),
        ({"RECORDS": RECORDS}, "expected agents or pipelines, but found none"),
        ({"takes_yaml": TAKES}, "agents: expected the path of a .py file, but found './agents.py', and there is no /"),
        (
            {"RECORDS": RECORDS, "agents": TAKE, "a_RECORDS": TAKE},
            "agent take: expected one of this name in a unit, but found another at",
        ),
        (
            {"RECORDS": RECORDS, "agents": TAKE, "a_yaml": TAKES, "b_yaml": TAKES + "deadline: 1m\n"},
            "pipeline takes: expected one of this name in a unit, but another one is at",
        ),
        (
            {"RECORDS": RECORDS, "agents": TAKE, "a_yaml": TAKES.replace("take:", "tak:")},
            "a.yaml:6:3: takes.tak: expected the agent 'take', but found 'tak'",
        ),
    ],
)
def test_unit_that_cannot_be_loaded_says_where_and_why(
    write: Callable[..., Path], files: dict[str, str], claim: str
) -> None:
    folder = write(**files)

    with pytest.raises(DefinitionError) as refused:
        load_unit(folder)

    assert claim in str(refused.value)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("@agent(retries=3)", "did you mean retry?"),
        ("@pipeline(ownr='me')", "did you mean owner?"),
        ("POLICY = Retry(base='1x')", "expected a duration such as '10s'"),
        ("RESULT = take('x')", "expected to be called in the body of a @pipeline"),
    ],
)
def test_mistake_at_the_top_of_a_module_names_its_line_and_what_is_right(
    write: Callable[..., Path], line: str, told: str
) -> None:
    """An unknown option was a TypeError of `AgentOptions.__init__`; the others had no place at all."""
    text = f"from farandole import Retry, agent, pipeline\n@agent\ndef take(n: int) -> int:\n    return n\n{line}\n"
    folder = write(wrong=text + ("def more(n: int) -> int:\n    return n\n" if line.startswith("@") else ""))

    with pytest.raises(DefinitionError) as refused:
        load_unit(folder)

    assert str(refused.value).startswith(f"{folder / 'wrong.py'}:5: ")
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("import sys\n\nsys.exit()\n", ":3: expected a module that can be loaded, but it raised SystemExit: "),
        ("import argparse\nargparse.ArgumentParser().parse_args(['-x'])\n", ":2: expected a module that can be loaded"),
    ],
)
def test_module_that_exits_when_it_is_loaded_is_refused(write: Callable[..., Path], text: str, told: str) -> None:
    """The command ended with that code instead: `apply --yes` did nothing, said nothing, and succeeded."""
    folder = write(script_RECORDS=text)

    with pytest.raises(DefinitionError) as refused:
        load_unit(folder)

    assert told in str(refused.value)
    assert "__main__" in str(refused.value)


def test_interruption_while_a_module_loads_passes(write: Callable[..., Path], unique: str) -> None:
    folder = write(slow_RECORDS="raise KeyboardInterrupt\n")

    with pytest.raises(KeyboardInterrupt):
        load_unit(folder)

    assert f"slow_records_{unique}" not in sys.modules


@pytest.mark.parametrize(
    ("helper", "line"),
    [
        ("x = 1\nopen('/nowhere/at/all')\n", 2),
        ("x = 1\n\ndef f(:\n", 3),
        ("import json\nimport re\nimport zoneinfo\n\nzoneinfo.ZoneInfo('No/Where')\n", 5),
        ("from farandole import Retry\n\n\nPOLICY = Retry(base='1x')\n", 4),
    ],
    ids=["its own code", "its syntax", "a library that it calls", "ours"],
)
def test_helper_that_cannot_be_loaded_is_named_instead_of_who_imports_it(
    write: Callable[..., Path], unique: str, helper: str, line: int
) -> None:
    """The file that imported it was told, at the line of the import."""
    folder = write(a_RECORDS="import helper_RECORDS\n", helper_RECORDS=helper)

    with pytest.raises(DefinitionError) as refused:
        load_unit(folder / f"a_records_{unique}.py")

    assert str(refused.value).startswith(f"{folder / f'helper_records_{unique}.py'}:{line}: ")


def test_unit_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"expected a folder, a \.py or a \.yaml file"):
        load_unit(tmp_path / "gone")


def test_yaml_of_others_in_a_folder_is_left_alone(write: Callable[..., Path]) -> None:
    folder = write(RECORDS=RECORDS, agents=TAKE, compose_yaml="services: {kafka: {image: x}}\n")

    assert list(load_unit(folder).agents) == ["take"]


def test_file_too_large_for_a_pipeline_is_refused_and_one_of_others_is_left_alone(write: Callable[..., Path]) -> None:
    folder = write(agents=TAKE, RECORDS=RECORDS, dump_yaml="- 1\n" * 200_000 + "steps: 1\n")
    large = folder / "large.yaml"

    assert list(load_unit(folder).agents) == ["take"]
    large.write_text("pipeline: p\n" + "# x\n" * 200_000)
    with pytest.raises(DefinitionError, match="expected at most 262,144 bytes, but found more"):
        load_unit(folder)


def test_description_of_orders_says_who_fires_what() -> None:
    definition = load_unit(SAMPLE).pipelines["orders"].definition

    lines = describe(definition).splitlines()

    assert lines[:5] == [
        f"orders  {definition.hash[:12]}  owner shop@example.org  deadline 10m",
        "  From an order to its parcel.",
        "  takes  order: Order",
        "  gives  ship: Label",
        "",
    ]
    assert [line.split("  ") for line in map(squeezed, lines[5:])] == [
        ["step", "waits for", "fired by", "tries", "timeout"],
        ["validate", "-", "coordinator", "3, 1s to 1m", "-"],
        ["charge", "validate", "agent of validate", "3, 1s to 1m", "10s"],
        ["reserve", "validate", "agent of validate", "3, 1s to 1m", "-"],
        ["review", "validate", "agent of validate", "3, 1s to 1m", "-", "when validate.total > 1000"],
        ["ship", "validate, charge, reserve, maybe review", "coordinator", "3, 1s to 1m", "-"],
        ["notify", "validate, ship", "coordinator", "10, 1s to 1m", "-"],
    ]


def squeezed(line: str) -> str:
    """A row with two blanks between its cells."""
    return re.sub(" {2,}", "  ", line)


def test_import_of_the_package_is_quick_and_lazy() -> None:
    # In time of the processor: beside other workers the wall says nothing.
    code = (
        "import sys, time; start = time.process_time(); import farandole; took = time.process_time() - start;"
        "assert not {'cel', 'pydantic', 'confluent_kafka', 'aiokafka', 'yaml'} & set(sys.modules), sys.modules.keys();"
        "farandole.agent, farandole.pipeline, farandole.Retry, farandole.RunFailed; dir(farandole);"
        "assert not {'cel', 'confluent_kafka', 'aiokafka'} & set(sys.modules); print(took)"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr
    assert float(ran.stdout) < 0.15


def test_name_that_the_package_does_not_have_is_refused() -> None:
    import farandole

    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        farandole.nonsense  # noqa: B018
