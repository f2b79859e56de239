"""The runbook has a section for every reason a job can fail for, and names nothing that does not exist."""

import re
from pathlib import Path

import pytest

from services.catalog.ledger.why import KNOWN_REASONS
from shared import observability
from shared.events import FailureReason

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/runbook.md").read_text()
SECTIONS = dict(re.findall(r"^## (.+)\n\n((?:(?!^#).*\n)+)", PAGE, re.MULTILINE))
LINK = re.compile(r"(?:docs/runbook\.md|\{RUNBOOK\})#([a-z_{}-]+)")


def anchor(heading: str) -> str:
    """As the forges that show it make it of a heading."""
    return re.sub(r"[^a-z0-9_ -]", "", heading.lower()).replace(" ", "-")


ANCHORS = {anchor(heading) for heading in SECTIONS}


@pytest.mark.parametrize("reason", sorted(set(FailureReason) - {FailureReason.UNKNOWN}))
def test_every_reason_a_job_can_fail_for_has_its_section(reason: FailureReason) -> None:
    assert reason in KNOWN_REASONS and reason.value in ANCHORS


@pytest.mark.parametrize("heading", SECTIONS)
def test_every_section_says_symptom_query_and_action(heading: str) -> None:
    said = re.findall(r"^- \*\*(\w+)\*\* \S", SECTIONS[heading], re.MULTILINE)
    assert said == ["Symptom", "Query", "Action"]


def test_every_link_into_the_runbook_leads_to_a_section() -> None:
    linked = {
        found
        for folder in ("services", "shared", "deploy", "docs")
        for path in (ROOT / folder).rglob("*")
        if path.suffix in {".py", ".md", ".html", ".yaml"}
        for found in LINK.findall(path.read_text())
    }
    spelt = {name for name in linked if "{" not in name}
    assert spelt and spelt <= ANCHORS
    # Those that are put together name a reason, or a state of a publication.
    assert linked - spelt == {"{now", "{state}-publications"}
    assert {f"{state}-publications" for state in ("uncertain", "failed")} <= ANCHORS


def test_every_metric_that_it_names_exists() -> None:
    metrics = {
        metric._name
        for metric in vars(observability).values()
        if hasattr(metric, "_name") and hasattr(metric, "labels")
    }
    named = {name.removesuffix("_total") for name in re.findall(r"\bcalotype_[a-z_]+", PAGE)}
    assert named and named <= metrics
