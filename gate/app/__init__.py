"""The use cases: what every command does, callable from Python."""
