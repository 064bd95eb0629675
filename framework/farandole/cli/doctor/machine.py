"""What the doctor sees on this machine: folders, the settings file, the embedded log. Facts, and what they mean."""

import os
import re
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from farandole.cli.doctor.facts import FileFact, Finding, FolderFact, Local, Severity
from farandole.cli.settings import Loaded, Settings, is_secret
from farandole.definition.policy import duration_text
from farandole.transport.sqlite.lock import is_locked
from farandole.transport.sqlite.schema import APPLICATION_ID, VERSION, identity, is_empty

FREE_MIN = 1024**3
"""Bytes; an hour of payloads at a few hundred KiB a second."""

NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs"})
"""File systems whose locks and shared memory do not hold what SQLite's WAL needs of them."""

WAL_RESETS_WELL = ((3, 44, 6), (3, 50, 7), (3, 51, 3))
"""SQLite's versions from which a checkpoint beside a commit damages nothing: two older lines, and all from the last on.
Source: sqlite.org/wal.html, "The WAL-Reset Bug"."""

LOCK_WAIT_MAX = timedelta(seconds=10)
"""For the write lock, whatever a process waits: a transaction takes milliseconds, a checkpoint a part of a second."""

E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE


def look(loaded: Loaded) -> Local:
    """What is to be seen here; the embedded log only where it is the log that is used."""
    settings = loaded.settings
    return Local(
        artifacts=folder(settings.artifacts),
        log=_log_of(settings) if settings.bootstrap is None and settings.embedded.path.exists() else None,
        readable_secrets=_readable(loaded),
        strangers=loaded.strangers,
    )


def _log_of(settings: Settings) -> FileFact:
    """The log, and whether it can be written: who only reads does not notice that nobody can."""
    seen = file(settings.embedded.path, VERSION)
    if not _is_ours(seen) or seen.is_empty:
        return seen
    patience = min(settings.embedded.patience, LOCK_WAIT_MAX)
    return replace(seen, locked_for=patience) if is_locked(replace(settings.embedded, patience=patience)) else seen


def _is_ours(it: FileFact) -> bool:
    return it.integrity == "ok" and not it.is_foreign and it.version <= it.version_known


def folder(path: Path) -> FolderFact:
    """A folder, or the nearest one above it that exists."""
    there = next(each for each in (path.absolute(), *path.absolute().parents) if each.exists())
    is_on_read_only = bool(os.statvfs(there).f_flag & os.ST_RDONLY)
    free = shutil.disk_usage(there).free
    return FolderFact(path, os.access(there, os.W_OK), free, filesystem(there), is_on_read_only)


def filesystem(path: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The kind of file system that a path is on; empty where the system does not tell."""
    try:
        rows = [line.split()[1:3] for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    above = [(_unescaped(place), kind) for place, kind in rows if path.is_relative_to(_unescaped(place))]
    # Of two on one place the later one covers the other, as what autofs mounts covers autofs.
    return max(reversed(above), default=("", ""), key=lambda row: len(row[0]))[1]


def _unescaped(place: str) -> str:
    """A mount's place as it is: the kernel writes spaces and the like in octal (proc(5))."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), place)


def file(path: Path, version_known: int) -> FileFact:
    """A log file, opened read-only; SQLite must write beside it even so, which a disk may not allow."""
    unseen, foreign, empty = "", False, False
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)
        try:
            application, version = identity(db)
            empty = is_empty(db)
            foreign = not empty and application != APPLICATION_ID
            (integrity,) = db.execute("PRAGMA quick_check(1)").fetchone()
        finally:
            db.close()
    except sqlite3.Error as error:
        is_damaged = getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
        version, integrity, unseen = (0, str(error), "") if is_damaged else (0, "", str(error))
    return FileFact(path, version, version_known, integrity, folder(path.parent), unseen, foreign, empty)


def _readable(loaded: Loaded) -> Path | None:
    path = loaded.file
    if path is None or not path.stat().st_mode & 0o004:
        return None
    has_secret = any(is_secret(key) and origin.value == "file" for key, origin in loaded.origins.items())
    return path if has_secret else None


