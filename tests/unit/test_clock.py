"""The machine's clocks as loops ask them."""

import sys
import time

import pytest

from farandole.clock import SystemClock


@pytest.mark.skipif(sys.platform != "linux", reason="the clock that counts sleep has another name elsewhere")
def test_time_in_which_the_machine_slept_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linux stops `time.monotonic()` while a laptop sleeps: what a coordinator calls now lagged behind for days."""
    monkeypatch.setattr(time, "clock_gettime", {time.CLOCK_BOOTTIME: 8 * 3600.0}.__getitem__)

    assert SystemClock().monotonic() == 8 * 3600
