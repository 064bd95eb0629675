"""What a caller without a type checker gives wrongly is told in the caller's words."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from farandole import Client
from farandole.client.arguments import limit_of, require_when_held
from farandole.transport.memory import MemoryTransport

NUMBER: Any = 5


def test_limit_of_a_wait_is_a_text_a_timedelta_or_none() -> None:
    assert limit_of("10s") == limit_of(timedelta(seconds=10)) == timedelta(seconds=10)
    assert limit_of(None) is None


def test_number_of_seconds_is_refused_with_the_timedelta_that_it_may_mean() -> None:
    """`result(timeout=5)` raised a DefinitionError, which says that a pipeline is wrong."""
    with pytest.raises(TypeError, match=r"timeout: .* but found 5 \(int\); timedelta\(seconds=5\) is one"):
        limit_of(NUMBER)


@pytest.mark.parametrize("text", ["5", "soon", "0s", "-1s", "99999d"])
def test_text_that_is_no_limit_is_a_wrong_value_and_no_wrong_pipeline(text: str) -> None:
    with pytest.raises(ValueError, match=r"timeout: expected a duration"):
        limit_of(text)


def test_word_for_a_hold_that_nobody_knows_is_refused() -> None:
    """`held="wiat"` was taken for "raise"."""
    require_when_held("raise")
    require_when_held("wait")
    with pytest.raises(ValueError, match="held: expected 'raise' or 'wait', but found 'wiat'"):
        require_when_held("wiat")


@pytest.mark.parametrize(
    ("name", "ask"),
    [
        ("run_id", lambda client: client.start("orders", run_id=NUMBER)),
        ("run_id", lambda client: client.run(NUMBER)),
        ("run_id", lambda client: client.rerun(NUMBER)),
        ("new_id", lambda client: client.rerun("o-1", new_id=NUMBER)),
    ],
)
def test_run_id_that_is_no_text_is_told_so(name: str, ask: Callable[[Client], Awaitable[object]]) -> None:
    """`expected string or bytes-like object, got 'int'`, said the regular expression behind it."""

    async def asked() -> None:
        async with Client(MemoryTransport()) as client:
            await ask(client)

    with pytest.raises(TypeError, match=rf"{name}: expected a text such as 'o-5', but found 5 \(int\)"):
        asyncio.run(asked())
