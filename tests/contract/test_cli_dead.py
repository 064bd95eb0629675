"""`farandole dead …` and what repairs a run, against a running deployment in memory."""

import base64
import json
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from farandole import Retry, agent, pipeline
from farandole.client.direct import start_trigger
from farandole.events.avro import Schema
from farandole.events.outgoing import Origin, trigger_record
from farandole.events.topics import Topics
from farandole.testing.inprocess import InProcess
from farandole.transport.memory import MemoryTransport
from farandole.transport.port import NewRecord

Typed = Callable[..., Result]


@dataclass(frozen=True)
class Number:
    """What travels."""

    n: int


@agent(retry=Retry(attempts=1))
def double(number: Number) -> Number:
    """Fails for what is above a hundred."""
    if number.n > 100:
        raise ValueError("too large")
    return Number(2 * number.n)


@agent
def tell(number: Number | None) -> str:
    """Goes on without it, if it must."""
    return "nothing" if number is None else f"it is {number.n}"


@pipeline(owner="tests@example.org")
def told(number: Number) -> str:
    """Held by a large number, and of use without it."""
    return tell(double(number))


@agent(retry=Retry(attempts=1))
def stamp(raw: bytes, ratio: float, n: int) -> str:
    """Takes what JSON has no form of its own for."""
    if n > 100:
        raise ValueError("too large")
    return f"{raw.hex()} {ratio}"


@pipeline(owner="tests@example.org")
def stamped(raw: bytes, ratio: float, n: int) -> str:
    """Held by a large number."""
    return stamp(raw, ratio, n)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InProcess]:
    """A deployment of the pipeline above."""
    folder = tmp_path_factory.mktemp("cli")
    with InProcess(MemoryTransport(), [told, stamped], namespace="farandole", folder=folder) as it:
        yield it


def hold(farandole: Typed, run: str, n: int = 1000) -> str:
    """Start a run that is held; the place of its dead letter."""
    params = json.dumps({"number": {"n": n}})
    farandole("run", "start", "told", "--id", run, "--params", params, "--wait", code=11)
    groups = json.loads(farandole("dead", "list", "--run", run, "--json", code=0).stdout)
    place: str = groups[0]["letters"][0]["place"]
    return place


def result(farandole: Typed, run: str, code: int) -> object:
    """The result of a run that was let go: its end is waited for, whatever it was held by before."""
    deadline = time.monotonic() + 20
    while (found := farandole("run", "result", run, "--timeout", "20s")).exit_code == 11:
        assert time.monotonic() < deadline, found.output
    assert found.exit_code == code, found.output
    value: object = json.loads(found.stdout)
    return value


def letters(farandole: Typed, *arguments: str) -> list[dict[str, Any]]:
    """All letters that `dead list` tells."""
    groups = json.loads(farandole("dead", "list", *arguments, "--json", code=0).stdout)
    return [letter for group in groups for letter in group["letters"]]


def test_discard_asks_then_the_run_goes_on_without_the_step_and_ends_partial(farandole: Typed, unique: str) -> None:
    place = hold(farandole, unique)

    declined = farandole("dead", "discard", place, text="n\n", code=1)
    unasked = farandole("dead", "discard", place, code=1)
    rehearsed = farandole("dead", "discard", place, "--dry-run", code=0)
    assert [each["state"] for each in letters(farandole, "--run", unique)] == ["open"]
    farandole("dead", "discard", place, "--yes", "--reason", "not worth it", code=0)

    assert "Nothing was done" in declined.output
    assert "--yes" in unasked.output
    assert "would discard 1 dead letter" in rehearsed.output
    assert result(farandole, unique, 12) == "nothing"
    assert "not worth it" in farandole("run", "events", unique, code=0).output
    assert letters(farandole, "--run", unique) == []
    again = farandole("dead", "discard", place, "--yes", code=1)
    assert "closed" in again.output


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """An $EDITOR that keeps what it is shown in `shown-N` and writes the texts that it is given, one after another."""

    def make(*texts: str) -> Path:
        folder = tmp_path / "editor"
        folder.mkdir(exist_ok=True)
        for n, text in enumerate(texts):
            (folder / f"write-{n}").write_text(text)
        script = folder / "edit.py"
        script.write_text(
            "import pathlib, sys\n"
            f"folder, path = pathlib.Path({str(folder)!r}), pathlib.Path(sys.argv[1])\n"
            "n = len(list(folder.glob('shown-*')))\n"
            "(folder / f'shown-{n}').write_text(path.read_text())\n"
            "path.write_text((folder / f'write-{n}').read_text())\n"
        )
        monkeypatch.setenv("VISUAL", f"{sys.executable} {script}")
        return folder

    return make


