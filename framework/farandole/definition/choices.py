"""Constants against the texts that a `Literal` takes.

Avro says only that they are strings, so a constant that is none of them passed and each run failed.
"""

from farandole.definition.shapes import Choice, ListOf, MapOf, Maybe, RecordOf, Shape
from farandole.definition.value_types import Keyed, Many, Nullable, Record, Simple, ValueType


def choice_misfit(found: ValueType, shape: Shape, path: str) -> str | None:
    """Why a value whose texts are known cannot be given where `shape` is expected; None if nothing speaks against it.

    Looks into what is written out alone: of a step's output, and of params, no text is known.
    """
    if isinstance(found, Nullable):
        return choice_misfit(found.inner, shape, path)
    match found, shape:
        case _, Maybe(inner=inner):
            return choice_misfit(found, inner, path)
        case Simple(literals=frozenset() as texts), Choice(values=values):
            odd = sorted(texts - set(values))
            return f"expected one of {', '.join(map(repr, values))} at {path}, but found {odd[0]!r}" if odd else None
        case Many(item=item), ListOf(item=wanted) if item is not None:
            return choice_misfit(item, wanted, f"{path}[]")
        case Keyed(value=value), MapOf(value=wanted):
            return choice_misfit(value, wanted, f"{path}[…]")
        case Record(name=None, members=members), MapOf() | RecordOf():
            below = [(each, _shape_of_member(shape, each.name)) for each in members]
            misfits = (choice_misfit(each.type, inner, f"{path}.{each.name}") for each, inner in below if inner)
            return next(filter(None, misfits), None)
    return None


def _shape_of_member(shape: MapOf | RecordOf, name: str) -> Shape | None:
    if isinstance(shape, MapOf):
        return shape.value
    return next((each.shape for each in shape.fields if each.name == name), None)
