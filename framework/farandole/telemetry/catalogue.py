"""Every metric there is: name, kind, labels, meaning. `docs/reference/metrics.md` is written from this.

No label holds a run id or anything else that a stranger chooses: pipelines, steps, agents and
topics are those that were applied, all other labels are words of ours.
"""

from dataclasses import dataclass, replace
from enum import Enum

SHORT = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds of what a process does by itself: a transaction takes 5 ms, and is given up after 10 s (R14)."""

LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 86400.0)
"""Seconds of handlers, runs and waits: from a bare hop to a day."""


class Kind(Enum):
    """As Prometheus has them."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric. `process`: who shows it. `answers`: which measures of an orchestrator (M1 to M9) it gives."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    process: str = "both"
    answers: str = ""
    bounds: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    """What its only label may say, where that is known beforehand: each is shown from the beginning, as 0."""

    def saying(self, *words: str) -> "Metric":
        """The same, with these words."""
        return replace(self, words=words)


def _coordinator(kind: Kind, name: str, text: str, *labels: str, answers: str = "") -> Metric:
    return Metric(f"farandole_{name}", kind, text, labels, "coordinator", answers, LONG if kind.value[0] == "h" else ())


def _agent(kind: Kind, name: str, text: str, *labels: str, answers: str = "") -> Metric:
    return Metric(f"farandole_{name}", kind, text, labels, "agent", answers, LONG if kind.value[0] == "h" else ())


def _both(kind: Kind, name: str, text: str, *labels: str, answers: str = "") -> Metric:
    return Metric(f"farandole_{name}", kind, text, labels, "both", answers, SHORT if kind.value[0] == "h" else ())


C, G, H = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM

# --- runs: the coordinator that owns their home ---------------------------------------------

RUNS_STARTED = _coordinator(C, "runs_started_total", "Runs started.", "pipeline", answers="M1")
RUNS_SETTLED = _coordinator(C, "runs_settled_total", "Runs ended, by outcome.", "pipeline", "outcome", answers="M1")
RUNS_REFUSED = _coordinator(C, "runs_refused_total", "Starts and commands that were refused.", "reason").saying(
    "conflict", "definition_gone", "error", "expired_id", "params", "run_id", "undecodable", "unknown_pipeline",
    "unproducible",
)  # fmt: skip
RUN_START_DELAY = _coordinator(
    H, "run_start_delay_seconds",
    "From the command's timestamp to the run's start (clocks of two machines); not of direct starts.",
    "pipeline", answers="M5",
)  # fmt: skip
RUN_DURATION = _coordinator(H, "run_duration_seconds", "From a run's start to its end.", "pipeline", answers="M2")
RUN_HOLD = _coordinator(
    H, "run_hold_seconds", "How long runs waited for a person, from hold to release or end.", "pipeline", answers="M4"
)
RUNS = _coordinator(
    G, "runs", "Live runs by state: `running`, `held` (waits for a person), `stopping`.", "pipeline", "state"
)
RUNS_STALE = _coordinator(
    G, "runs_stale", "Live runs older than `metrics.stale_after` (default 24 h).", "pipeline", answers="M9"
)

# --- steps ------------------------------------------------------------------------------------

STEP_ATTEMPTS = _coordinator(
    C, "step_attempts_total",
    "Attempts that were reported: `succeeded`, `cancelled`, or the kind of the failure (`exception`, `timeout`, "
    "`contract`, `crash`, `memory`, `undecodable`, `unknown`).",
    "pipeline", "step", "outcome", answers="M3",
)  # fmt: skip
RETRIES = _coordinator(C, "retries_total", "Retries scheduled.", "pipeline", "step", answers="M6")
DEAD_LETTERS = _coordinator(C, "dead_letters_total", "Attempts given up on.", "pipeline", "step", answers="M3")
REPLAYS = _coordinator(C, "replays_total", "Dead letters replayed.", "pipeline", "step")

# --- the coordinator itself ---------------------------------------------------------------------

