"""The `report` section."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from gate.config.section import Section


class ReportSettings(Section):
    """Files that `gate run` writes; null writes none."""

    markdown: str | None = Field("gate-report.md", description="Markdown report.")
    json_path: str | None = Field("gate-result.json", alias="json", description="The result as JSON.")
    html: str | None = Field("gate-report.html", description="Self-contained HTML report.")
    junit: str | None = Field(None, description="JUnit XML with one test case per task.")
    attestation: str | None = Field(None, description="in-toto Statement of the verdict, unsigned.")

    @property
    def files(self) -> dict[Literal["markdown", "html", "json", "junit", "attestation"], str]:
        """Path of each file to write, by format."""
        return self.model_dump(by_alias=True, exclude_none=True)  # type: ignore[return-value]
