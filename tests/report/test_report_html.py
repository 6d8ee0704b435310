"""The HTML report without a browser: its content, its data, and its escaping."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from support.hostile import HOSTILE, naming
from support.hostile_result import result_with
from support.html_samples import choice_samples, compare_samples, text_samples

from gate.report import read_result, to_json
from gate.report.curves import power_curves
from gate.report.detail import Detail, FlipDetail, build_detail, detail_of_result
from gate.report.escape import script_json, visible
from gate.report.figures import Scale, decade, pooled
from gate.report.html import render_html
from gate.report.payload import flips_payload
from gate.samples import Pairing
from gate.stats import drop_interval, power


class Page(HTMLParser):
    """The tags with their attributes, the visible text, and the contents of scripts and styles."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.inert: list[tuple[str, str]] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in ("script", "style"):
            self.inert.append((self._inside, data))
        else:
            self.text += data

    def embedded(self, index: int) -> dict[str, object]:
        data: dict[str, object] = json.loads([text for name, text in self.inert if name == "script"][index])
        return data


@pytest.fixture(scope="module")
def failing() -> tuple[object, Pairing]:
    return compare_samples(choice_samples("winds", 400, 60, 20, 10, 0), text_samples("sums", 200, 12), certify=0.01)


def test_first_screen_shows_the_result(failing) -> None:
    result, pairing = failing
    text = " ".join(Page(render_html(result, build_detail(pairing))).text.split())
    assert "models/candidate against models/base" in text
    assert result.verdict == "FAIL"
    assert result.reasons[0] in text
    assert "winds" in text
    assert "+10.00" in text  # 60 worse, 20 better of 400
    assert "72 answers became worse, 20 became better, 10 changed from one wrong answer to another." in text
    assert "gate compare base candidate" in text


