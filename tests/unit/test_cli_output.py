"""What is printed: JSON that programs can read back, times that people can."""

import json
import logging
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from farandole.cli.demo.tally import Tally
from farandole.cli.event_lines import event_line
from farandole.cli.logs import JsonFormatter, TextFormatter, setup_logging
from farandole.cli.output import ago, as_json, print_json, shorten
from farandole.cli.showing import alike, wait_line
from farandole.cli.texts import read_text
from farandole.client.waiting import Wait
from farandole.errors import ConfigError
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


def test_numbers_that_json_does_not_have_are_printed_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    """They came out as `NaN` and `Infinity`, which no strict reader takes, under exit code 0."""
    print_json({"rates": [math.nan, math.inf, -math.inf, 1.5], "at": {"x": math.nan}})

    def refuse(word: str) -> None:
        raise AssertionError(word)

    found = json.loads(capsys.readouterr().out, parse_constant=refuse)
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