EVENTS = _coordinator(C, "events_read_total", "Records of `events`, by what became of them.", "answer").saying(
    "deleted", "folded", "orphan", "refused", "released", "second_start", "skipped", "standing", "started",
    "unproducible", "unreadable",
)  # fmt: skip
COMMANDS = _coordinator(C, "commands_read_total", "Records of `commands`, by what became of them.", "answer").saying(
    "duplicate", "error", "forwarded", "marked", "no_such_run", "no_such_step", "refused", "started", "undecodable",
    "unproducible",
)  # fmt: skip
HOMES = _coordinator(G, "homes", "Home partitions of this process by stage; `running` ones are served.", "stage")
STATE_RUNS = _coordinator(G, "state_runs", "Runs in memory, `ended` ones kept as stubs for the dedupe window.", "kind")
TIMERS = _coordinator(G, "timers", "Timers that wait (retries, deadlines, holds, stubs).")
BUFFERED = _coordinator(G, "buffered_records", "Records polled and not yet folded.")
RESTORE = _coordinator(H, "restore_seconds", "From the assignment of a home to its first record folded.", answers="M8")
RESTORED_RECORDS = _coordinator(C, "restored_records_total", "Records of `runs` read to restore homes.")
WENT_BACK = _coordinator(C, "positions_went_back_total", "Homes whose positions were behind what `runs` says; mended.")

# --- agents -------------------------------------------------------------------------------------

INBOX_RECORDS = _agent(C, "inbox_records_total", "Inbox records taken.")
REDELIVERED = _agent(C, "redelivered_records_total", "Inbox records that an earlier owner had answered already.")
HANDLER = _agent(
    H, "handler_seconds", "How long handlers ran, by outcome as in `farandole_step_attempts_total`.",
    "agent", "outcome", answers="M3",
)  # fmt: skip
TRIGGER_WAIT = _agent(
    H, "trigger_wait_seconds", "From a trigger's timestamp to its handler's start.", "agent", answers="M5"
)
IN_FLIGHT = _agent(G, "in_flight_records", "Inbox records taken and not yet committed.", answers="M7")
IN_FLIGHT_BYTES = _agent(G, "in_flight_bytes", "Bytes of their inputs.", answers="M7")
HANDLERS = _agent(G, "handlers", "Attempts dispatched and not over, those waiting for a place included.", answers="M7")
PARTITIONS = _agent(G, "inbox_partitions", "Inbox partitions of this process by stage.", "stage")
QUARANTINED = _agent(C, "quarantined_total", "Inbox records that could not be worked on.", "reason").saying(
    "bad_envelope",
    "bad_start",
    "no_envelope",
    "no_run",
    "not_a_trigger",
    "other_agent",
    "undecodable",
    "unknown",
    "unreadable",
)
DROPPED = _agent(C, "results_dropped_total", "Results thrown away because their partition had gone to another.")
PUBLISHED = _agent(C, "published_records_total", "Records that handlers published.")
JUDGED = _agent(C, "doubts_total", "Transactions in doubt, by what they came to.", "result").saying(
    "committed", "without_effect"
)
RENEWALS = _agent(C, "producer_renewals_total", "Producers thrown away and made anew.")
FENCED = _agent(C, "fenced_writers_total", "Departed processes whose transactions were ended.")
SIGNALS_DROPPED = _agent(C, "signals_dropped_total", "Progress signals dropped because their queue was full.")

# --- both ---------------------------------------------------------------------------------------

TRANSACTIONS = _both(
    H, "transaction_seconds",
    "From submission to verdict: `committed`, `aborted`, `stale`, `refused`, `doubt`, `fenced`.",
    "verdict", answers="M8",
)  # fmt: skip
LAG_RECORDS = _both(G, "lag_records", "Offsets behind the end, over this process's partitions of a topic.", "topic")
LAG_SECONDS = _both(G, "lag_seconds", "Age of the oldest record not yet answered; 0 if there is none.", "topic")
KEPT_SECONDS = _both(G, "oldest_record_seconds", "Age of the oldest record that a topic still holds.", "topic")
KEPT_RECORDS = _both(
    G,
    "topic_records",
    "Offsets that a topic still holds, over this process's partitions; `runs` is the state.",
    "topic",
)
PROBES = _both(
    C,
    "probes_total",
    "Looks at the log for the four above, by result; these are not told after one that failed.",
    "result",
).saying("ok", "failed")
STEP_AGE = _both(G, "loop_age_seconds", "Since the loop's last step.", answers="M7")
INFO = _both(G, "process_info", "1; which process this is.", "version", "process", "unit")

METRICS: tuple[Metric, ...] = tuple(each for each in list(globals().values()) if isinstance(each, Metric))
"""All of them, in the order above."""

PROCESS = (
    ("process_cpu_seconds_total", "Processor time of the process, without its children (`agent.processes`).", "M7"),
    ("process_resident_memory_bytes", "Memory of the process, without its children.", "M7"),
    ("process_virtual_memory_bytes", "Address space of the process.", ""),
    ("process_open_fds", "Open files of the process.", ""),
    ("process_max_fds", "Open files that it may have.", ""),
    ("process_start_time_seconds", "When it began, since the epoch.", ""),
)
"""What prometheus-client adds on Linux."""
