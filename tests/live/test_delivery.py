"""The rarities of delivery, one by name, on a real Kafka and a real Postgres."""

import asyncio
import contextlib
import functools
import time
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.consumer.group_coordinator import GroupCoordinator
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed

from deploy.local.servers import EmbeddedServers
from shared.bus import UnsafeSubscriber
from shared.errors import Unavailable
from shared.events import CancelRequested, JobCancelled
from shared.kafka import ACKNOWLEDGED_WITHIN, InvalidRecord, Record
from shared.leases import Leased, NewWork, Outcome, Worker, enqueue, queries
from shared.outbox import EventTooLarge, Outbox, Transaction
from shared.postgres import STAGES_WITH_DATABASE, Connection, transaction, workspace_transaction
from shared.topics import CANCELS_REQUESTED, JOBS_ENDED, WORKSPACES
from tests.live.stage import TestStage, eventually, open_stage

NOW = datetime.now(UTC)
TOO_LARGE = 1_200_000  # bytes: more than the broker takes (1 MiB), less than our client refuses


def cancel(by: str = "mara", *, at: datetime = NOW, request: uuid.UUID | None = None) -> CancelRequested:
    return CancelRequested.of(
        cause_id=uuid.uuid4(), occurred_at=at, workspace=uuid.uuid4(), request_id=request or uuid.uuid4(), by=by
    )


def cancelled(job: uuid.UUID, **more: Any) -> JobCancelled:
    return JobCancelled.of(
        cause_id=job, occurred_at=NOW, workspace=job, request_id=job, job_id=job, stage="inference", by="x", **more
    )


def tombstones(stage: TestStage, *, group: str = "g", poison: str = "poison") -> None:
    """A project edge that keeps cancels, and breaks on the poison one inside its one statement for the batch."""

    async def apply(running: Transaction, rows: Sequence[CancelRequested]) -> None:
        await running.connection.execute(
            "insert into tombstones (request_id, workspace, cancelled_by) "
            "select r, w, case when b = $4 then (1 / (length(b) - length($4)))::text else b end "
            "from unnest($1::uuid[], $2::uuid[], $3::text[]) as t(r, w, b) on conflict do nothing",
            [row.request_id for row in rows],
            [row.workspace for row in rows],
            [row.by for row in rows],
            poison,
        )
        running.emit(*(cancelled(row.request_id) for row in rows))

    @stage.bus.project(CANCELS_REQUESTED, group=group, apply=apply)
    def on_cancel_requested(event: CancelRequested) -> CancelRequested:
        return event


async def count(stage: TestStage) -> int:
    return int(await stage.pool.fetchval("select count(*) from tombstones"))


