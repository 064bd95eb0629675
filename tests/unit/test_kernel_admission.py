"""Whether a start is admitted, answered already, or refused (DESIGN section 6.1)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from farandole.definition.graph import graph_of
from farandole.definition.model import Definition
from farandole.events.commands import StartRun
from farandole.events.facts import RunRefused, RunStarted
from farandole.ids import generated_run_id, sha256
from farandole.kernel.admission import admit
from farandole.kernel.decision import Moment
from farandole.kernel.evolve import start
from farandole.testing.sketch import PARAMS_SCHEMA, define, framed_params, node
from farandole.testing.stage import Stage

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PIPELINE = define(node("a"), name="p", deadline=timedelta(hours=2))
START = StartRun("p", framed_params(1))
LIVE = Stage(PIPELINE, n=1, run_id="r").run


def refusal(answer: RunStarted | RunRefused | None) -> str:
    """The word of a refusal."""
    assert isinstance(answer, RunRefused)
    return answer.reason


def changed(definition: Definition) -> Definition:
    """The pipeline as applied later: its params have one field more."""
    schema = definition.params_schema.replace('"fields":[', '"fields":[{"name":"more","type":"long","default":0},', 1)
    return replace(definition, params_schema=schema)


def test_start_is_admitted_under_the_definition_of_now() -> None:
    answer = admit(START, "r", PIPELINE, None, Moment(NOW))

    assert isinstance(answer, RunStarted)
    assert (answer.definition, answer.deadline) == (PIPELINE.hash, NOW + timedelta(hours=2))


def test_start_with_params_as_json_is_the_same_as_with_framed_ones() -> None:
    as_json = StartRun("p", b'{"pad": "", "items": [], "n": 1}')

    framed, text = (admit(command, "r", PIPELINE, None, Moment(NOW)) for command in (START, as_json))

    assert framed == text


def test_start_of_a_known_id_with_the_same_params_is_answered_already() -> None:
    assert admit(START, "r", PIPELINE, LIVE, Moment(NOW)) is None


def test_start_of_a_known_id_with_other_params_is_a_conflict() -> None:
    assert refusal(admit(StartRun("p", framed_params(2)), "r", PIPELINE, LIVE, Moment(NOW))) == "conflict"


def test_start_of_a_known_id_with_the_entries_of_a_map_in_another_order_is_the_same_start() -> None:
    """It was refused as a conflict: a map was written in the order in which its dict had been filled."""
    prices = PARAMS_SCHEMA.replace('"fields":[', '"fields":[{"name":"by","type":{"type":"map","values":"double"}},', 1)
    definition = replace(PIPELINE, params_schema=prices)
    one, other = (
        b'{"by": %s, "pad": "", "items": [], "n": 1}' % by for by in (b'{"x": 1, "y": 2}', b'{"y": 2, "x": 1}')
    )
    first = admit(StartRun("p", other), "r", definition, None, Moment(NOW))
    assert isinstance(first, RunStarted)
    known = start(graph_of(definition), first)

    assert admit(StartRun("p", one), "r", definition, known, Moment(NOW)) is None

    before = replace(first, params_hash=sha256(other))
    known = start(graph_of(definition), before)
    assert admit(StartRun("p", other), "r", definition, known, Moment(NOW)) is None, "as it was sent, before an upgrade"
    assert refusal(admit(StartRun("p", framed_params(1)), "r", definition, known, Moment(NOW))) == "conflict"


def test_start_of_a_known_id_for_another_pipeline_is_a_conflict() -> None:
    other = define(node("a"), name="q")

    assert refusal(admit(StartRun("q", framed_params(1)), "r", other, LIVE, Moment(NOW))) == "conflict"


def test_start_of_an_ended_runs_id_is_answered_by_its_stub() -> None:
    stage = Stage(PIPELINE, n=1, run_id="r")
    stage.succeed("a")

    assert admit(START, "r", PIPELINE, stage.run, Moment(NOW)) is None
    assert refusal(admit(StartRun("p", framed_params(2)), "r", PIPELINE, stage.run, Moment(NOW))) == "conflict"


@pytest.mark.parametrize("current", [changed(PIPELINE), None])
def test_start_repeated_after_the_pipeline_has_changed_is_still_the_same_start(current: Definition | None) -> None:
    """The hash was compared under the schema of now: a retried start was refused as a conflict after an `apply`."""
    assert admit(START, "r", current, LIVE, Moment(NOW)) is None


def test_start_of_an_unknown_pipeline_is_refused() -> None:
    assert refusal(admit(START, "r", None, None, Moment(NOW))) == "unknown_pipeline"


@pytest.mark.parametrize(
    "params", [b"", b"{}", b"not json", b'{"n": "1", "items": [], "pad": ""}', b"\xc3\x01" + bytes(9)]
)
def test_start_with_params_that_do_not_fit_is_refused(params: bytes) -> None:
    assert refusal(admit(StartRun("p", params), "r", PIPELINE, None, Moment(NOW))) == "params"


@pytest.mark.parametrize("run_id", ["", "a/b", "a#b", "-a", "ä", "a b", "x" * 129, "a\n"])
def test_start_with_an_invalid_id_is_refused(run_id: str) -> None:
    assert refusal(admit(START, run_id, PIPELINE, None, Moment(NOW))) == "run_id"


@pytest.mark.parametrize(
    ("age", "admitted"),
    [
        (timedelta(), True),
        (timedelta(hours=23, minutes=59), True),
        (timedelta(hours=24, minutes=1), False),
        (-timedelta(minutes=4), True),
        (-timedelta(minutes=6), False),
    ],
)
def test_start_with_a_generated_id_is_refused_outside_its_window(age: timedelta, admitted: bool) -> None:
    answer = admit(START, generated_run_id(NOW - age, 7), PIPELINE, None, Moment(NOW))

    assert (answer is not None and isinstance(answer, RunStarted)) == admitted
    assert admitted or refusal(answer) == "expired_id"


def test_start_with_a_generated_id_is_refused_outside_the_window_that_was_configured() -> None:
    """The default was used: with a shorter window a start was repeated after its stub was gone, and ran twice."""
    hour = Moment(NOW, dedupe_window=timedelta(hours=1))

    answer = admit(START, generated_run_id(NOW - timedelta(hours=2), 7), PIPELINE, None, hour)

    assert refusal(answer) == "expired_id"


def test_start_with_an_id_of_the_year_10839_is_as_good_as_any_other() -> None:
    """It looks like a UUIDv7, and reading its instant raised ValueError: the answer was our error. By fuzzing."""
    answer = admit(START, "fe8cf841-4967-7292-8124-0e4d53520d1c", PIPELINE, None, Moment(NOW))

    assert isinstance(answer, RunStarted)
