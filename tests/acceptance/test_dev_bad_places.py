"""`farandole dev` and `init` where they cannot work: one message with a way out, no traceback, nothing lost."""

import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest

from farandole.testing.cluster.process import ManagedProcess
from farandole.testing.cluster.waiting import wait_until

PATIENCE = timedelta(seconds=90)
CLI = [sys.executable, "-m", "farandole.cli"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("FARANDOLE_")}
ENVIRONMENT["NO_COLOR"] = "1"

Said = subprocess.CompletedProcess[str]


def farandole(folder: Path, *words: str, before: Callable[[], None] | None = None) -> Said:
    """A command in a folder; `before` is called in its process."""
    return subprocess.run(
        [*CLI, *words],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        preexec_fn=before,
    )


def is_clear(said: Said, code: int, *parts: str) -> None:
    """Assert one error with a way out, and no traceback."""
    assert said.returncode == code, said.stderr + said.stdout
    assert said.stderr.count("error: ") == 1, said.stderr
    assert "Traceback" not in said.stderr + said.stdout
    for part in parts:
        assert part in said.stderr, said.stderr


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a log in which something was published."""
    folder = tmp_path_factory.mktemp("applied") / "shop"
    for words in (("init", str(folder)), ("apply", "agents/greetings", "--yes")):
        done = farandole(folder if folder.exists() else folder.parent, *words)
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def project(applied: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(applied, tmp_path / "shop"))


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


# --- a log that is no log ------------------------------------------------------------------


def _rubbish(log: Path) -> None:
    log.write_bytes(os.urandom(100_000))


def _torn(log: Path) -> None:
    log.write_bytes(log.read_bytes()[:20_000])


def _spoilt(log: Path) -> None:
    whole = bytearray(log.read_bytes())
    whole[4096 : 4096 * 12] = os.urandom(4096 * 11)
    log.write_bytes(whole)


def _foreign(log: Path) -> None:
    log.unlink()
    with closing(sqlite3.connect(log)) as db:
        db.execute("CREATE TABLE songs (title TEXT)")


@pytest.mark.parametrize(
    ("damage", "code", "fault"),
    [
        (_rubbish, 3, "sqlite3 log.db .recover"),
        (_torn, 3, "sqlite3 log.db .recover"),
        (_spoilt, 3, "sqlite3 log.db .recover"),
        (_foreign, 2, "a database of another application"),
    ],
)
def test_dev_on_a_damaged_log_says_what_saves_it_and_leaves_it_alone(
    damage: Callable[[Path], None], code: int, fault: str, project: Path
) -> None:
    log = project / ".farandole" / "log.db"
    for beside in ("-wal", "-shm"):
        log.with_name(f"{log.name}{beside}").unlink(missing_ok=True)
    damage(log)
    before = digest(log)

    for words in (("dev",), ("run", "list")):
        is_clear(farandole(project, *words), code, fault)

    assert digest(log) == before


def test_error_of_the_embedded_log_does_not_ask_for_the_address_of_a_kafka(project: Path) -> None:
    """The hint that fits an unreachable broker stood below every error, where it led away from the file at fault."""
    (project / ".farandole" / "log.db").write_bytes(b"no database, whatever its name says" * 100)

    embedded = farandole(project, "run", "list")
    kafka = farandole(project, "run", "list", "--bootstrap", "127.0.0.1:1")

    assert "--bootstrap" not in embedded.stderr
    assert "--bootstrap" in kafka.stderr


# --- a disk that is full -------------------------------------------------------------------


@pytest.fixture(scope="module")
def in_a_small_disk(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Path, str], Said]:
    """Runs a shell script in a folder that is a disk of 3 MB, in a mount namespace of its own. `$F` is the command."""
    folder = str(tmp_path_factory.mktemp("disk"))
    try:
        tried = subprocess.run(
            ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        pytest.skip("there is no unshare here; the bound of a file's size is tested everywhere")
    if tried.returncode != 0:
        pytest.skip(f"no disk can be mounted here: {tried.stderr.strip()}; the bound of a file's size is tested")

    def run(disk: Path, script: str) -> Said:
        return subprocess.run(
            ["unshare", "-m", "sh", "-ec", f'mount -t tmpfs -o size=3m tmpfs "$1"; cd "$1"; {script}', "sh", str(disk)],
            env={**ENVIRONMENT, "F": " ".join(CLI)},
            capture_output=True,
            text=True,
            timeout=150,
            check=False,
        )

    return run


FILL = "dd if=/dev/zero of=fill bs=4k 2>/dev/null || true"


def test_dev_on_a_full_disk_is_refused_with_a_way_out_and_starts_nothing(
    in_a_small_disk: Callable[[Path, str], Said], tmp_path: Path
) -> None:
    """Its lock was the first thing it wrote, and the traceback of that write the only thing it said."""
    said = in_a_small_disk(tmp_path, f"$F init shop >/dev/null; cd shop; {FILL}; exec $F dev")

    is_clear(said, 2, "make room", "Nothing was started")
    assert "ready after" not in said.stdout


def test_init_on_a_full_disk_leaves_nothing_behind(
    in_a_small_disk: Callable[[Path, str], Said], tmp_path: Path
) -> None:
    said = in_a_small_disk(tmp_path, f"{FILL}; set +e; $F init shop; code=$?; ls; exit $code")

    is_clear(said, 2, "make room", "Nothing was left behind")
    assert said.stdout.split() == ["fill"]


WHILE_DEV_RUNS = f"""
$F init shop > /dev/null
cd shop
$F dev > ../said 2>&1 &
dev=$!
trap 'kill -9 $dev 2>/dev/null || true' EXIT
waits() {{
    n=0
    until grep -q "$1" ../said; do n=$((n+1)); [ $n -lt 600 ] || {{ cat ../said >&2; exit 9; }}; sleep 0.1; done
}}
waits "ready after"
$F run start greetings --params '{{"name": "Ada"}}' --id before --wait > /dev/null
{FILL}
set +e
$F run start greetings --params '{{"name": "Eve"}}' --id during >&2
echo "full: $?"
set -e
waits "make room"
rm fill
$F run start greetings --params '{{"name": "Eve"}}' --id during --wait --timeout 60s > /dev/null
echo "room: $?"
$F verify --json
kill -INT $dev
wait $dev
echo "dev: $?"
cat ../said >&2
"""


@pytest.mark.timeout(200)
def test_dev_whose_disk_fills_up_says_so_keeps_all_and_goes_on_when_there_is_room(
    in_a_small_disk: Callable[[Path, str], Said], tmp_path: Path
) -> None:
    said = in_a_small_disk(tmp_path, WHILE_DEV_RUNS)

    assert said.returncode == 0, said.stderr
    assert "full: 3" in said.stdout
    assert "room: 0" in said.stdout
    assert "dev: 0" in said.stdout
    verified = json.loads(said.stdout[said.stdout.index("{") : said.stdout.rindex("}") + 1])
    assert (verified["runs"], verified["violations"]) == (2, [])
    assert "Traceback" not in said.stderr
    assert "--bootstrap" not in said.stderr
    # Whoever reads the screen sees whose line it is: the coordinator's once came as bare text without a time.
    lines = [line for line in said.stderr.splitlines() if "make room" in line and not line.startswith("error: ")]
    assert all(line[2] == ":" for line in lines), lines


def test_dev_that_may_not_write_so_much_says_so_and_loses_nothing(project: Path) -> None:
    """As a full disk, with a limit that every system has (`ulimit -f`), and that strikes from the first write on."""
    log = project / ".farandole" / "log.db"

    def bound() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))

    said = farandole(project, "dev", before=bound)

    is_clear(said, 2, "make room", "Nothing was started")
    with closing(sqlite3.connect(log)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# --- a folder that may not be written ------------------------------------------------------


def test_dev_and_init_in_a_folder_that_may_not_be_written_say_so(
    in_a_small_disk: Callable[[Path, str], Said], tmp_path: Path
) -> None:
    script = (
        "$F init shop >/dev/null; mount -o remount,ro tmpfs .; cd shop; set +e; "
        "$F init another; echo init: $?; $F dev; echo dev: $?; ls -A"
    )

    said = in_a_small_disk(tmp_path, script)

    assert "init: 2" in said.stdout, said.stderr
    assert "dev: 2" in said.stdout, said.stderr
    assert "Traceback" not in said.stderr
    assert said.stderr.count("error: ") == 2
    assert "make the folder writable" in said.stderr
    assert ".farandole" not in said.stdout


# --- a port that is taken ------------------------------------------------------------------


@pytest.mark.parametrize("words", [("coordinator", "run"), ("agent", "run", "agents/greetings")])
def test_port_in_use_is_told_before_anything_is_started(words: tuple[str, ...], project: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        said = farandole(project, *words, "--metrics", f"127.0.0.1:{port}")

    is_clear(said, 2, f"127.0.0.1:{port}", "choose another port", "Nothing was started")
    assert "has started" not in said.stderr + said.stdout


def test_dev_listens_nowhere_so_that_no_port_can_be_in_its_way(project: Path) -> None:
    """What a deployment has in its file is no reason for `dev` not to run on the machine of a developer."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = project / "farandole.toml"
        settings.write_text(f'{settings.read_text()}\n[metrics]\nlisten = "127.0.0.1:{port}"\n')
        dev = ManagedProcess("dev", [*CLI, "dev"], project, {"NO_COLOR": "1"})
        try:
            dev.start()
            wait_until(lambda: "ready after" in dev.log.read_text(), PATIENCE, "ready", dev.said)
            os.kill(dev.pid, signal.SIGINT)

            assert dev.wait() == 0
        finally:
            dev.end()


