"""Defects of calling providers: whose turn it is, where a job may go, how patient we are, what is ordered twice."""

from tests.faults.mutants.mutant import Scenario, mutant
from tests.faults.mutants.patching import function

INFERENCE = {"inference"}
ACCOUNTS = "tests/live/test_accounts.py"
AWAY = Scenario(test=f"{ACCOUNTS}::test_jobs_of_a_provider_that_is_away_wait_for_it_and_none_fails")
PATIENT = Scenario(test=f"{ACCOUNTS}::test_a_provider_that_asks_for_patience_is_given_it_by_everybody")
CROWDED = Scenario(test="tests/inference/test_turns.py::test_ten_thousand_of_one_workspace_stand_before_nobody")


@mutant("Within a lane whoever has queued more has more turns", caught_by="test", scenario=CROWDED)
def workspaces_not_taking_turns() -> None:
    function("services.inference.turns:Scheduler.grant", "self._workspaces[lane].took(workspace)", "pass")


@mutant(
    "The law holds for the first route only: what falls back goes wherever its rule says",
    stages=INFERENCE,
    caught_by="I1 I8",
    scenario=Scenario(others={"own": {"weights": {"503": 1}}}),
)
def fallback_outside_the_law() -> None:
    function(
        "services.inference.routing:_unfit",
        "if above := _above(backend, confidentiality):",
        "if not avoid and (above := _above(backend, confidentiality)):",
    )


@mutant("An account that was away is never asked again", caught_by="test", scenario=AWAY)
def breaker_without_probe() -> None:
    function("services.inference.accounts:rooms", "int(is_due and account not in asking)", "0")


@mutant("What a provider says of when to come again is not read", caught_by="test", scenario=PATIENT)
def retry_after_ignored() -> None:
    function(
        "services.inference.backends.answers:failure_of",
        'after = retry_after(answer) if "retry-after" in answer.headers else said.pause',
        "after = None",
    )


@mutant(
    "A prediction whose worker was lost is ordered again",
    stages=INFERENCE,
    caught_by="I5",
    scenario=Scenario(
        strikes=["inference_dies_beside_predictions"],
        others={"replicate": {"weights": {"runs": 1}, "slow_seconds": 3.0}},
        seed=4,
    ),
)
def prediction_ordered_again() -> None:
    function("services.inference.worker:Maker._make", "if piece.resumes is not None:\n", "if False:\n")
