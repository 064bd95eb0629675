"""What we ask of a place where schemas are published.

Inside the process every payload is in the single-object frame; `outbound` and `inbound`
stand at the edge, where a deployment with a registry wants another. Everything here may
block: it belongs to the shell.
"""

from collections.abc import Sequence
from typing import Protocol

from farandole.events.avro import Schema


class SchemaRegistry(Protocol):
    """Publishes schemas and finds them again; belongs to one thread."""

    def publish(self, schemas: Sequence[Schema]) -> None:
        """Make schemas findable by every process, durably; those already published are left alone.

        Raises:
            SchemaRefused: the registry does not take one.
            TransportError: it cannot be reached.
        """
        ...

    def find(self, name: bytes | int) -> Schema:
        """The schema of a fingerprint, or of a registry's id, asking anew before it is called unknown (R13).

        Raises:
            UnknownSchema: nobody published it.
            SchemaRefused: it is published, and not admissible.
            TransportError: the registry cannot be reached.
        """
        ...

    def outbound(self, framed: bytes) -> bytes:
        """A payload as it stands on the topics of this deployment; errors as `find`."""
        ...

    def inbound(self, value: bytes) -> bytes:
        """A value from a topic in the single-object frame; JSON is left as it is. Errors as `find`."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...
