"""That the benchmarks start, and that results can be made of what they record. No figure is judged."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.mark.timeout(240)
def test_smoke_run_on_sqlite_records_figures_and_writes_results(tmp_path: Path) -> None:
    record = tmp_path / "record.jsonl"

    ran = subprocess.run(
        [sys.executable, BENCHMARKS / "bench.py", "--smoke", "--logs", "sqlite", "--record", record],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=220,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    rows = [json.loads(line)["row"] for line in record.read_text().splitlines()]
    assert [(row["case"], row["way"]) for row in rows] == [
        ("chain", "per hop"),
        ("chain", "fused, direct"),
        ("map", "1,000 items"),
    ]
    assert all(value > 0 for row in rows for name, value in row["values"].items() if not name.startswith("cpu"))
    results = (tmp_path / "RESULTS.md").read_text()
    assert "| sqlite | fused, direct | **runs/s " in results
    assert (tmp_path / "plots" / "chain.svg").read_text().startswith("<svg ")
