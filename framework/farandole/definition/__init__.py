"""Pipelines as data, and the two front ends that compile to it."""
