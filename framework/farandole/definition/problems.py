"""The one form of what is wrong with a definition: file and line, where in the pipeline, expectation and fact."""

from farandole.errors import DefinitionError


def problem(place: str, where: str, fact: str) -> DefinitionError:
    """An error at `file:line`, about `pipeline.step.key`."""
    return DefinitionError(f"{where}: {fact}", place=place)
