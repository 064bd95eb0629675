"""`farandole config show` and `config reference`: what a process would be given, and what there is to set."""

from typing import TYPE_CHECKING, Annotated

import typer

from farandole.cli.options import Bootstrap, ConfigFile, Json, LogFormat, LogLevel, Namespace

if TYPE_CHECKING:
    from farandole.cli.settings import Loaded

app = typer.Typer(help="The settings, and where they come from.", no_args_is_help=True)


@app.command()
def show(
    bootstrap: Bootstrap = None,
    namespace: Namespace = None,
    config: ConfigFile = None,
    log_level: LogLevel = None,
    log_format: LogFormat = None,
    json: Json = False,
) -> None:
    """Show every setting with its value and who set it; secrets as stars. Needs no Kafka."""
    from farandole.cli.output import print_json, print_table
    from farandole.cli.settings import load

    loaded = load(config, bootstrap=bootstrap, namespace=namespace, log_level=log_level, log_format=log_format)
    rows = list(_rows(loaded))
    if json:
        values = {key: {"value": value, "origin": origin} for key, value, origin in rows}
        print_json({"file": loaded.file, "settings": values, "ignored": loaded.strangers})
        return
    typer.echo(f"file: {loaded.file or 'none'}")
    print_table(("KEY", "VALUE", "ORIGIN"), rows)
    for each in loaded.strangers:
        typer.echo(f"note: {each} is in the environment, and no setting of that name is known")


@app.command()
def reference(
    name: Annotated[str, typer.Argument(metavar="PAGE", help="configuration or access.")] = "configuration",
) -> None:
    """Print the page that documents every setting, or the rights of every kind of process."""
    from farandole.cli import configuration
    from farandole.client import access
    from farandole.errors import ConfigError

    pages = {"configuration": configuration.page, "access": access.page}
    if name not in pages:
        raise ConfigError(f"config reference: expected one of {', '.join(pages)}, but found {name!r}")
    typer.echo(pages[name](), nl=False)


def _rows(loaded: "Loaded") -> list[tuple[str, str, str]]:
    from dataclasses import fields

    from farandole.cli.configuration import shown
    from farandole.cli.settings import SECTIONS, Settings

    rows = []
    for name in Settings.model_fields:
        value = getattr(loaded.settings, name)
        if name == "kafka":
            found = {f"kafka.{key}": each for key, each in sorted(value.items())}
        elif name in SECTIONS and value is not None:
            found = {f"{name}.{each.name}": getattr(value, each.name) for each in fields(value) if each.init}
        else:
            found = {name: value}
        rows += [(key, shown(each, key), loaded.origin(key).value) for key, each in found.items()]
    return rows
