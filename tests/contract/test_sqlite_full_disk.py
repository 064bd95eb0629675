"""The embedded log on a disk that is really full, and has room again."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "processes" / "full_disk.py"

# In a mount namespace of its own, which is gone with the process, whatever becomes of it.
IN_A_SMALL_DISK = 'mount -t tmpfs -o size=1m tmpfs "$1" && exec "$2" "$3" "$1"'


@pytest.fixture(scope="module", autouse=True)
def may_mount(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Only root may, and not in every container; the bound of the file's own size is tested everywhere."""
    folder = str(tmp_path_factory.mktemp("disk"))
    try:
        tried = subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here")
    if tried.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {tried.stderr.decode().strip()}")


def test_a_full_disk_stops_commits_and_loses_none_and_they_go_on_when_there_is_room(tmp_path: Path) -> None:
    ran = subprocess.run(
        ["unshare", "-m", "sh", "-c", IN_A_SMALL_DISK, "sh", str(tmp_path), sys.executable, str(SCRIPT)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    told = json.loads(ran.stdout)
    *verdicts, after = told["verdicts"]
    committed = [number for number, verdict in enumerate(verdicts) if verdict == "committed"]
    assert 0 < len(committed) < len(verdicts)
    assert set(verdicts) <= {"committed", "aborted", "doubt"}
    assert all("make room" in error for error in told["errors"])
    assert told["position"] == committed[-1]
    assert after == "committed"
    assert told["found"] == [*committed, len(verdicts)]
