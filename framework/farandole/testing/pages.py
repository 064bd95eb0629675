"""Pages of documentation that are scripts: what stands there is typed, and what they show must come.

`sh` blocks with a title are typed into the terminal of that name, each a shell; `diff` blocks are edits of the file
that their title names; `text` blocks are what the terminal then shows: `…` stands for anything, and instants and
durations for any others. What a process in the foreground shows may come in another order. `^C` is what it says.
"""

import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BLOCK = re.compile(r'^```(sh|text|diff) title="([^"]+)"\n(.*?)^```$', re.S | re.M)
STAYS = re.compile(r"^farandole (?:dev|coordinator run|agent run)[^\n]*\Z", re.M)
"""A block that ends with such a command leaves it in the foreground."""

END = "#end-of-block"
DEADLINE_S = 100.0
"""Far beyond what anything on the page takes, on a machine that does much else."""

ANY = [
    (r"\d{4}\\-\d\d\\-\d\d\\ (?=\d\d:\d\d:\d\d\\\.)", r"[-\\d]{10} "),
    (r"\d\d:\d\d:\d\d\\\.\d{3}Z?", r"[\\d:.]{12}Z?"),
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


_SPOKEN = re.compile(r"\d\d:\d\d:\d\d\.\d+Z? +(\S+)")
"""A line of `farandole dev`: when, and who speaks."""


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
        """Wait until every line stands there, each after the one before it of whoever speaks in it.

        After, because agents are ready more than once; of whom, because several speak at the same time: what an
        agent prints and what the log tells of its step come on two ways, and either may be first.
        """
        at: dict[str, int] = {}
        for line in filter(None, text.splitlines()):
            spoken = _SPOKEN.match(line)
            who = spoken[1] if spoken else ""
            pattern, begin = re.compile(f"^{pattern_of(line)}$", re.M), at.get(who, 0)
            self.wait(lambda pattern=pattern, begin=begin: pattern.search(self.output, begin), line)
            found = pattern.search(self.output, begin)
            assert found is not None
            at[who] = found.end()

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
    """Follows a page in a folder; `project` is where the files are that it edits."""

    def __init__(self, folder: Path, variables: Mapping[str, str], project: Path) -> None:
        self.folder = folder
        self.project = project
        self._variables = variables
        self.terminals: dict[str, Terminal] = {}
        self._foreground: set[str] = set()

    def follow(self, page: str) -> None:
        """Do and compare everything on the page."""
        for block, following in zip(found := blocks(page), [*found[1:], None], strict=True):
            match block.language:
                case "sh":
                    self._type(block)
                    is_compared = following is not None and (following.language, following.title) == (
                        "text",
                        block.title,
                    )
                    if not is_compared and block.title not in self._foreground:
                        self.terminals[block.title].finish()
                case "diff":
                    edit(self.project / block.title, block.text)
                case _:
                    self._compare(block)

    def _type(self, block: Block) -> None:
        if block.title not in self.terminals:
            self.terminals[block.title] = Terminal(block.title, self.folder, self._variables)
        self._foreground.discard(block.title)
        if STAYS.search(block.text.rstrip()):
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
