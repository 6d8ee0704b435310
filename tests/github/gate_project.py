"""The writers of tests/conftest.py, under a name that this folder's own conftest.py does not hide."""

from __future__ import annotations

import importlib.util
from pathlib import Path

_spec = importlib.util.spec_from_file_location("tests_conftest", Path(__file__).parents[1] / "conftest.py")
assert _spec is not None
assert _spec.loader is not None
_module = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_module)

write_gate_yml = _module.write_gate_yml
write_tiny_model = _module.write_tiny_model
write_tiny_task = _module.write_tiny_task
