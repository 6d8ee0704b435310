"""The HTML report in a real browser: sorting, filters, keyboard, phone, dark mode, print, accessibility."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.exhaustive import mostly_exhaustive
from support.html_samples import choice_samples, compare_samples, text_samples

from gate.report.detail import build_detail
from gate.report.html import render_html

pytestmark = [pytest.mark.browser, pytest.mark.slow]

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\u202e &lt;b&gt; {{7*7}}"


def search(page: Any, words: str, shown: int) -> None:
    """Filter the flips by text; `shown` of them must be left."""
    box = page.get_by_label("Text")
    box.fill(words)
    box.press("Tab")  # leaving the box filters immediately, typing with a delay
    assert count(page).startswith(f"{shown} of ")


def tasks(page: Any) -> list[str]:
    names: list[str] = page.locator(".tasks tbody .c-task b").all_inner_texts()
    return names


def count(page: Any) -> str:
    return str(page.locator("#f-count").inner_text())


def set_kinds(page: Any, **kinds: bool) -> None:
    """Show or hide the kinds of flips."""
    for name, checked in kinds.items():
        page.get_by_role("checkbox", name=re.compile(name, re.I)).set_checked(checked)


def test_the_table_sorts_by_every_column_in_both_directions(
    visit: Callable[..., Any], reports: dict[str, Path]
) -> None:
    page = visit(reports["FAIL"])
    assert tasks(page) == ["winds", "tides", "sums"]
    for name, order in (("n", ["winds", "tides", "sums"]), ("Drop", ["winds", "sums", "tides"])):
        button = page.get_by_role("columnheader", name=re.compile(f"^{name}\\b")).get_by_role("button")
        button.click()
        assert tasks(page) == order
        assert page.locator("[aria-sort]").get_attribute("aria-sort") == "descending"
        button.press("Enter")
        assert tasks(page) == order[::-1]
        assert page.locator("[aria-sort]").get_attribute("aria-sort") == "ascending"
    page.get_by_role("button", name="Task", exact=True).click()
    assert tasks(page) == ["sums", "tides", "winds"]
    # every header except the plot's
    assert page.locator(".tasks thead button").count() == page.locator(".tasks thead th").count() - 1


def test_flips_are_filtered_by_task_direction_and_text(visit: Callable[..., Any], reports: dict[str, Path]) -> None:
    page = visit(reports["FAIL"])
    assert count(page) == "102 flips"
    page.locator("#f-task").select_option("tides")
    assert count(page) == "9 of 102 flips"
    set_kinds(page, better=False, other=False)
    assert count(page) == "4 of 102 flips"
    page.locator("#f-task").select_option("All tasks")
    assert count(page) == "67 of 102 flips"
    search(page, "BLOW winds-00017 where", shown=1)  # any case, words in any order, and the item's name
    assert page.locator("#list [role=option]").count() == 1
    assert "day 17 " in page.locator("#list [role=option]").inner_text()
    search(page, "no such words", shown=0)
    assert "No flip matches." in page.locator("#flip").inner_text()


def test_typing_filters_after_a_delay(visit: Callable[..., Any], reports: dict[str, Path]) -> None:
    page = visit(reports["FAIL"])
    page.get_by_label("Text").press_sequentially("tides-00001")
    page.locator("#f-count", has_text="1 of 102 flips").wait_for()


def test_a_flip_shows_both_outputs_their_difference_and_the_choices(
    visit: Callable[..., Any], reports: dict[str, Path]
) -> None:
    page = visit(reports["FAIL"])
    search(page, "winds-00006", shown=1)
    flip = page.locator("#flip")
    assert "winds: where does the wind of day 6 blow from?" in flip.inner_text()
    assert flip.locator(".target").inner_text() == "south"  # 6 modulo 4
    assert flip.locator("del").inner_text() == "south"
    assert flip.locator("ins").inner_text() == "north"
    bars = flip.locator(".choices tr")
    assert bars.count() == 4
    widths = [
        [float(bar.get_attribute("width").rstrip("%")) for bar in row.locator("rect").all()] for row in bars.all()
    ]
    assert widths[2][0] == max(row[0] for row in widths)  # south with the baseline
    assert widths[0][1] == max(row[1] for row in widths)  # north with the candidate
    assert bars.nth(2).locator(".mark").all_inner_texts() == ["target", "baseline's"]
    # generated text: only the words that differ are marked
    search(page, "sums-00002", shown=1)
    assert flip.locator("ins").all_inner_texts() == ["seven", "seven"]
    assert flip.locator("del").all_inner_texts() == ["eight", "eight"]


def test_the_list_can_be_used_with_the_keyboard_alone(visit: Callable[..., Any], reports: dict[str, Path]) -> None:
    page = visit(reports["FAIL"])
    flips = page.get_by_role("listbox")
    flips.focus()
    first = page.locator("#flip .prose").first.inner_text()
    page.keyboard.press("ArrowDown")
    assert page.locator("#flip .prose").first.inner_text() != first
    page.keyboard.press("End")
    page.wait_for_selector("#flip-101")
    active = page.locator("#" + flips.get_attribute("aria-activedescendant"))
    assert active.get_attribute("aria-selected") == "true"
    assert (active.get_attribute("aria-posinset"), active.get_attribute("aria-setsize")) == ("102", "102")
    assert page.locator("#list [role=option]").count() < 40  # only visible rows
    page.keyboard.press("Home")
    assert page.locator("#flip .prose").first.inner_text() == first


def test_on_a_phone_a_flip_opens_in_a_sheet(visit: Callable[..., Any], reports: dict[str, Path]) -> None:
    page = visit(reports["FAIL"], width=390, height=844, has_touch=True, is_mobile=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#list [role=option]").nth(1).tap()
    sheet = page.get_by_role("dialog")
    prompt = sheet.locator(".prose").first.inner_text()
    sheet.get_by_role("button", name="Next").tap()
    assert sheet.locator(".prose").first.inner_text() != prompt
    sheet.get_by_role("button", name="Previous").tap()
    assert sheet.locator(".prose").first.inner_text() == prompt
    page.keyboard.press("Escape")
    assert not sheet.is_visible()


def test_dark_mode_follows_the_system_until_its_button_is_used(
    visit: Callable[..., Any], reports: dict[str, Path]
) -> None:
    def background(page: Any) -> str:
        return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))

    light, dark = visit(reports["PASS"]), visit(reports["PASS"], color_scheme="dark")
    assert background(light) != background(dark)
    button = light.get_by_role("button", name="Dark")
    assert button.get_attribute("aria-pressed") == "false"
    assert dark.get_by_role("button", name="Dark").get_attribute("aria-pressed") == "true"
    button.click()
    assert background(light) == background(dark)
    light.reload()
    light.wait_for_selector("html.ready")
    assert background(light) == background(dark)
    light.get_by_role("button", name="Dark").click()
    assert background(light) != background(dark)


def test_power_curve_and_divergence_histogram_can_be_shown_per_task(
    visit: Callable[..., Any], reports: dict[str, Path]
) -> None:
    page = visit(reports["FAIL"])
    slider = page.get_by_role("slider")
    slider.fill("0")
    assert page.locator("#probe-drop").inner_text() == "0.00 points"
    power_of_no_drop = int(page.locator("#probe-chance").inner_text().split("%")[0])
    slider.fill("200")
    power_of_largest_drop = int(page.locator("#probe-chance").inner_text().split("%")[0])
    assert power_of_no_drop <= 6 < 95 <= power_of_largest_drop
    page.locator("#power-task").select_option("tides")
    assert int(page.locator("#probe-chance").inner_text().split("%")[0]) <= power_of_largest_drop
    heights = "[...document.querySelectorAll('#kl-plot .all title')].map(t => +t.textContent.match(/: ([\\d,]+)/)[1])"
    assert sum(page.evaluate(heights)) == 700
    page.locator("#kl-task").select_option("tides")
    assert sum(page.evaluate(heights)) == 300


def test_the_printed_report_is_light_lists_the_worst_flips_and_has_no_controls(
    visit: Callable[..., Any], reports: dict[str, Path], tmp_path: Path
) -> None:
    page = visit(reports["FAIL"], color_scheme="dark")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".static").is_visible()
    assert not page.locator("#explorer").is_visible()
    assert not page.get_by_role("button", name="Dark").is_visible()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 2


def test_the_report_is_readable_without_javascript(visit: Callable[..., Any], reports: dict[str, Path]) -> None:
    page = visit(reports["INCONCLUSIVE"], java_script_enabled=False)
    assert page.get_by_role("heading", name="INCONCLUSIVE").is_visible()
    assert page.locator(".why").inner_text().strip()
    assert page.locator(".strip .dot").count() == 4  # three tasks and all items
    assert page.locator(".chance").count() == 1
    assert page.locator(".static li").count() == 10
    for control in ("#theme", "#explorer", "#probe", "#copy"):
        assert not page.locator(control).is_visible()


def test_hostile_text_is_shown_as_text(visit: Callable[..., Any], write: Callable[[str, str], Path]) -> None:
    result, pairing = compare_samples(
        choice_samples(HOSTILE, 60, 20, 2, 2, 0, write=lambda text: f"{text} {HOSTILE}"),
        text_samples("x" + HOSTILE, 40, 12, write=lambda text: f"{text} {HOSTILE}"),
        labels=(HOSTILE, "b " + HOSTILE),
    )
    page = visit(write("hostile", render_html(result, build_detail(pairing))))
    rows = page.locator("#list [role=option]")
    for index in range(4):
        rows.nth(index).click()
        assert "<img src=x onerror=alert(1)>" in page.locator("#flip").inner_text()
    search(page, "SUM 3?", shown=1)
    assert "[U+202E]" in page.locator("#flip .answer").first.inner_text()
    assert page.locator("img, iframe, object, embed").count() == 0
    assert page.locator("script").count() == 3
    assert "<script>alert(2)</script>" in page.locator(".tasks tbody").inner_text()


@pytest.mark.parametrize(
    "case",
    mostly_exhaustive(
        itertools.product(["PASS", "FAIL", "INCONCLUSIVE"], [390, 1440], ["light", "dark"]),
        [("PASS", 390, "dark"), ("FAIL", 390, "light"), ("FAIL", 1440, "dark"), ("INCONCLUSIVE", 1440, "light")],
    ),
    ids=str,
)
def test_axe_finds_no_violation(
    visit: Callable[..., Any], reports: dict[str, Path], axe: str, case: tuple[str, int, str]
) -> None:
    verdict, width, scheme = case
    page = visit(reports[verdict], width=width, color_scheme=scheme)
    page.evaluate("for (const details of document.querySelectorAll('details')) details.open = true")
    if width < 900:
        page.locator("#list [role=option]").first.click()
    page.evaluate(axe)
    report = page.evaluate("axe.run(document, {resultTypes: ['violations', 'incomplete']})")
    violations = [
        (rule["id"], [node["html"][:160] for node in rule["nodes"][:3]], rule["nodes"][0]["failureSummary"])
        for rule in report["violations"]
    ]
    assert not violations, json.dumps(violations, indent=1)


@pytest.mark.parametrize("width", mostly_exhaustive([390, 820, 1440], [390, 820]))
def test_no_element_is_wider_than_the_screen(visit: Callable[..., Any], reports: dict[str, Path], width: int) -> None:
    for path in reports.values():
        page = visit(path, width=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        edges = "[...document.querySelectorAll('main section.hero, main > section, .pair > section')]"
        rights = page.evaluate(edges + ".map(element => Math.round(element.getBoundingClientRect().right))")
        assert max(rights) == rights[0]  # no card is wider than the others
        clipped = "[...document.querySelectorAll('.hero *, .tasks td, .tasks th')].filter(element => element.clientWidth > 1 && element.scrollWidth > element.clientWidth + 1)"
        assert page.evaluate(clipped + ".map(element => element.outerHTML.slice(0, 120))") == []


@pytest.mark.exhaustive
def test_ten_thousand_flips_stay_usable(visit: Callable[..., Any], write: Callable[[str, str], Path]) -> None:
    long_text = " ".join(f"word{number}" for number in range(150))
    result, pairing = compare_samples(
        choice_samples("winds", 30_000, 6_000, 5_000, 1_000, 0, write=lambda text: f"{text} {long_text}"),
        choice_samples("tides", 70_000, 1_000, 900, 300, 1),
    )
    html = render_html(result, build_detail(pairing))
    assert len(html.encode()) < 15_000_000
    page = visit(write("large", html))
    assert count(page) == "10,000 flips"
    page.get_by_role("listbox").focus()
    page.keyboard.press("End")
    page.wait_for_selector("#flip-9999")
    assert page.locator("#list [role=option]").count() < 40
    search(page, "winds-04321", shown=1)
    assert "day 4321 " in page.locator("#flip").inner_text()


def test_the_table_of_subtasks_sorts_independently(
    visit: Callable[..., Any], write: Callable[[str, str], Path], axe: str
) -> None:
    result, pairing = compare_samples(choice_samples("winds", 200, 9, 2, 1, 0), choice_samples("tides", 90, 1, 2, 1, 1))
    first, second = result.tasks
    subtasks = [
        first.model_copy(update={"task": name, "role": "advisory", "n": n, "p_holm": None})
        for name, n in (("land", 20), ("sea", 180))
    ]
    grouped = result.model_copy(update={"tasks": [first.model_copy(update={"subtasks": subtasks}), second]})
    page = visit(write("subtasks", render_html(grouped, build_detail(pairing))))
    table = page.get_by_role("table", name="Subtasks of winds")
    assert not table.is_visible()
    page.get_by_text("The 2 subtasks of winds").click()
    names = table.locator("tbody .c-task b")
    assert names.all_inner_texts() == ["land", "sea"]
    table.get_by_role("button", name="n", exact=True).click()
    assert names.all_inner_texts() == ["sea", "land"]
    assert page.locator(".tasks").first.locator("tbody .c-task b").all_inner_texts() == ["winds", "tides"]
    page.evaluate(axe)
    assert page.evaluate("axe.run(document).then(report => report.violations.map(rule => rule.id))") == []
