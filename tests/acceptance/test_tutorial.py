"""A newcomer's ten minutes: docs/tutorial/first-pipeline.md is the script, and what it shows is what comes.

An empty folder, an environment with the wheel in it, two terminals (each a shell). `sh` blocks with a title are typed
there; `diff` blocks are edits of a file; `text` blocks are what the terminal of their title then shows: `…` stands for
anything, and instants and durations for any others. What a process in the foreground shows may come in another order.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "tutorial" / "first-pipeline.md"
ON_KAFKA = "## On Kafka"
BLOCK = re.compile(r'^```(sh|text|diff) title="([^"]+)"\n(.*?)^```$', re.S | re.M)
END = "#end-of-block"
DEADLINE_S = 100.0
"""Far beyond what anything on the page takes, on a machine that does much else."""

ANY = [
    (r"\d\d:\d\d:\d\d\\\.\d{3}", r"[\\d:.]{12}"),
    (r"\d{4}\\-\d\d\\-\d\d\\ \d\d:\d\d:\d\dZ", r"[-\\d: ]{19}Z"),
    (r"\d+(?:\\\.\d+)?\\ (?:ms|min|s|h)\b(?:\\ \d+\\ s)?", r"[\\d.]+ (?:ms|min|s|h)\\b(?: \\d+ (?:min|s))?"),
    (r"in\\ [\d\\.]+s", r"in [\\d.]+s"),
    ("…", ".*"),
    (r"(?:\\ ){2,}", " +"),
]
"""What of an escaped line stands for more than itself."""


@dataclass(frozen=True)
class Block:
    """One block of the page."""

    language: str
    title: str
    text: str


def blocks(page: str) -> list[Block]:
    """Those that are typed, edited or compared, in their order."""
    return [Block(*found) for found in BLOCK.findall(page)]


def pattern_of(line: str) -> str:
    """What a line of the page says of a line of the terminal."""
    out = re.escape(line)
    for old, new in ANY:
        out = re.sub(old, new, out)
    return out


class Terminal:
    """A shell; all that it and its commands print stands in a file."""

    def __init__(self, name: str, folder: Path, variables: Mapping[str, str]) -> None:
        self.log = folder.parent / f"{name}.log"
        self._shown = 0
        self.is_busy = False
        with self.log.open("wb") as log:
            self._shell = subprocess.Popen(
                ["bash", "--noprofile", "--norc"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env=dict(variables),
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        """What came since the last block was typed."""
        return self.log.read_bytes()[self._shown :].decode(errors="replace")

    def type(self, text: str) -> None:
        """Type a block, or Ctrl-C."""
        self._shown = self.log.stat().st_size
        if text.strip() == "^C":
            shell = self._shell.pid
            child = Path(f"/proc/{shell}/task/{shell}/children").read_text().split()[0]
            os.kill(int(child), signal.SIGINT)
            return
        assert self._shell.stdin is not None
        self._shell.stdin.write(f"{text}echo '{END}'\n".encode())
        self._shell.stdin.flush()

    def finish(self) -> str:
        """Wait until what was typed has ended; what it printed."""
        self.wait(lambda: f"{END}\n" in self.output, "an end")
        return self.output.partition(f"{END}\n")[0]

    def shows(self, text: str) -> None:
        """Wait until every line stands there, each after the one before it: agents are ready more than once."""
        at = 0
        for line in filter(None, text.splitlines()):
            pattern = re.compile(f"^{pattern_of(line)}$", re.M)
            self.wait(lambda pattern=pattern, at=at: pattern.search(self.output, at), line)
            found = pattern.search(self.output, at)
            assert found is not None
            at = found.end()

    def wait(self, condition: object, what: str) -> None:
        """Until a condition holds."""
        assert callable(condition)
        until = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < until, f"expected {what!r} in {self.log.name}, but there is:\n{self.output}"
            assert self._shell.poll() is None, self.output
            time.sleep(0.05)

    def close(self) -> None:
        """Ctrl-C to what still runs, which ends in order; then the shell."""
        with self._shell:
            try:
                os.killpg(self._shell.pid, signal.SIGTERM)
                self._shell.wait(30)
            finally:
                self._shell.kill()


class Reader:
    """Follows the page in a folder of its own."""

    def __init__(self, folder: Path, variables: Mapping[str, str]) -> None:
        self.folder = folder
        self._variables = variables
        self.terminals: dict[str, Terminal] = {}
        self._foreground: set[str] = set()

    def follow(self, page: str) -> None:
        """Do and compare everything on the page."""
        for block, following in zip(found := blocks(page), [*found[1:], None], strict=True):
            match block.language:
                case "sh":
                    self._type(block)
                    if following is None or (following.language, following.title) != ("text", block.title):
                        self.terminals[block.title].finish()
                case "diff":
                    edit(self.folder / "shop" / block.title, block.text)
                case _:
                    self._compare(block)

    def _type(self, block: Block) -> None:
        if block.title not in self.terminals:
            self.terminals[block.title] = Terminal(block.title, self.folder, self._variables)
        self._foreground.discard(block.title)
        if block.text.rstrip().endswith("farandole dev"):
            self._foreground.add(block.title)
        self.terminals[block.title].type(block.text)

    def _compare(self, block: Block) -> None:
        terminal = self.terminals[block.title]
        if block.title in self._foreground:
            terminal.shows(block.text)
            return
        printed = terminal.finish()
        # A line that is nothing but `…` stands for any lines.
        lines = [r"(?:.*\n)*?" if line == "…" else f"{pattern_of(line)}[ ]*\n" for line in block.text.splitlines()]
        assert re.fullmatch("".join(lines), printed), f"expected\n{block.text}\nbut {block.title} shows\n{printed}"

    def close(self) -> None:
        """End what still runs."""
        for terminal in self.terminals.values():
            terminal.close()


def edit(file: Path, diff: str) -> None:
    """What a reader does with a diff: lines with `-` become those with `+`."""
    old = "".join(f"{line[1:]}\n" for line in diff.splitlines() if line[0] in "- ")
    new = "".join(f"{line[1:]}\n" for line in diff.splitlines() if line[0] in "+ ")
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name}: expected once\n{old}"
    file.write_text(text.replace(old, new))


@pytest.fixture
def reader(newcomer: Mapping[str, str], tmp_path: Path) -> Iterator[Reader]:
    """Somebody with the wheel, a folder and a page."""
    folder = tmp_path / "empty"
    folder.mkdir()
    made = Reader(folder, newcomer)
    yield made
    made.close()


@pytest.mark.timeout(400)
def test_a_newcomer_goes_through_the_tutorial_with_nothing_but_the_wheel(reader: Reader) -> None:
    reader.follow(PAGE.read_text().partition(ON_KAFKA)[0])

    assert "Traceback" not in reader.terminals["terminal 1"].log.read_text()
    assert "ready after" in reader.terminals["terminal 1"].log.read_text()


@pytest.mark.timeout(400)
def test_the_end_of_the_tutorial_runs_on_a_real_kafka(
    newcomer: Mapping[str, str], kafka: str, unique: str, tmp_path: Path
) -> None:
    page, _, rest = PAGE.read_text().partition(ON_KAFKA)
    edits = [block for block in blocks(page) if block.language == "diff"]
    folder = tmp_path / "empty"
    folder.mkdir()
    subprocess.run(["farandole", "init", "shop"], cwd=folder, env=dict(newcomer), check=True, capture_output=True)
    for each in edits:
        edit(folder / "shop" / each.title, each.text)
    reader = Reader(folder / "shop", {**newcomer, "FARANDOLE_NAMESPACE": unique})

    try:
        reader.follow(rest.replace("localhost:9092", kafka).replace("shop.commands", f"{unique}.commands"))
        reader.terminals["terminal 1"].type("^C")
        said = reader.terminals["terminal 1"].finish()
    finally:
        reader.close()

    assert "ending: what has begun is finished first" in said
    assert "hello-5" in said or "hello-5" in reader.terminals["terminal 1"].log.read_text()


@pytest.mark.parametrize(
    ("line", "shown", "fits"),
    [
        ("02:58:14.473  run  hello-1  done", "11:00:00.001  run    hello-1  done", True),
        ("greeting  …, fired send", "greeting  0 ms, fired send", True),
        ("ready after 1.4 s; starts", "ready after 12.0 s; starts", True),
        ("in 5 min 35 s  asked", "in 3 s  asked", True),
        ("attempt 1", "attempt 2", False),
        ("hello-1  held", "hello-1  succeeded", False),
    ],
)
def test_a_line_of_the_page_fits_what_differs_in_time_only(line: str, shown: str, fits: bool) -> None:
    assert bool(re.fullmatch(pattern_of(line), shown)) is fits
