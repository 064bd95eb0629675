"""The command line: parse, build settings once, hand over. What is heavy is imported by the command that needs it."""
