"""Answering the items of a task with an engine."""
