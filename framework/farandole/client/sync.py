"""The client of applications without an event loop: the same methods, blocking.

    with SyncClient() as client:
        label = client.start(orders, order).result(timeout="30s")

One event loop runs in a thread of its own; any thread may call.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, overload

from farandole.artifacts import ArtifactStore
from farandole.client.client import Client
from farandole.client.following import Ending
from farandole.client.lookup import RunStatus
from farandole.client.run import Run, WhenHeld
from farandole.clock import Clock
from farandole.definition.pipelines import Pipeline
from farandole.errors import TransportError
from farandole.events.facts import Event
from farandole.ids import NO_ITEM
from farandole.transport.port import Transport

R = TypeVar("R")
T = TypeVar("T")


class LoopThread:
    """An event loop in a daemon thread, which other threads hand coroutines to."""

    def __init__(self, name: str = "farandole-client") -> None:
        self._loop = asyncio.new_event_loop()
        self._lock = threading.Lock()
        self._begun: set[asyncio.Task[None]] = set()
        """What nobody waits for; the loop alone would forget it."""

        self.is_stopped = False
        """Whether nothing is handed over any more: what came before is cancelled, nothing is left waiting."""

        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and wait for it; an interrupted wait cancels it.

        Raises:
            TransportError: the loop was stopped.
            RuntimeError: this is the loop's own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            work.close()
            raise _waits_for_itself()
        with self._lock:
            is_open = not self.is_stopped and self._thread.is_alive()  # no thread outlives a fork
            future = asyncio.run_coroutine_threadsafe(work, self._loop) if is_open else None
        if future is None:
            work.close()
            raise TransportError("expected an open client, but it was closed; make a new one")
        try:
            return future.result()
        except CancelledError:
            raise TransportError("expected an open client, but it was closed while a call was under way") from None
        except BaseException:
            future.cancel()
            raise

    def begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do this on the loop, and wait for nothing: neither for it nor for a lock. What it raises is ignored.

        For finalizers. The collector runs them wherever memory is asked for: on the loop's own thread, or on one that
        holds a lock of the log which the loop wants. Nothing is done where no loop runs: stopped, or in a fork.
        """
        if not self.is_stopped and self._thread.is_alive():
            with suppress(RuntimeError):  # it was closed just now
                self._loop.call_soon_threadsafe(self._begin, work)

    def _begin(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        if not self.is_stopped:  # else it might outlive the loop
            task = self._loop.create_task(work())
            self._begun.add(task)
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._begun.discard(task)
        if not task.cancelled():
            task.exception()  # has been looked at

    def stop(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Take nothing more, do this, cancel what is still under way, and end the thread; twice is harmless.

        Raises:
            RuntimeError: this is the loop's own thread, which would wait for itself.
        """
        if threading.current_thread() is self._thread:
            raise _waits_for_itself()
        with self._lock:
            was_stopped, self.is_stopped = self.is_stopped, True
        if was_stopped or not self._thread.is_alive():
            return
        try:
            asyncio.run_coroutine_threadsafe(last(), self._loop).result()
        finally:
            asyncio.run_coroutine_threadsafe(self._cancel_all(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _cancel_all(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._loop.shutdown_asyncgens()


def _waits_for_itself() -> RuntimeError:
    return RuntimeError(
        "expected a call from a thread of the application, but it came from the client's own, as that of a finalizer "
        "(`__del__`) may: it would wait for itself for ever. Nothing was done; call from another thread"
    )


class SyncRun(Generic[R]):
    """A run, as `Run`, with blocking methods."""

    def __init__(self, loop: LoopThread, run: Run[R]) -> None:
        self.id = run.id
        self._loop = loop
        self._run = run

    def __repr__(self) -> str:
        return f"SyncRun({self.id!r})"

    def result(self, timeout: str | timedelta | None = None, *, held: WhenHeld = "raise") -> R:
        """As `Run.result`."""
        return self._loop.call(self._run.result(timeout, held=held))

    def ended(self, timeout: str | timedelta | None = None, *, held: WhenHeld = "raise") -> Ending:
        """As `Run.ended`."""
        return self._loop.call(self._run.ended(timeout, held=held))

    def watch(self) -> Iterator[Event]:
        """As `Run.watch`."""
        return iterate(self._loop, self._run.watch())

    def cancel(self, reason: str = "") -> None:
        """As `Run.cancel`."""
        self._loop.call(self._run.cancel(reason))

    def status(self) -> RunStatus:
        """As `Run.status`."""
        return self._loop.call(self._run.status())


def iterate(loop: LoopThread, source: AsyncGenerator[T, None]) -> Iterator[T]:
    """An asynchronous generator as an iterator for another thread; closed after it, for which nobody waits."""

    async def next_one() -> tuple[T, ...]:
        async for each in source:
            return (each,)
        return ()

    async def close() -> None:
        await source.aclose()

    try:
        while found := loop.call(next_one()):
            yield found[0]
    finally:
        loop.begin(close)  # we may be in a finalizer


class SyncClient:
    """A client, as `Client`, with blocking methods; safe to share between threads."""

    def __init__(
        self,
        log: Transport | str | Path | None = None,
        namespace: str | None = None,
        *,
        artifacts: ArtifactStore | None = None,
        clock: Clock | None = None,
        name: str = "client",
        direct: bool = False,
    ) -> None:
        self._client = Client(log, namespace, artifacts=artifacts, clock=clock, name=name, direct=direct)
        self._loop = LoopThread()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop following, free everything and end the thread; runs go on without us. Twice is harmless."""
        # A call that came in between would begin what nobody closes.
        self._loop.stop(self._client.close)

    @overload
    def start(
        self, pipeline: Pipeline[..., R], *args: object, run_id: str | None = None, **kwargs: object
    ) -> SyncRun[R]: ...
    @overload
    def start(
        self, pipeline: str, *, params: Mapping[str, object] | str | bytes = b"{}", run_id: str | None = None
    ) -> SyncRun[object]: ...
    def start(
        self, pipeline: Pipeline[..., R] | str, *args: object, run_id: str | None = None, **kwargs: Any
    ) -> SyncRun[R] | SyncRun[object]:
        """As `Client.start`."""
        if isinstance(pipeline, str):
            return SyncRun(self._loop, self._loop.call(self._client.start(pipeline, *args, run_id=run_id, **kwargs)))
        started = self._client.start(pipeline, *args, run_id=run_id, **kwargs)
        return SyncRun(self._loop, self._loop.call(started))

    def rerun(
        self,
        run_id: str,
        *,
        params: Mapping[str, object] | str | bytes | None = None,
        new_id: str | None = None,
    ) -> SyncRun[object]:
        """As `Client.rerun`."""
        return SyncRun(self._loop, self._loop.call(self._client.rerun(run_id, params=params, new_id=new_id)))

    @overload
    def run(self, run_id: str, pipeline: Pipeline[..., R]) -> SyncRun[R]: ...
    @overload
    def run(self, run_id: str, pipeline: None = None) -> SyncRun[object]: ...
    def run(self, run_id: str, pipeline: Pipeline[..., R] | None = None) -> SyncRun[R] | SyncRun[object]:
        """As `Client.run`."""
        if pipeline is None:
            return SyncRun(self._loop, self._loop.call(self._client.run(run_id)))
        return SyncRun(self._loop, self._loop.call(self._client.run(run_id, pipeline)))

    def replay(
        self,
        dead_letter: str,
        run_id: str,
        step: str,
        attempt: int,
        *,
        item: int = NO_ITEM,
        input: Mapping[str, object] | str | bytes | None = None,  # noqa: A002 - as `Client.replay`
    ) -> None:
        """As `Client.replay`."""
        self._loop.call(self._client.replay(dead_letter, run_id, step, attempt, item=item, input=input))

    def discard(
        self, dead_letter: str, run_id: str, step: str, attempt: int, *, item: int = NO_ITEM, reason: str = ""
    ) -> None:
        """As `Client.discard`."""
        self._loop.call(self._client.discard(dead_letter, run_id, step, attempt, item=item, reason=reason))

    def release(self, run_id: str) -> None:
        """As `Client.release`."""
        self._loop.call(self._client.release(run_id))
