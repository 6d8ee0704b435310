"""A loaded model: its checkpoint, memory, batches and what it supports."""
