"""What a caller gives of another kind than a method takes, told in the words of whoever calls.

Type checkers find these; who runs none met an error of something deep inside, or a word that was taken for another.
"""

from datetime import timedelta

from farandole.definition.policy import duration
from farandole.errors import DefinitionError


def limit_of(timeout: object) -> timedelta | None:
    """How long to wait; None for as long as it takes.

    Raises:
        TypeError: it is neither a text nor a timedelta.
        ValueError: the text is no duration, or it is not positive, or too long.
    """
    if timeout is None:
        return None
    if not isinstance(timeout, str | timedelta):
        found = f"but found {timeout!r} ({type(timeout).__name__})"
        hint = f"; timedelta(seconds={timeout!r}) is one" if type(timeout) in (int, float) else ""
        raise TypeError(f"timeout: expected a duration such as '10s', or a timedelta, {found}{hint}")
    try:
        return duration(timeout)
    except DefinitionError as bad:
        raise ValueError(f"timeout: {bad.message}") from None


def require_when_held(held: object) -> None:
    """Refuse a word that would be taken for the other one.

    Raises:
        ValueError: it is neither `raise` nor `wait`.
    """
    if held not in ("raise", "wait"):
        raise ValueError(f"held: expected 'raise' or 'wait', but found {held!r}")


def require_text(name: str, run_id: object) -> None:
    """Refuse an id that is no text, such as the number of an order: `1` and `01` are two runs.

    Raises:
        TypeError: so it is.
    """
    if not isinstance(run_id, str):
        raise TypeError(
            f"{name}: expected a text such as 'o-{run_id!s:.20}', but found {run_id!r:.80} ({type(run_id).__name__})"
        )
