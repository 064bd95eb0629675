"""`Harness`: a pipeline in memory on a virtual clock."""

from farandole.testing.harness.harness import Harness
from farandole.testing.harness.result import HarnessRun
from farandole.testing.harness.stage import DoesNotSettle

__all__ = ["DoesNotSettle", "Harness", "HarnessRun"]
