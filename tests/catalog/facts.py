"""The facts of made-up requests, as the other stages write them: the same name always gives the same facts."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID, uuid5

from shared import ids
from shared.blobs import EXTENSIONS, blob_key
from shared.events import (
    Approver,
    AssetApproved,
    AssetPublished,
    AssetRejected,
    AssetSuperseded,
    Attempt,
    AttemptState,
    Brief,
    CancelRequested,
    Confidentiality,
    DerivativesFailed,
    DerivativesRequested,
    Event,
    FailureReason,
    File,
    ImageGenerated,
    ImageProcessed,
    JobCancelled,
    JobFailed,
    JobProgressed,
    JobRetried,
    Lane,
    Measures,
    Parameters,
    Pin,
    Priority,
    PromptAssembled,
    PublicationFailed,
    Receipt,
    RequestAccepted,
    Route,
    SourceType,
    Stage,
    Verdict,
)

NAMES = UUID("00000000-0000-4000-8000-0000000ca7a1")
WORKSPACE = uuid5(NAMES, "workspace")
BEGIN = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)  # recent: a consumer refuses what is stale
RUBRIC = Pin(name="tiles", version=2, digest=hashlib.sha256(b"rubric").hexdigest())
TEMPLATE = Pin(name="product-tile", version=3, digest=hashlib.sha256(b"template").hexdigest())
WEIGHT = Verdict(check="bytes", ok=True, number=94, limit=200, unit="kB", sentence="94 kB of 200 kB")
BLANK = Verdict(
    check="entropy",
    ok=False,
    rejecting=True,
    code="artefact",
    number=0.1,
    limit=2,
    unit="bits",
    sentence="It is blank.",
)
Decided = TypeVar("Decided", AssetApproved, AssetRejected)
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def traceparent(span: str) -> str:
    return f"00-{TRACE}-{hashlib.sha256(span.encode()).hexdigest()[:16]}-01"


@dataclass(frozen=True)
class Job:
    """One job of a request and every fact that can be said of it."""

    request: "Request"
    variant: int
    run: int = 1

    @property
    def job_id(self) -> UUID:
        return ids.job_id(self.request.request_id, self.variant)

    @property
    def asset_id(self) -> UUID:
        return ids.asset_id(self.job_id, self.run)

    @property
    def asset_version_id(self) -> UUID:
        return ids.asset_version_id(self.asset_id, self.file("original").sha256, [self.file("web-wide").sha256])

    @property
    def attempt_id(self) -> UUID:
        return ids.attempt_id(self.job_id, self.run, 1)

    @property
    def brief(self) -> Brief:
        return self.request.brief.model_copy(update={"variant": self.variant})

    def file(self, name: str, *, media_type: str = "image/png", **fields: Any) -> File:
        data = f"{self.job_id} {self.run} {name}".encode()
        sha256 = hashlib.sha256(data).hexdigest()
        key = blob_key(self.request.workspace, self.asset_id, sha256, EXTENSIONS[media_type])
        return File(name=name, media_type=media_type, bytes=len(data), sha256=sha256, key=key, **fields)

    def _fields(self, after: float, cause: UUID | str, **fields: Any) -> dict[str, Any]:
        return {
            "cause_id": cause,
            "occurred_at": BEGIN + timedelta(seconds=after + 100 * (self.run - 1)),
            "workspace": self.request.workspace,
            "request_id": self.request.request_id,
            "job_id": self.job_id,
            "run": self.run,
            "traceparent": traceparent(f"{self.job_id} {after}"),
        } | fields

    def assembled(self) -> PromptAssembled:
        return PromptAssembled.of(
            **self._fields(1, self.request.accepted().event_id),
            brief=self.brief,
            prompt="an amber bottle on a bone wall",
            negative_prompt="people",
            parameters=Parameters(),
            seed=4200 + self.variant,
            template=TEMPLATE,
            rubric=RUBRIC,
            confidentiality=Confidentiality.PUBLIC,
        )

    @property
    def begun(self) -> UUID:
        """The fact that began this run: the prompt, or somebody's fresh start."""
        return (self.assembled() if self.run == 1 else self.retried()).event_id

    def attempt(self, *, cost: str | None = "0.040") -> Attempt:
        return Attempt(
            attempt_id=self.attempt_id,
            backend="proof",
            state=AttemptState.SUCCEEDED,
            cost=Decimal(cost) if cost is not None else None,
            seconds=1.5,
        )

    def generated(self, **changed: Any) -> ImageGenerated:
        fields: dict[str, Any] = {
            "asset_id": self.asset_id,
            "brief": self.brief,
            "original": self.file("original", width=1024, height=1024),
            "manifest": self.file("manifest", media_type="application/json"),
            "route": Route(backend="proof", lane=Lane.STANDARD, rule="public", reason="public, no reference needed"),
            "model": "proof@1",
            "seed": 4200 + self.variant,
            "attempts": [self.attempt()],
            "template": TEMPLATE,
            "rubric": RUBRIC,
            "confidentiality": Confidentiality.PUBLIC,
        }
        return ImageGenerated.of(**self._fields(4, self.begun), **(fields | changed))

    def processed(self, *, checks: Sequence[Verdict] = (WEIGHT,), measures: Measures | None = None) -> ImageProcessed:
        return ImageProcessed.of(
            **self._fields(5, self.generated().event_id),
            asset_id=self.asset_id,
            asset_version_id=self.asset_version_id,
            brief=self.brief,
            original=self.file("original", width=1024, height=1024, rendition="original"),
            files=[self.file("web-wide", width=1200, height=628, recipe="web@1", rendition="wide")],
            proxies=[
                self.file(f"proxy-{side}", media_type="image/webp", width=side, height=side, rendition=f"proxy-{side}")
                for side in (320, 1024)
            ],
            checks=list(checks),
            measures=measures,
            source_type=SourceType.ALGORITHMIC,
            rubric=self.request.rubric,
            alt_text="An amber bottle",
            confidentiality=Confidentiality.PUBLIC,
        )

    def blank(self) -> ImageProcessed:
        """One that a check rejects."""
        return self.processed(checks=[WEIGHT, BLANK])

    def progressed(self, *, after: float = 2, **changed: Any) -> JobProgressed:
        fields: dict[str, Any] = {"stage": Stage.INFERENCE}
        return JobProgressed.of(**self._fields(after, f"progress {after}"), **(fields | changed))

    def failed(self, *, after: float = 3) -> JobFailed:
        return JobFailed.of(
            **self._fields(after, self.begun),
            stage=Stage.INFERENCE,
            reason=FailureReason.MODEL_TIMEOUT,
            detail="the model did not answer within 120 s, three times",
            remedy="retry it on another backend",
            attempts=[self.attempt(cost=None)],
        )

    def unroutable(self) -> JobFailed:
        return JobFailed.of(
            **self._fields(2, self.begun),
            stage=Stage.INFERENCE,
            reason=FailureReason.UNROUTABLE,
            detail="rule 'all' permits none of its backends (cloud: it is not private)",
            rule="all",
            refused={"cloud": "it is not private", "old": "its life ended on 2026-09-30"},
            table=RUBRIC.model_copy(update={"name": "routes", "version": 3}),
        )

    def cancelled(self) -> JobCancelled:
        return JobCancelled.of(**self._fields(3, self.request.cancel().event_id), stage=Stage.INFERENCE, by="ada")

    def retried(self) -> JobRetried:
        return JobRetried.of(**self._fields(0, "an operator"), by="otto")

    def again(self) -> "Job":
        return Job(self.request, self.variant, self.run + 1)

    def approved(self) -> AssetApproved:
        return AssetApproved.of(
            **self._fields(9, "a decision"),
            asset_id=self.asset_id,
            asset_version_id=self.asset_version_id,
            confidentiality=Confidentiality.PUBLIC,
            files=[],
            brief=self.brief,
            approvers=[Approver(principal="ada", at=BEGIN)],
            rubric=RUBRIC,
        )

    def rejected(self) -> AssetRejected:
        return AssetRejected.of(
            **self._fields(9, "a decision"),
            asset_id=self.asset_id,
            asset_version_id=self.asset_version_id,
            confidentiality=Confidentiality.PUBLIC,
            code="off_palette",
            by=Approver(principal="ada", at=BEGIN),
            rubric=RUBRIC,
        )

    def _publication(self, after: float, cause: str) -> dict[str, Any]:
        fields = self._fields(after, cause)
        del fields["run"]
        return fields | {
            "publication_id": ids.publication_id(self.asset_version_id, "site"),
            "asset_id": self.asset_id,
            "asset_version_id": self.asset_version_id,
            "target": "site",
            "confidentiality": Confidentiality.PUBLIC,
        }

    def published(self) -> AssetPublished:
        return AssetPublished.of(
            **self._publication(12, "delivered"),
            location="/published/salt-marsh",
            receipts=[Receipt(location="/published/salt-marsh/a.png", sha256="0" * 64, bytes=1, name="a.png")],
            delivered_at=BEGIN + timedelta(seconds=12),
        )

    def publication_failed(self, *, after: float = 11) -> PublicationFailed:
        return PublicationFailed.of(
            **self._publication(after, f"failed {after}"), code="refused", detail="the folder is full"
        )

    # -- the files of the approved version asked for by another recipe, and what becomes of that

    @property
    def new_version_id(self) -> UUID:
        files = [self.file("web-square").sha256]
        asked = self.asked_anew().event_id
        return ids.asset_version_id(self.asset_id, self.file("original").sha256, files, asked=asked)

    def asked_anew(self, *, version: int = 2) -> DerivativesRequested:
        pin = Pin(name="web", version=version, digest=f"{version}" * 64)
        return DerivativesRequested.of(
            **self._fields(20, ids.rerun_id(self.asset_version_id, {"web": pin.digest})),
            asset_id=self.asset_id,
            supersedes=self.asset_version_id,
            by="otto",
            image=self.generated(recipes={"web": pin}),
            confidentiality=Confidentiality.PUBLIC,
        )

    def processed_anew(self) -> ImageProcessed:
        fields = self.processed().model_dump(exclude={"event_id", "cause_id", "occurred_at"})
        return ImageProcessed.of(
            **fields
            | self._fields(21, self.asked_anew().event_id)
            | {
                "asset_version_id": self.new_version_id,
                "files": [self.file("web-square", width=800, height=800, recipe="web@2", rendition="square")],
                "supersedes": self.asset_version_id,
            }
        )

    def failed_anew(self) -> DerivativesFailed:
        return DerivativesFailed.of(
            **self._fields(21, self.asked_anew().event_id),
            asset_id=self.asset_id,
            supersedes=self.asset_version_id,
            reason=FailureReason.INVALID_REQUEST,
            detail="web@2, square: there is no operation 'crpo'",
            confidentiality=Confidentiality.PUBLIC,
        )

    def approved_anew(self) -> AssetApproved:
        return self._anew(self.approved())

    def rejected_anew(self) -> AssetRejected:
        return self._anew(self.rejected())

    def _anew(self, fact: Decided) -> Decided:
        fields = fact.model_dump(exclude={"event_id", "cause_id", "occurred_at"})
        again = {"asset_version_id": self.new_version_id, "supersedes": self.asset_version_id}
        return type(fact).of(**fields | self._fields(25, "a decision anew") | again)

    def published_anew(self) -> AssetPublished:
        fields = self.published().model_dump(exclude={"event_id", "cause_id", "occurred_at"})
        new = self.new_version_id
        again = {"asset_version_id": new, "publication_id": ids.publication_id(new, "site")}
        return AssetPublished.of(**fields | self._publication(27, "delivered anew") | again)

    def superseded(self) -> AssetSuperseded:
        return AssetSuperseded.of(**self._publication(28, "superseded"), superseded_by=self.new_version_id)

    def life(self) -> list[Event]:
        """What is heard of a run that goes well, up to the person; a fresh start takes the prompt of the first."""
        return [*([self.assembled()] if self.run == 1 else []), self.generated(), self.processed()]


