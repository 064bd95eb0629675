"""The sandbox finds what it is for: each kind of misbehaviour, planted."""

import os
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest

from farandole.errors import RecordError
from farandole.testing.fuzz import Sandbox, Verdict
from farandole.testing.fuzz import sandbox as sandbox_module
from farandole.testing.fuzz.child import judged, serve
from farandole.testing.fuzz.targets import TARGETS


def refuse(case: bytes) -> None:
    raise RecordError("not for me")


def escape(case: bytes) -> None:
    raise KeyError("oops")


def take(case: bytes) -> None:
    assert case


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets that behave and misbehave, in this process."""
    for each in (refuse, escape, take):
        monkeypatch.setitem(TARGETS, each.__name__, each)


@pytest.mark.usefixtures("planted")
@pytest.mark.parametrize(
    ("target", "verdict"),
    [(take, "accepted"), (refuse, "refused"), (escape, "escaped")],
    ids=lambda each: str(each)[:20],
)
def test_a_case_is_judged_by_what_is_raised(target: Callable[[bytes], None], verdict: str) -> None:
    found, text = judged(target.__name__, b"case")

    assert found == verdict
    assert (verdict == "accepted") == (text == "")


def test_cases_are_served_one_after_the_other() -> None:
    cases = BytesIO(b'{"target":"name","length":3}\nabc{"target":"cel","length":2}\n1+')
    answers = BytesIO()

    serve(cases, answers)

    lines = answers.getvalue().splitlines()
    assert [b'"accepted"' in line for line in lines] == [True, False]


def test_a_child_that_dies_is_told_of_and_replaced() -> None:
    with Sandbox() as sandbox:
        assert sandbox.run("name", b"a").is_fine
        assert sandbox._child is not None
        os.kill(sandbox._child.pid, 9)
        sandbox._child.wait()

        answer = sandbox.run("name", b"a")
        again = sandbox.run("name", b"a")

    assert answer.verdict is Verdict.DIED
    assert again.verdict is Verdict.ACCEPTED
    assert sandbox.restarts == 2


def test_a_child_that_gives_no_answer_hangs() -> None:
    with Sandbox(timeout_s=0.5) as sandbox:
        while not sandbox.run("name", b"a").is_fine:
            pass  # its first case, on a machine that gives it no time
        assert sandbox._child is not None
        os.kill(sandbox._child.pid, 19)  # SIGSTOP

        answer = sandbox.run("name", b"a")

    assert answer.verdict is Verdict.HUNG


def test_a_child_that_computes_for_too_long_hangs_and_one_that_waits_for_the_processor_does_not(tmp_path: Path) -> None:
    """With `nice -n 19` beside others, cases of the embedded log's file were taken for hangs."""
    more = tmp_path / "more.py"
    more.write_text(
        "import time\n"
        "def compute(case):\n    while True: pass\n"
        "def wait(case):\n    time.sleep(1.5)\n"
        "TARGETS = {'compute': compute, 'wait': wait}\n"
    )

    with Sandbox(more, timeout_s=0.5) as sandbox:
        waited = sandbox.run("wait", b"")
        computed = sandbox.run("compute", b"")

    assert waited.verdict is Verdict.ACCEPTED
    assert computed.verdict is Verdict.HUNG


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux can forget a peak")
def test_a_case_that_takes_much_does_not_hide_the_next_one_that_does(tmp_path: Path) -> None:
    """Growth was measured over the peak so far: after one of 190 MiB, which is allowed, nothing was seen to grow."""
    more = tmp_path / "more.py"
    more.write_text("def eat(case):\n    b'x' * (int(case) << 20)\nTARGETS = {'eat': eat}\n")

    with Sandbox(more) as sandbox:
        found = [sandbox.run("eat", case).verdict for case in (b"150", b"300", b"300", b"1")]

    assert found == [Verdict.ACCEPTED, Verdict.GREW, Verdict.GREW, Verdict.ACCEPTED]


@pytest.mark.parametrize("is_queued", [True, False])
def test_a_child_that_does_nothing_hangs_unless_it_is_the_machine_that_gives_it_no_turn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_queued: bool
) -> None:
    """Six times the time-out is not enough for a case of a tenth of a second, with `nice -n 19` beside forty others."""
    more = tmp_path / "more.py"
    more.write_text("import time\ndef wait(case):\n    time.sleep(2.5)\nTARGETS = {'wait': wait}\n")
    monkeypatch.setattr(sandbox_module, "_queued_s", lambda pid: time.monotonic() if is_queued else 0.0)

    with Sandbox(more, timeout_s=0.25) as sandbox:
        answer = sandbox.run("wait", b"")

    assert answer.verdict is (Verdict.ACCEPTED if is_queued else Verdict.HUNG)
