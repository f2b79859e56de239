"""Defects of making: asks taken twice, prompts dated by a host, calls repeated, files stored too late."""

from tests.faults.mutants.mutant import Scenario, mutant
from tests.faults.mutants.patching import function, query

KILLED_IN_A_CALL = Scenario(
    strikes=["inference_dies_in_a_call"], provider={"weights": {"slow": 1}, "slow_seconds": 2.0}
)

# -- intake


@mutant("Intake takes what it has taken before", stages={"intake"}, caught_by="I1 I4 I6")
def inbox_key_removed() -> None:
    function("services.intake.acceptance:_verdict", "if before is not None:", "if False:")
    query(
        "services.intake.acceptance:queries",
        "services/intake/queries.sql",
        "take",
        "on conflict (request_id) do nothing",
        "on conflict (request_id) do update set accepted_at = excluded.accepted_at",
    )


@mutant(
    "Quota is not given back for what cost nothing",
    stages={"intake"},
    caught_by="I6",
    scenario=Scenario(requests=80),
)
def quota_not_released() -> None:
    function("services.intake.handler:Settled.released", "return not self.attempts", "return False")


@mutant(
    "An attempt is charged each time it is told",
    stages={"intake"},
    caught_by="I5",
    scenario=Scenario(replay=["intake"]),
)
def charge_settled_twice() -> None:
    query(
        "services.intake.acceptance:queries",
        "services/intake/queries.sql",
        "settle_attempts",
        "where a.cost is null and excluded.cost is not null",
        "where true",
    )


# -- prompt


@mutant(
    "A prompt is dated by its host, so it says something else when it is said again",
    stages={"prompt"},
    caught_by="I4",
    scenario=Scenario(crash="prompt.publish.after:2"),
)
def prompt_dated_by_host() -> None:
    function(
        "services.prompt.domain:_assembled",
        "occurred_at=request.occurred_at,",
        'occurred_at=__import__("datetime").datetime.now(request.occurred_at.tzinfo),',
    )


# -- inference


@mutant(
    "The intent of a call is not written before the call",
    stages={"inference"},
    caught_by="I5",
    scenario=KILLED_IN_A_CALL,
)
def intent_not_written() -> None:
    function("services.inference.queue:begin_attempts", "if pieces:", "if False:")


@mutant(
    "What a call may cost is not set aside",
    stages={"inference"},
    caught_by="test",
    scenario=Scenario(test="tests/live/test_limits.py::test_a_cap_holds_exactly_however_many_processes_claim_at_once"),
)
def cap_not_reserved() -> None:
    function("services.inference.queue:Piece.reserves", "return self.job.cost if", "return None if")


@mutant(
    "An image is made again once more when the worker that did so was lost",
    stages={"inference"},
    caught_by="I5",
    scenario=Scenario(strikes=["inference_dies_in_a_replay"], provider={"weights": {"503": 1}}, requests=60),
)
def replay_repeated() -> None:
    function("services.inference.replays:Replayer._begin", "once=order.bills", "once=False")


@mutant(
    "What a workspace or a lane has had counts for nothing",
    stages={"inference"},
    caught_by="test",
    scenario=Scenario(test="tests/inference/test_turns.py::test_workspaces_share_a_lane_equally_however_much_each_has"),
)
def turns_not_counted() -> None:
    function("services.inference.turns:Turns.took", "start + self._stride(who)", "start")


@mutant(
    "A call that its worker was lost in is made again", stages={"inference"}, caught_by="I5", scenario=KILLED_IN_A_CALL
)
def lost_call_repeated() -> None:
    function(
        "services.inference.queue:Piece.is_doubtful",
        "return any(attempt.state is AttemptState.UNCERTAIN for attempt in self.earlier)",
        "return False",
    )


@mutant(
    "A call without an answer counts as not made, and is made again",
    stages={"inference"},
    caught_by="I5",
    scenario=Scenario(provider={"weights": {"ok": 1, "charge_then_reset": 2}}),
)
def uncertain_call_repeated() -> None:
    unknown = "retriable=False,\n        uncertain=True,"
    known = "retriable=True,\n        uncertain=False,\n        billed=False,"
    function("services.inference.backends.answers:uncertain", unknown, known)


@mutant(
    "The image is stored after the event that names it",
    stages={"inference"},
    caught_by="I1 I2 I4",
    scenario=Scenario(strikes=["store_takes_nothing"]),
)
def blob_after_event() -> None:
    function("services.inference.worker:Maker._put_all", "await asyncio.gather(", "asyncio.gather(")


@mutant("The trace ends where work waits", stages={"inference"}, caught_by="I10")
def trace_not_carried_over_work() -> None:
    function("services.inference.handler:Front._arrival", "traceparent=event.traceparent,", "traceparent=None,")


@mutant(
    "A cancel is obeyed only by what is there already",
    stages={"inference", "postprocess", "catalog"},
    caught_by="I1",
    scenario=Scenario(strikes=["cancelled_while_prompts_stand_still"]),
)
def cancel_without_tombstone() -> None:
    function("shared.leases:bury", "if not cancels:", "if cancels or not cancels:")


@mutant("The prompt is logged", stages={"inference"}, caught_by="I8")
def prompt_logged() -> None:
    function(
        "services.inference.worker:_log",
        'log.info(\n        "attempt.ended",',
        'log.info(\n        "attempt.ended",\n        prompt=event.prompt,',
    )


# -- postprocess


@mutant(
    "A picture that came before is called new",
    stages={"postprocess"},
    caught_by="I4",
    scenario=Scenario(requests=100),
)
def twin_called_new() -> None:
    function("services.postprocess.twins:verdict_on", "if likeness >= limit", "if likeness > 1")