async def test_bisection_finds_the_one_record_at_fault_and_its_neighbours_go_on(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        await stage.publish(*(cancel() for _ in range(40)), cancel("poison"), *(cancel() for _ in range(40)))
        tombstones(stage)
        await stage.start_bus()
        await eventually(lambda: _is(count(stage), 80))
        letters = await eventually(lambda: stage.records(CANCELS_REQUESTED.dead_letters))
        headers = dict(letters[0].headers)
        assert [len(letters), headers["calotype-reason"], headers["calotype-group"]] == [1, b"handler_failed", b"g"]
        assert b"division by zero" in headers["calotype-detail"]
        assert b'"by":"poison"' in letters[0].value and headers["ce_type"] == b"calotype.CancelRequested"
        await eventually(lambda: _is(stage.committed(CANCELS_REQUESTED, "g"), 81))


async def test_a_record_that_cannot_be_read_is_kept_verbatim_and_its_neighbours_go_on(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        topic = stage.prefix + CANCELS_REQUESTED.name
        bad = [
            Record(topic, b"k", [("ce_type", b"\xff\xfe")], b"{}"),
            Record(topic, b"k", [("ce_type", b"calotype.Unheard")], b"{}"),
            Record(topic, b"k", [("ce_type", b"calotype.CancelRequested")], b"{not json"),
            Record(topic, b"k", [], None),
            Record(topic, b"k", cancel().headers(), cancel("a\x00b").body()),
            Record(topic, b"k", [("ce_type", b"calotype.Unheard")], b"x" * 1_040_000),  # as large as the broker takes
        ]
        await stage.producer.deliver(bad)
        await stage.publish(*(cancel() for _ in range(10)))
        tombstones(stage)
        await stage.start_bus()
        await eventually(lambda: _is(count(stage), 10))
        letters = await eventually(
            lambda: _when(stage.records(CANCELS_REQUESTED.dead_letters), lambda found: len(found) == 6)
        )
        reasons = sorted(dict(letter.headers)["calotype-reason"].decode() for letter in letters)
        assert reasons == ["bad_body", "bad_body", "bad_header", "bad_header", "unknown_type", "unknown_type"]
        assert {letter.value for letter in letters} == {record.body for record in bad}


async def test_a_partition_with_too_many_bad_records_stops_its_consumer_until_told_to_resume(
    servers: EmbeddedServers,
) -> None:
    async with open_stage(servers) as stage:
        topic = stage.prefix + CANCELS_REQUESTED.name
        await stage.producer.deliver([Record(topic, b"one-key", [("ce_type", b"nonsense")], b"{}") for _ in range(60)])
        good = cancel()
        await stage.producer.deliver([Record(topic, b"one-key", good.headers(), good.body())])
        tombstones(stage)
        await stage.start_bus()
        await eventually(lambda: _now(stage.bus.waiting_for()))
        assert "calotype dlq resume g" in stage.bus.waiting_for()["g"]
        assert len(await stage.records(CANCELS_REQUESTED.dead_letters)) == 20
        assert await count(stage) == 0
        assert not stage.bus.resume("another group")
        for letters in (40, 60):  # told twice: twenty more are as bad as the first
            assert stage.bus.resume("g")
            await eventually(functools.partial(_letters, stage, letters))
            if letters < 60:
                await eventually(lambda: _now(stage.bus.waiting_for()))
        if stage.bus.waiting_for():
            stage.bus.resume("g")
        await eventually(lambda: _is(count(stage), 1))


async def test_bad_records_that_are_few_among_good_ones_stop_nobody(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        topic = stage.prefix + CANCELS_REQUESTED.name
        mixed = []
        for number in range(400):  # one fetch, in which every tenth is bad: twice as many as could stop anybody
            event = cancel()
            headers = [("ce_type", b"nonsense")] if number % 10 == 0 else event.headers()
            mixed.append(Record(topic, b"one-key", headers, event.body()))
        await stage.producer.deliver(mixed)
        tombstones(stage)
        await stage.start_bus()
        await eventually(lambda: _is(count(stage), 360))
        await eventually(lambda: _letters(stage, 40))
        assert stage.bus.waiting_for() == {}


async def test_records_no_producer_of_ours_would_send_are_dead_letters_and_their_neighbours_go_on(
    servers: EmbeddedServers,
) -> None:
    async with open_stage(servers) as stage:
        topic = stage.prefix + CANCELS_REQUESTED.name
        strange = AIOKafkaProducer(
            bootstrap_servers=stage.settings.kafka_bootstrap, compression_type="gzip", max_request_size=8 * 2**20
        )
        await strange.start()
        try:
            nothing = strange.create_batch()
            nothing.append(key=None, value=None, timestamp=None)
            await (await strange.send_batch(nothing, topic, partition=0))
            # Compressed it is small enough for the broker; as it is no dead letter can be so large.
            await strange.send_and_wait(topic, b"{" * 5_000_000, key=b"k", headers=[("ce_id", b"large")], partition=1)
        finally:
            await strange.stop()
        await stage.publish(*(cancel() for _ in range(10)))
        tombstones(stage)
        await stage.start_bus()
        await eventually(lambda: _is(count(stage), 10))
        found = await eventually(
            lambda: _when(
                stage.records(CANCELS_REQUESTED.dead_letters),
                lambda found: {letter.value[:1] for letter in found} == {b"", b"{"},
            )
        )
        letters = {letter.value[:1]: letter for letter in found}
        headers = dict(letters[b"{"].headers)
        assert (headers["calotype-cut"], headers["ce_id"]) == (b"5000000", b"large")
        assert headers["calotype-origin"].endswith(b".cancels-requested.v1/1/0")


async def test_an_event_that_cannot_be_written_is_the_dead_letter_of_what_caused_it_alone(
    servers: EmbeddedServers,
) -> None:
    async with open_stage(servers) as stage:

        @stage.bus.transform(CANCELS_REQUESTED, group="g")
        async def on_cancel_requested(event: CancelRequested) -> list[JobCancelled]:
            return [cancelled(event.request_id, client_reference="\ud800" if event.by == "poison" else event.by)]

        await stage.publish(cancel(), cancel("poison"), cancel())
        await stage.start_bus()
        await eventually(lambda: _letters(stage, 1))
        await eventually(lambda: _letters_of(stage, JOBS_ENDED.name, 2))
        await eventually(lambda: _is(stage.committed(CANCELS_REQUESTED, "g"), 3))


async def test_the_producer_is_renewed_after_a_refusal_and_what_follows_leaves(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        topic = stage.prefix + CANCELS_REQUESTED.name
        big = Record(topic, b"k", [], b"x" * TOO_LARGE)
        good = [Record(topic, b"k", event.headers(), event.body()) for event in (cancel(), cancel(), cancel())]
        refused = await stage.producer.deliver([good[0], big, good[1]])
        assert list(refused) == [1] and isinstance(refused[1], MessageSizeTooLargeError)
        assert stage.producer.renewals > 0
        assert await stage.producer.deliver([good[2]]) == {}
        assert {record.value for record in await stage.records(CANCELS_REQUESTED.name)} == {r.body for r in good}


async def test_a_record_that_the_broker_calls_invalid_is_refused_alone_and_not_tried_for_ever(
    servers: EmbeddedServers,
) -> None:
    async with open_stage(servers) as stage:
        compacted = stage.prefix + WORKSPACES.name
        keyless, good = Record(compacted, None, [], b"{}"), Record(compacted, b"k", [], b"{}")
        refused = await stage.producer.deliver([good, keyless, good])
        assert list(refused) == [1] and isinstance(refused[1], InvalidRecord)
        assert {record.key for record in await stage.records(WORKSPACES.name)} == {b"k"}


async def test_who_still_waits_for_a_topic_hears_when_the_producer_is_thrown_away(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        current = await stage.producer._current()
        sending = asyncio.create_task(stage.producer.send([Record("nowhere", b"k", [], b"{}")]))
        await eventually(lambda: _now("nowhere" in current.producer.client._topics))
        await stage.producer.renew(current)
        async with asyncio.timeout(ACKNOWLEDGED_WITHIN / 3):
            (outcome,) = await sending
        assert isinstance(outcome, ProducerClosed)


async def test_who_sends_while_another_is_refused_waits_for_no_time_limit(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        topic = stage.prefix + CANCELS_REQUESTED.name
        big = Record(topic, b"k", [], b"x" * TOO_LARGE)
        over = asyncio.Event()
        longest = 0.0

        async def send_on() -> None:
            nonlocal longest
            while not over.is_set():
                began = time.monotonic()
                event = cancel()
                with contextlib.suppress(Unavailable):  # it met the refused one on its partition: sent again, it leaves
                    assert await stage.producer.deliver([Record(topic, event.key, event.headers(), event.body())]) == {}
                longest = max(longest, time.monotonic() - began)

        senders = [asyncio.create_task(send_on()) for _ in range(8)]
        for _ in range(5):
            assert list(await stage.producer.deliver([big])) == [0]
        over.set()
        await asyncio.gather(*senders)
        # Left to its limit a send waits for 30 s, though the producer it went to is gone for ever.
        assert longest < ACKNOWLEDGED_WITHIN / 2


async def test_a_partition_whose_offset_could_not_be_asked_for_is_read_all_the_same(
    servers: EmbeddedServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, refusals = (
        GroupCoordinator._do_fetch_commit_offsets,
        iter([KafkaError("an error that aiokafka does not know")]),
    )

    async def refuse_once(coordinator: Any, partitions: Any) -> Any:
        for refusal in refusals:
            raise refusal
        return await ask(coordinator, partitions)

    monkeypatch.setattr(GroupCoordinator, "_do_fetch_commit_offsets", refuse_once)
    async with open_stage(servers) as stage:
        await stage.publish(*(cancel() for _ in range(10)))
        tombstones(stage)
        await stage.start_bus()
        await eventually(lambda: _is(count(stage), 10))


async def test_a_consumer_whose_reading_ended_without_a_word_reads_on(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        tombstones(stage)
        await stage.start_bus()
        await stage.publish(cancel())
        await eventually(lambda: _is(count(stage), 1))
        (subscription,) = stage.bus.subscriptions
        subscription.consumer._fetcher._fetch_task.cancel()
        await stage.publish(cancel())
        await eventually(lambda: _is(count(stage), 2))
        subscription.subscriber.tasks[-1].cancel()
        await stage.publish(cancel())
        await eventually(lambda: _is(count(stage), 3))


async def test_a_row_the_broker_refuses_is_set_aside_and_the_others_leave(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        async with stage.outbox.transaction() as running:
            running.emit(cancelled(uuid.uuid4()))
            await running.connection.execute(
                "insert into outbox (topic, key, headers, body, created_at) "
                "values ($1, 'k', '[]', $2, now() - interval '1 minute')",
                stage.prefix + JOBS_ENDED.name,
                "x" * TOO_LARGE,
            )
            running.emit(cancelled(uuid.uuid4()))
        await eventually(lambda: stage.pool.fetchval("select refused from outbox where refused is not null"))
        await eventually(lambda: _is(stage.pool.fetchval("select count(*) from outbox"), 1))
        assert len(await stage.records(JOBS_ENDED.name)) == 2
        assert stage.outbox.refused == 1


async def test_an_event_over_256_kib_is_refused_at_the_insert_and_nothing_is_written(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:

        async def write() -> None:
            async with stage.outbox.transaction() as running:
                await running.connection.execute(
                    "insert into tombstones (request_id, workspace, cancelled_by) values ($1, $1, 'x')", uuid.uuid4()
                )
                running.emit(cancelled(uuid.uuid4(), client_reference="x" * 300_000))

        with pytest.raises(EventTooLarge):
            await write()
        assert await count(stage) == 0


async def test_a_fact_older_than_what_is_deduplicated_is_a_dead_letter_stale(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        await stage.publish(cancel(at=NOW - timedelta(days=9)), cancel(at=NOW - timedelta(days=7)))
        tombstones(stage)
        await stage.start_bus()
        letters = await eventually(lambda: stage.records(CANCELS_REQUESTED.dead_letters))
        assert [dict(letter.headers)["calotype-reason"] for letter in letters] == [b"stale"]
        await eventually(lambda: _is(count(stage), 1))


async def test_what_a_dead_process_committed_but_never_sent_is_swept(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        event = cancelled(uuid.uuid4())
        async with transaction(stage.pool) as connection:
            await stage.outbox.add(connection, [event])  # committed, never handed over: as after kill -9
        await eventually(lambda: _letters_of(stage, JOBS_ENDED.name, 1))
        await eventually(lambda: _is(stage.pool.fetchval("select count(*) from outbox"), 0))


async def test_a_sweeper_past_a_pooler_finds_its_stages_rows(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        await stage.outbox.stop()
        async with transaction(stage.pool) as connection:
            await stage.outbox.add(connection, [cancelled(uuid.uuid4())])
        direct = Outbox(stage.pool, stage.producer, prefix=stage.prefix, direct_url=stage.database_url)
        await direct.start()
        await eventually(lambda: _is(stage.pool.fetchval("select count(*) from outbox"), 0))
        await direct.stop()
        assert len(await stage.records(JOBS_ENDED.name)) == 1


async def test_a_callers_transaction_adds_to_the_outbox_and_reads_nothing_of_it(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        caller = functools.partial(workspace_transaction, stage.pool, stage="postprocess", workspace=uuid.uuid4())
        async with caller() as connection:
            assert len(await stage.outbox.add(connection, [cancelled(uuid.uuid4())])) == 1
        for statement in ("select body from outbox", "delete from outbox"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with caller() as connection:
                    await connection.execute(statement)


async def test_a_zombies_late_settlement_is_fenced_and_emits_nothing(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        asleep, wake = asyncio.Event(), asyncio.Event()
        work = NewWork(work_id=uuid.uuid4(), kind="k", workspace=uuid.uuid4(), payload="{}")

        async def zombie(lease: Leased) -> Outcome:
            asleep.set()
            await wake.wait()
            return Outcome(name="zombie", events=[cancelled(lease.work_id, client_reference="zombie")])

        async def living(lease: Leased) -> Outcome:
            return Outcome(name="living", events=[cancelled(lease.work_id, client_reference="living")])

        slow = worker(stage, zombie, lease=60)
        async with transaction(stage.pool) as connection:
            await enqueue(connection, [work])
        await slow.start()
        await asleep.wait()
        # Its lease runs out although it lives: what SIGSTOP, a long pause or a lost network does.
        await stage.pool.execute("update work set ready_at = clock_timestamp() - interval '1 second'")
        fast = worker(stage, living, lease=60)
        await fast.start()
        await eventually(lambda: _is(stage.pool.fetchval("select outcome from work"), "living"))
        wake.set()
        await eventually(lambda: _now(not slow.held))
        await slow.stop()
        await fast.stop()
        row = await stage.pool.fetchrow("select outcome, epoch, losses, failures from work")
        assert row is not None and tuple(row) == ("living", 2, 1, 0)
        await eventually(lambda: _is(stage.pool.fetchval("select count(*) from outbox"), 0))
        references = [dict(record.headers)["ce_clientreference"] for record in await stage.records(JOBS_ENDED.name)]
        assert references == [b"living"]


async def test_work_that_fails_three_times_ends_and_says_so(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        tries: list[int] = []

        async def broken(lease: Leased) -> Outcome:
            tries.append(lease.failures)
            raise ValueError("no")

        running = worker(stage, broken, lease=30)
        async with transaction(stage.pool) as connection:
            await enqueue(connection, [NewWork(work_id=uuid.uuid4(), kind="k", workspace=uuid.uuid4(), payload="{}")])
        await running.start()
        await eventually(lambda: _is(stage.pool.fetchval("select outcome from work"), "exhausted"))
        await running.stop()
        assert tries == [0, 1, 2]
        await eventually(lambda: _letters_of(stage, JOBS_ENDED.name, 1))


async def test_a_worker_that_stops_gives_back_what_it_could_not_finish_at_no_cost(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        begun = asyncio.Event()

        async def endless(lease: Leased) -> Outcome:
            begun.set()
            await asyncio.Event().wait()
            raise AssertionError

        running = worker(stage, endless, lease=60)
        async with transaction(stage.pool) as connection:
            await enqueue(connection, [NewWork(work_id=uuid.uuid4(), kind="k", workspace=uuid.uuid4(), payload="{}")])
        await running.start()
        await begun.wait()
        await running.stop(within=0.1)
        row = await stage.pool.fetchrow("select holder, failures, losses, ready_at <= clock_timestamp() from work")
        assert row is not None and tuple(row) == (None, 0, 0, True)


async def test_a_lease_lost_and_taken_again_by_one_worker_counts_once_where_both_settle_together(
    servers: EmbeddedServers,
) -> None:
    """As after a standstill: the first run goes on when the second begins, and both come to their ends at once."""
    async with open_stage(servers) as stage:
        begun: list[int] = []
        go_on = asyncio.Event()
        recorded: list[tuple[int, str]] = []
        late: list[int] = []

        async def run(lease: Leased) -> Outcome:
            begun.append(lease.epoch)
            await go_on.wait()
            if lease.epoch == 1:
                return Outcome.again("its target was away", delay=60.0)
            return Outcome(name="done", events=[cancelled(lease.work_id)])

        async def record(_: Transaction, settled: Sequence[tuple[Leased, Outcome]]) -> None:
            recorded.extend((lease.epoch, outcome.name) for lease, outcome in settled)

        async def fenced(_: Transaction, settled: Sequence[tuple[Leased, Outcome]]) -> None:
            late.extend(lease.epoch for lease, _ in settled)

        running = worker(stage, run, lease=60)
        running.record, running.fenced = record, fenced
        async with transaction(stage.pool) as connection:
            await enqueue(connection, [NewWork(work_id=uuid.uuid4(), kind="k", workspace=uuid.uuid4(), payload="{}")])
        await running.start()
        await eventually(lambda: _now(begun == [1]))
        await stage.pool.execute("update work set ready_at = clock_timestamp()")
        await eventually(lambda: _now(begun == [1, 2]))
        go_on.set()
        await eventually(lambda: _now(not running.held))
        await running.stop()
        assert (recorded, late) == ([(2, "done")], [1])
        assert len(await eventually(lambda: stage.records(JOBS_ENDED.name))) == 1


async def test_a_worker_told_to_stop_while_its_claim_commits_leaves_no_lease_behind(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        committed, answered = asyncio.Event(), asyncio.Event()

        async def run(lease: Leased) -> Outcome:
            return Outcome(name="done")

        async def claim(_: Connection, many: int) -> list[Leased]:
            async with transaction(stage.pool) as own:
                rows = queries.claim(own, kinds=["k"], after=None, many=many, holder=running.holder, lease=60.0)
                leases = [Leased(**dict(row)) async for row in rows]
            if leases:
                committed.set()
                await answered.wait()
            return leases

        running = worker(stage, run, lease=60)
        running.claim = claim
        async with transaction(stage.pool) as connection:
            await enqueue(connection, [NewWork(work_id=uuid.uuid4(), kind="k", workspace=uuid.uuid4(), payload="{}")])
        await running.start()
        await committed.wait()
        stopping = asyncio.create_task(running.stop())
        await asyncio.wait({stopping}, timeout=0.2)
        answered.set()
        await stopping
        row = await stage.pool.fetchrow("select holder, outcome, losses from work")
        assert row is not None and tuple(row) == (None, "done", 0)


async def test_postgres_refusing_for_a_while_delays_a_batch_and_dead_letters_nothing(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        away = 3

        async def apply(running: Transaction, rows: Sequence[CancelRequested]) -> None:
            nonlocal away
            if away:
                away -= 1
                raise Unavailable("postgres", "restarting")
            await running.connection.executemany(
                "insert into tombstones (request_id, workspace, cancelled_by) values ($1, $1, 'x')",
                [(row.request_id,) for row in rows],
            )

        @stage.bus.project(CANCELS_REQUESTED, group="g", apply=apply)
        def on_cancel_requested(event: CancelRequested) -> CancelRequested:
            return event

        await stage.publish(*(cancel() for _ in range(5)))
        await stage.start_bus()
        await eventually(lambda: _is(count(stage), 5))
        assert away == 0 and await stage.records(CANCELS_REQUESTED.dead_letters) == []


async def test_a_replayed_dead_letter_reaches_only_the_group_that_refused_it(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        seen: list[str] = []
        for group in ("one", "other"):

            async def apply(running: Transaction, rows: Sequence[str]) -> None:
                seen.extend(rows)

            @stage.bus.project(CANCELS_REQUESTED, group=group, apply=apply)
            def on_cancel_requested(event: CancelRequested, group: str = group) -> str:
                return f"{group}:{event.by}"

        replayed, marker = cancel("replayed"), cancel("marker")
        headers = [*replayed.headers(), ("calotype-replay-group", b"one")]
        await stage.producer.deliver([Record(stage.prefix + CANCELS_REQUESTED.name, b"k", headers, replayed.body())])
        await stage.producer.deliver(
            [Record(stage.prefix + CANCELS_REQUESTED.name, b"k", marker.headers(), marker.body())]
        )
        await stage.start_bus()
        await eventually(lambda: _now({"one:marker", "other:marker"} <= set(seen)))
        assert sorted(seen) == ["one:marker", "one:replayed", "other:marker"]


async def test_start_up_refuses_a_subscriber_that_could_lose_a_record(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:

        @stage.bus.broker.subscriber("some-topic", group_id="g")
        async def careless(message: str) -> None: ...

        with pytest.raises(UnsafeSubscriber, match=r"ack_policy.*auto_offset_reset.*no_reply"):
            await stage.bus.start()


async def test_row_level_security_is_forced_on_every_table_with_a_workspace(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        connection = await asyncpg.connect(stage.database_url)
        rows = await connection.fetch(
            """
            select n.nspname || '.' || c.relname as name,
                   case when c.relkind = 'v' then coalesce('security_invoker=true' = any(c.reloptions), false)
                        else c.relrowsecurity and c.relforcerowsecurity end as forced
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute a on a.attrelid = c.oid and a.attname = 'workspace' and not a.attisdropped
            where n.nspname = any($1::text[]) and c.relkind in ('r', 'p', 'v')
            """,
            list(STAGES_WITH_DATABASE),
        )
        await connection.close()
        assert len(rows) >= len(STAGES_WITH_DATABASE) * 5
        assert [row["name"] for row in rows if not row["forced"]] == []


async def test_a_caller_has_one_policy_on_every_such_table_and_it_names_the_workspace(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        connection = await asyncpg.connect(stage.database_url)
        rows = await connection.fetch(
            """
            select p.schemaname || '.' || p.tablename as name, p.qual, p.with_check
            from pg_policies p
            where p.schemaname = any($1::text[]) and p.roles = array[('calotype_' || p.schemaname || '_http')::name]
            """,
            list(STAGES_WITH_DATABASE),
        )
        tables = await connection.fetch(
            """
            select n.nspname || '.' || c.relname as name
            from pg_class c join pg_namespace n on n.oid = c.relnamespace
            join pg_attribute a on a.attrelid = c.oid and a.attname = 'workspace' and not a.attisdropped
            where n.nspname = any($1::text[]) and c.relkind in ('r', 'p')
            """,
            list(STAGES_WITH_DATABASE),
        )
        # A caller who names no workspace, or another's, is shown nothing anywhere.
        for table in tables:
            schema = table["name"].split(".")[0]
            async with connection.transaction():
                await connection.execute(f"set local role calotype_{schema}_http")
                assert await connection.fetchval(f"select count(*) from {table['name']}") == 0
        await connection.close()
        assert sorted(row["name"] for row in rows) == sorted(row["name"] for row in tables)
        assert {row["qual"] for row in rows} == {
            "(workspace = (NULLIF(current_setting('calotype.workspace'::text, true), ''::text))::uuid)"
        }


async def test_a_callers_session_sees_no_row_of_another_workspace_and_can_write_none(servers: EmbeddedServers) -> None:
    async with open_stage(servers) as stage:
        mine, foreign = uuid.uuid4(), uuid.uuid4()
        async with transaction(stage.pool) as connection:
            for workspace in (mine, foreign):
                await connection.execute(
                    "insert into tombstones (request_id, workspace, cancelled_by) values (gen_random_uuid(), $1, 'x')",
                    workspace,
                )
        async with workspace_transaction(stage.pool, stage="postprocess", workspace=mine) as connection:
            assert [row["workspace"] for row in await connection.fetch("select workspace from tombstones")] == [mine]
            assert await connection.execute("delete from tombstones where workspace = $1", foreign) == "DELETE 0"
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(
                    "insert into tombstones (request_id, workspace, cancelled_by) values (gen_random_uuid(), $1, 'x')",
                    foreign,
                )
        assert await count(stage) == 2


def worker(stage: TestStage, run: Any, *, lease: float) -> Worker:
    def exhausted(lease: Leased, why: str) -> Outcome:
        return Outcome(name="exhausted", detail=why, events=[cancelled(lease.work_id)])

    return Worker(
        stage="test",
        outbox=stage.outbox,
        pool=stage.pool,
        kinds=["k"],
        exhausted=exhausted,
        run=run,
        lease_seconds=lease,
    )


async def _is(found: Any, expected: Any) -> bool:
    return bool(await found == expected)


async def _now(value: Any) -> Any:
    return value


async def _when(found: Any, condition: Any) -> Any:
    answer = await found
    return answer if condition(answer) else None


async def _letters(stage: TestStage, number: int) -> bool:
    """Whether so many records became letters; one that is sent again is the same letter."""
    letters = await stage.records(CANCELS_REQUESTED.dead_letters)
    return len({dict(letter.headers)["calotype-origin"] for letter in letters}) == number


async def _letters_of(stage: TestStage, topic: str, number: int) -> bool:
    return len(await stage.records(topic)) == number