def judge(local: Local) -> Iterator[Finding]:
    """What it means."""
    if local.artifacts is not None:
        yield from _folder(local.artifacts, "artifacts")
    if local.log is not None:
        yield from _log(local.log)
    if local.readable_secrets is not None:
        yield Finding(
            W,
            "readable_secrets",
            f"{local.readable_secrets}: holds secrets, and everybody on this machine may read it",
            "whoever has an account here has the cluster",
            f"chmod o-r {local.readable_secrets}",
        )
    for name in local.strangers:
        yield Finding(
            N,
            "unknown_variable",
            f"{name} is in the environment, and no setting of that name is known",
            "if it was meant to set something, it does not",
            "farandole config show lists every setting",
        )


def sqlite_version(version: tuple[int, ...] = sqlite3.sqlite_version_info) -> str:
    """The SQLite that Python has, and whether it can damage a log: told and no finding, for few can choose it."""
    is_sound = version >= WAL_RESETS_WELL[-1] or any(
        version[:2] == fixed[:2] and version >= fixed for fixed in WAL_RESETS_WELL
    )
    return ".".join(map(str, version)) + ("" if is_sound else " (has the WAL-reset bug)")


def _folder(it: FolderFact, what: str) -> Iterator[Finding]:
    if it.is_on_read_only:
        yield Finding(
            E,
            f"{what}_read_only",
            f"{it.path}: is on a disk that is read-only",
            "nothing can be kept there; what is there is as it was",
            "make the disk writable (mount -o remount,rw), or set another folder in farandole.toml",
        )
    elif not it.is_writable:
        yield Finding(
            E,
            f"{what}_read_only",
            f"{it.path}: may not be written to",
            "what should be kept there cannot be, and the step that made it fails",
            f"chown $(id -u) {it.path}, or set another folder in farandole.toml",
        )
    if it.free_bytes < FREE_MIN:
        yield Finding(
            W,
            f"{what}_space",
            f"{it.path}: {it.free_bytes / 1024**2:,.0f} MiB are free",
            "when the disk is full, what should be kept there cannot be",
            f"df -h {it.path}, then make room or set another folder in farandole.toml",
        )


def _log(it: FileFact) -> Iterator[Finding]:
    yield from _folder(it.folder, "log")
    if it.unseen and it.folder.is_writable:
        yield Finding(
            E,
            "log_unseen",
            f"{it.path}: cannot be looked at: {it.unseen}",
            "no process can work on it; nothing is known of what is in it",
            f"ls -l {it.path}*, and see who may read and write it, and which process holds it",
        )
    elif it.integrity not in ("ok", ""):
        yield Finding(
            E,
            "log_damaged",
            f"{it.path}: {it.integrity}",
            "records may be lost or wrong",
            f"stop every process of the project, then: sqlite3 {it.path} .recover | sqlite3 recovered.db",
        )
    elif it.is_foreign:
        yield Finding(
            E,
            "log_foreign",
            f"{it.path}: is a database of another application, and no farandole log",
            "no command works on it, and no process starts; nothing in it was changed",
            f"mv {it.path} elsewhere, or set another place for the log: path in [embedded] of farandole.toml",
        )
    elif it.version > it.version_known:
        yield Finding(
            E,
            "log_newer",
            f"{it.path}: is of version {it.version}, and this release reads {it.version_known} at most",
            "a newer release has written it; this one does not start on it",
            "install the newer release (`pip install PATH` of its clone or wheel)",
        )
    elif it.locked_for is not None:
        yield Finding(
            E,
            "log_locked",
            f"{it.path}: another process has held the write lock for more than {duration_text(it.locked_for)}",
            "nothing can be written: every process stands still, and counts as gone to those that look",
            f"lslocks | grep 'WRITE.*{it.path.name}-shm' names who holds it: end it (kill), or wake it (kill -CONT)",
        )
    if it.folder.filesystem in NETWORK:
        yield Finding(
            E,
            "log_on_network",
            f"{it.path}: is on a file system of kind {it.folder.filesystem}",
            "its locks do not keep processes of two machines apart: the file would be damaged",
            "move the project to a local disk, or set bootstrap to a Kafka in farandole.toml",
        )
