"""Payloads too large for a record: stored by their hash, fetched and verified."""

from farandole.artifacts.claims import check_in, check_out
from farandole.artifacts.local import LocalArtifacts
from farandole.artifacts.port import ArtifactStore

__all__ = ["ArtifactStore", "LocalArtifacts", "check_in", "check_out"]
