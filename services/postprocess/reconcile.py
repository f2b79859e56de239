"""After a restore: images whose end postprocess has told are not processed again, and near twins of them are known.

How: `shared/reconciling.py`.
"""

from collections.abc import Sequence
from uuid import UUID

from services.postprocess.handler import ANEW, KIND
from services.postprocess.settings import PostprocessSettings
from services.postprocess.twins import remember
from shared import ids
from shared.events import DerivativesFailed, ImageProcessed, JobCancelled, JobFailed, JobRetried, Stage
from shared.outbox import Transaction
from shared.reconciling import Chapter, Told, main, settle_told
from shared.service import Service
from shared.topics import IMAGES_PROCESSED, JOBS_ENDED

OUTCOMES = {
    ImageProcessed: "processed",
    DerivativesFailed: "failed",
    JobFailed: "failed",
    JobCancelled: "cancelled",
}
Fact = ImageProcessed | DerivativesFailed | JobFailed | JobCancelled


def chapters(_service: Service) -> list[Chapter]:
    return [Chapter(topics=[IMAGES_PROCESSED, JOBS_ENDED], apply=settle)]


async def settle(transaction: Transaction, facts: Sequence[Fact | JobRetried]) -> None:
    await remember(transaction.connection, [fact for fact in facts if isinstance(fact, ImageProcessed)])
    ours: list[Fact] = [
        fact
        for fact in facts
        if isinstance(fact, ImageProcessed | DerivativesFailed)
        or (isinstance(fact, JobFailed | JobCancelled) and fact.stage is Stage.POSTPROCESS)
    ]
    await settle_told(
        transaction,
        [
            Told(
                work_id=work_id_of(fact),
                kind=ANEW if _is_anew(fact) else KIND,
                workspace=fact.workspace,
                request_id=fact.request_id,
                job_id=fact.job_id,
                run=fact.run,
                outcome=OUTCOMES[type(fact)],
            )
            for fact in ours
        ],
    )


def work_id_of(fact: Fact) -> UUID:
    """Of files made anew the ask's id, as a rule the fact's cause; else the asset's, which follows from job and run."""
    if not _is_anew(fact):
        return ids.asset_id(fact.job_id, fact.run)
    given_up = fact.asked if isinstance(fact, DerivativesFailed) else None
    return given_up or UUID(str(fact.cause_id))


def _is_anew(fact: Fact) -> bool:
    return isinstance(fact, DerivativesFailed) or (isinstance(fact, ImageProcessed) and fact.supersedes is not None)


if __name__ == "__main__":
    main("postprocess", PostprocessSettings, chapters)
