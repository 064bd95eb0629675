"""What an author may say about how a step behaves: retry, join, what a dead letter means.

Values only; who carries them out is the kernel (retries, joins) and the runtime (timeouts).
"""

import re
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from farandole.errors import DefinitionError

_UNITS = {
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_DURATION = re.compile(r"(\d{1,12})(ms|s|m|h|d)\Z")

DURATION_MAX = timedelta(days=10_000)
"""Longest duration, 27 years. An instant so far ahead must be a date: those of Python end with the year 9999."""


def duration(value: str | timedelta) -> timedelta:
    """`10s`, `500ms`, `5m`, `24h`, `7d`, or a timedelta.

    Raises:
        DefinitionError: the text is no duration, or it is not positive, or above `DURATION_MAX`.
    """
    if isinstance(value, timedelta):
        parsed = value
    elif match := _DURATION.match(str(value)):
        unit = _UNITS[match[2]]
        parsed = unit * min(int(match[1]), DURATION_MAX // unit + 1)
    else:
        raise DefinitionError(f"expected a duration such as '10s', '500ms' or '24h', but found {value!r}")
    if parsed <= timedelta():
        raise DefinitionError(f"expected a duration above zero, but found {value!r}")
    if parsed > DURATION_MAX:
        raise DefinitionError(f"expected a duration of at most {DURATION_MAX.days:,} days, but found {value!r}")
    return parsed


def kept_duration(value: str | timedelta) -> timedelta:
    """A duration that a definition keeps: `duration_text` must hold all of it.

    Raises:
        DefinitionError: as `duration`; or it is no whole number of milliseconds.
    """
    parsed = duration(value)
    if parsed % _UNITS["ms"]:
        raise DefinitionError(f"expected a duration of whole milliseconds, but found {value!r}")
    return parsed


def duration_text(value: timedelta) -> str:
    """The canonical text of a duration: the largest unit that divides it."""
    ms = round(value / _UNITS["ms"])
    sizes = {unit: size // _UNITS["ms"] for unit, size in _UNITS.items()}
    unit = next((unit for unit, size in sizes.items() if ms and ms % size == 0), "ms")
    return f"{ms // sizes[unit]}{unit}"


@dataclass(frozen=True, slots=True, init=False)
class Retry:
    """How often and how soon a failed attempt is tried again.

    `attempts` counts all tries (1 = no retry). The wait doubles from `base` up to `cap`; the shell adds
    jitter of up to a quarter and records it. `total`, if set, bounds the time since the first failure
    after which no further attempt is scheduled.

    Source of the shape: Kafka `retry.backoff.ms` / `retry.backoff.max.ms` (KIP-580).
    """

    attempts: int
    base: timedelta
    cap: timedelta
    total: timedelta | None

    def __init__(
        self,
        attempts: int = 3,
        base: str | timedelta = "1s",
        cap: str | timedelta = "1m",
        total: str | timedelta | None = None,
    ) -> None:
        if type(attempts) is not int or not 1 <= attempts <= 1000:
            raise DefinitionError(f"expected retry attempts between 1 and 1000, but found {attempts!r}")
        object.__setattr__(self, "attempts", attempts)
        object.__setattr__(self, "base", kept_duration(base))
        object.__setattr__(self, "cap", max(kept_duration(cap), self.base))
        object.__setattr__(self, "total", None if total is None else kept_duration(total))

    def delay(self, attempt: int) -> timedelta:
        """Wait before the attempt that follows `attempt` (1-based), without jitter.

        Raises:
            ValueError: `attempt` is below 1.
        """
        if attempt < 1:
            raise ValueError(f"attempts count from 1, but found {attempt}")
        micro = timedelta(microseconds=1)
        # In whole numbers: a timedelta overflows where `cap` would have held it.
        return min(self.cap // micro, (self.base // micro) << min(attempt - 1, 64)) * micro


class OnDeadLetter(StrEnum):
    """What a dead-lettered step means for its run."""

    HOLD = "hold"
    FAIL = "fail"
    SKIP = "skip"


class JoinKind(StrEnum):
    """When a step with several parents goes."""

    ALL_SUCCEEDED = "all_succeeded"
    ALL_DONE = "all_done"
    ANY = "any"
    N_OF = "n_of"


@dataclass(frozen=True, slots=True)
class Join:
    """When a step with several parents goes; `needed` counts successes for `n_of`."""

    kind: JoinKind = JoinKind.ALL_SUCCEEDED
    needed: int = 0
