"""The engine that starts a model server (vLLM, SGLang, llama.cpp or any command), asks it, and stops it."""
