"""State records of older versions, made into those of this one, version by version.

Fields that are added at the end with a default need no new version: both sides read the other's
records. Whatever else changes raises `VERSION` and gets its step here, for as long as runs of
the older one may be alive. Pure functions over plain lists; nothing here knows today's structs,
so that an old step is never broken by a later change of them.
"""

from collections.abc import Callable, Mapping

from farandole.errors import InvariantViolation

Upgrade = Callable[[list[object]], list[object]]
"""From the plain list of one version to that of the next; the version at its head is set by who calls."""

VERSION = 1
"""Of the private parts of state records that this code writes."""

HEADS: Mapping[int, Upgrade] = {}
"""By the version from which they lead on: heads with their first chunk."""

CHUNKS: Mapping[int, Upgrade] = {}
"""The same for later chunks."""


def upgraded(raw: list[object], steps: Mapping[int, Upgrade], place: str) -> list[object]:
    """The record as of `VERSION`.

    Raises:
        InvariantViolation: it is of a newer version, or of one from which no step leads on.
    """
    version = raw[0] if raw else None
    if not isinstance(version, int) or isinstance(version, bool):
        raise InvariantViolation(
            f"{place}: expected a state record that begins with its version, but found {version!r}"
        )
    if version > VERSION:
        raise InvariantViolation(
            f"{place}: expected state version {VERSION} or older, but found {version}, which a newer coordinator "
            "wrote. This process stops and has changed nothing: upgrade it"
        )
    while version < VERSION:
        if version not in steps:
            raise InvariantViolation(
                f"{place}: expected a state version that can be upgraded to {VERSION}, but found {version}. "
                "This process stops: let the version before it end these runs first"
            )
        raw = [version + 1, *steps[version](raw)[1:]]
        version += 1
    return raw
