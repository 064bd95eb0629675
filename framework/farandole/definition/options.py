"""What an author may choose for an agent or for one step, read from either front end.

An agent's choices are the defaults of its steps. Values only; knows nothing of graphs.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import Literal

from farandole.definition.policy import Join, JoinKind, OnDeadLetter, Retry, kept_duration
from farandole.errors import DefinitionError

_MEMORY = re.compile(r"(\d{1,9})(KiB|MiB|GiB)\Z")
_MEMORY_UNITS = {"KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_N_OF = re.compile(r"n_of\((\d{1,6})\)\Z")

DeadLetterChoice = OnDeadLetter | Literal["hold", "fail", "skip"]
JoinChoice = Join | Literal["all_succeeded", "all_done", "any"] | str


@dataclass(frozen=True, slots=True)
class StepOptions:
    """What `.options()` and the keys of a YAML step set; None leaves the agent's own choice."""

    name: str | None = None
    retry: Retry | None = None
    timeout: timedelta | None = None
    deadline: timedelta | None = None
    on_dead_letter: OnDeadLetter | None = None
    join: Join | None = None


def require_known(what: str, given: Iterable[str], known: Sequence[str]) -> None:
    """Refuse options that a decorator does not have.

    Raises:
        DefinitionError: with the options that there are, and the nearest one.
    """
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, 1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise DefinitionError(f"{what}: expected options among {', '.join(known)}, but found {name!r}{meant}")


def retry_of(value: object) -> Retry | None:
    """A retry policy as given in Python.

    Raises:
        DefinitionError: it is something else.
    """
    if value is None or isinstance(value, Retry):
        return value
    raise DefinitionError(f"retry: expected Retry(attempts=…, base=…, cap=…, total=…), but found {value!r}")


def duration_of(name: str, value: object) -> timedelta | None:
    """A duration under its name.

    Raises:
        DefinitionError: it is none, out of range, or finer than milliseconds.
    """
    if value is None:
        return None
    try:
        return kept_duration(value)  # type: ignore[arg-type]
    except DefinitionError as bad:
        raise DefinitionError(f"{name}: {bad.message}") from None


def dead_letter_of(value: object) -> OnDeadLetter | None:
    """What a dead letter means.

    Raises:
        DefinitionError: it is none of the three.
    """
    if value is None:
        return None
    try:
        return OnDeadLetter(value)  # type: ignore[arg-type]
    except ValueError:
        raise DefinitionError(f"on_dead_letter: expected hold, fail or skip, but found {value!r}") from None


def join_of(value: object) -> Join | None:
    """A join: `Join(...)`, one of the names, or `n_of(2)`.

    Raises:
        DefinitionError: it is none of these.
    """
    if value is None:
        return None
    expected = "all_succeeded, all_done, any or n_of(k)"
    if isinstance(value, Join):
        join = value
    elif isinstance(value, str) and (match := _N_OF.match(value)):
        join = Join(JoinKind.N_OF, int(match[1]))
    else:
        try:
            join = Join(JoinKind(value))  # type: ignore[arg-type]
        except ValueError:
            raise DefinitionError(f"join: expected {expected}, but found {value!r}") from None
    if (join.kind is JoinKind.N_OF) != (join.needed != 0) or join.needed < 0:
        raise DefinitionError(f"join: expected {expected} with k of at least 1, but found {join.kind}({join.needed})")
    return join


def memory_of(value: object) -> int | None:
    """Bytes of `512MiB` and the like.

    Raises:
        DefinitionError: it is no such text.
    """
    if value is None:
        return None
    if isinstance(value, str) and (match := _MEMORY.match(value)) and int(match[1]) > 0:
        return int(match[1]) * _MEMORY_UNITS[match[2]]
    raise DefinitionError(f"memory: expected a size such as '512MiB' or '2GiB', but found {value!r}")


def step_options(
    *,
    name: object = None,
    retry: object = None,
    timeout: object = None,
    deadline: object = None,
    on_dead_letter: object = None,
    join: object = None,
) -> StepOptions:
    """Checked options of one step.

    Raises:
        DefinitionError: one of them is wrong; the message names it.
    """
    if name is not None and not isinstance(name, str):
        raise DefinitionError(f"name: expected a text, but found {name!r}")
    return StepOptions(
        name=name,
        retry=retry_of(retry),
        timeout=duration_of("timeout", timeout),
        deadline=duration_of("deadline", deadline),
        on_dead_letter=dead_letter_of(on_dead_letter),
        join=join_of(join),
    )
