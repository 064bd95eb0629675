"""What is under the demo: the log, a coordinator, agents; in threads of this process, or as processes on Kafka.

Both give the play the same few things, and both are gone when it ends.
"""

import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from farandole.artifacts import ArtifactStore
from farandole.cli.connect import artifacts_of, transport_of
from farandole.cli.demo.children import Children
from farandole.cli.demo.flights import Flights
from farandole.cli.deploy import make
from farandole.cli.history import lineage_of
from farandole.cli.processes import agent_loop, coordinator_loop, drive
from farandole.cli.settings import Settings, load_settings
from farandole.cli.units import Named, load
from farandole.client.applying import apply
from farandole.definition.pipelines import Pipeline
from farandole.transport.port import Transport
