"""What a person did to the pipeline is kept beside what it changed, and nobody rewrites it."""

from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

from deploy.local.servers import EmbeddedServers
from shared.audit import acted
from shared.postgres import transaction
from tests.catalog.facts import WORKSPACE, Request
from tests.live.cataloguing import catalog
from tests.live.test_dead_letters import letters, refused

ACTIONS = "/v1/stages/catalog/actions"


async def test_an_act_is_listed_with_who_did_it_and_cannot_be_rewritten(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        otto = running.clients["otto"]
        request = Request(name="audited")
        await running.hear(request.accepted())
        await running.deliver([refused(running, request.accepted(), "prompt")])
        (letter,) = await letters(otto, 1)
        assert (await otto.get(ACTIONS)).json() == {"actions": [], "next": None}

        await otto.post("/v1/dead-letters/drop", json={"ids": [letter["dead_letter_id"]], "note": "a test"})
        (act,) = (await otto.get(ACTIONS)).json()["actions"]
        assert (act["principal"], act["action"], act["stage"]) == ("otto", "dlq.drop", "catalog")
        assert act["detail"] == {"dead_letters": [letter["dead_letter_id"]], "note": "a test"}
        # Asked twice it is done once, and so is the act.
        await otto.post("/v1/dead-letters/drop", json={"ids": [letter["dead_letter_id"]]})
        await otto.post("/v1/dead-letters/resume", json={"group": "catalog"})
        assert [one["action"] for one in (await otto.get(ACTIONS)).json()["actions"]] == ["dlq.resume", "dlq.drop"]
        page = (await otto.get(ACTIONS, params={"limit": 1})).json()
        older = (await otto.get(ACTIONS, params={"before": page["next"]})).json()
        assert [one["action"] for one in older["actions"]] == ["dlq.drop"]
        only = (await otto.get(ACTIONS, params={"action": "dlq", "by": "mara"})).json()
        assert only["actions"] == []
        assert (await running.clients["rita"].get(ACTIONS)).status_code == 403

        for change in ("update operator_actions set principal = 'mara'", "delete from operator_actions"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await running.service.database.execute(change)


async def test_an_act_is_kept_only_with_what_it_changed_and_seen_only_in_its_workspace(
    servers: EmbeddedServers, tmp_path: Path
) -> None:
    async with catalog(servers, tmp_path) as running:
        pool = running.service.database
        async with transaction(pool) as connection:
            await acted(connection, by="zoe", workspace=uuid4(), action="brake.pause", subject="lane/bulk")

        async def act_in_vain() -> None:
            async with transaction(pool) as connection:
                await acted(connection, by="otto", workspace=WORKSPACE, action="brake.pause", subject="lane/bulk")
                await connection.execute("select 1/0")

        with pytest.raises(asyncpg.DivisionByZeroError):
            await act_in_vain()
        assert await running.sql("select count(*) from operator_actions") == 1
        assert (await running.clients["otto"].get(ACTIONS)).json()["actions"] == []