def test_page_loads_nothing_and_allows_only_its_own_script_and_style(failing) -> None:
    result, pairing = failing
    page = Page(render_html(result, build_detail(pairing)))
    for tag, attributes in page.tags:
        assert "src" not in attributes
        assert "style" not in attributes
        assert not [name for name in attributes if name.startswith("on")]
        assert (attributes.get("href") or "#")[0] == "#" or attributes["href"].startswith("data:"), tag
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for name in ("script", "style"):
        ours = [data for kind, data in page.inert if kind == name][-1]
        digest = base64.b64encode(hashlib.sha256(ours.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy


def test_plots_are_complete_without_javascript(failing) -> None:
    result, pairing = failing
    html = render_html(result, build_detail(pairing))
    assert html.count('<svg class="strip') == 3  # two tasks and all items
    assert 'class="certify"' in html
    assert '<polyline class="chance" points="0,' in html
    # only one of the two tasks has divergences, and so has bars
    assert html.count('<rect class="all"') == html.count('<rect class="flipped"') >= 8


@pytest.mark.parametrize("every", [5, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_hostile_text_leaves_no_markup_but_the_template(every: int) -> None:
    tame = Page(render_html(result_with("PLACEHOLDER")))
    for text in HOSTILE[::every]:
        with naming(text):
            wild = Page(render_html(result_with(text)))
            assert [tag for tag, _ in wild.tags] == [tag for tag, _ in tame.tags]
            assert [set(attributes) for _, attributes in wild.tags] == [set(attributes) for _, attributes in tame.tags]
            hidden = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
            assert not hidden.search(wild.text)


def test_hostile_text_survives_in_the_data() -> None:
    for text in HOSTILE:
        with naming(text):
            flip = FlipDetail(text, text, "worse", text, text, text, text, choices=(text, text))
            payload = flips_payload(Detail((flip,), {"worse": 1, "better": 0, "other": 0}))
            assert not re.search("[<>&\u2028\u2029]", payload.text)
            row = json.loads(payload.text)["rows"][0]
            assert row[3] == visible(text, 4000)
            assert row[9] == [visible(text, 300)] * 2


def test_hidden_characters_are_shown_and_long_texts_are_cut_with_a_note() -> None:
    assert visible("a\u202eb\x00c\ud800", 100) == "a[U+202E]b[U+0000]c[U+D800]"
    assert visible("two\r\nlines\tand a tab", 100) == "two\nlines\tand a tab"
    assert visible("x" * 1500, 1000) == "x" * 1000 + "… [500 more characters]"
    assert visible(None, 5) is None


def test_flips_are_those_of_the_pairing(failing) -> None:
    _, pairing = failing
    detail = build_detail(pairing)
    assert detail.totals == {"worse": 72, "better": 20, "other": 10}
    assert sum(detail.totals.values()) == len(detail.flips)
    assert len(detail.flips) == sum(task.changed_answers for task in pairing.tasks)
    kinds = [flip.kind for flip in detail.flips]
    assert kinds == sorted(kinds, key=("worse", "better", "other").index)
    flip = next(flip for flip in detail.flips if flip.kind == "worse" and flip.choices)
    assert flip.scores == (1.0, 0.0)
    assert flip.right == flip.picked[0] != flip.picked[1]
    assert (flip.target, flip.baseline) == (flip.choices[flip.right], flip.choices[flip.right])
    before, after = flip.logprobs
    rest = [index for index in range(4) if index != flip.right]
    shift = (before[flip.right] - max(before[p] for p in rest)) - (after[flip.right] - max(after[p] for p in rest))
    assert flip.shift == pytest.approx(shift)
    # the largest shift first
    shifts = [other.shift for other in detail.flips if other.kind == "worse" and other.choices]
    assert shifts == sorted(shifts, reverse=True)


def test_limit_keeps_the_worst_flips_and_names_the_number_omitted(failing) -> None:
    result, pairing = failing
    complete, limited = build_detail(pairing), build_detail(pairing, most_flips=30)
    assert limited.flips == complete.flips[:30]
    assert {flip.kind for flip in limited.flips} == {"worse"}
    assert sum(limited.totals.values()) - len(limited.flips) == 72
    assert "This page lists 30 flips, regressions first; 72 more are omitted" in Page(render_html(result, limited)).text


def test_tasks_without_shifts_take_turns() -> None:
    _, pairing = compare_samples(text_samples("sums", 50, 10), text_samples("differences", 50, 10))
    flips = build_detail(pairing, most_flips=6).flips
    assert [flip.task for flip in flips] == ["sums", "differences"] * 3


def test_histograms_count_every_item_once(failing) -> None:
    _, pairing = failing
    (histogram,) = build_detail(pairing).histograms
    assert histogram.task == "winds"
    assert sum(histogram.counts) == 400
    assert sum(histogram.flipped) == 80
    assert all(flipped <= count for flipped, count in zip(histogram.flipped, histogram.counts, strict=True))


def test_result_alone_shows_its_flips_and_says_what_is_missing(failing, tmp_path: Path) -> None:
    result, _ = failing
    path = tmp_path / "result.json"
    path.write_text(to_json(result), encoding="utf-8")
    again = read_result(path)
    detail = detail_of_result(again)
    assert detail.totals == {"worse": 72, "better": 20, "other": 10}
    page = Page(render_html(again))
    assert "made from result.json alone, which lists 10 regressions." in page.text
    assert len(page.embedded(1)["rows"]) == 10


def test_report_without_flips_has_no_explorer() -> None:
    result, pairing = compare_samples(text_samples("sums", 50, 0))
    html = render_html(result, build_detail(pairing))
    assert 'id="explorer"' not in html
    assert "0 answers became worse" in html


def test_large_data_is_compressed_and_stays_within_its_budget() -> None:
    generator = np.random.default_rng(0)
    flips = tuple(FlipDetail("t", str(n), "worse", generator.bytes(2500).hex(), "a", "b", "c") for n in range(400))
    detail = Detail(flips, {"worse": 400, "better": 0, "other": 0})
    whole = flips_payload(detail)
    rows = json.loads(gzip.decompress(base64.b64decode(json.loads(whole.text)["gzip"])))["rows"]
    assert [row[1] for row in rows] == [str(n) for n in range(400)]
    assert (whole.limit, whole.flips) == (4000, 400)
    tight = flips_payload(detail, budget=600_000)
    assert len(tight.text) <= 600_000
    assert tight.limit < whole.limit
    assert tight.flips == 400
    tiny = flips_payload(detail, budget=20_000)
    assert len(tiny.text) <= 20_000
    assert 0 < tiny.flips < 400
    assert flips_payload(detail) == whole  # and the same every time


def test_json_cannot_end_its_script_element() -> None:
    text = script_json({"a": "</script><!--<script>&\u2028"})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"a": "</script><!--<script>&\u2028"}


def test_power_curve_of_one_task_is_exact() -> None:
    result, _ = compare_samples(choice_samples("winds", 400, 30, 25, 0, 0))
    curves = power_curves(result)
    assert curves.exact
    assert curves.decision[0] == pytest.approx(power(400, 55 / 400, 0.0), abs=1e-12)
    accuracy = result.tasks[0].baseline
    for drop, chance in zip(curves.drops, curves.decision, strict=True):
        added = min(drop, accuracy)
        assert chance == pytest.approx(power(400, 55 / 400 + added, added), abs=1e-12)
    assert list(curves.decision) == sorted(curves.decision)
    assert curves.decision[-1] > 0.95


def test_power_curve_of_several_tasks_agrees_with_the_detectable_drop(failing) -> None:
    result, _ = failing
    curves = power_curves(result)
    assert not curves.exact
    assert set(curves.tasks) == {"winds", "sums"}
    near = min(range(len(curves.drops)), key=lambda k: abs(curves.drops[k] - result.sensitivity.detectable_drop))
    assert curves.decision[near] == pytest.approx(0.8, abs=0.12)
    assert curves.decision[0] <= 0.06


@pytest.mark.parametrize("policy", [{"margin": 0.02}, {}])
def test_no_power_curve_without_an_exact_test(policy: dict[str, float]) -> None:
    a, b = text_samples("sums", 60, 6)
    if not policy:  # scores between right and wrong
        a, b = (
            type(side)(side.task, side.metric, side.table.set_column(
                side.table.schema.get_field_index("score"), "score", [[0.5 * x.as_py() for x in side.table["score"]]]
            ))
            for side in (a, b)
        )  # fmt: skip
    result, pairing = compare_samples((a, b), **policy)
    assert power_curves(result) is None
    html = render_html(result, build_detail(pairing))
    assert 'id="power-plot"' not in html
    assert "Detectable drop per task" in html


def test_pooled_interval_needs_independent_binary_items_in_every_task(failing) -> None:
    result, _ = failing
    all_items = pooled(result)
    assert all_items.drop == pytest.approx((72 - 20) / 600)
    assert all_items.interval == pytest.approx(drop_interval(72, 20, 600, 0.9))
    clustered = result.tasks[0].model_copy(update={"independent": False, "test": "sign-flip permutation"})
    assert pooled(result.model_copy(update={"tasks": [clustered, result.tasks[1]]})).interval is None
    assert pooled(result.model_copy(update={"tasks": result.tasks[:1]})) is None


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (-0.021, 0.043, [-0.02, 0.0, 0.02, 0.04]),
        (0.0, 1.0, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-3e-4, 3e-4, None),
    ],
)
def test_ticks_are_round_and_on_the_axis(low: float, high: float, ticks: list[float] | None) -> None:
    scale = Scale(low, high)
    shown = scale.ticks(5)
    assert 2 <= len(shown) <= 6
    assert all(low <= tick <= high for tick in shown)
    assert ticks is None or shown == pytest.approx(ticks)
    assert (scale.at(low), scale.at(high)) == (0.0, 100.0)


def test_labels_of_decades() -> None:
    assert [decade(index) for index in (0, 8, 16, 24, 32, 40, 48, 56, 64)] == [
        "10⁻⁶", "10⁻⁵", "10⁻⁴", "0.001", "0.01", "0.1", "1", "10", "100",
    ]  # fmt: skip


def test_subtasks_have_their_own_table() -> None:
    result, _ = compare_samples(choice_samples("winds", 100, 10, 2, 1, 0), choice_samples("tides", 90, 1, 2, 1, 0))
    assert 'class="subtasks"' not in render_html(result)
    row = result.tasks[0]
    subtasks = [row.model_copy(update={"task": f"<{name}>", "role": "advisory"}) for name in ("land", "sea")]
    rows = [row.model_copy(update={"subtasks": subtasks}), *result.tasks[1:]]
    html = render_html(result.model_copy(update={"tasks": rows}))
    (section,) = re.findall(r'<details class="subtasks">.*?</details>', html, re.DOTALL)
    assert "The 2 subtasks of winds; they never decide" in section
    assert re.findall(r"<b>(&lt;.*?)</b>", section) == ["&lt;land&gt;", "&lt;sea&gt;"]
