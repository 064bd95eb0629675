"""Cases of runs that wait: timers due at once, what idle processes cost, how fast live runs are taken over."""

import asyncio
import time
from collections.abc import Iterator

from chains import CHAIN, UNITS
from deployment import Deployment, cpu_s, rss_mb
from measuring import Row, Site, percentile
from traffic import PARCEL, Watch, bulk, latencies, send, starts

from farandole.events.catalogue import decode
from farandole.events.envelope import parse_envelope
from farandole.events.facts import RetryScheduled, RunStarted
from farandole.ids import partition_of
from farandole.transport.port import Record
from farandole.transport.topology import HOME_PARTITIONS

TIMERS = 10_000
TIMERS_AHEAD_S = 5.0
STARTS_PER_S = 300.0
"""How long before the instant the runs begin: all their timers must be set by then, on a slow machine too."""

IDLE_S = 10.0
LIVE = 100_000


def timers(site: Site) -> Iterator[Row]:
    """10,000 runs whose retry is due within one second: from the instant due to the trigger on the inbox."""
    count = site.many(TIMERS)
    with Deployment(site.log, UNITS / "timed.py") as it:
        it.coordinator()
        it.agent()
        asyncio.run(latencies(it, "timed", 1, {"due_s": 0.0}, warm_up=20))
        facts, inbox = Watch(it, it.topics.events), Watch(it, it.topics.inbox("wait"))
        first = time.time() + TIMERS_AHEAD_S + count / STARTS_PER_S
        done = bulk(it, "timed", count, ({"due_s": first + n / count} for n in range(count)))
        due = {f.run: f.due for f in _scheduled(facts, count)}
        late = [at - due[run].timestamp() for run, at in _triggered(inbox, count)]
        on_time = sum(each.timestamp() >= first for each in due.values())
        facts.close()
        inbox.close()
    values = {
        "timers": count,
        "p50_late_ms": percentile(late, 0.5),
        "p99_late_ms": percentile(late, 0.99),
        "set_in_time": on_time / count,
        "cpu_ms_per_run": done.cpu_ms_per_run,
    }
    yield Row("timers", site.log.name, "due within 1 s", values)


def _scheduled(watch: Watch, count: int) -> Iterator[RetryScheduled]:
    for record in watch.records():
        fact = decode(record.value or b"")
        if isinstance(fact, RetryScheduled):
            yield fact
            count -= 1
        if not count:
            return


def _triggered(watch: Watch, count: int) -> Iterator[tuple[str, float]]:
    """Run and instant of each second attempt's trigger."""
    for record in watch.records():
        envelope = parse_envelope(record.headers)
        if envelope.attempt == 2:
            yield envelope.run, record.timestamp_ms / 1000
            count -= 1
        if not count:
            return


def idle(site: Site) -> Iterator[Row]:
    """What one coordinator and one agent process cost that have nothing to do."""
    with Deployment(site.log, CHAIN) as it:
        coordinator, agent = it.coordinator(), it.agent()
        asyncio.run(latencies(it, "chain", 1, warm_up=5))
        time.sleep(2.0)  # positions are committed over markers; then nothing is left
        before, began = [cpu_s(each.pid) for each in (coordinator, agent)], time.monotonic()
        time.sleep(IDLE_S if site.scale >= 0.1 else 1.0)
        took = time.monotonic() - began
        after = [cpu_s(each.pid) for each in (coordinator, agent)]
        shares = [(b - a) / took * 100 for a, b in zip(before, after, strict=True)]
        values = {
            "coordinator_cpu_percent": shares[0],
            "agent_cpu_percent": shares[1],
            "coordinator_rss_mb": rss_mb(coordinator.pid),
            "agent_rss_mb": rss_mb(agent.pid),
        }
    yield Row("idle", site.log.name, "coordinator and agent", values)


def restore(site: Site) -> Iterator[Row]:
    """Live three-step runs taken over by a fresh coordinator: how fast, and what memory a run takes.

    No agent runs, so that all wait in the first inbox. A run started in each home tells when all are there.
    """
    live = site.many(LIVE)
    with Deployment(site.log, CHAIN) as it:
        first = it.coordinator()
        empty = _probe(it)
        base_mb, base_cpu = rss_mb(first.pid), cpu_s(first.pid)
        watch = Watch(it, it.topics.events)
        before, began = cpu_s(first.pid), time.perf_counter()
        send(it, starts(it, it.definition("chain"), live, PARCEL))
        watch.count(live, _is_start)
        started_s, start_cpu = time.perf_counter() - began, cpu_s(first.pid) - before
        lived_mb = rss_mb(first.pid)
        watch.close()
        first.sigterm()
        first.wait()
        began = time.perf_counter()
        second = it.coordinator()
        _probe(it)
        took, spent = time.perf_counter() - began, cpu_s(second.pid)
        values = {
            "live_runs": live,
            "runs_per_s": live / max(0.001, took - empty),
            "cpu_us_per_run": max(0.0, spent - base_cpu) / live * 1e6,
            "bytes_per_live_run": (lived_mb - base_mb) * 1e6 / live,
            "bytes_per_restored_run": (rss_mb(second.pid) - base_mb) * 1e6 / live,
            "start_runs_per_s": live / started_s,
            "start_cpu_us_per_run": start_cpu / live * 1e6,
        }
    yield Row("restore", site.log.name, "live runs", values)


def _probe(it: Deployment) -> float:
    """Seconds until a run could be started in each home."""
    watch = Watch(it, it.topics.events)
    definition = it.definition("chain")
    began, homes, wanted = time.perf_counter(), set[int](), []
    while len(homes) < HOME_PARTITIONS:
        for each in starts(it, definition, 50, PARCEL):
            home = partition_of((each.key or b"").decode(), HOME_PARTITIONS)
            if home not in homes:
                homes.add(home)
                wanted.append(each)
    send(it, wanted)
    watch.count(HOME_PARTITIONS, _is_start)
    watch.close()
    return time.perf_counter() - began


def _is_start(record: Record) -> bool:
    return record.value is not None and isinstance(decode(record.value), RunStarted)
