"""Text generation with transformers models."""
