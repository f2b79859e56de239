"""After a restore: jobs whose end inference has told are not made again (`shared/reconciling.py`).

What was called after the backup and is not told in its copy of Kafka nobody here can know. So backends that bill are
paused until a person has looked into the provider's account and resumes them: nothing is billed twice unasked.
"""

import contextlib
from collections.abc import Sequence
from typing import Any

from pydantic import ValidationError

from services.inference.domain import BILLING, Job
from services.inference.queue import attempt_columns, queries
from services.inference.settings import InferenceSettings
from shared import ids
from shared.brakes import brake, brakes_in_force
from shared.current import keep, newest_documents
from shared.events import (
    AttemptSettled,
    ImageGenerated,
    JobCancelled,
    JobFailed,
    JobRetried,
    PromptAssembled,
    Stage,
)
from shared.library.documents import Routes
from shared.outbox import Transaction
from shared.reconciling import Chapter, Told, main, settle_told
from shared.service import Service
from shared.topics import (
    ATTEMPTS_SETTLED,
    IMAGES_GENERATED,
    JOBS_ENDED,
    LIBRARY_ITEMS,
    PROMPTS_ASSEMBLED,
    WORKSPACES,
)

RESTORED = "a restore"
WHY = "images may have been made and billed after the backup; look into the provider's account, then resume"
OUTCOMES = {ImageGenerated: "made", JobFailed: "failed", JobCancelled: "cancelled"}
Ended = ImageGenerated | JobFailed | JobCancelled


def chapters(_service: Service) -> list[Chapter]:
    return [
        Chapter(topics=[WORKSPACES, LIBRARY_ITEMS], apply=keep),
        Chapter(topics=[IMAGES_GENERATED, JOBS_ENDED], apply=settle),
        Chapter(topics=[ATTEMPTS_SETTLED], apply=settle_attempts),
        Chapter(topics=[PROMPTS_ASSEMBLED], apply=remember),
        Chapter(topics=[JOBS_ENDED], apply=remember_fresh_starts),
        Chapter(topics=[], apply=pause_what_bills),
    ]


async def settle(transaction: Transaction, facts: Sequence[Ended | JobRetried]) -> None:
    """The runs' work ends, and their attempts are what the facts say."""
    ended = [
        fact
        for fact in facts
        if isinstance(fact, ImageGenerated)
        or (isinstance(fact, JobFailed | JobCancelled) and fact.stage is Stage.INFERENCE)
    ]
    await settle_told(
        transaction,
        [
            Told(
                work_id=ids.asset_id(fact.job_id, fact.run),
                kind="told",
                workspace=fact.workspace,
                request_id=fact.request_id,
                job_id=fact.job_id,
                run=fact.run,
                outcome=OUTCOMES[type(fact)],
            )
            for fact in ended
        ],
    )
    attempts = [(fact, attempt) for fact in ended for attempt in fact.attempts]
    if attempts:
        await queries.tell_attempts(transaction.connection, **attempt_columns(attempts))


async def settle_attempts(transaction: Transaction, facts: Sequence[AttemptSettled]) -> None:
    """What was uncertain and is known; the fact was told already."""
    found = queries.settle_uncertain(
        transaction.connection,
        ids=[fact.attempt.attempt_id for fact in facts],
        states=[fact.attempt.state for fact in facts],
        costs=[fact.attempt.cost for fact in facts],
        currencies=[fact.attempt.currency for fact in facts],
        provider_ids=[fact.attempt.provider_request_id for fact in facts],
        price_lists=[fact.attempt.price_list for fact in facts],
        latencies=[fact.attempt.latency_seconds for fact in facts],
        by=RESTORED,
        note=None,
    )
    async for _ in found:
        pass


async def remember(transaction: Transaction, prompts: Sequence[PromptAssembled]) -> None:
    """What the settled runs were asked, so that a person can start them again."""
    jobs = {
        ids.asset_id(prompt.job_id, prompt.run): Job(
            event=prompt, asset_id=ids.asset_id(prompt.job_id, prompt.run), cause_id=prompt.event_id
        )
        for prompt in prompts
    }
    await _remember(transaction, list(jobs.values()))


async def remember_fresh_starts(transaction: Transaction, facts: Sequence[Ended | JobRetried]) -> None:
    """The same of fresh starts, which were asked what the run before them was."""
    for retry in sorted((fact for fact in facts if isinstance(fact, JobRetried)), key=lambda fact: fact.run):
        before = queries.payloads(transaction.connection, ids=[ids.asset_id(retry.job_id, retry.run - 1)])
        async for row in before:
            event = Job.model_validate_json(row["payload"]).event.model_copy(update={"run": retry.run})
            job = Job(event=event, asset_id=ids.asset_id(retry.job_id, retry.run), cause_id=retry.event_id)
            await _remember(transaction, [job])


async def _remember(transaction: Transaction, jobs: Sequence[Job]) -> None:
    await queries.remember_payloads(
        transaction.connection,
        ids=[job.asset_id for job in jobs],
        payloads=[job.model_dump_json(exclude_none=True) for job in jobs],
    )


async def pause_what_bills(transaction: Transaction, _: Sequence[Any]) -> None:
    """In each workspace, until a person resumes it there; one that is braked already stays as it is."""
    connection = transaction.connection
    braked = {(each.name, each.workspace) for each in await brakes_in_force(connection) if each.kind == "backend"}
    workspaces = [row["workspace"] async for row in queries.workspaces_with_routes(connection)]
    for workspace, documents in (await newest_documents(connection, workspaces, "routes")).items():
        for document in documents.values():
            for name in _billing(document):
                if not {(name, workspace), (name, None)} & braked:
                    await brake(
                        connection,
                        kind="backend",
                        name=name,
                        mode="pause",
                        by=RESTORED,
                        reason=WHY,
                        workspace=workspace,
                    )


def _billing(document: str) -> list[str]:
    """Backends of a routing table that send bills; of one that nobody can read nothing is routed anyway."""
    with contextlib.suppress(ValidationError):
        table = Routes.model_validate_json(document)
        return [backend.name for backend in table.backends if backend.kind in BILLING and not backend.is_free]
    return []


if __name__ == "__main__":
    main("inference", InferenceSettings, chapters)
