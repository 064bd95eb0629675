"""`RESULTS.md` and its plots, made from the record: ratios first, then figures, with what they were measured beside.

Text that no measurement gives stands in `NOTES.md` and is appended.
"""

from collections.abc import Iterator
from pathlib import Path

from plots import bars, curves
from record import RECORD, Entry, latest
from targets import PEERS, Target, against_peers, judged

NOTES = Path(__file__).parent / "NOTES.md"
GROWTH = "growth: "

HEAD = """\
# Results

Made by `make bench` and `make bench-peers` from `record.jsonl`: the newest figure of each row. Exactly once,
coordinator included, completed runs only, counted from the topics; client, coordinator, agents and broker share the
machine. Every call measures the bare log too (`limit.py` on Kafka, `embedded.py` on `sqlite`): **read the ratios**,
for they stand when the machine is slow or shared. A ratio of what is per second is a share of the bare log's; of a
time, how many times its. CPU is of all processes of the deployment, the measuring client and the broker left out.
"""


def write_results(record: Path = RECORD) -> None:
    """Write both anew, beside the record."""
    entries, plots = latest(record), record.parent / "plots"
    parts = [HEAD, *_calls(entries), *_targets(entries), *_peers(entries), *_cases(entries), *_plots(entries, plots)]
    if NOTES.exists():
        parts.append(NOTES.read_text().strip())
    (record.parent / "RESULTS.md").write_text("\n".join(parts) + "\n")


def _calls(entries: list[Entry]) -> Iterator[str]:
    calls = {entry.call.at: entry.call for entry in entries}
    yield "| Call | Commit | Cores | Scale | Load before | Versions |\n|---|---|---|---|---|---|"
    for number, at in enumerate(sorted(calls), 1):
        call = calls[at]
        versions = ", ".join(f"{name} {version}" for name, version in call.versions.items())
        measured = f"{call.cores} | {call.scale:g} | {call.load_before:.1f}"
        yield f"| {number}: {at} | `{call.commit}` | {measured} | {versions} |"
    yield ""


def _targets(entries: list[Entry]) -> Iterator[str]:
    yield "## Targets\n\n| What | Target | Measured | |\n|---|---|---|---|"
    for target, value in (*judged(entries), *against_peers(entries)):
        said = "not measured" if value is None else f"{value:,.4g}"
        verdict = (
            "" if value is None else ("met" if target.is_met(value) else f"missed by {_missed(target.bound, value)}")
        )
        yield f"| {target.what} | {target.text} | {said} | {verdict} |"
    yield ""


def _verdict(target: Target, value: float | None) -> str:
    if value is None:
        return ""
    return "met" if target.is_met(value) else f"missed by {_missed(target.bound, value)}"


def _missed(bound: float, value: float) -> str:
    """As a factor above 1, whichever way the bound points."""
    factor = max(bound / value, value / bound) if value > 0 else float("inf")
    return f"{factor:.2f} ×"


def _peers(entries: list[Entry]) -> Iterator[str]:
    chosen = [each for each in entries if each.row.case == PEERS]
    if not chosen:
        return
    yield "## Peers\n"
    yield "Three no-op steps that pass 300 bytes on; all in one call on one machine, each with fresh servers.\n"
    yield "| System | Guarantee and settings | runs/s | p50 ms | p99 ms | ours: runs/s | ours: p50 |"
    yield "|---|---|---|---|---|---|---|"
    for each in sorted(chosen, key=lambda it: -it.row.values["runs_per_s"]):
        row, values, bare = each.row, each.row.values, each.row.bare
        times = f"{bare['runs_per_s'] / values['runs_per_s']:.1f} ×" if bare else ""
        of = f"{bare['p50_ms'] / values['p50_ms']:.2f} ×" if bare else ""
        name, _, settings = row.way.partition(": ")
        figures = f"{values['runs_per_s']:,.0f} | {values['p50_ms']:.1f} | {values['p99_ms']:.1f}"
        yield f"| {name} | {settings} | {figures} | {times} | {of} |"
    yield ""


def _cases(entries: list[Entry]) -> Iterator[str]:
    cases = dict.fromkeys(entry.row.case for entry in entries if entry.row.case != PEERS)
    numbers = {at: number for number, at in enumerate(sorted({entry.call.at for entry in entries}), 1)}
    for case in cases:
        rows = [entry for entry in entries if entry.row.case == case]
        yield f"## {case[0].upper()}{case[1:]}\n"
        yield "| Log | Way | Of the bare log | Figures | Call, load |\n|---|---|---|---|---|"
        for each in rows:
            row = each.row
            ratios = ", ".join(f"**{_name(name)} {value:.2f}**" for name, value in row.ratios.items())
            figures = ", ".join(f"{_name(name)} {value:,.4g}" for name, value in row.values.items())
            yield f"| {row.log} | {row.way} | {ratios} | {figures} | {numbers[each.call.at]}, {each.load:.0f} |"
        yield ""


def _plots(entries: list[Entry], folder: Path) -> Iterator[str]:
    by_case: dict[str, list[Entry]] = {}
    for each in entries:
        by_case.setdefault(each.row.case, []).append(each)
    chain = by_case.get("chain", [])
    shares = {f"{it.row.log}, {it.row.way}": it.row.ratios["runs_per_s"] for it in chain if it.row.ratios}
    bars(folder / "chain.svg", "Three steps, runs/s as a share of the bare log's", shares, "")
    growth = {case: rows for case, rows in by_case.items() if case.startswith(GROWTH)}
    for case, rows in growth.items():
        lines: dict[str, list[tuple[float, float]]] = {}
        for it in rows:
            size = float(it.row.way.replace(",", ""))
            lines.setdefault(it.row.log, []).append((size, it.row.values["cpu_us_per_event"]))
        name = case.removeprefix(GROWTH)
        curves(folder / f"{name.replace(' ', '-')}.svg", f"CPU per event by {name}", "µs", lines)
    peers = {it.row.way.partition(":")[0]: it.row.values["runs_per_s"] for it in by_case.get(PEERS, [])}
    bars(folder / "peers.svg", "Three steps, completed runs per second", peers, "/s")
    made = sorted(folder.glob("*.svg")) if folder.exists() else []
    if made:
        yield "## Plots\n"
        yield from (f"![{each.stem}](plots/{each.name})" for each in made)
        yield ""


def _name(figure: str) -> str:
    return figure.replace("_per_s", "/s").replace("_percent", " %").replace("_", " ")
