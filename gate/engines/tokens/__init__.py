"""Text to token ids, for all engines. Importing this package imports neither torch nor transformers."""