# --- Ctrl-C at a bad moment ----------------------------------------------------------------


def test_ctrl_c_while_the_agents_load_ends_without_a_word_of_python(project: Path) -> None:
    """A unit that had loaded while `dev` was ending was told to go through a pipe that was closed: a traceback."""
    agents = project / "agents" / "greetings" / "greetings.py"
    agents.write_text(agents.read_text() + "\nimport time\nprint('loading', flush=True)\ntime.sleep(2)\n")
    dev = ManagedProcess("dev", [*CLI, "dev"], project, {"NO_COLOR": "1"})
    try:
        dev.start()
        wait_until(lambda: "loading" in dev.log.read_text(), PATIENCE, "loading", dev.said)
        os.kill(dev.pid, signal.SIGINT)

        assert dev.wait() == 0
        said = dev.log.read_text()
        assert "Traceback" not in said
        assert "ready after" not in said
        assert "ending" in said
    finally:
        dev.end()


def test_ctrl_c_while_agents_print_faster_than_a_terminal_shows_ends_at_once(project: Path) -> None:
    """All that had been said was shown before anything else was looked at: a handler that printed in a loop made `dev`
    deaf to Ctrl-C, to saves and to processes that ended, and filled its memory."""
    agents = project / "agents" / "greetings" / "greetings.py"
    agents.write_text(agents.read_text() + "\nwhile True:\n    print('flood')\n")
    dev = ManagedProcess("dev", [*CLI, "dev"], project, {"NO_COLOR": "1"})
    try:
        dev.start()
        wait_until(lambda: "flood" in dev.log.read_text(), PATIENCE, "flood", lambda: "no line of the agents")
        os.kill(dev.pid, signal.SIGINT)

        assert dev.wait() == 0
        assert "ending: what has begun" in dev.log.read_text()
    finally:
        dev.end()
