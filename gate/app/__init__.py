"""The functions behind the commands, callable from Python. The public ones are exported by `gate`."""
