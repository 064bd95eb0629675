"""How several test processes come to one broker: a folder that all of them know.

Workers of a parallel run say there that they want a broker; the process that started
them starts it, once, and says where it is or why there is none. Whoever reads owns
nothing: only the process that started the broker can end it. Knows nothing of pytest.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from farandole.testing.broker.handle import Broker, NoBroker
from farandole.testing.broker.ladder import NotOurs

_WANTED: Final = "wanted"
_ANSWER: Final = "answer.json"


class _Answer(msgspec.Struct, frozen=True):
    bootstrap: str | None
    how: str = ""
    passed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rendezvous:
    """One folder, empty at first. Saying the same twice is harmless."""

    folder: Path

    def want(self) -> None:
        """Say that a broker is needed."""
        (self.folder / _WANTED).touch()

    @property
    def is_wanted(self) -> bool:
        """Whether somebody said so."""
        return (self.folder / _WANTED).exists()

    def offer(self, broker: Broker) -> None:
        """Say where the broker is."""
        self._answer(_Answer(broker.bootstrap, broker.how, broker.passed))

    def refuse(self, reason: NoBroker) -> None:
        """Say why there is none."""
        self._answer(_Answer(None, passed=reason.passed))

    def taken(self) -> Broker | None:
        """The broker, as one that somebody else runs; None before the answer.

        Raises:
            NoBroker: the answer was that there is none.
        """
        try:
            answer = msgspec.json.decode((self.folder / _ANSWER).read_bytes(), type=_Answer)
        except FileNotFoundError:
            return None
        if answer.bootstrap is None:
            raise NoBroker(answer.passed)
        return Broker(answer.bootstrap, answer.how, NotOurs(answer.bootstrap), answer.passed)

    def _answer(self, answer: _Answer) -> None:
        # Renamed, so that nobody reads half of it.
        half = self.folder / f"{_ANSWER}.{os.getpid()}"
        half.write_bytes(msgspec.json.encode(answer))
        half.rename(self.folder / _ANSWER)
