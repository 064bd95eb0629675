"""From settings to running loops: what `agent run` and `coordinator run` do, and the demo in threads.

A process checks its topics before it joins anything, runs its loop until it is told to stop,
and lets go of what it holds in order.
"""

import logging
import secrets
import signal
import threading
from collections.abc import Callable
from typing import Protocol

from farandole.artifacts import ArtifactStore
from farandole.cli.connect import artifacts_of, topics_of
from farandole.cli.settings import Settings
from farandole.cli.units import Named
from farandole.clock import SystemClock
from farandole.coordinator import CoordinatorLoop, CoordinatorSettings
from farandole.errors import ConfigError
from farandole.runtime.loop import AgentLoop, Surrounding
from farandole.runtime.settings import AgentSettings
from farandole.runtime.startup import check
from farandole.transport.drift import require_topics
from farandole.transport.port import Transport

log = logging.getLogger("farandole")

STEP_WAIT = 0.1
"""Longest that a loop waits for something to do before it looks whether it is to stop, seconds."""
