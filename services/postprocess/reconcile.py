"""After a restore: images whose end postprocess has told are not processed again (`shared/reconciling.py`)."""

from collections.abc import Sequence

from services.postprocess.handler import KIND
from services.postprocess.settings import PostprocessSettings
from shared import ids
from shared.events import ImageProcessed, JobCancelled, JobFailed, JobRetried, Stage
from shared.outbox import Transaction
from shared.reconciling import Chapter, Told, main, settle_told
from shared.service import Service
from shared.topics import IMAGES_PROCESSED, JOBS_ENDED

OUTCOMES = {ImageProcessed: "processed", JobFailed: "failed", JobCancelled: "cancelled"}


def chapters(_service: Service) -> list[Chapter]:
    return [Chapter(topics=[IMAGES_PROCESSED, JOBS_ENDED], apply=settle)]


async def settle(
    transaction: Transaction, facts: Sequence[ImageProcessed | JobFailed | JobCancelled | JobRetried]
) -> None:
    ours = [
        fact
        for fact in facts
        if isinstance(fact, ImageProcessed)
        or (isinstance(fact, JobFailed | JobCancelled) and fact.stage is Stage.POSTPROCESS)
    ]
    await settle_told(
        transaction,
        [
            Told(
                work_id=ids.asset_id(fact.job_id, fact.run),
                kind=KIND,
                workspace=fact.workspace,
                request_id=fact.request_id,
                job_id=fact.job_id,
                run=fact.run,
                outcome=OUTCOMES[type(fact)],
            )
            for fact in ours
        ],
    )


if __name__ == "__main__":
    main("postprocess", PostprocessSettings, chapters)
