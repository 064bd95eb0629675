"""From an inbox value to a handler's arguments, and from its result to a plain value.

Used by the runtime for every attempt. Knows nothing of records or bytes.
"""

from farandole.definition.spec import AgentSpec
from farandole.definition.types import from_plain, to_plain
from farandole.errors import RecordError


def arguments(spec: AgentSpec, plain: object, whole: str | None = None) -> dict[str, object]:
    """The handler's arguments by name, without its `Context`.

    `whole` is what the run's definition says, which may be of other code than this: the input whose record *is* the
    inbox value, or nothing where that is a record of all inputs. None: as the agent has it.

    Raises:
        RecordError: the inbox value does not fit the parameters.
    """
    if spec.whole:
        only = spec.parameters[0]
        if whole == "" and isinstance(plain, dict) and only.name in plain:
            plain = plain[only.name]  # one of several inputs, of which this code has but one
        return {only.name: from_plain(plain, only.type, what=only.name)}
    if whole and spec.parameter(whole) is not None:
        plain = {whole: plain}  # the only input then, of which this code has several
    if not isinstance(plain, dict):
        raise RecordError(f"input: expected a record with a field per parameter of {spec.name}, but found {plain!r}")
    given: dict[str, object] = {}
    for each in spec.parameters:
        if each.name in plain:
            given[each.name] = from_plain(plain[each.name], each.type, what=each.name)
        elif not each.has_default:
            raise RecordError(f"input: expected the field {each.name!r} of {spec.name}, but found nothing")
    return given


def result_plain(spec: AgentSpec, value: object) -> object:
    """The plain value of a handler's result.

    Raises:
        ContractError: it breaks the handler's return annotation.
    """
    return to_plain(value, spec.result)
