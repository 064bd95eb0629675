"""Which log a command works on and how it prints: four options that nearly all commands have, said once.

    @app.command()
    @on_log
    def show(target: Target, run: RunIdArgument) -> None: ...

On the command line `show` has its own options, then `--bootstrap`, `--namespace`, `--config` and `--json`.
"""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, get_type_hints

from farandole.cli.options import Bootstrap, ConfigFile, Json, Namespace

if TYPE_CHECKING:
    from farandole.cli.settings import Settings

P = ParamSpec("P")


@dataclass(frozen=True, slots=True)
class Target:
    """What the four options were given."""

    bootstrap: str | None
    namespace: str | None
    config: Path | None
    json: bool

    def settings(self) -> "Settings":
        """The settings of the command: these flags, then the environment, then the file.

        Raises:
            ConfigError: a file or the environment holds what is no setting.
        """
        from farandole.cli.connect import settings_of

        return settings_of(self.config, self.bootstrap, self.namespace)


def _options(
    bootstrap: Bootstrap = None, namespace: Namespace = None, config: ConfigFile = None, json: Json = False
) -> Target:
    """Stands for the four in what typer reads."""
    return Target(bootstrap, namespace, config, json)


_SHARED = tuple(inspect.signature(_options).parameters.values())
_HINTS = {name: hint for name, hint in get_type_hints(_options, include_extras=True).items() if name != "return"}


def on_log(command: Callable[Concatenate[Target, P], None]) -> Callable[..., None]:
    """A command whose first parameter is its `Target`: its other options and the four are what typer sees."""

    @functools.wraps(command)
    def run(**given: object) -> None:
        shared = {name: given.pop(name) for name in _HINTS}
        command(_options(**shared), **given)  # type: ignore[call-arg, arg-type]

    _, *own = inspect.signature(command).parameters.values()
    run.__signature__ = inspect.Signature([*own, *_SHARED])  # type: ignore[attr-defined]
    hints = get_type_hints(command, include_extras=True)
    del hints["return"]
    run.__annotations__ = {parameter.name: hints[parameter.name] for parameter in own} | _HINTS
    del run.__wrapped__  # the signature is ours
    return run
