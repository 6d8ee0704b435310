"""Small modules that every package may use: files, HTTP, hashes, installed packages."""
