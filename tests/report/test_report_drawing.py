"""The forest plot as text: positions of its marks, read back from the text."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from support.binary_results import answers, result_of

from gate.decision import TaskResult
from gate.report.drawing import draw_drops

(ROW,) = result_of({"arc": answers(9, 3, 200)}).tasks


def row(drop: float, low: float, high: float, name: str = "arc") -> TaskResult:
    return ROW.model_copy(update={"task": name, "drop": drop, "drop_ci90": (low, high)})


def test_interval_drop_zero_and_bound_are_in_order() -> None:
    first, second, axis = draw_drops(
        [row(0.05, 0.02, 0.08), row(-0.01, -0.04, 0.02, "a very long name of a task")], [0.01]
    )
    assert first.startswith("arc ")
    assert second.startswith("a very long…me of a task ")
    zero, bound = first.index("│"), first.index("┊")
    assert zero < bound < first.index("├") < first.index("●") < first.index("┤")
    assert second.index("├") < second.index("●") < zero < second.index("┤")
    assert (second[zero], second[bound]) == ("┼", "╪")
    assert axis[zero] == "0"
    assert axis.endswith("points")


def test_axis_numbers_are_below_their_drops() -> None:
    *_, axis = draw_drops([row(0.1, 0.0, 0.2)], [])
    columns = {float(word): axis.index(word) + len(word) // 2 for word in axis.split()[:-1]}
    for points, column in columns.items():
        drawn = draw_drops([row(0.1, 0.0, 0.2), row(points / 100, points / 100, points / 100)], [])
        assert abs(drawn[1].index("●") - column) <= 1


def test_bound_near_zero_is_drawn_beside_it() -> None:
    drawn, _ = draw_drops([row(0.5, 0.4, 0.6)], [0.0005])
    assert "│┊" in drawn


def test_no_task_gives_no_plot() -> None:
    assert draw_drops([], [0.01]) == []


@pytest.mark.parametrize("name", ["```\n<!-- x -->", "::add-mask::x", "##[error]x", "表" * 40, "\u202etxt", "`" * 30])
def test_name_stays_in_its_column(name: str) -> None:
    drawn, plain, _ = draw_drops([row(0.1, 0.0, 0.2, name), row(0.1, 0.0, 0.2)], [])
    assert cell_len(drawn) == cell_len(plain)
    assert drawn[-20:] == plain[-20:]
    assert not set("`<>\u202e\n") & set(drawn)
    assert not drawn.startswith(("::", "##["))


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(*(st.floats(-1, 1) for _ in range(3))).map(sorted), min_size=1, max_size=5),
    st.lists(st.floats(0.0001, 1), max_size=2),
)
def test_any_drops_fit_the_plot(drops: list[list[float]], lines: list[float]) -> None:
    rows = draw_drops([row(drop, low, high) for low, drop, high in drops], lines)
    assert len(rows) == len(drops) + 1
    for drawn in rows[:-1]:
        assert drawn.count("●") == 1
        assert len(drawn) <= 74
