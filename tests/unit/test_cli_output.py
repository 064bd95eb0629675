"""What is printed: JSON that programs can read back, times that people can."""

import json
import logging
import math
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from farandole.cli.consuming import _print
from farandole.cli.dead_letters import print_groups, print_letter
from farandole.cli.demo.tally import Tally
from farandole.cli.event_lines import event_line
from farandole.cli.group import report
from farandole.cli.logs import JsonFormatter, TextFormatter, setup_logging
from farandole.cli.output import ago, as_json, print_json, print_table, shorten, visible
from farandole.cli.showing import alike, wait_line
from farandole.cli.texts import read_text
from farandole.client.dead import OPEN, DeadLetter, grouped
from farandole.client.records import Readable
from farandole.client.waiting import Wait
from farandole.errors import ConfigError, RecordError
from farandole.events import facts
from farandole.testing.sketch import define, node

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class _Thing:
    at: datetime
    parts: tuple[int, ...]
    raw: bytes


def test_json_of_a_dataclass_has_its_fields_and_rfc_3339_instants() -> None:
    value = as_json(_Thing(NOW, (1, 2), b"text"))

    assert value == {"at": "2026-01-01T12:00:00Z", "parts": [1, 2], "raw": "text"}


def strictly(document: str) -> Any:
    """A JSON document as a strict reader takes it: without `NaN` and `Infinity`."""

    def refuse(word: str) -> None:
        raise AssertionError(word)

    return json.loads(document, parse_constant=refuse)


def test_numbers_that_json_does_not_have_are_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """They came out as `NaN` and `Infinity`, which no strict reader takes, under exit code 0."""
    print_json({"rates": [math.nan, math.inf, -math.inf, 1.5], "at": {"x": math.nan}})

    found = strictly(capsys.readouterr().out)
    assert found == {"rates": ["NaN", "Infinity", "-Infinity", 1.5], "at": {"x": "NaN"}}


@pytest.mark.parametrize(
    ("age", "text"),
    [
        (timedelta(seconds=5), "5 s"), (timedelta(seconds=119), "119 s"), (timedelta(minutes=2), "2 m"),
        (timedelta(hours=3), "3 h"), (timedelta(days=4), "4 d"), (timedelta(seconds=-1), "0 s"),
    ],
)  # fmt: skip
def test_age_is_told_in_the_unit_of_people(age: timedelta, text: str) -> None:
    assert ago(NOW - age, NOW) == text


def test_long_text_is_cut_at_its_first_line_and_width() -> None:
    assert shorten("first\nsecond") == "first"
    assert shorten("x" * 200, 10) == "x" * 9 + "…"


def test_items_that_wait_for_the_same_thing_share_a_line() -> None:
    waits = [Wait("agent", "attempt 1 is with agent a", "a", n, 1, NOW) for n in range(3)]

    assert [wait_line(found, NOW) for found in alike(waits)] == ["a (3 items): attempt 1 is with agent a, since 0 s"]


def test_event_line_names_step_item_and_attempt() -> None:
    event = facts.StepFailed("r", "clean", 2, "exception", "boom", "f", True, b"", item=7)

    assert event_line(event) == "clean[7]  attempt 2  exception: boom"


