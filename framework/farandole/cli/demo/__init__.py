"""The demo: a month of flights, a damaged day, its repair and replay; on a log of its own, or on a real Kafka."""
