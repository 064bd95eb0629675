"""The process that folds events into runs, and acts where memory or time is needed.

The loop is imported at its first use: whoever reads settings needs only the class of ours.
"""

from typing import TYPE_CHECKING

from farandole.coordinator.settings import CoordinatorSettings

if TYPE_CHECKING:
    from farandole.coordinator.loop import CoordinatorLoop

__all__ = ["CoordinatorLoop", "CoordinatorSettings"]


def __getattr__(name: str) -> object:
    if name != "CoordinatorLoop":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from farandole.coordinator.loop import CoordinatorLoop

    return CoordinatorLoop
