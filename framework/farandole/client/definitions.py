"""What `definitions` says, as a client needs it: pipelines by name and hash, owners of inboxes.

Read whole when something is asked for that is not in it yet; a row that cannot be read is
left out. Definitions are small and few, and never change under their hash.
"""

import asyncio
import logging
from collections.abc import Mapping

from farandole.client.joint import Joint
from farandole.client.scan import existing_places, table
from farandole.definition.model import Definition
from farandole.definition.published import read_published
from farandole.errors import ConfigError, DefinitionError, TransportError
from farandole.events.avro import Schema, SchemaBook
from farandole.events.topics import Topics
from farandole.transport.port import Edge

log = logging.getLogger("farandole.client")

PIPELINE = "pipeline:"
"""Prefix of the keys whose value is the hash that new runs of a pipeline are pinned to."""

INBOX = "inbox:"
"""Prefix of the keys whose value is the unit that consumes an agent's inbox (R8)."""

HOMES = "group:coordinator"
"""Key whose value is P, as the first `apply` made it."""

NAMES_AGE_MAX = 5.0
"""How old the table may be when a pipeline is named before it is read anew, beside the start that names it, seconds.

Reading takes half a second on Kafka, for which every start would wait once in five seconds [measured].
"""

NAMES_AGE_LIMIT = 60.0
"""How old it may be before a start waits for that, seconds: whoever starts a run now and then gets the present one."""


class DefinitionBook:
    """The table as last read."""

    def __init__(self, edge: Edge, topics: Topics) -> None:
        self._edge = edge
        self._topic = topics.definitions
        self._definitions: dict[str, Definition] = {}
        self._names: dict[str, str] = {}
        self._owners: dict[str, str] = {}
        self._homes = 0
        self._reading = Joint(self._read, "farandole-definitions")
        self._read_at = float("-inf")
        self._beside: asyncio.Task[None] | None = None

    async def refresh(self) -> None:
        """Read the table to its present end, once for all who ask meanwhile.

        Raises:
            ConfigError: the topic does not exist.
        """
        await self._reading.asked()

    async def _read(self) -> None:
        self._read_at = asyncio.get_running_loop().time()
        rows = await table(self._edge, await existing_places(self._edge, self._topic))
        self._names, self._owners = {}, {}
        for raw_key, record in rows.items():
            key, value = raw_key.decode(errors="replace"), record.value or b""
            if key.startswith(PIPELINE):
                self._names[key.removeprefix(PIPELINE)] = value.decode(errors="replace")
            elif key.startswith(INBOX):
                self._owners[key.removeprefix(INBOX)] = value.decode(errors="replace")
            elif key == HOMES:
                self._homes = int(value) if value.isdigit() else 0
            elif ":" not in key and key not in self._definitions:
                self._take(key, value)

    def _take(self, key: str, value: bytes) -> None:
        try:
            self._definitions[key] = read_published(key, value)
        except DefinitionError as bad:
            log.warning("%s: definition %s was left out: %s", self._topic, key[:12], bad)

    async def by_name(self, name: str) -> Definition:
        """The definition that new runs of a pipeline get, as of a few seconds before the last time one was named.

        Params framed with the one before are still understood: the coordinator knows every schema that they had,
        and reads them as the one of whatever it pins the run to does.

        Raises:
            ConfigError: no such pipeline was applied.
        """
        age = asyncio.get_running_loop().time() - self._read_at
        if name not in self._names or age > NAMES_AGE_LIMIT:
            await self.refresh()
        elif age > NAMES_AGE_MAX and (self._beside is None or self._beside.done()):
            self._beside = asyncio.create_task(self._refresh_beside(), name="farandole-definitions")
        found = self._definitions.get(self._names.get(name, ""))
        if found is None:
            known = ", ".join(sorted(self._names)) or "none"
            raise ConfigError(
                f"pipeline {name!r}: expected one that was applied ({known}). No run was started; "
                "run `farandole apply` on the folder that defines it."
            )
        return found

    async def _refresh_beside(self) -> None:
        try:
            await self.refresh()
        except (ConfigError, TransportError) as bad:
            log.warning("%s was not read anew: %s", self._topic, bad)

    async def close(self) -> None:
        """End what is being read, also beside a start."""
        if self._beside is not None:
            self._beside.cancel()
            await asyncio.gather(self._beside, return_exceptions=True)
        await self._reading.close()

    async def by_hash(self, digest: str) -> Definition | None:
        """The definition of that hash, or None if it was never published."""
        if digest not in self._definitions:
            await self.refresh()
        return self._definitions.get(digest)

    async def pipelines(self) -> Mapping[str, Definition]:
        """Every applied pipeline by name, as of now."""
        await self.refresh()
        return {name: self._definitions[digest] for name, digest in self._names.items() if digest in self._definitions}

    async def every(self) -> Mapping[str, Definition]:
        """Every definition that was ever applied and is kept, by hash, as of now."""
        await self.refresh()
        return dict(self._definitions)

    async def writers(self, name: str) -> SchemaBook:
        """The schemas that the params of a pipeline have, and had, under any definition that is kept, as of now."""
        every = await self.every()
        return SchemaBook(Schema.parse(it.params_schema) for it in every.values() if it.name == name)

    async def home_partitions(self) -> int:
        """P as it was recorded; 0 if it was not."""
        await self.refresh()
        return self._homes

    async def owners(self) -> Mapping[str, str]:
        """The unit of each agent that was applied, as of now."""
        await self.refresh()
        return dict(self._owners)
