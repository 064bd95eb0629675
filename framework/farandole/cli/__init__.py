"""The command line: parse, build settings once, hand over. Everything heavy is imported by the command that needs it."""
