"""What a person reads: `run watch`, `run show`, `dead list` and `lag`, against goldens.

`FARANDOLE_GOLDEN=write` rewrites them under `tests/golden/cli`; look at the difference.
"""

import io
import os
import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from rich.console import Console

from farandole.cli.advice import Advice, Surroundings, advice
from farandole.cli.dead_letters import print_groups, print_next_steps
from farandole.cli.lagging import note_of, rows_of
from farandole.cli.picture import bar, depths, picture
from farandole.cli.run_view import RunView
from farandole.cli.showing import Shown, alike, print_shown, print_waits
from farandole.client.asking import Asked
from farandole.client.dead import OPEN, DeadLetter, grouped
from farandole.client.lookup import RunStatus
from farandole.client.query import RunDetail, StepRow, _live_steps
from farandole.client.serving import Lag, Serving
from farandole.client.waiting import Wait
from farandole.definition.expressions import Expression
from farandole.events import facts
from farandole.events.catalogue import encode
from farandole.kernel.state import Status
from farandole.testing.sketch import define, node
from farandole.testing.stage import BEGINNING, Stage
from farandole.transport.port import Record

GOLDEN = Path(__file__).parents[1] / "golden" / "cli"


def golden(name: str, text: str) -> str:
    """The golden text; written anew if that is wished."""
    path = GOLDEN / name
    if os.environ.get("FARANDOLE_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return path.read_text(encoding="utf-8")


def watched(stage: Stage) -> tuple[RunView, datetime]:
    """The view of somebody who watched a staged run, an event a second, and the instant of the last one."""
    view, at = RunView("r-1"), BEGINNING.replace(microsecond=0)
    for it in stage.log:
        at += timedelta(seconds=1)
        headers = [("ce_folded", b"0/%d" % it.folded)] if it.folded is not None else []
        stamp = int(at.timestamp() * 1000)
        record = Record("farandole.events", 0, it.offset, b"r-1", encode(it.event), headers, stamp)
        view.take(record, stage.definition)
    return view, at


def drawn(view: RunView, now: datetime, rows: int = 40) -> str:
    """The picture as a terminal of 100 columns without colours shows it."""
    console = Console(file=io.StringIO(), width=100, color_system=None, legacy_windows=False)
    console.print(picture(view, now, None, rows))
    out = console.file
    assert isinstance(out, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def under_way() -> Stage:
    """A map with an item that waits for its retry, beside a step that was skipped, before a join."""
    definition = define(
        node("extract"),
        node("clean", over="params.items", after=("extract",)),
        node("review", "extract", when="extract.n > 100"),
        node("report", "clean", "review?"),
        output="report",
    )
    stage = Stage(definition, n=3, items=[5, 6, 7])
    stage.succeed("extract", n=1)
    stage.succeed("clean", 0)
    stage.fail("clean", 1, error="no route to host")
    return stage


def held() -> Stage:
    """A dead letter in one of two branches."""
    stage = Stage(define(node("a", retry=1), node("b"), node("join", "a", "b"), output="join"))
    stage.succeed("b")
    stage.fail("a", error="ValueError: card was refused (shop.py:26 in charge)")
    return stage


def ended() -> Stage:
    """The same, given up on."""
    stage = held()
    stage.discard("a")
    return stage


@pytest.mark.parametrize("make", [under_way, held, ended], ids=lambda it: it.__name__)
def test_watched_run_is_drawn_as_its_golden(make: Callable[[], Stage]) -> None:
    text = drawn(*watched(make()))

    assert text == golden(f"watch_{make.__name__}.txt", text)


def test_view_is_the_true_state_of_the_run_and_keeps_its_steps_when_it_ends() -> None:
    live, over = under_way(), ended()

    view, _ = watched(live)
    last, _ = watched(over)

    assert view.state == live.run
    assert (view.status, last.status) == ("running", "partial")
    assert last.state is not None
    assert last.state.step("a").status is Status.SKIPPED


def test_picture_that_is_too_high_leaves_out_what_is_quiet() -> None:
    nodes = [node(f"s{n}") for n in range(30)]
    stage = Stage(define(*nodes))
    for n in range(28):
        stage.succeed(f"s{n}")

    text = drawn(*watched(stage), rows=5)

    assert "s28" in text
    assert "s29" in text
    assert "… and 25 more steps" in text
    assert len(text.splitlines()) == 8


def test_event_of_a_run_whose_start_was_not_seen_is_no_picture_yet() -> None:
    view = RunView("r-1")

    view.take(Record("e", 0, 5, b"r-1", encode(facts.CancelRequested("r-1"))), None)

    assert (view.state, view.status, view.waits) == (None, "not begun", [])
    assert drawn(view, BEGINNING).startswith("r-1")


def test_steps_are_indented_by_their_longest_way_from_a_root() -> None:
    graph = Stage(define(node("a"), node("b", "a"), node("c", "b"), node("d", "a", "c"))).graph

    assert depths(graph) == {"a": 0, "b": 1, "c": 2, "d": 3}


def test_bar_is_full_only_when_all_is_done() -> None:
    assert bar(0, 3) == "░" * 12 + " 0/3"
    assert bar(999, 1000).count("█") == 11
    assert bar(3, 3) == "█" * 12 + " 3/3"


# --- run show -----------------------------------------------------------------------------------


def test_shown_run_reads_as_its_golden(capsys: pytest.CaptureFixture[str]) -> None:
    now = BEGINNING.replace(microsecond=0)
    since, until = now - timedelta(minutes=5), now + timedelta(hours=24)
    status = RunStatus("r-1", "orders", "0123456789abcdef", "held", "", since, since)
    steps = (
        StepRow("charge", "charge", "dead", 3, 0, 0, since),
        StepRow("clean", "clean", "expanded", 0, 30, 12, since),
        StepRow("late", "slow", "scheduled", 1, 0, 0, since),
    )
    waits = (
        Wait("dead_letter", "dead letter: ValueError: card was refused", "charge", -1, 3, since, until),
        Wait("suspected", "attempt 1 was consumed by agent ship without a result", "ship", -1, 1, since, until),
        *(Wait("retry", "attempt 2 waits for its time: boom", "clean", n, 1, since, until) for n in (4, 9)),
        Wait("agent", "attempt 1 is with agent slow", "late", -1, 1, since),
        Wait("parents", "waits for charge, clean", "report"),
    )
    around = Surroundings((letter(0),), {"slow": Serving("orders", 0)}, {"late": "slow"})

    print_shown(Shown(RunDetail(status, steps, waits), around, Asked("farandole.commands/0/1", since, "r-0")), now)
    text = capsys.readouterr().out

    assert text == golden("run_show.txt", text)


def test_attempts_of_a_mapped_step_are_those_of_its_items_while_the_run_lives_too() -> None:
    """They were 0 until the run ended, and the sum over the items from then on."""
    view, _ = watched(under_way())
    run = view.state
    assert run is not None

    rows = {row.step: row for row in _live_steps(run, {})}

    mapped = [name for name in run.graph.names if run.step(name).items]
    assert mapped
    for name in mapped:
        tried = [item.attempt for _, item in run.items(name)]
        assert rows[name].attempt == sum(tried) > 0


def test_error_of_a_dead_letter_stands_whole_below_what_is_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """It was cut after 100 characters, just before its remedy."""
    error = f"expected {'x' * 200}, but found none;\ngive it one with `farandole apply`"
    wait = Wait("dead_letter", f"dead letter: {error}", "charge", then="timed_out", until=BEGINNING)

    print_waits([([wait], Advice(""))], BEGINNING)

    text = capsys.readouterr().out
    assert "x" * 200 in text
    assert "give it one with `farandole apply`" in text
    assert ", then it ends timed_out)" in text


def letter(n: int, error: str = "ValueError: card was refused", step: str = "charge") -> DeadLetter:
    """An open dead letter of its own run."""
    at = BEGINNING.replace(microsecond=0) - timedelta(minutes=n)
    place = f"farandole.dead.{step}/0/{n}"
    return DeadLetter(place, OPEN, step, f"r-{n}", step, -1, 3, "attempts_exhausted", error, f"fp-{step}", "", at)


def test_many_dead_letters_of_one_step_get_one_command_and_few_get_their_own() -> None:
    waits = [Wait("dead_letter", "dead letter: boom", "m", n) for n in range(5)]
    letters = tuple(
        DeadLetter(f"d/0/{n}", OPEN, "m", "r-1", "m", n, 1, "", "boom", "", "", BEGINNING) for n in range(5)
    )

    many = advice("r-1", waits, Surroundings(letters))
    two = advice("r-1", waits[:2], Surroundings(letters[:2]))
    unknown = advice("r-1", waits, Surroundings())

    assert many.commands[0] == "farandole dead replay --run r-1 --where 'step == \"m\"'"
    assert two.commands == ("farandole dead replay d/0/0", "farandole dead replay d/0/1")
    assert unknown.commands == ("farandole dead list --run r-1",)


@pytest.mark.parametrize("cause", ["it's", "$(id)'; id; '", 'a" || true || "', "\x1b[2J", "caf\u00e9\\"])
def test_command_that_is_advised_means_the_cause_and_nothing_else_whatever_that_is(cause: str) -> None:
    """The fingerprint of a letter is a header, which a stranger may have written; an operator pastes the command."""
    waits = [Wait("dead_letter", "dead letter: boom", "m", n) for n in range(5)]
    letters = tuple(
        DeadLetter(f"d/0/{n}", OPEN, "m", "r-1", "m", n, 1, "", "boom", cause, "", BEGINNING) for n in range(5)
    )

    replay = advice("r-1", waits, Surroundings(letters)).commands[0]

    words = shlex.split(replay)
    assert words[:-1] == ["farandole", "dead", "replay", "--run", "r-1", "--where"]
    assert Expression(words[-1]).evaluate({"step": "m", "fingerprint": cause}) is True
    assert Expression(words[-1]).evaluate({"step": "m", "fingerprint": "other"}) is False
    assert replay.isprintable()


def test_advice_beside_one_cause_reaches_no_letter_of_another() -> None:
    """Beside each of two errors stood the command that discards all letters of the step, and a discard is for good."""
    waits = [Wait("dead_letter", f"dead letter: {'disk' if n < 4 else 'card'}", "m", n) for n in range(9)]
    letters = tuple(
        DeadLetter(f"d/0/{n}", OPEN, "m", "r-1", "m", n, 1, "", "e", "2fe1" if n < 4 else "77aa", "", BEGINNING)
        for n in range(9)
    )
    same = Surroundings(tuple(replace(each, fingerprint="2fe1") for each in letters))

    disk, card = (advice("r-1", found, Surroundings(letters)).commands[1] for found in alike(waits))
    by_item = advice("r-1", waits[:4], same).commands[1]

    discard = "farandole dead discard --run r-1 --where"
    assert disk == f'{discard} \'step == "m" && fingerprint == "2fe1"\''
    assert card == f'{discard} \'step == "m" && fingerprint == "77aa"\''
    assert by_item == f'{discard} \'step == "m" && fingerprint == "2fe1" && item in [0, 1, 2, 3]\''


@pytest.mark.parametrize(
    ("kind", "command"),
    [("suspected", "farandole run release r-1"), ("kernel_error", "farandole run rerun r-1")],
)
def test_what_needs_a_person_names_the_command_that_releases_it(kind: str, command: str) -> None:
    assert command in advice("r-1", [Wait(kind, "text", "s")], Surroundings()).commands


@pytest.mark.parametrize(
    ("error", "verbs"),
    [
        ("ExpressionError: work.map: expected at most 1000 items", ["apply", "run cancel", "run rerun"]),
        ("StoreError: artifacts /mnt/a: expected 300000 bytes, but there are none", ["run release", "run cancel"]),
        ("ClaimBroken: sha256/1f: it is missing", ["run release", "run cancel"]),
        ("RecordError: what follows from it cannot be written: _UNKNOWN_TOPIC", ["run release", "run cancel"]),
        ("DefinitionGone: definition 1f is pinned by a run", ["apply", "run cancel"]),
    ],
)
def test_release_is_advised_only_where_it_can_help(error: str, verbs: list[str]) -> None:
    """The story: a map of 1,001 items held its run. `run show` advised `release`, after which it was held at once
    again: the run keeps the definition that it began with, whatever is mended and applied meanwhile."""
    given = advice("r-1", [Wait("kernel_error", error)], Surroundings())

    assert [re.sub(" (r-1|PATH)$", "", command.removeprefix("farandole ")) for command in given.commands] == verbs


# --- dead list, lag -----------------------------------------------------------------------------


def test_dead_letters_are_listed_as_their_golden(capsys: pytest.CaptureFixture[str]) -> None:
    letters = [*(letter(n) for n in range(25)), letter(90, "timeout after 10s", "ship")]
    groups = grouped(letters)

    print_groups(groups, now=BEGINNING.replace(microsecond=0))
    print_next_steps(groups)
    text = capsys.readouterr().out

    assert text == golden("dead_list.txt", text)


def test_command_for_a_cause_is_of_its_agent_and_of_the_run_that_was_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """A fingerprint may be another agent's too, and a cause has letters in runs that nobody had asked for."""
    print_next_steps(grouped([letter(0), letter(1)]), run="r 0")

    command = "farandole dead replay --where 'fingerprint == \"fp-charge\"' --run 'r 0' --agent charge"
    assert command in capsys.readouterr().out


def lags() -> Sequence[Lag]:
    """One of each trouble."""
    then = BEGINNING.replace(microsecond=0) - timedelta(minutes=3)
    return [
        Lag("coordinator", "farandole.events", 0, 1, 3),
        Lag("shop", "farandole.inbox.charge", 12_345, 0, 3, then),
        Lag("shop", "farandole.inbox.ship", 3, 2, 3, then),
        Lag("shop", "farandole.inbox.gone", 0, 2, 0),
        Lag("bank", "farandole.inbox.settle", 0, 1, 3, None, 2),
    ]


def test_lag_says_what_is_wrong_and_what_mends_it() -> None:
    notes = [note_of(each) for each in lags()]
    rows = rows_of(lags(), BEGINNING.replace(microsecond=0))

    assert notes == [
        "",
        "nobody reads it: farandole agent run PATH",
        "",
        "the topic is missing: farandole apply PATH",
        "2 partitions have no position: they stand still; farandole apply PATH",
    ]
    assert rows[1][2:5] == ("12,345", "3 m", "0")
