"""Files of one run in sibling folders: `results/MODEL/TASK.json` beside `predictions/MODEL/TASK.json`."""

from __future__ import annotations

from pathlib import Path


def sibling(file: Path, folder: str, other: str) -> Path | None:
    """Return the path with the last folder named `folder` replaced by `other`; None if there is no such folder.

    Examples
    --------
    >>> sibling(Path("run/results/m/gsm8k.json"), "results", "predictions").as_posix()
    'run/predictions/m/gsm8k.json'
    """
    parts = _parts(file)
    if folder not in parts:
        return None
    last = len(parts) - 1 - parts[::-1].index(folder)
    return Path(*file.absolute().parts[:last], other, *file.absolute().parts[last + 1 :])


def below(file: Path, folder: str, levels: int = 0) -> str | None:
    """Return the folders between `folder` and the file, without the last `levels`; None if there are none.

    Examples
    --------
    >>> below(Path("out/reviews/org/model/gsm8k.jsonl"), "reviews")
    'org/model'
    """
    parts = _parts(file)
    if folder not in parts:
        return None
    last = len(parts) - 1 - parts[::-1].index(folder)
    between = parts[last + 1 : len(parts) - levels]
    return "/".join(between) or None


def _parts(file: Path) -> tuple[str, ...]:
    return file.absolute().parts[:-1]
