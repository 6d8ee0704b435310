"""A loaded model: checkpoint, capabilities, memory, batches and shared prefixes."""