@dataclass(frozen=True)
class Request:
    """One request of so many variants."""

    name: str = "a"
    variants: int = 1
    workspace: UUID = WORKSPACE
    batch: str | None = None
    campaign: str = "winter-home"
    sku: str = "SL-CND-220"
    rubric: Pin = RUBRIC

    @property
    def request_id(self) -> UUID:
        return ids.request_id_for_kafka(self.workspace, "//tests", self.name)

    @property
    def batch_id(self) -> UUID | None:
        return ids.batch_id(self.workspace, self.batch) if self.batch else None

    @property
    def brief(self) -> Brief:
        return Brief(
            campaign=self.campaign,
            asset_type="product-tile",
            template="product-tile@3",
            brand="salt-and-linden@1",
            skus=[self.sku],
            product="Salt Marsh candle",
            headline="Evenings, slowly",
            channels=["web"],
            batch_id=self.batch_id,
            row_key=self.name,
            variants=self.variants,
        )

    def _fields(self, after: float, cause: UUID | str) -> dict[str, Any]:
        return {
            "cause_id": cause,
            "occurred_at": BEGIN + timedelta(seconds=after),
            "workspace": self.workspace,
            "request_id": self.request_id,
            "traceparent": traceparent(f"{self.request_id} {after}"),
        }

    def accepted(self) -> RequestAccepted:
        pin = Pin(name="salt-and-linden", version=1, digest="2" * 64)
        return RequestAccepted.of(
            **self._fields(0, f"//tests {self.name}"),
            principal="ada",
            brief=self.brief,
            template=TEMPLATE,
            brand=pin,
            policy=pin,
            rubric=RUBRIC,
            variables={"setting": "bone"},
            variants=self.variants,
            priority=Priority.NORMAL,
            confidentiality=Confidentiality.PUBLIC,
        )

    def cancel(self, job: Job | None = None, *, after: float = 2) -> CancelRequested:
        return CancelRequested.of(
            **self._fields(after, f"cancel {after}"), job_id=job.job_id if job else None, by="ada"
        )

    @property
    def jobs(self) -> list[Job]:
        return [Job(self, variant) for variant in range(1, self.variants + 1)]

    def life(self) -> list[Event]:
        return [self.accepted(), *(fact for job in self.jobs for fact in job.life())]
