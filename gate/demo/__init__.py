"""The demo: a small real model, real quantisers and a suite of facts, all from PyPI packages."""
