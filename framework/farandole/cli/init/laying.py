"""From a template to a folder: which files, with what in them, and how they get there.

A template is a folder beside this file; what all have in common is in `common`. `__name__` in
a file of `common` becomes the project's name, `__unit__` the folder of its agents, `__start__`
the command that starts its first run.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from farandole.errors import ConfigError
from farandole.ids import is_name

TEMPLATES = Path(__file__).with_name("templates")
COMMON = "common"

_STARTS: Mapping[str, str] = {
    "minimal": """farandole run start greetings --params '{"name": "Ada"}' --wait""",
    "orders": "farandole run start orders --params @order.json --wait",
    "flights-small": """farandole run start flights --params '{"month": 1}' --wait""",
}
"""How the first run of each template is started, from the project's folder."""


@dataclass(frozen=True, slots=True)
class Project:
    """What will stand in `folder`: the content of each file by its path below it."""

    folder: Path
    template: str
    files: Mapping[Path, str]

    @property
    def advice(self) -> str:
        """What to type next."""
        return (
            f"made {self.folder}. Next:\n\n"
            f"  cd {self.folder}\n"
            "  farandole dev                # the log, a coordinator and the agents, in this terminal\n"
            f"  {_STARTS[self.template]}    # in a second one\n"
        )


def template_names() -> list[str]:
    """The templates that there are."""
    return sorted(_STARTS)


def sketch(folder: Path, template: str) -> Project:
    """The project that a template would give.

    Raises:
        ConfigError: the template or the name is none, or the folder holds something already.
    """
    if template not in _STARTS:
        raise ConfigError(f"--template: expected one of {', '.join(template_names())}, but found {template!r}")
    name = folder.resolve().name
    if not is_name(name):
        raise ConfigError(f"{folder}: expected a name of a-z 0-9 _ - (a letter first, at most 63), but found {name!r}")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: expected a new or an empty folder, but there is something. Nothing was changed.")
    own = _files(TEMPLATES / template)
    unit = next(path.parts[1] for path in sorted(own) if path.parts[0] == "agents")
    words = {"__name__": name, "__unit__": unit, "__start__": _STARTS[template]}
    common = {path: _filled(text, words) for path, text in _files(TEMPLATES / COMMON).items()}
    return Project(folder, template, common | own)


def lay_out(project: Project) -> None:
    """Write the files of a project: all of them, or none.

    Raises:
        ConfigError: a file cannot be written.
    """
    was_there = project.folder.exists()
    for path, text in project.files.items():
        target = project.folder / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        except OSError as bad:
            _take_back(project.folder, was_there)
            raise ConfigError(
                f"{target}: expected to write this file, but {bad.strerror or bad}. Nothing was left behind; "
                "make room, or choose a folder that may be written."
            ) from None


def _take_back(folder: Path, was_there: bool) -> None:
    """Remove what was begun in a folder that was empty, or not there at all."""
    for each in folder.iterdir() if was_there else ():
        shutil.rmtree(each, ignore_errors=True) if each.is_dir() else each.unlink(missing_ok=True)
    if not was_there:
        shutil.rmtree(folder, ignore_errors=True)


def _files(folder: Path) -> dict[Path, str]:
    """Every file of a template; `gitignore` is `.gitignore` in a project, where it would rule the template too."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            relative = path.relative_to(folder)
            renamed = relative.with_name(".gitignore") if relative.name == "gitignore" else relative
            found[renamed] = path.read_text(encoding="utf-8")
    return found


def _filled(text: str, words: Mapping[str, str]) -> str:
    for word, value in words.items():
        text = text.replace(word, value)
    return text
