"""Defects of deciding, publishing and answering."""

from tests.faults.mutants.mutant import Scenario, mutant
from tests.faults.mutants.patching import function, query

LEDGER = "services/catalog/ledger/queries.sql"
CATALOG = {"catalog"}
MADE_ANEW = Scenario(strikes=["approved_are_made_anew"])
LOST_REPLIES = Scenario(receiver={"weights": {"ok": 1, "reply_lost": 1}})

# -- the catalog


@mutant("An approval names the asset and not its version", stages=CATALOG, caught_by="I2 I3 I4")
def approval_without_asset_version() -> None:
    function(
        "services.catalog.review.rules:concluded",
        '"asset_version_id": asset.asset_version_id,',
        '"asset_version_id": asset.asset_id,',
    )


@mutant(
    "A decision does not take the asset from those that wait",
    stages=CATALOG,
    caught_by="I1 I10",
    scenario=Scenario(strikes=["decided_is_cancelled"]),
)
def decision_without_lock() -> None:
    query(
        "services.catalog.review.desk:queries",
        "services/catalog/review/queries.sql",
        "take",
        "delete from awaiting_review a using held\n"
        "where a.asset_id = held.asset_id and a.asset_version_id = held.asset_version_id\n"
        "returning a.*;",
        "select a.* from awaiting_review a join held using (asset_id, asset_version_id);",
    )


@mutant(
    "When a request was completed is written anew each time its facts are heard",
    stages=CATALOG,
    caught_by="I9",
    scenario=Scenario(replay=["catalog"]),
)
def completed_anew_when_heard_again() -> None:
    query(
        "services.catalog.ledger.writing:queries",
        LEDGER,
        "complete_requests",
        " and completed_at is null",
        "",
    )


@mutant(
    "What is built anew from the ledger has no pictures",
    stages=CATALOG,
    caught_by="I9",
    scenario=Scenario(replay=["catalog"]),
)
def rebuilt_without_assets() -> None:
    function("services.catalog.ledger.rebuilding:_page", "await writing.project_assets(batch)", "")


@mutant("A request is completed with the first of its jobs", stages=CATALOG, caught_by="I1")
def completed_with_the_first_job() -> None:
    query(
        "services.catalog.ledger.writing:queries",
        LEDGER,
        "ended_jobs",
        "and r.variants = (select count(*)",
        "and 1 <= (select count(*)",
    )


@mutant(
    "A job's first run counts, whatever became of the second",
    stages=CATALOG,
    caught_by="I1",
    scenario=Scenario(strikes=["failed_are_started_again"], provider={"weights": {"ok": 1, "401": 1}}),
)
def lower_run_kept() -> None:
    for row in ("excluded", "j"):
        query(
            "services.catalog.ledger.writing:queries",
            LEDGER,
            "fold_jobs",
            f"({row}.run, {row}.rank,",
            f"(-{row}.run, {row}.rank,",
            times=6,
        )


@mutant("What a check rejects waits for a person", stages=CATALOG, caught_by="I1")
def check_rejects_nothing() -> None:
    function("services.catalog.review.machine:rejecting", 'if check.get("rejecting")', "if False")


@mutant(
    "A recipe is run again while it is being run over the same version",
    stages=CATALOG,
    caught_by="I2",
    scenario=MADE_ANEW,
)
def made_anew_while_it_is_made() -> None:
    function("services.catalog.anew:Case.under_way", "return [", "return [] and [")


@mutant("Progress is kept in the ledger", stages=CATALOG, caught_by="I4")
def progress_in_the_ledger() -> None:
    function("services.catalog.ledger.facts:gather", 'if kind != "JobProgressed":', "if True:")


@mutant(
    "A dead letter is dropped, and the job that waits for it is left",
    stages=CATALOG,
    caught_by="I1 I7",
    scenario=Scenario(strikes=["a_template_is_missing"], aside="prompt"),
)
def dropped_without_end() -> None:
    function(
        "services.catalog.deadletters:drop",
        "jobs = await stranded_jobs(writing.connection, dropped, principal=principal)",
        "jobs = []",
    )


# -- the publisher


@mutant("Each try of a webhook has an id of its own", stages={"publisher"}, caught_by="I3", scenario=LOST_REPLIES)
def webhook_id_new_per_try() -> None:
    function(
        "services.publisher.targets.webhook:WebhookTarget.deliver",
        "webhook_id = str(delivery.publication_id)",
        'webhook_id = str(__import__("uuid").uuid4())',
    )


@mutant(
    "A publication is delivered again without a look whether it stands there",
    stages={"publisher"},
    caught_by="I3",
    scenario=Scenario(crash="publisher.call.after:3", starts=3),
)
def look_up_before_retry_removed() -> None:
    function(
        "services.publisher.worker:Publisher._look_up_and_deliver",
        "if not lease.lost and not await target.look_up(delivery):",
        "if True:",
    )
    # A target that gives each try a place of its own, as most do.
    function(
        "services.publisher.targets.folder:FolderTarget.place",
        "{asset.asset_version_id.hex[:VERSION_DIGITS]}",
        "{asset.asset_version_id.hex[:VERSION_DIGITS]}-{os.getpid()}",
    )


@mutant("A secret publication goes wherever anything goes", stages={"publisher"}, caught_by="I3 I8")
def ceiling_ignored() -> None:
    function(
        "services.publisher.domain:refusal_of",
        "if ceiling is Confidentiality.UNKNOWN or asset.confidentiality.rank > ceiling.rank:",
        "if False:",
    )


@mutant("An old version stays served beside the new one", stages={"publisher"}, caught_by="I3", scenario=MADE_ANEW)
def old_version_stays_served() -> None:
    query(
        "services.publisher.worker:queries",
        "services/publisher/queries.sql",
        "supersede",
        "where p.publication_id = x.publication_id and p.state = 'delivered'",
        "where p.publication_id = x.publication_id and p.state = 'withdrawn'",
    )


# -- what people are shown


@mutant("Questions are answered over all workspaces", stages={"catalog", "intake", "publisher"}, caught_by="I8")
def workspace_filter_missing() -> None:
    function("shared.postgres:workspace_transaction", 'f"{role_of(stage)}_http"', "role_of(stage)")


@mutant("The caller's key is logged", caught_by="I8")
def secret_logged() -> None:
    function(
        "shared.http:Gate._by_key",
        "parts = identity.split_key(token)",
        'log.info("http.key", token=token)\n    parts = identity.split_key(token)',
    )
