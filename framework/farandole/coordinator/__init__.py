"""The process that folds events into runs, and acts where memory or time is needed."""

from farandole.coordinator.loop import CoordinatorLoop
from farandole.coordinator.settings import CoordinatorSettings

__all__ = ["CoordinatorLoop", "CoordinatorSettings"]
