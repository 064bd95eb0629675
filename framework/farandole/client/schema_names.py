"""A schema by the name that people give it: a fingerprint, a use (`orders/ship/input`), a record of ours."""

from farandole.client.published import Published, ours_by_name, published
from farandole.client.session import Session
from farandole.errors import ConfigError
from farandole.events.avro import Schema

PREFIX_MIN = 4
"""Characters of a fingerprint that may stand for it: shorter ones are rather names."""


async def schema_named(session: Session, name: str) -> Schema:
    """The schema; see `found_by`."""
    return Schema.parse((await published_named(session, name)).text)


async def published_named(session: Session, name: str) -> Published:
    """The one schema that a name stands for.

    Raises:
        ConfigError: there is none, or several.
    """
    rows = await published(session)
    ours = ours_by_name(name)
    if ours is not None:
        return next(each for each in rows if each.fingerprint == ours.fingerprint.hex())
    found = found_by(rows, name)
    if len(found) == 1:
        return found[0]
    if not found:
        raise ConfigError(
            f"schema {name!r}: expected a fingerprint, a use such as orders/ship/input, or a name, as "
            "`farandole schema list` tells them, but there is none"
        )
    listed = ", ".join(f"{each.fingerprint} ({', '.join(each.uses) or 'not in use'})" for each in found)
    raise ConfigError(f"schema {name!r}: expected one, but it stands for {len(found)}: {listed}")


def found_by(rows: list[Published], name: str) -> list[Published]:
    """Those whose use or name it is, else those whose fingerprint begins so."""
    exact = [each for each in rows if name in each.uses] or [each for each in rows if name == each.name]
    if exact or len(name) < PREFIX_MIN:
        return exact
    return [each for each in rows if each.fingerprint.startswith(name.lower())]
