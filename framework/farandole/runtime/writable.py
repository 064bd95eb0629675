"""Text that can be written: what handlers say is any text of Python's, and UTF-8 cannot hold all of that."""


def writable(text: str) -> str:
    """The text, with halves of surrogate pairs, as of a truncated emoji in JSON, written out."""
    return text.encode(errors="backslashreplace").decode()
