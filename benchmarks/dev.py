"""What `farandole dev` costs on the embedded log: time and CPU until it is ready, memory, and CPU when nothing happens.

`python benchmarks/dev.py`; on a busy machine read the CPU seconds: they are what a quiet one would take at least.
Linux only: it reads /proc.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

IDLE_S = 20.0
"""How long nothing happens."""

TICKS = os.sysconf("SC_CLK_TCK")


def processes(root: int) -> list[int]:
    """A process and all that came from it."""
    try:
        children = Path(f"/proc/{root}/task/{root}/children").read_text().split()
    except OSError:
        return []
    return [root, *(each for child in children for each in processes(int(child)))]


def cpu_seconds(pids: list[int]) -> float:
    """CPU that processes have used, with the children that they waited for."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(sum(int(each) for each in parts[11:15]) for parts in fields) / TICKS


def memory_mb(pids: list[int], kind: str) -> float:
    """Memory of processes: `Pss` shares out what several map, `Rss` counts it for each."""
    rolls = [Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines() for pid in pids]
    return sum(int(line.split()[1]) for lines in rolls for line in lines if line.startswith(f"{kind}:")) / 1024


def main() -> None:
    """One line of figures for each template."""
    print("template       ready s  CPU s to ready  processes  PSS MB  RSS MB  idle % of a core")
    for template in ("minimal", "orders", "flights-small"):
        with tempfile.TemporaryDirectory() as folder:
            print(f"{template:<14} {measured(Path(folder) / 'shop', template)}", flush=True)


def measured(project: Path, template: str) -> str:
    """The figures of one template."""
    farandole = [sys.executable, "-m", "farandole.cli"]
    subprocess.run([*farandole, "init", str(project), "-t", template], check=True, stdout=subprocess.DEVNULL)
    began = time.monotonic()
    with subprocess.Popen([*farandole, "dev"], cwd=project, stdout=subprocess.PIPE, text=True) as dev:
        assert dev.stdout is not None
        try:
            next(line for line in dev.stdout if "ready after" in line)
            ready, used = time.monotonic() - began, cpu_seconds(processes(dev.pid))
            time.sleep(2)  # what is done once, after the start, is not idleness
            pids = processes(dev.pid)
            before, at = cpu_seconds(pids), time.monotonic()
            time.sleep(IDLE_S)
            idle = (cpu_seconds(pids) - before) / (time.monotonic() - at) * 100
            pss, rss = memory_mb(pids, "Pss"), memory_mb(pids, "Rss")
        finally:
            dev.terminate()
    return f"{ready:7.1f}  {used:14.2f}  {len(pids):9}  {pss:6.0f}  {rss:6.0f}  {idle:16.1f}"


if __name__ == "__main__":
    main()
