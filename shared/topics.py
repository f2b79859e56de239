"""The table of topics: what travels where, under which key, for how long.

Topics are created from this table, AsyncAPI is generated from it, and a test holds every subscriber and publisher to
it. Topics of jobs share one key and one number of partitions, so that one job's events land on one consumer.
"""

from dataclasses import dataclass
from datetime import timedelta

from shared import events
from shared.events import Event

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One Kafka topic; `name` stands without the deployment's prefix."""

    name: str
    events: tuple[type[Event], ...]
    producers: tuple[str, ...]
    consumers: tuple[str, ...]
    retention: timedelta | None
    key: str
    public: bool = False
    ephemeral: bool = False

    @property
    def compacted(self) -> bool:
        return self.retention is None

    @property
    def dead_letters(self) -> str:
        return f"{self.name}.dlq"

    @property
    def config(self) -> dict[str, str]:
        """Kafka's settings for the topic; segments no longer than a seventh of the retention, so that it is kept to."""
        if self.retention is None:
            return {"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime", "segment.ms": "86400000"}
        milliseconds = int(self.retention.total_seconds() * 1000)
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(milliseconds),
            "segment.ms": str(milliseconds // 7),
            "message.timestamp.type": "LogAppendTime",
        }


WORKERS = ("inference", "postprocess")

IMAGE_REQUESTS = Topic(
    name="image-requests.v1", events=(), producers=(), consumers=("intake",), retention=7 * DAY, key="client's"
)
REQUESTS_ACCEPTED = Topic(
    name="requests-accepted.v1",
    events=(events.RequestAccepted,),
    producers=("intake",),
    consumers=("prompt", "catalog"),
    retention=7 * DAY,
    key="request_id",
)
REQUESTS_REJECTED = Topic(
    name="requests-rejected.v1",
    events=(events.RequestRejected,),
    producers=("intake",),
    consumers=("catalog",),
    retention=30 * DAY,
    key="subject",
    public=True,
)
REQUESTS_COMPLETED = Topic(
    name="requests-completed.v1",
    events=(events.RequestCompleted,),
    producers=("catalog",),
    consumers=("publisher",),
    retention=30 * DAY,
    key="request_id",
    public=True,
)
CANCELS_REQUESTED = Topic(
    name="cancels-requested.v1",
    events=(events.CancelRequested,),
    producers=("intake",),
    consumers=("inference", "postprocess", "catalog"),
    retention=7 * DAY,
    key="request_id",
)
PROMPTS_ASSEMBLED = Topic(
    name="prompts-assembled.v1",
    events=(events.PromptAssembled,),
    producers=("prompt",),
    consumers=("inference", "catalog"),
    retention=7 * DAY,
    key="job_id",
)
JOBS_PROGRESSED = Topic(
    name="jobs-progressed.v1",
    events=(events.JobProgressed,),
    producers=WORKERS,
    consumers=("catalog",),
    retention=timedelta(hours=1),
    key="job_id",
    ephemeral=True,
)
IMAGES_GENERATED = Topic(
    name="images-generated.v1",
    events=(events.ImageGenerated,),
    producers=("inference",),
    consumers=("postprocess", "intake", "catalog"),
    retention=7 * DAY,
    key="job_id",
)
DERIVATIVES_REQUESTED = Topic(
    name="derivatives-requested.v1",
    events=(events.DerivativesRequested,),
    producers=("catalog",),
    consumers=("postprocess",),
    retention=7 * DAY,
    key="job_id",
)
IMAGES_PROCESSED = Topic(
    name="images-processed.v1",
    events=(events.ImageProcessed, events.DerivativesFailed),
    producers=("postprocess", "catalog"),
    consumers=("catalog",),
    retention=7 * DAY,
    key="job_id",
)
JOBS_ENDED = Topic(
    name="jobs-ended.v1",
    events=(events.JobFailed, events.JobCancelled, events.JobRetried),
    producers=("prompt", *WORKERS, "catalog"),
    consumers=("intake", "inference", "catalog", "publisher"),
    retention=30 * DAY,
    key="job_id",
)
ATTEMPTS_SETTLED = Topic(
    name="attempts-settled.v1",
    events=(events.AttemptSettled,),
    producers=("inference",),
    consumers=("intake", "catalog"),
    retention=30 * DAY,
    key="job_id",
)
REVIEWS_RECORDED = Topic(
    name="reviews-recorded.v1",
    events=(events.ReviewNeeded, events.ReviewRecorded),
    producers=("catalog",),
    consumers=("publisher",),
    retention=30 * DAY,
    key="job_id",
)
ASSETS_APPROVED = Topic(
    name="assets-approved.v1",
    events=(events.AssetApproved,),
    producers=("catalog",),
    consumers=("publisher", "inference"),
    retention=30 * DAY,
    key="job_id",
    public=True,
)
ASSETS_REJECTED = Topic(
    name="assets-rejected.v1",
    events=(events.AssetRejected,),
    producers=("catalog",),
    consumers=("publisher", "inference"),
    retention=30 * DAY,
    key="job_id",
    public=True,
)
ASSETS_RECALLED = Topic(
    name="assets-recalled.v1",
    events=(events.AssetRecalled, events.AssetExpired),
    producers=("catalog",),
    consumers=("publisher",),
    retention=30 * DAY,
    key="job_id",
    public=True,
)
ASSETS_PUBLISHED = Topic(
    name="assets-published.v1",
    events=(
        events.AssetPublished,
        events.PublicationFailed,
        events.PublicationWithdrawn,
        events.AssetSuperseded,
    ),
    producers=("publisher",),
    consumers=("catalog",),
    retention=30 * DAY,
    key="job_id",
    public=True,
)
LIBRARY_ITEMS = Topic(
    name="library-items.v1",
    events=(events.LibraryItemChanged,),
    producers=("intake",),
    consumers=("inference", "postprocess", "catalog", "publisher"),
    retention=None,
    key="item",
)
WORKSPACES = Topic(
    name="workspaces.v1",
    events=(events.WorkspaceChanged,),
    producers=("intake",),
    consumers=("inference", "postprocess", "catalog", "publisher"),
    retention=None,
    key="workspace",
)

TOPICS: tuple[Topic, ...] = (
    IMAGE_REQUESTS,
    REQUESTS_ACCEPTED,
    REQUESTS_REJECTED,
    REQUESTS_COMPLETED,
    CANCELS_REQUESTED,
    PROMPTS_ASSEMBLED,
    JOBS_PROGRESSED,
    IMAGES_GENERATED,
    DERIVATIVES_REQUESTED,
    IMAGES_PROCESSED,
    JOBS_ENDED,
    ATTEMPTS_SETTLED,
    REVIEWS_RECORDED,
    ASSETS_APPROVED,
    ASSETS_REJECTED,
    ASSETS_RECALLED,
    ASSETS_PUBLISHED,
    LIBRARY_ITEMS,
    WORKSPACES,
)
TOPIC_OF: dict[type[Event], Topic] = {event: topic for topic in TOPICS for event in topic.events}

# Part of the contract, written by nobody yet.
WITHOUT_PRODUCER: frozenset[type[Event]] = frozenset(
    {
        events.AssetRecalled,
        events.AssetExpired,
        events.PublicationWithdrawn,
    }
)
DEAD_LETTER_RETENTION = 30 * DAY
