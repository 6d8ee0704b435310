"""From text to token ids, for every engine."""
