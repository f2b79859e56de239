"""Near twins: whether a picture came before, a little changed, as another job's. Rubrics ask for it: it costs a query.

Every picture that is asked about is kept, and of two that are alike the later one is told. Which is later is decided in
Postgres under a lock of the workspace's, and stays so: a second try of the same work finds the row of the first.
"""

import hashlib
from collections.abc import Sequence
from uuid import UUID

from services.postprocess.checks.alike import alike, rule
from services.postprocess.checks.published import advises_only
from services.postprocess.handler import queries
from shared.events import ImageGenerated, ImageProcessed, Measures, Verdict
from shared.library.documents import Rubric
from shared.postgres import Connection, Pool, unavailable_when_away

TWIN = "twin"
CODE = "other"
# From here on two are alike: what twins of the labelled set have at least, and other pictures do not (docs/checks.md).
LIMIT = 0.5
# Twelve pieces of twelve bits of the whole picture. Of 64 proofs and their twins (written at quality 50, halved, cut
# by 4 %, brightened by 6 %, with noise) every pair above the limit shares a piece; of the other pairs 0.7 % do.
BAND_DIGITS, BANDS = 3, 12
# Of those that share a piece so many are compared, the nearest by bits first.
COMPARED = 20


class Twins:
    """What was seen, in the stage's own database."""

    def __init__(self, pool: Pool | Connection) -> None:
        self._pool = pool

    async def judge(self, event: ImageGenerated, measures: Measures, *, limit: float | None = None) -> Verdict:
        """The verdict on one picture, from now on known.

        Raises:
            Unavailable: Postgres is away.
        """
        async with unavailable_when_away():
            rows = queries.seen_before(
                self._pool,
                asset=event.asset_id,
                asked_at=event.occurred_at,
                workspace=event.workspace,
                job=event.job_id,
                parent=event.brief.parent_asset_id,
                fingerprint=measures.fingerprint,
                bands=bands(event.workspace, measures.fingerprint),
                many=COMPARED,
            )
            earlier = [(row["asset_id"], row["fingerprint"]) async for row in rows]
        return verdict_on(measures.fingerprint, earlier, limit=LIMIT if limit is None else limit)


async def remember(connection: Connection, told: Sequence[ImageProcessed]) -> None:
    """After a restore: pictures that were judged after the database was copied are known, as if it had been later.

    By the time at which they were told of: when they were asked about nobody knows any more.
    """
    known = {fact.asset_id: (fact, fact.measures.fingerprint) for fact in told if fact.measures and _was_judged(fact)}
    if not known:
        return
    judged = list(known.values())
    await queries.remember(
        connection,
        assets=[fact.asset_id for fact, _ in judged],
        workspaces=[fact.workspace for fact, _ in judged],
        jobs=[fact.job_id for fact, _ in judged],
        times=[fact.occurred_at for fact, _ in judged],
        fingerprints=[fingerprint for _, fingerprint in judged],
        bands=[",".join(map(str, bands(fact.workspace, fingerprint))) for fact, fingerprint in judged],
    )


def _was_judged(fact: ImageProcessed) -> bool:
    """Whether its rubric asked; made anew it has the original of a picture that was judged before."""
    return fact.supersedes is None and any(check.check == TWIN for check in fact.checks)


def wants_twins(rubric: Rubric) -> bool:
    return TWIN in rubric.blocking_checks or TWIN in rubric.rejecting_checks


def bands(workspace: UUID, fingerprint: str) -> list[int]:
    """What two pictures of one workspace have to share one of, to be compared at all."""
    pieces = (fingerprint[at * BAND_DIGITS : (at + 1) * BAND_DIGITS] for at in range(BANDS))
    return [_key(f"{workspace}/{place}/{piece}{rule(fingerprint)}") for place, piece in enumerate(pieces)]


def _key(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), signed=True)


def verdict_on(fingerprint: str, earlier: Sequence[tuple[UUID, str]], *, limit: float) -> Verdict:
    """`earlier`: asset and fingerprint, the first seen first."""
    found = [(asset, alike(fingerprint, other)) for asset, other in earlier]
    twin = next(((asset, likeness) for asset, likeness in found if likeness >= limit), None)
    nearest = twin[1] if twin else max((likeness for _, likeness in found), default=0.0)
    sentence = f"It is like asset {twin[0]} of another job." if twin else "No picture of another job is like it."
    return Verdict(
        check=TWIN,
        ok=twin is None,
        number=nearest,
        limit=limit,
        sentence=sentence,
        code=CODE,
        advisory=advises_only(TWIN),
    )


def unseen() -> Verdict:
    """Nothing was measured: a rubric that asks for twins must not let everything through."""
    sentence = "It has no fingerprint, so a person looks whether it came before."
    return Verdict(check=TWIN, ok=False, sentence=sentence, code=CODE, blocking=True)
