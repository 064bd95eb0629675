"""Where schemas are published and found: a topic of our own, or a Confluent-compatible registry."""

from farandole.registry.port import SchemaRegistry

__all__ = ["SchemaRegistry"]
