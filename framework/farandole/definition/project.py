"""Which project a folder belongs to: that of the nearest `farandole.toml`, in it or above.

Knows nothing of what is in the file.
"""

from pathlib import Path

FILE = "farandole.toml"
"""Marks a project, and holds its settings."""


def nearest_file(folder: Path) -> Path | None:
    """The `farandole.toml` of the folder or of the nearest one above it."""
    return next((each / FILE for each in (folder, *folder.parents) if (each / FILE).is_file()), None)
