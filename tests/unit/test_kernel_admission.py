"""Whether a start is admitted, answered already, or refused (DESIGN section 6.1)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from json import dumps

import pytest

from farandole.definition.graph import graph_of
from farandole.definition.model import Definition
from farandole.events.avro import Schema, SchemaBook
from farandole.events.commands import StartRun
from farandole.events.facts import RunRefused, RunStarted
from farandole.ids import generated_run_id, sha256
from farandole.kernel.admission import admit, expired_id
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


CHANGED = changed(PIPELINE)
WRITERS = SchemaBook(Schema.parse(each.params_schema) for each in (PIPELINE, CHANGED))


def framed_anew(n: int, more: int = 0) -> bytes:
    """Params as a caller frames them that has the pipeline as applied later."""
    return Schema.parse(CHANGED.params_schema).encode({"more": more, "n": n, "items": [], "pad": ""})


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


@pytest.mark.parametrize(
    ("params", "current"), [(framed_params(5), CHANGED), (framed_anew(5), PIPELINE)], ids=["behind", "ahead"]
)
def test_start_by_a_caller_of_another_version_is_admitted_as_the_pipeline_of_now_reads_it(
    params: bytes, current: Definition
) -> None:
    """The story: a pipeline got one more param, with a default, and was applied. From then on every caller that had not
    been replaced yet was refused, and so were the starts that waited: nobody knew the schema that framed them.
    """
    answer = admit(StartRun("p", params), "r", current, None, Moment(NOW), WRITERS)

    assert isinstance(answer, RunStarted)
    plain = Schema.parse(current.params_schema).decode(answer.params)
    assert plain == {"n": 5, "items": [], "pad": "", **({"more": 0} if current is CHANGED else {})}
    assert answer.params_hash == sha256(answer.params)


@pytest.mark.parametrize("more", [0, 7])
def test_start_repeated_by_a_caller_of_another_version_is_the_same_start(more: int) -> None:
    """It was a conflict. What the run's own pipeline has no param for makes no other run of it."""
    assert admit(StartRun("p", framed_anew(1, more)), "r", CHANGED, LIVE, Moment(NOW), WRITERS) is None


def test_start_of_a_known_id_by_a_caller_of_another_version_with_other_params_is_a_conflict() -> None:
    assert refusal(admit(StartRun("p", framed_anew(2)), "r", CHANGED, LIVE, Moment(NOW), WRITERS)) == "conflict"


def test_start_with_a_param_that_the_run_did_not_have_by_default_is_a_conflict() -> None:
    first = admit(StartRun("p", framed_anew(1, more=7)), "r", CHANGED, None, Moment(NOW), WRITERS)
    assert isinstance(first, RunStarted)
    known = start(graph_of(CHANGED), first)

    assert refusal(admit(START, "r", CHANGED, known, Moment(NOW), WRITERS)) == "conflict"


def test_start_whose_params_the_pipeline_of_now_cannot_make_sense_of_is_refused() -> None:
    needs = replace(PIPELINE, params_schema=CHANGED.params_schema.replace(',"default":0', "", 1))

    assert refusal(admit(START, "r", needs, None, Moment(NOW), WRITERS)) == "params"


def test_start_whose_number_is_an_instant_for_the_pipeline_of_now_is_refused() -> None:
    """By Avro's rules a long may be read as an instant: the runs of callers that were not replaced began in 1970."""
    instant = {"type": "long", "logicalType": "timestamp-micros"}
    dated = replace(
        CHANGED, params_schema=CHANGED.params_schema.replace('"type":"long"}', f'"type":{dumps(instant)}}}', 1)
    )
    assert dated.params_schema != CHANGED.params_schema

    assert refusal(admit(START, "r", dated, None, Moment(NOW), WRITERS)) == "params"


def test_start_with_params_of_a_schema_that_was_never_applied_is_refused() -> None:
    assert refusal(admit(StartRun("p", framed_anew(1)), "r", PIPELINE, None, Moment(NOW))) == "params"
    assert refusal(admit(StartRun("p", framed_anew(1)), "r", PIPELINE, LIVE, Moment(NOW))) == "conflict"


def test_start_whose_params_name_no_symbol_of_their_enum_is_refused() -> None:
    """The index -1 was taken for the last symbol, by the reader in C that read params then: a start that could not be
    read became a run with `mode` REAL."""
    mode = '{"name":"mode","type":{"type":"enum","name":"Mode","symbols":["DRY","REAL"]}}'
    definition = replace(PIPELINE, params_schema=f'{{"type":"record","name":"p_params","fields":[{mode}]}}')
    frame = Schema.parse(definition.params_schema).frame

    answers = [admit(StartRun("p", frame + index), "r", definition, None, Moment(NOW)) for index in (b"\x02", b"\x01")]

    assert isinstance(answers[0], RunStarted)
    assert refusal(answers[1]) == "params"


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


@pytest.mark.parametrize(
    ("made", "admitted"),
    [(timedelta(hours=8, minutes=4), True), (timedelta(hours=8, minutes=6), False), (-timedelta(hours=25), False)],
)
def test_start_with_an_id_made_after_the_wall_clock_was_put_forward_is_admitted(
    made: timedelta, admitted: bool
) -> None:
    """Ours lagged behind after a laptop had slept for hours, and each start was refused as one from the future."""
    lagging = Moment(NOW, wall=NOW + timedelta(hours=8))

    answer = admit(START, generated_run_id(NOW + made, 7), PIPELINE, None, lagging)

    assert isinstance(answer, RunStarted) == admitted


@pytest.mark.parametrize("asked", [datetime.min, datetime.max])
def test_start_asked_for_at_an_end_of_the_calendar_is_refused_with_a_generated_id(asked: datetime) -> None:
    run = generated_run_id(NOW, 7)

    assert expired_id(run, asked.replace(tzinfo=UTC))


def test_start_with_an_id_of_the_year_10839_is_as_good_as_any_other() -> None:
    """It looks like a UUIDv7, and reading its instant raised ValueError: the answer was our error. By fuzzing."""
    answer = admit(START, "fe8cf841-4967-7292-8124-0e4d53520d1c", PIPELINE, None, Moment(NOW))

    assert isinstance(answer, RunStarted)
