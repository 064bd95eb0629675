"""The log behind everything: one port, several implementations."""
