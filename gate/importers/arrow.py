"""Start-up of pyarrow without pandas."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec


class _WithoutPandas:
    """A finder on `sys.meta_path` that makes the import of pandas fail."""

    @staticmethod
    def find_spec(name: str, path: object = None, target: object = None) -> ModuleSpec | None:  # noqa: ARG004
        if name == "pandas":
            raise ModuleNotFoundError("pandas is not imported at start-up", name=name)
        return None


def start_without_pandas() -> None:
    """Keep pyarrow from importing pandas, which takes 0.2 s and is not used.

    pyarrow looks for pandas once per process, when it converts its first array. This function converts one while the
    import of pandas fails. `Table.to_pandas` still imports pandas later, but `pyarrow.array(series)` may keep NaN where
    it would return null. For processes of the command line only.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    sys.meta_path.insert(0, _WithoutPandas)
    try:
        pa.array([0]).to_numpy()
    finally:
        sys.meta_path.remove(_WithoutPandas)
