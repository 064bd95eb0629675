"""The page of errors: the tree, and what each one tells whom."""

import inspect

from markdown import NOTE, code, sentence, table

from farandole import errors


def page() -> str:
    """The tree as `errors.py` draws it, then every class with its sentence."""
    tree = (errors.__doc__ or "").strip().split("\n\n")
    classes = [
        each
        for _, each in inspect.getmembers(errors, inspect.isclass)
        if issubclass(each, Exception) and each.__module__ == errors.__name__
    ]
    classes.sort(key=lambda each: inspect.getsourcelines(each)[1])
    rows = [(code(each.__name__), code(each.__mro__[1].__name__), sentence(each.__doc__)) for each in classes]
    parts = [
        NOTE,
        "# Errors",
        "Sorted by who must act. Every message has one grammar: place, expectation, fact, consequence.",
        "```text\n" + "\n".join(line[4:] for line in tree[1].splitlines()) + "\n```",
        table(("Error", "Is a", "Meaning"), rows),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"
