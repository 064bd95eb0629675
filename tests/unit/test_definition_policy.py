"""Durations and retries, at their edges."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from farandole.definition.policy import DURATION_MAX, Retry, duration, duration_text, kept_duration
from farandole.errors import DefinitionError


@pytest.mark.parametrize("text", ["1ms", "10s", "5m", "24h", "7d", "1500ms"])
def test_duration_is_written_as_it_was_read(text: str) -> None:
    assert duration_text(duration(text)) in (text, {"24h": "1d"}.get(text))


@given(st.integers(1, DURATION_MAX // timedelta(milliseconds=1)))
def test_duration_of_whole_milliseconds_is_read_from_its_text(ms: int) -> None:
    """12 days and a millisecond were written with ten digits, which no process could read."""
    value = timedelta(milliseconds=ms)

    assert duration(duration_text(value)) == kept_duration(value) == value


@pytest.mark.parametrize("value", [timedelta(microseconds=400), timedelta(days=1, microseconds=1)])
def test_duration_finer_than_milliseconds_is_refused_where_a_definition_keeps_it(value: timedelta) -> None:
    """It was written as `0d`: `apply` took the definition, and no process could read it."""
    with pytest.raises(DefinitionError, match="whole milliseconds"):
        kept_duration(value)
    with pytest.raises(DefinitionError, match="whole milliseconds"):
        Retry(base=value)


@pytest.mark.parametrize("value", ["", "10", "1.5s", "10 s", "-1s", "0s", "1w", 10, timedelta(), timedelta(-1)])
def test_duration_that_is_none_or_not_above_zero_is_refused(value: str | timedelta) -> None:
    with pytest.raises(DefinitionError, match="expected a duration"):
        duration(value)


@pytest.mark.parametrize(
    "value", ["10001d", "999999999d", "240001h", timedelta(days=10_000, microseconds=1), timedelta.max]
)
def test_duration_beyond_ten_thousand_days_is_refused(value: str | timedelta) -> None:
    """Any nine digits were taken: past the year 9999 the instant overflowed, in one coordinator after the other."""
    with pytest.raises(DefinitionError, match="at most 10,000 days, but found"):
        duration(value)
    with pytest.raises(DefinitionError, match="at most 10,000 days, but found"):
        Retry(cap=value)


def test_duration_of_ten_thousand_days_is_taken() -> None:
    assert duration("10000d") == duration("240000h") == timedelta(days=10_000)


def test_retry_waits_twice_as_long_each_time_up_to_its_cap() -> None:
    retry = Retry(attempts=1000, base="1s", cap="1m")

    assert [retry.delay(n).total_seconds() for n in (1, 2, 3, 6, 7, 999)] == [1, 2, 4, 32, 60, 60]
    with pytest.raises(ValueError, match="attempts count from 1"):
        retry.delay(0)


def test_retry_of_days_does_not_overflow() -> None:
    assert Retry(base="300d", cap="400d").delay(1000) == timedelta(days=400)


@pytest.mark.parametrize("attempts", [0, -1, 1001, True, 1.5, "3"])
def test_retry_attempts_out_of_range_are_refused(attempts: int) -> None:
    with pytest.raises(DefinitionError, match="expected retry attempts between 1 and 1000"):
        Retry(attempts=attempts)
