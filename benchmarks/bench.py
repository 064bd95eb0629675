"""Benchmarks: what farandole does beside what the bare log does, in the same call on the same machine.

    make bench      make bench ONLY="chain map" LOGS=sqlite      python benchmarks/bench.py --help

Exactly once, coordinator included; agents, coordinator, client and broker share the machine;
completed runs are counted from the topics. Figures go to `benchmarks/record.jsonl`, and
`benchmarks/RESULTS.md` is made from it.
"""

import argparse
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import chains
import growth
import isolation
import lanes
import standing
from deployment import logs
from measuring import Case, Row, Site
from record import RECORD, append, this_call
from report import write_results

CASES: dict[str, Case] = {
    "chain": chains.chain,
    "diamond": chains.diamond,
    "map": chains.mapped,
    "retry": chains.retry,
    "large": chains.large,
    "lanes": lanes.lanes,
    "mixed": lanes.mixed,
    "timers": standing.timers,
    "idle": standing.idle,
    "restore": standing.restore,
    "isolation": isolation.isolation,
    "settled": growth.settled,
    "pipelines": growth.pipelines,
    "steps": growth.steps,
    "processes": growth.processes,
}
SMOKE = ("chain", "map")
SMOKE_SCALE = 0.005


def main() -> None:
    """Measure what was asked for, on each log."""
    options = _options()
    scale = SMOKE_SCALE if options.smoke else options.scale
    call = this_call(scale)
    with logs(options.logs) as chosen:
        for log in chosen:
            site = Site(log, scale, options.long)
            site.warm_up()
            for name in options.only:
                for row in _timed(name, CASES[name], site):
                    _tell(row)
                    append(options.record, call, row)
    write_results(options.record)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help=f"which of {', '.join(CASES)} (all)")
    parser.add_argument("--logs", nargs="+", choices=["kafka", "sqlite"], default=["sqlite", "kafka"])
    parser.add_argument("--scale", type=float, default=1.0, help="share of a full measurement")
    parser.add_argument("--long", action="store_true", help="growth as far as 1,000,000 settled runs: an hour")
    parser.add_argument("--smoke", action="store_true", help="a few runs of some cases: whether they start at all")
    parser.add_argument("--record", type=Path, default=RECORD, help="where figures are added; results stand beside it")
    options = parser.parse_args()
    unknown = set(options.only) - set(CASES)
    if unknown:
        parser.error(f"expected some of {', '.join(CASES)}, but found {', '.join(sorted(unknown))}")
    options.only = options.only or list(SMOKE if options.smoke else CASES)
    return options


def _timed(name: str, case: Case, site: Site) -> Iterator[Row]:
    began, load = time.monotonic(), os.getloadavg()[0]
    print(f"-- {name} on {site.log.name} (load {load:.1f})", flush=True)
    yield from case(site)
    print(f"   {time.monotonic() - began:.0f} s", flush=True)


def _tell(row: Row) -> None:
    ratios = ", ".join(f"{name} x{value:.2f}" for name, value in row.ratios.items())
    values = ", ".join(f"{name} {value:,.4g}" for name, value in row.values.items())
    print(f"   {row.way}: {values}" + (f"; of the bare log: {ratios}" if ratios else ""), flush=True)


if __name__ == "__main__":
    main()
