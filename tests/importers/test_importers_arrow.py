"""pyarrow starts without pandas, and can still use it later."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.commands import run_python

pytest.importorskip("pandas")

_READ = """
import sys
from pathlib import Path
from gate.importers import read_foreign
from gate.importers.arrow import start_without_pandas
start_without_pandas()
table = read_foreign(Path(sys.argv[1])).tasks["arc"].table
table["score"].to_numpy()
assert "pandas" not in sys.modules
frame = table.to_pandas()
assert frame["score"].tolist() == [1.0] * 20
assert frame["prompt_hash"].isna().all()
"""
_COMPARE = """
import sys
from gate.cli.main import main
try:
    main(["compare", sys.argv[1], sys.argv[1]])
finally:
    assert "pyarrow" in sys.modules
    assert "pandas" not in sys.modules
"""


@pytest.mark.parametrize("code", [_READ, _COMPARE], ids=["read_foreign", "gate compare"])
def test_reading_and_comparing_do_not_import_pandas(tmp_path: Path, code: str) -> None:
    path = tmp_path / "m.csv"
    rows = [f"arc,{item},x,x,1" for item in range(20)]
    path.write_text("\n".join(["task,item_id,output,target,correct", *rows]), encoding="utf-8")
    exit_code, _, err = run_python(code, path)
    assert exit_code == 0, err
