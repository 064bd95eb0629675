"""What the log has to know of the machine: the boot it runs in, its clock, whether a disk is its own.

Leases are kept on the boot's monotonic clock, which all processes of a machine share and nobody
sets; it means nothing in another boot, hence the boot's id beside it.
"""

import contextlib
import os
import subprocess
import time
from functools import cache
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
MOUNTS = Path("/proc/self/mountinfo")

REMOTE = frozenset(
    ("nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "glusterfs", "lustre", "fuse.sshfs", "fuse.glusterfs", "9p")
)
"""File systems over which WAL does not work: its index is memory that processes of one machine share.

Source: SQLite, "Write-Ahead Logging", section 1: it does not work over a network file system.
"""


def monotonic() -> float:
    """Seconds since the boot; the same for all processes."""
    return time.monotonic()


@cache
def boot() -> str:
    """What tells this boot from others; empty where nothing does."""
    with contextlib.suppress(OSError):
        return BOOT_ID.read_text().strip()
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        asked = subprocess.run(
            ["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, timeout=5, check=True
        )
        return asked.stdout.strip()
    return ""


def is_over(lease: tuple[float, float, str], now: float) -> bool:
    """Whether a lease (last seen, seconds it lasts, boot) has ended; of another boot, or from the future, it has."""
    seen, lasts, of_boot = lease
    return of_boot != boot() or not seen <= now < seen + lasts


def remote_kind(folder: Path, mounts: str | None = None) -> str:
    """The kind of a folder's file system if it is another machine's; empty if it is ours, or unknown."""
    if mounts is None:
        try:
            mounts = os.fsdecode(MOUNTS.read_bytes())  # names of folders, in whatever encoding
        except OSError:
            return ""
    place, best, kind = str(folder.resolve()), -1, ""
    for line in mounts.split("\n"):
        before, _, after = line.partition(" - ")
        fields, rest = before.split(), after.split()
        if len(fields) < 5 or not rest:
            continue
        point = fields[4].replace("\\040", " ")
        if len(point) >= best and (place + "/").startswith(point.rstrip("/") + "/"):
            best, kind = len(point), rest[0]
    return kind if kind in REMOTE else ""