def test_params_come_from_text_or_file_and_a_missing_file_is_told(tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("params") / "params.json"
    path.write_text('{"n": 1}')

    assert read_text('{"n": 2}', "--params") == '{"n": 2}'
    assert read_text(f"@{path}", "--params") == '{"n": 1}'
    with pytest.raises(ConfigError, match="--params"):
        read_text("@/nowhere/at/all", "--params")


def test_log_lines_carry_their_fields() -> None:
    record = logging.makeLogRecord(
        {
            "name": "farandole.runtime",
            "levelname": "INFO",
            "msg": "took %d",
            "args": (3,),
            "run_id": "o-1",
            "created": 0,
        }
    )

    assert TextFormatter().format(record) == "00:00:00.000 INFO runtime: took 3 run_id=o-1"
    vars(record)["error"] = "Traceback:\n  of a handler"
    assert TextFormatter().format(record) == "00:00:00.000 INFO runtime: took 3 run_id=o-1\nTraceback:\n  of a handler"
    del vars(record)["error"]
    line = json.loads(JsonFormatter().format(record))
    assert (line["message"], line["run_id"], line["level"]) == ("took 3", "o-1", "info")


@pytest.mark.parametrize(("level", "style"), [("loud", "text"), ("info", "xml")])
def test_unknown_level_or_format_is_refused(level: str, style: str) -> None:
    with pytest.raises(ConfigError, match="--log-"):
        setup_logging(level, style)


@pytest.mark.parametrize("hidden", ["\x1b[2J", "\r", "\x07", "\x9b31m", "\x7f"])
def test_control_characters_of_an_error_are_written_out(capsys: pytest.CaptureFixture[str], hidden: str) -> None:
    """An error text holds what a stranger sent: it coloured, overwrote or cleared the operator's terminal."""
    error = f"card{hidden}refused"
    at = datetime(2026, 1, 1, tzinfo=UTC)

    print_table(("ERROR",), [(error,)])
    print_letter(DeadLetter("d/0/0", OPEN, "a", "r", "a", -1, 1, error, error, "", "", at), error, "")
    print_groups(grouped([DeadLetter("d/0/0", OPEN, "a", "r", "a", -1, 1, error, error, "", "", at)]), now=at)
    told = capsys.readouterr().out + event_line(facts.RunSettled("r", "failed", at, at, error)) + shorten(error)

    assert not {each for each in told if unicodedata.category(each) == "Cc"} - {"\n"}
    assert visible(error) in told


@pytest.mark.parametrize("hidden", ["\x1b[2J", "\r", "\x07", "\x9b31m", "\x7f"])
def test_control_characters_reach_the_terminal_by_no_other_way_either(
    capsys: pytest.CaptureFixture[str], hidden: str
) -> None:
    """A record that was looked at, an error at the end of a command, what a run waits for, a line of the log."""
    text = f"card{hidden}refused"
    record = Readable("t/0/0", NOW, text, {text: text}, text, text, text)
    line = logging.makeLogRecord({"name": "x", "levelname": "INFO", "msg": text, "step": text, "error": text})

    _print(record, headers=True, as_json=False)
    _print(record, headers=True, as_json=True)
    report(RecordError(text))
    out, err = capsys.readouterr()
    waits = wait_line([Wait("dead_letter", f"{text}\n{text}", "a")], NOW, is_whole=True)
    told = out + err + waits + TextFormatter().format(line) + JsonFormatter().format(line)

    assert not {each for each in told if unicodedata.category(each) == "Cc"} - {"\n"}
    assert visible(text) in err
    assert json.loads(out.splitlines()[-1])["value"] == text
    assert json.loads(JsonFormatter().format(line))["message"] == text


class _Odd:
    """As an array of numpy's: `==` is elementwise and its truth is refused; and there is no text of it."""

    def __eq__(self, other: object) -> bool:
        return cast(bool, self)

    def __bool__(self) -> bool:
        raise ValueError("the truth value of an array is ambiguous")

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __hash__ = object.__hash__


@pytest.mark.parametrize("formatter", [JsonFormatter(), TextFormatter()])
def test_log_line_is_not_lost_for_what_a_handler_says_beside_it(formatter: logging.Formatter) -> None:
    """Each of these fields ended the line in a traceback of `logging`."""
    ring: list[object] = []
    ring.append(ring)
    fields = {"array": _Odd(), "by": {(1, 2): 3}, "ring": ring, "none": None, "empty": "", "zero": 0}

    line = formatter.format(
        logging.makeLogRecord({"name": "shop", "levelname": "INFO", "msg": "shape is odd", **fields})
    )

    assert "shape is odd" in line
    assert "<_Odd: RuntimeError>" in line
    assert "(1, 2): 3" in line
    assert "zero" in line
    assert "none" not in line


def test_log_line_with_a_number_that_json_does_not_have_can_be_read_by_every_collector() -> None:
    """`extra={"loss": float("nan")}` of a handler came out as `NaN`, and strict collectors refused the line."""
    fields = {"loss": math.nan, "rates": [math.inf, 1.5], "by": {"x": -math.inf}, "n": 1.5}

    told = strictly(JsonFormatter().format(logging.makeLogRecord({"msg": "trained", **fields})))

    assert told["message"] == "trained"
    assert (told["loss"], told["rates"], told["by"], told["n"]) == ("nan", "[inf, 1.5]", "{'x': -inf}", 1.5)


def test_log_line_keeps_its_own_time_and_level() -> None:
    """`extra={"level": 7, "time": "nine"}` of a handler replaced them, and a collector could not place the line."""
    record = logging.makeLogRecord({"msg": "hm", "levelname": "WARNING", "created": 0.0, "level": 7, "time": "nine"})

    told = json.loads(JsonFormatter().format(record))

    assert (told["time"], told["level"], told["message"]) == ("1970-01-01T00:00:00.000Z", "warning", "hm")


def test_demo_counts_steps_items_attempts_dead_letters_and_replays() -> None:
    tally = Tally(define(node("a"), node("b", over="a.items"), node("c", "b")))

    for event in (
        facts.StepSucceeded("r", "a", 1, b""),
        facts.StepExpanded("r", "b", 2),
        facts.StepSucceeded("r", "b", 1, b"", item=0),
        facts.StepFailed("r", "b", 1, "exception", "boom", "f", True, b"", item=1),
        facts.StepDeadLettered("r", "b", 1, "attempts_exhausted", "coordinator", 1),
        facts.StepScheduled("r", "b", 2, 1, fresh_budget=True),
        facts.StepSucceeded("r", "b", 2, b"", item=1),
    ):
        tally.take(event)

    assert (len(tally.done), tally.total) == (3, 4)
    assert (tally.attempts, tally.dead_letters, tally.replayed) == (4, 1, 1)
