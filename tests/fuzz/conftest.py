"""One child for all fuzz tests, and how many cases each of them tries: `make fuzz` wants more."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from farandole.testing.fuzz import Answer, Sandbox

SHARE = int(os.environ.get("FARANDOLE_FUZZ", "1"))
"""`make fuzz TIMES=n` multiplies the number of cases."""


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    """A child that serves cases."""
    with Sandbox(Path(__file__).parent / "targets" / "command_line.py") as made:
        yield made


@pytest.fixture(scope="session")
def fine(sandbox: Sandbox) -> Callable[[str, bytes], Answer]:
    """Run a case and claim that it is accepted or refused with a named error."""

    def run(target: str, case: bytes) -> Answer:
        answer = sandbox.run(target, case)
        assert answer.is_fine, f"{target}: {answer.verdict.value}: {answer.text}\ncase: {case!r}"
        return answer

    return run


@pytest.fixture(scope="session")
def cases() -> Callable[[int], settings]:
    """Settings for so many cases in `make test`; seeds differ from run to run, failures are kept and printed."""

    def of(count: int) -> settings:
        return settings(
            max_examples=count * SHARE,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        )

    return of
