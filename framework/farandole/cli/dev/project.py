"""What `dev` works on: the folders of agents, what is in them, and that nobody else works on them.

Knows nothing of processes.
"""

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from farandole.errors import ConfigError

AGENTS = "agents"
"""The folder of a project that holds one folder for each unit."""

WATCHED = (".py", ".yaml", ".yml", ".toml")
"""Files whose change starts agents anew."""

Stamp = Mapping[Path, tuple[int, int]]
"""Time of change, nanoseconds, and size of each watched file."""


def find_units(path: Path | None, root: Path) -> list[Path]:
    """The folder or file that was named, else each folder with Python or YAML files in `agents/`.

    Raises:
        ConfigError: there is none.
    """
    if path is not None:
        if not path.exists():
            raise ConfigError(f"{path}: expected a folder of agents, but it does not exist")
        return [path.resolve()]
    agents = root / AGENTS
    if agents.is_dir():
        units = [each for each in sorted(agents.iterdir()) if each.is_dir() and _has_code(each)]
        if units:
            return units
        if _has_code(agents):
            return [agents]
    raise ConfigError(
        f"{root}: expected a folder `{AGENTS}/` with a folder of agents in it, but found none. "
        "`farandole init NAME` makes a project; `farandole dev PATH` runs one folder."
    )


def newcomers(path: Path | None, root: Path) -> Callable[[], list[Path]]:
    """Finds folders of agents again, those among them that came since; none where one was named."""
    if path is not None or _has_code(root / AGENTS):
        return list

    def find() -> list[Path]:
        try:
            return find_units(None, root)
        except (ConfigError, OSError):  # a folder that is just being moved
            return []

    return find


def _has_code(folder: Path) -> bool:
    return any(each.suffix in (".py", ".yaml", ".yml") for each in folder.iterdir() if each.is_file())


def stamp(units: Sequence[Path]) -> Stamp:
    """What the watched files of the units look like now; hidden folders and caches are left out."""
    found: dict[Path, tuple[int, int]] = {}
    for unit in units:
        files = [unit] if unit.is_file() else _files(unit)
        for file in files:
            try:
                status = file.stat()
            except OSError:
                continue  # an editor has just replaced it
            found[file] = (status.st_mtime_ns, status.st_size)
    return found


def changed(before: Stamp, after: Stamp) -> list[Path]:
    """Files that came, went or changed."""
    return sorted(path for path in before.keys() | after.keys() if before.get(path) != after.get(path))


def _files(folder: Path) -> Iterator[Path]:
    for base, folders, names in os.walk(folder):
        folders[:] = [each for each in folders if not each.startswith((".", "__pycache__"))]
        yield from (Path(base, name) for name in names if name.endswith(WATCHED) and not name.startswith("."))


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a project's working folder; released with the process, whatever ends it.

    Raises:
        ConfigError: another `dev` has it, or the folder cannot be written, or its disk is full.
    """
    lock = folder / "dev.lock"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as bad:
        raise ConfigError(
            f"{lock}: expected a folder to write in, but {bad.strerror or bad}. `dev` keeps its log there: "
            "make the folder writable, or work in a copy of the project. Nothing was started."
        ) from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            other = os.read(handle, 20).decode(errors="replace").strip() or "unknown"
            raise ConfigError(
                f"{folder}: expected no other `farandole dev` here, but process {other} is one. Use its log from this "
                "terminal (`farandole run start …`), or end it first."
            ) from None
        _sign(handle, lock)
        yield
    finally:
        os.close(handle)


def _sign(handle: int, lock: Path) -> None:
    """Say who holds the lock: the smallest thing that is written here, and so the first that a full disk refuses."""
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    except OSError as bad:
        raise ConfigError(
            f"{lock}: expected room to write, but {bad.strerror or bad}. `dev` keeps its log there: make room, or work "
            "in a copy of the project on another disk. Nothing was started."
        ) from None
