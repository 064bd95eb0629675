"""The demo: a month of flights, a damaged day, its repair and replay; in one process, or on a real Kafka."""
