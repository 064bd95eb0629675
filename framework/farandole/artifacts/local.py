"""Artifacts as files of one folder, which all processes of a machine (or a shared mount) see.

`<root>/<first two hex digits>/<all of them>`. A file appears whole or not at all: written
under another name, synced, renamed. Names come from nothing but a hash, so that no claim,
whoever wrote it, leads out of the folder; and nothing is followed that is not a plain file.
A folder that is not there is a share that is not mounted: nothing in it is called missing, and it is
not made anew in its place.
"""

import contextlib
import os
import re
import secrets
import stat
from pathlib import Path

from farandole.errors import ClaimBroken, StoreError
from farandole.events.tables import Claim
from farandole.ids import sha256

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_OPEN_SAFELY = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


OURS = ".farandole"
"""The folder of a project that we make ourselves; of others the store makes only the last one."""


class LocalArtifacts:
    """An `ArtifactStore` in a folder."""

    def __init__(self, root: Path | str) -> None:
        """`root` is made when something is stored first, in a folder that must be there; never a second time.

        A relative one is meant from where the process is now: a handler may go elsewhere (`os.chdir`).
        """
        self._root = Path(root).absolute()
        self._was_there = False

    def put(self, data: bytes) -> Claim:
        """Store a payload; of one that is there already, whole, only the age begins anew: its file's time."""
        claim = Claim(sha256(data), len(data))
        path = self._path(claim)
        try:
            if _holds(path, data) and _renewed(path):
                sync_names(path)  # who wrote it may not have come to that yet, or have died before
            else:
                self._have_root()
                write_whole(path, data)
        except OSError as bad:
            raise StoreError(f"artifacts {path}: expected to store {len(data)} bytes, but {bad}") from bad
        return claim

    def get(self, claim: Claim) -> bytes:
        """Read a payload and verify it."""
        path = self._path(claim)
        try:
            data = _read(path, claim.size)
        except FileNotFoundError:
            if not self._root.is_dir():
                raise StoreError(f"artifacts {path}: expected {claim.size} bytes, but {self._absent()}") from None
            raise ClaimBroken(
                f"artifacts {path}: expected {claim.size} bytes, but it is missing; `artifacts` must be the same "
                "folder for all processes and clients"
            ) from None
        except OSError as bad:
            raise StoreError(f"artifacts {path}: expected to read {claim.size} bytes, but {bad}") from bad
        if data is None or len(data) != claim.size:
            raise ClaimBroken(f"artifacts {path}: expected a file of {claim.size} bytes, but found another")
        if (found := sha256(data)) != claim.sha256:
            raise ClaimBroken(f"artifacts {path}: expected this content, but its hash is {found}")
        return data

    def _have_root(self) -> None:
        """Make the folder if this is the first payload of all; one that was there and is not is not ours to make."""
        if not self._root.is_dir():
            if self._was_there:
                raise FileNotFoundError(self._absent())
            if self._root.parent.name == OURS:
                self._root.parent.mkdir(exist_ok=True)
            elif not self._root.parent.is_dir():
                raise FileNotFoundError(self._absent())
            self._root.mkdir(exist_ok=True)
            _sync(self._root.parent)
        self._was_there = True

    def _absent(self) -> str:
        return f"the folder {self._root} is not there: mount it, or make it if nothing was ever stored in it"

    def _path(self, claim: Claim) -> Path:
        if not _SHA256.match(claim.sha256) or claim.size < 0:
            raise ClaimBroken(f"artifacts: expected a SHA-256 in hex and a size, but found {claim.sha256[:80]!r}")
        return self._root / claim.sha256[:2] / claim.sha256


def _holds(path: Path, data: bytes) -> bool:
    """Whether the payload is there already and undamaged: a bad disk must not keep it from being stored again."""
    try:
        return _read(path, len(data)) == data
    except OSError:
        return False


def _renewed(path: Path) -> bool:
    """Set a file's time to now; whether it is there still: who clears the store goes by age, and may just have come."""
    with contextlib.suppress(OSError):  # it is another user's, or gone
        os.utime(path, follow_symlinks=False)
    return path.exists()


def _read(path: Path, size: int) -> bytes | None:
    """The content of a plain file of that size; None if it is anything else."""
    with open(os.open(path, _OPEN_SAFELY), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size != size:
            return None
        return file.read(size)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all, and outlives a loss of power from when this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    half = path.parent / f".{path.name}.{secrets.token_hex(8)}"
    try:
        with open(os.open(half, _CREATE, 0o644), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        half.replace(path)
    except BaseException:
        half.unlink(missing_ok=True)
        raise
    sync_names(path)


def sync_names(path: Path) -> None:
    """Make the names of a file and of its folder durable, whoever made them: a folder that is there may be new."""
    _sync(path.parent)
    _sync(path.parent.parent)


def _sync(folder: Path) -> None:
    """Make names durable: after a loss of power a file that was synced may else be there without its name."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
