"""docs/how-to/trace.md: its program runs, what it starts is one trace; its table names the attributes there are."""

import asyncio
import importlib
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest
from opentelemetry import context, trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from farandole import Client
from farandole.testing.inprocess import InProcess
from farandole.transport.memory import MemoryTransport

REPOSITORY = Path(__file__).parents[2]
HOW_TO = REPOSITORY / "docs" / "how-to"
PAGE = (HOW_TO / "trace.md").read_text()
FOLDERS = (str(REPOSITORY / "agents" / "orders"), str(HOW_TO / "tracing"))
TRACE = 0x5EED


class Kept(NonRecordingSpan):
    """A span that keeps its attributes."""

    def __init__(self, name: str, parent: SpanContext, attributes: Mapping[str, Any], number: int) -> None:
        super().__init__(SpanContext(parent.trace_id or TRACE, number, is_remote=False, trace_flags=TraceFlags(1)))
        self.name, self.parent = name, parent
        self.attributes = dict(attributes)

    def set_attribute(self, key: str, value: Any) -> None:
        self.attributes[key] = value


class Provider(trace.TracerProvider):
    """As an SDK's."""

    def __init__(self) -> None:
        self.spans: list[Kept] = []

    def get_tracer(self, *about: Any, **more: Any) -> trace.Tracer:
        return cast(trace.Tracer, self)

    def start_span(
        self, name: str, context: context.Context | None = None, kind: object = None, attributes: Any = ()
    ) -> Kept:
        parent = trace.get_current_span(context).get_span_context()
        self.spans.append(Kept(name, parent, attributes, len(self.spans) + 1))
        return self.spans[-1]

    def start_as_current_span(self, name: str) -> Any:
        return trace.use_span(self.start_span(name))


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Provider:
    """The one of this process."""
    made = Provider()
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: made)
    return made


@pytest.fixture
def program() -> Iterator[ModuleType]:
    """The page's program, beside the agents that it starts."""
    sys.path[:0] = FOLDERS
    try:
        yield importlib.import_module("checkout")
    finally:
        del sys.path[: len(FOLDERS)]
        for name in ("checkout", "agents"):
            sys.modules.pop(name, None)


def test_program_of_the_page_starts_what_is_one_trace(provider: Provider, program: ModuleType, tmp_path: Path) -> None:
    orders, agents = program.orders, sys.modules["agents"]
    order = agents.Order("o-1", "c", [agents.Line("a", 2, 900)])
    log = MemoryTransport()

    async def click(artifacts: Any) -> Any:
        async with Client(log, "farandole", artifacts=artifacts) as client:
            return await program.checkout(client, order)

    with InProcess(log, [orders], namespace="farandole", folder=tmp_path) as cluster:
        label = asyncio.run(click(cluster.artifacts))

    assert label.order == "o-1"
    assert {span.get_span_context().trace_id for span in provider.spans} == {TRACE}
    assert {span.name for span in provider.spans} >= {"checkout", "orders/validate", "orders/charge", "orders/ship"}
    told = {name for span in provider.spans for name in span.attributes}
    listed = re.findall(r"`((?:farandole|messaging)?\.[a-z.]+)`", PAGE)
    named = {f"farandole{name}" if name.startswith(".") else name for name in listed}
    assert told <= named | {"messaging.system", "messaging.operation.type", "messaging.destination.partition.id"}


def test_what_the_page_shows_is_the_program() -> None:
    (shown,) = re.findall(r"```python\n(.*?)```", PAGE, re.S)

    assert shown.strip() in (HOW_TO / "tracing" / "checkout.py").read_text()
