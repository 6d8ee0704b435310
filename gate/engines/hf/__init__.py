"""The transformers engine. Importing it imports torch: only `gate.engines.open_engine` does."""
