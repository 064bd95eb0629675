"""Requests of Kafka's protocol that aiokafka does not know, each in the one version that we speak.

Of flexible versions only: their tagged fields, of which we send none, are the last of every structure.
"""

from typing import Any

from aiokafka.errors import IncompatibleBrokerVersion
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import CompactString, Schema, TaggedFields

TEXT, TAGS = CompactString("utf-8"), ("tags", TaggedFields)

UNSPOKEN = (NotImplementedError, ValueError)
"""What aiokafka raises where the broker does not speak a request's version, or answers what cannot be read as it."""


class _Message(Request[RequestStruct]):  # type: ignore[misc]  # aiokafka has no types
    """A request with its fields, in order and without the tags of the whole."""

    API_KEY = -1

    def __init__(self, *fields: object) -> None:
        self._fields = fields

    def prepare(self, versions: Any) -> Any:
        """As a broker that knows other versions only, one that does not know the request at all is too old.

        aiokafka's own error for that is of those after which one asks again.
        """
        try:
            return super().prepare(versions)
        except IncompatibleBrokerVersion as error:
            raise NotImplementedError(str(error)) from error

    def build(self, request_struct_class: Any) -> Any:
        return request_struct_class(*self._fields, {})


def message(name: str, key: int, version: int, asked: Schema, answered: Schema) -> type[Any]:
    """The class of a request, made from its API key and version and from both structures.

    `name` is what is told where a broker does not speak this version.
    """
    which = {"API_KEY": key, "API_VERSION": version}
    response = type(f"{name}Response", (Response,), {**which, "SCHEMA": answered})
    struct = {**which, "FLEXIBLE_VERSION": True, "RESPONSE_TYPE": response, "SCHEMA": asked}
    made: type[Any] = type(name, (_Message,), {"API_KEY": key})
    made._CLASSES = (type(f"{name}V{version}", (RequestStruct,), struct),)
    return made
