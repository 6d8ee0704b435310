"""Characters that XML and UTF-8 forbid never reach a report."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from gate.report.escape import log_line, markdown, one_line


@pytest.mark.parametrize("bad", ["\ufffe", "\uffff", "\ud800", "\x00"])
def test_characters_that_xml_forbids_are_removed(bad: str) -> None:
    assert one_line(f"a{bad}b") == "a b"
    for shown in (one_line(f"a{bad}b"), log_line(f"a{bad}b"), markdown(f"a{bad}b")):
        assert bad not in shown
    element = ET.Element("testcase", name=one_line(f"a{bad}b"))
    assert ET.fromstring(ET.tostring(element, encoding="utf-8")).get("name") == "a b"
