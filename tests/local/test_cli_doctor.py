"""What `calotype doctor` makes of what it is told."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from deploy.cli.client import Client
from deploy.cli.doctor import Finding, certificate, judged, unready
from deploy.local.supervisor import STAGES

BACKEND: dict[str, Any] = {
    "name": "cloud", "visibility": "cloud", "enabled": True, "end_of_life": None, "days_left": None,
    "uncallable": None, "provider": "acme", "has_key": True, "work": "openai/standard/acme", "claimed": True,
    "rules": ["public"],
}  # fmt: skip


def findings(rules: Any = (), /, **backend: Any) -> list[Finding]:
    return list(judged({"problem": None, "remedy": None, "backends": [BACKEND | backend], "rules": rules}))


@pytest.mark.parametrize(
    ("days", "code", "words"),
    [
        (31, None, ""),
        (30, "backend_due", "ends on 2026-12-22, in 30 days"),
        (0, "backend_due", "ends on 2026-12-22, today"),
        (-1, "backend_ended", "ended on 2026-12-22"),
    ],
)
def test_a_backend_is_due_for_thirty_days_up_to_its_last_and_then_ended(
    days: int, code: str | None, words: str
) -> None:
    found = findings(end_of_life="2026-12-22", days_left=days)
    assert [one.code for one in found] == ([code] if code else [])
    for one in found:
        assert (one.level, one.subject, one.date) == ("warning", "cloud", "2026-12-22")
        assert words in one.what


def test_a_provider_that_is_not_known_or_has_no_key_is_a_warning() -> None:
    (unknown,) = findings(uncallable="no worker knows the provider 'acme'", has_key=False)
    assert (unknown.level, unknown.code) == ("warning", "provider_unknown")
    assert "CALOTYPE_PROVIDERS" in unknown.remedy
    (keyless,) = findings(has_key=False)
    assert (keyless.level, keyless.code) == ("warning", "provider_without_key")
    assert findings(has_key=False, visibility="private") == [], "a server of our own may ask for none"
    assert findings(has_key=False, enabled=False, days_left=-9, end_of_life="2026-01-01") == []


def test_a_backend_whose_work_no_live_process_claims_is_a_warning_where_a_rule_names_it() -> None:
    (found,) = findings(claimed=False)
    assert (found.level, found.code, found.subject) == ("warning", "backend_unclaimed", "cloud")
    assert found.what == "no live process claims the work of backend cloud (openai/standard/acme)"
    assert "CALOTYPE_POOLS" in found.remedy
    assert findings(claimed=False, rules=[]) == findings(claimed=False, enabled=False) == []
    ended, *others = findings(claimed=False, days_left=-1, end_of_life="2026-11-21")
    assert (ended.code, others) == ("backend_ended", []), "nothing is sent there any more"


def test_a_rule_nobody_can_serve_and_a_table_that_is_not_there_are_errors() -> None:
    (rule,) = findings([{"id": "all", "unserved": {"cloud": "public work: it is switched off"}}])
    assert (rule.level, rule.subject) == ("error", "all")
    assert "cloud: public work: it is switched off" in rule.what
    state = {"problem": "the workspace has no routing table", "remedy": "publish one", "backends": [], "rules": []}
    (missing,) = judged(state)
    assert (missing.level, missing.code, missing.remedy) == ("error", "no_routes", "publish one")


def test_a_stage_that_is_not_ready_names_the_servers_it_waits_for() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        stage = request.url.path.split("/")[3]
        if stage == "prompt":
            return httpx.Response(503, json={"dependencies": {"kafka": "no broker answers", "object store": "ok"}})
        if stage == "catalog":  # its process is away: the gateway speaks
            return httpx.Response(503, json={"detail": "the catalog service is not answering"})
        return httpx.Response(200, json={"ready": True})

    client = Client(httpx.Client(transport=httpx.MockTransport(answer), base_url="http://calotype"))
    prompt, catalog = unready(client)
    assert (prompt.level, prompt.subject) == ("error", "prompt")
    assert prompt.what == "prompt is not ready: kafka: no broker answers"
    assert prompt.remedy.startswith("bring back kafka")
    assert catalog.what == "catalog is not ready: the catalog service is not answering"
    assert {prompt.subject, catalog.subject} < set(STAGES)


@pytest.mark.parametrize(("days", "code"), [(31, None), (30, "certificate_due"), (-1, "certificate_ended")])
def test_the_certificate_of_this_machine_is_due_before_its_files_stop_holding(days: int, code: str | None) -> None:
    now = datetime(2026, 11, 23, tzinfo=UTC)
    found = list(certificate(now + timedelta(days=days), now=now))
    assert [one.code for one in found] == ([code] if code else [])
    assert not list(certificate(None, now=now))