def test_edited_payload_is_checked_and_edited_again_until_it_fits(
    farandole: Typed, unique: str, editor: Callable[..., Path]
) -> None:
    place = hold(farandole, unique)

    folder = editor('{"n": "seven"}', '{"n": 7}\n')
    edited = farandole("dead", "edit", place, text="y\n", code=0)

    assert json.loads((folder / "shown-0").read_text()) == {"n": 1000}
    assert json.loads((folder / "shown-1").read_text()) == {"n": "seven"}
    assert "seven" in edited.stderr
    assert result(farandole, unique, 0) == "it is 14"


def test_edited_payload_that_does_not_fit_is_not_sent_and_not_lost(
    farandole: Typed, unique: str, editor: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = hold(farandole, unique)

    editor('{"m": 7}')
    wrong = farandole("dead", "edit", place, text="n\n", code=1)
    monkeypatch.setenv("VISUAL", "true")
    untouched = farandole("dead", "edit", place, code=1)

    assert '{"m": 7}' in wrong.stdout
    assert "left as it was" in untouched.output
    assert [each["state"] for each in letters(farandole, "--run", unique)] == ["open"]


@pytest.mark.parametrize(
    ("raw", "ratio"), [("é".encode(), "NaN"), (b"\x00\xff\xfe", 0.5), ("é☃".encode(), "-Infinity")]
)
@pytest.mark.parametrize("is_edited", [True, False], ids=["edit", "show and replay"])
def test_repair_of_one_field_leaves_the_bytes_and_floats_of_the_others_alone(
    farandole: Typed, unique: str, monkeypatch: pytest.MonkeyPatch, raw: bytes, ratio: object, is_edited: bool
) -> None:
    """c3a9 came back as e9, b"\\x00\\xff\\xfe" as ten letters; what had a snowman or NaN in it was past repair."""
    params = json.dumps({"raw": raw.decode("latin-1"), "ratio": ratio, "n": 1000})
    farandole("run", "start", "stamped", "--id", unique, "--params", params, "--wait", code=11)
    (letter,) = letters(farandole, "--run", unique)

    if is_edited:
        monkeypatch.setenv("VISUAL", f"{sys.executable} -c {shlex.quote(REPAIR)}")
        farandole("dead", "edit", letter["place"], code=0)
    else:
        payload = json.loads(farandole("dead", "show", letter["place"], "--json", code=0).stdout)["payload"]
        repaired = json.dumps({**payload, "n": 7})
        farandole("dead", "replay", letter["place"], "--input", repaired, "--yes", code=0)

    assert result(farandole, unique, 0) == f"{raw.hex()} {float(str(ratio))}"


REPAIR = "import pathlib, sys; it = pathlib.Path(sys.argv[1]); it.write_bytes(it.read_bytes().replace(b'1000', b'7'))"


@pytest.mark.parametrize("command", ["no-such-editor-anywhere", "false", "'unbalanced"])
def test_editor_that_fails_is_told_with_the_way_out(
    farandole: Typed, unique: str, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    place = hold(farandole, unique)
    monkeypatch.setenv("VISUAL", command)

    refused = farandole("dead", "edit", place, code=2)

    assert "$EDITOR" in refused.output
    assert [each["state"] for each in letters(farandole, "--run", unique)] == ["open"]


def test_bulk_replay_takes_those_that_the_expression_means_after_a_confirmation(farandole: Typed, unique: str) -> None:
    for n in (200, 201, 202):
        hold(farandole, f"{unique}-{n}", n)
    where = f'run.startsWith("{unique}") && payload.n >= 201 && step == "double"'

    rehearsed = json.loads(farandole("dead", "replay", "--where", where, "--dry-run", "--json", code=0).stdout)
    declined = farandole("dead", "replay", "--where", where, text="n\n", code=1)
    began = time.monotonic()
    asked = json.loads(farandole("dead", "replay", "--where", where, "--yes", "--rate", "10", "--json", code=0).stdout)
    took = time.monotonic() - began

    meant = [f"{unique}-201", f"{unique}-202"]
    assert sorted(each["run"] for each in rehearsed["letters"]) == meant
    assert "replay 2 dead letters?" in declined.output
    assert sorted(each["run"] for each in asked["letters"]) == meant
    assert took > 0.1, "the second was sent a tenth of a second after the first"
    assert letters(farandole, "--where", f'run == "{unique}-200"')[0]["attempt"] == 1
    deadline = time.monotonic() + 20
    while {each["attempt"] for each in letters(farandole, "--where", where)} != {2}:
        assert time.monotonic() < deadline, "the replayed ones fail once more, as their second attempts"


def test_bulk_replay_that_means_nothing_says_so(farandole: Typed, unique: str) -> None:
    """It printed nothing and exited with 0, where `discard` had a word."""
    said = [farandole("dead", verb, "--run", unique, "--yes", code=0).stdout for verb in ("replay", "discard")]

    assert said == ["no open dead letter is meant\n"] * 2


def test_letter_is_shown_under_the_names_that_expressions_and_programs_have(farandole: Typed, unique: str) -> None:
    """Its fingerprint was called `cause`, which is another field, its trigger's place `trigger`, and its payload
    `input`, as that place is called elsewhere: what `dead show` told led to no `--where` that meant it."""
    place = hold(farandole, unique)

    shown = farandole("dead", "show", place, code=0).stdout
    document = json.loads(farandole("dead", "show", place, "--json", code=0).stdout)
    lines = [line.split() for line in shown.splitlines() if line and not line.startswith((" ", "}"))]
    names = {words[0]: words[-1] for words in lines}

    for name in ("fingerprint", "input", "reason"):
        assert names[name] == document["letter"][name]
    assert {"cause", "trigger"}.isdisjoint(names)
    assert document["payload"] == {"n": 1000}
    where = f'run == "{unique}" && fingerprint == "{names["fingerprint"]}" && input == "{names["input"]}"'
    assert [each["place"] for each in letters(farandole, "--where", where)] == [place]


def test_run_that_is_cancelled_goes_on_telling_why_a_step_was_given_up_on(farandole: Typed, unique: str) -> None:
    """`run show` had said so while the run was held; once it was cancelled, only `dead` was left of it."""
    hold(farandole, unique)

    farandole("run", "cancel", unique, code=0)
    farandole("run", "result", unique, "--wait", code=13)
    shown = farandole("run", "show", unique, code=0).stdout

    assert "given up\n  double: dead letter: ValueError: too large" in shown


def test_letters_are_grouped_by_cause_with_what_to_type_next(farandole: Typed, unique: str) -> None:
    for n in (300, 301):
        hold(farandole, f"{unique}-{n}", n)

    listed = farandole("dead", "list", "--where", f'run.startsWith("{unique}")', code=0).output

    assert "2 × double: ValueError: too large" in listed
    assert "farandole dead show farandole.dead.double/" in listed
    assert "farandole dead replay --where 'fingerprint ==" in listed


def test_command_that_a_list_suggests_reaches_no_further_than_the_list(farandole: Typed, unique: str) -> None:
    """It suggested to replay the cause in every run, with what `--where` had left out."""
    for n in range(4):
        hold(farandole, f"{unique}-{n}", 400 + n)
    where = f'run == "{unique}-0" || run == "{unique}-1"'

    listed = farandole("dead", "list", "--where", where, code=0).output
    (command,) = [
        line.partition(":")[2].split("farandole", 1)[1] for line in listed.splitlines() if "one cause" in line
    ]
    meant = farandole(*shlex.split(command), "--dry-run", code=0).output

    assert [f"{unique}-{n}" in meant for n in range(4)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("where", "told_so"),
    [
        ("agent ==", "--where"),
        ("agnet == 'double'", "agnet"),
        ("attempt + 1", "true or false"),
        ("payload.m > 1", "--where"),
    ],
)
def test_expression_that_is_wrong_is_refused_with_2_before_anything_is_done(
    farandole: Typed, unique: str, where: str, told_so: str
) -> None:
    hold(farandole, unique)

    refused = farandole("dead", "discard", "--where", where, "--yes", code=2)

    assert told_so in refused.output
    assert [each["state"] for each in letters(farandole, "--run", unique)] == ["open"]


@pytest.mark.parametrize("command", [("replay",), ("discard", "--yes")])
def test_bulk_without_anything_that_says_which_is_refused(farandole: Typed, command: tuple[str, ...]) -> None:
    refused = farandole("dead", *command, code=2)

    assert "--where" in refused.output


def test_agent_that_nobody_knows_is_told_with_those_that_are(farandole: Typed) -> None:
    refused = farandole("dead", "list", "--agent", "nobody", code=2)

    assert "double" in refused.output


def test_one_input_is_for_the_one_letter_of_a_run_and_for_no_more(farandole: Typed, unique: str) -> None:
    """It was refused with `--run` even where that meant one letter: one had to copy its place from `dead list`."""
    one, other = f"{unique}-one", f"{unique}-other"
    places = [hold(farandole, run) for run in (one, other)]

    none = farandole("dead", "replay", "--run", f"{unique}-nobody", "--input", '{"n": 7}', code=1)
    both = farandole("dead", "replay", *places, "--input", '{"n": 7}', code=2)
    bulk = farandole("dead", "replay", "--where", f"run.startsWith('{unique}')", "--input", '{"n": 7}', code=2)
    farandole("dead", "replay", "--run", one, "--input", '{"n": 7}', code=0)

    assert "none is meant" in none.output
    for refused in (both, bulk):
        assert "exactly one open dead letter" in refused.output
        assert all(place in refused.output for place in places)
    assert result(farandole, one, 0) == "it is 14"
    assert [each["state"] for each in letters(farandole, "--run", other)] == ["open"]


def test_direct_start_that_no_agent_could_take_is_told_with_what_to_do(
    farandole: Typed, cluster: InProcess, unique: str
) -> None:
    """Its letter counted as closed, for no run waits for it: nobody was told that it never ran."""
    never = replace(told.definition, name="never")
    params = Schema.parse(never.params_schema).encode({"number": {"n": 7}})
    trigger = start_trigger(never, params, unique, datetime.now(UTC))
    assert trigger is not None
    origin = Origin("tests", datetime.now(UTC), definition=never.hash)
    it = trigger_record(Topics("farandole"), trigger, cause="", origin=origin)
    producer = cluster.transport.producer(f"{unique}.direct")
    producer.send(NewRecord(it.topic, it.key.encode(), it.value, it.headers))
    assert producer.flush(10) == 0
    producer.close()

    deadline = time.monotonic() + 20
    while not (found := letters(farandole, "--run", unique)):
        assert time.monotonic() < deadline
    shown = farandole("run", "show", unique, code=1)
    letter = farandole("dead", "show", found[0]["place"], code=0)

    assert [(each["state"], each["run"], each["reason"]) for each in found] == [("quarantined", unique, "unknown")]
    for said in (shown.output, letter.output):
        assert "has not begun" in said
        assert "farandole apply" in said
    assert never.hash[:12] in letter.output


def test_export_writes_letters_with_their_payload_and_the_record_as_it_stands(
    farandole: Typed, unique: str, tmp_path: Path
) -> None:
    place = hold(farandole, unique, 400)

    printed = farandole("dead", "export", "--run", unique, code=0).stdout
    farandole("dead", "export", "--run", unique, "--output", "letters.jsonl", code=0)
    refused = farandole("dead", "export", "--run", unique, "--output", "no/such/folder", code=2)

    line = json.loads(printed)
    assert (line["place"], line["payload"], line["pipeline"]) == (place, {"n": 400}, "told")
    assert base64.b64decode(line["value"])[:2] == b"\xc3\x01"
    assert {"ce_run", "farandole_error"} <= {name for name, _ in line["headers"]}
    assert json.loads((tmp_path / "letters.jsonl").read_text()) == line
    assert "--output" in refused.output


def test_letter_whose_input_was_repaired_in_json_is_shown_filtered_exported_and_edited(
    farandole: Typed, unique: str, cluster: InProcess, editor: Callable[..., Path]
) -> None:
    # A replay by kcat has its input in JSON, which agents take. When it failed again, nothing could read the letter.
    place = hold(farandole, unique, 300)
    asked = {"command": "ReplayDeadLetter", "run_id": unique, "step": "double", "attempt": 1, "dead_letter": place}
    kcat = cluster.transport.producer("kcat")
    text = json.dumps({**asked, "input": {"n": 444}})
    kcat.send(NewRecord(cluster.topics.commands, unique.encode(), text.encode()))
    assert kcat.flush(5.0) == 0
    deadline = time.monotonic() + 20
    while [each["attempt"] for each in letters(farandole, "--run", unique)] != [2]:
        assert time.monotonic() < deadline

    where = f'run == "{unique}" && payload.n == 444'
    (letter,) = letters(farandole, "--where", where)
    shown = farandole("dead", "show", letter["place"], code=0).stdout
    exported = json.loads(farandole("dead", "export", "--where", where, code=0).stdout)
    folder = editor('{"n": 7}')
    farandole("dead", "edit", letter["place"], code=0)

    assert "444" in shown
    assert (exported["payload"], exported["problem"]) == ({"n": 444}, "")
    assert base64.b64decode(exported["value"]).startswith(b"{")
    assert json.loads((folder / "shown-0").read_text()) == {"n": 444}
    assert result(farandole, unique, 0) == "it is 14"


# --- the run itself ---------------------------------------------------------------------------


def test_show_of_a_held_run_says_why_since_when_and_what_to_type(farandole: Typed, unique: str) -> None:
    place = hold(farandole, unique)

    text = farandole("run", "show", unique, code=0).output
    data = json.loads(farandole("run", "show", unique, "--json", code=0).stdout)

    assert "double: dead letter: ValueError: too large" in text
    assert ", since 0 s (until 20" in text or ", since 1 s (until 20" in text
    for verb in ("replay", "edit", "discard"):
        assert f"$ farandole dead {verb} {place}" in text
    released = next(each for each in data["releases"] if each["kind"] == "dead_letter")
    assert released["commands"][0] == f"farandole dead replay {place}"


def test_rerun_is_a_new_run_that_names_the_old_one(farandole: Typed, unique: str) -> None:
    place, again = hold(farandole, unique), f"{unique}-again"
    live = farandole("run", "rerun", unique, code=1)
    farandole("dead", "discard", place, "--yes", code=0)
    result(farandole, unique, 12)

    held = farandole("run", "rerun", unique, "--wait", "--json", code=11)
    mended = farandole("run", "rerun", unique, "--id", again, "--params", '{"number": {"n": 3}}', "--wait", code=0)
    misfit = farandole("run", "rerun", unique, "--params", '{"number": 3}', code=1)
    shown = farandole("run", "show", again, code=0)
    commands = farandole("topics", "consume", "commands", "--run", again, "--headers", code=0)

    assert "it is held" in live.output
    assert json.loads(held.stdout)["run"] != unique
    assert json.loads(mended.stdout) == "it is 6"
    assert "Nothing was started" in misfit.output
    assert f"rerun of {unique}" in shown.output
    assert f"farandole_rerun_of: {unique}" in commands.output
    assert "RunSettled" in commands.output, "its cause is the fact that ended the old run"


def test_result_of_a_run_that_goes_on_is_refused_and_of_a_held_one_has_its_code(farandole: Typed, unique: str) -> None:
    hold(farandole, unique)

    held = farandole("run", "result", unique, code=11)
    unknown = farandole("run", "result", f"{unique}-nobody", code=1)

    assert f"farandole run show {unique}" in held.output
    assert "nothing is known" in unknown.output


def test_events_tell_what_stands_on_the_log_with_payloads_if_wished(farandole: Typed, unique: str) -> None:
    farandole("run", "start", "told", "--id", unique, "--params", '{"number": {"n": 5}}', "--wait", code=0)

    lines = farandole("run", "events", unique, "--payloads", "--json", code=0).stdout.splitlines()
    documents = {each["type"]: each for each in map(json.loads, lines)}
    unknown = farandole("run", "events", "nobody", code=1)

    assert documents["RunStarted"]["payload"] == {"number": {"n": 5}}
    assert documents["RunSettled"]["payload"] == "it is 10"
    assert "nobody" in unknown.output


def test_watch_in_a_terminal_draws_the_graph_to_its_end(
    farandole: Typed, unique: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    farandole("run", "start", "told", "--id", unique, "--params", '{"number": {"n": 5}}', "--wait", code=0)

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("NO_COLOR", "1")
    drawn = farandole("run", "watch", unique, code=0).output
    plain = farandole("run", "watch", unique, "--plain", code=0).output
    unknown = farandole("run", "watch", "nobody", code=1).output

    assert "✓ double" in drawn
    assert "✓ tell" in drawn
    assert f"its result: farandole run result {unique}" in drawn
    assert plain.splitlines()[0].split()[2] == "RunStarted"
    assert "nobody" in unknown


@pytest.mark.parametrize(
    "words",
    [
        ("run", "list", "--status", "heldd"),
        ("run", "result", "nobody", "--timeout", "soon"),
        ("run", "start", "told", "--params", "@nowhere.json"),
        ("dead", "list", "--nonsense"),
        ("topics", "produce", "commands", "--value", "{}", "--header", "none"),
    ],
    ids=" ".join,
)
def test_word_that_is_wrong_is_told_with_2(farandole: Typed, words: tuple[str, ...]) -> None:
    refused = farandole(*words, code=2)

    assert next(word for word in reversed(words) if word.startswith("--")) in refused.output


def test_cancel_of_a_run_that_ended_says_so(farandole: Typed, unique: str) -> None:
    farandole("run", "start", "told", "--id", unique, "--params", '{"number": {"n": 5}}', "--wait", code=0)

    refused = farandole("run", "cancel", unique, code=1)

    assert "ended succeeded" in refused.output


def test_lineage_of_a_record_goes_up_to_the_command_and_down_to_the_end(farandole: Typed, unique: str) -> None:
    place = hold(farandole, unique)
    farandole("dead", "discard", place, "--yes", code=0)
    result(farandole, unique, 12)

    both = farandole("lineage", place, code=0).output.splitlines()
    up = json.loads(farandole("lineage", place, "--up", "--json", code=0).stdout)
    nothing = farandole("lineage", "farandole.dead.double/0/99999", code=1)

    kinds = [line.split()[2] for line in both[1:]]
    assert kinds[0] == "StartRun"
    assert "DeadLetter" in kinds
    assert {"DiscardDeadLetter", "DiscardRequested", "StepSkipped", "RunSettled"} <= set(kinds)
    assert (up["down"], up["up"][0]["kind"]) == ([], "StartRun")
    assert "expected a record there" in nothing.output
