"""Defects of delivery: offsets, outbox, producer, dead letters, leases."""

from tests.faults.mutants.mutant import EVERY, Scenario, mutant
from tests.faults.mutants.patching import function, query

DATABASE = EVERY - {"prompt"}
WORKING = {"inference", "postprocess", "publisher", "catalog", "intake"}
POISONED = Scenario(poison=60)
IN_COMMITS = Scenario(crash="intake.commit.before:6,inference.commit.before:6,catalog.commit.before:12")
AFTER_SENDS = Scenario(crash="intake.outbox.after_send:5,inference.outbox.after_send:5,catalog.outbox.after_send:7")
RESTORED = Scenario(
    test="tests/live/test_backup.py::test_what_was_told_after_the_databases_snapshot_is_neither_lost_nor_done_again"
)
# Often enough to meet a settlement: what a consumer is killed over comes again, and is told again.
AFTER_COMMITS = Scenario(
    crash="intake.commit.after:9,inference.commit.after:14,postprocess.commit.after:11,"
    "catalog.commit.after:17,publisher.commit.after:7",
    starts=4,
)

# -- the consumer


@mutant("Offsets are committed before the transaction", caught_by="I1 I2 I4", scenario=IN_COMMITS)
def offset_before_transaction() -> None:
    read = "items = self._read(records, batch)\n"
    function(
        "shared.bus:Subscription._on_batch", read, f"{read}        self._finish(items)\n        await self.commit()\n"
    )


@mutant(
    "After an outage the consumer goes on behind the batch that failed",
    caught_by="I1 I2 I4 I6",
    scenario=Scenario(strikes=["postgres_restarts"]),
)
def batch_not_rewound() -> None:
    function("shared.bus:Subscription._rewind", '"""The batch comes again."""', "return")


@mutant(
    "After a restore the consumers go on where Kafka ends, and not where the database stood",
    caught_by="test",
    scenario=RESTORED,
)
def offsets_not_rewound_after_a_restore() -> None:
    function(
        "deploy.local.positions:_commit",
        "await consumer.commit(dict(offsets))",
        "await consumer.commit(await consumer.end_offsets(list(offsets)))",
    )


@mutant("A batch with one bad record is refused whole", stages=DATABASE, caught_by="I1 I2 I4 I6 I7", scenario=POISONED)
def batch_without_bisection() -> None:
    function(
        "shared.bus:Bus.write",
        "if len(items) == 1:\n            items[0].bad = _handler_failed(error)\n            return",
        "for item in items:\n            item.bad = _handler_failed(error)\n        if items:\n            return",
    )


@mutant("One record that cannot be read stops its partition", caught_by="I1 rest", scenario=POISONED)
def poison_kills_the_batch() -> None:
    function("shared.bus:Subscription._decode", "item.bad = aside.bad\n        return", "raise")


@mutant("A record that cannot be read is passed over", caught_by="I7", scenario=POISONED)
def dead_letter_not_kept() -> None:
    function(
        "shared.bus:Subscription._set_aside",
        "refused = await self.bus.producer.deliver(records)\n",
        "refused = {}\n",
    )


# -- the outbox


@mutant(
    "Facts leave before the transaction that makes them true commits",
    stages=DATABASE,
    caught_by="I1 I2 I4 I5 I10",
    scenario=AFTER_SENDS,
)
def outbox_before_commit() -> None:
    add = "rows = await self.add(connection, running.events)\n"
    early = (
        "if running.events:\n"
        "                early = [record_of(event, prefix=self._prefix) for event in running.events]\n"
        "                await self._producer.deliver(early)\n"
        '                crash_point("outbox.after_send")\n'
        "            "
    )
    function("shared.outbox:Outbox.transaction", add, early + add)


@mutant(
    "Facts are written in a transaction after the one that makes them true",
    stages=DATABASE,
    caught_by="I1 I2 I3 I4 I6 I7 I10",
    scenario=AFTER_COMMITS,
)
def fact_in_a_second_transaction() -> None:
    where = "shared.outbox:Outbox.transaction"
    function(where, "            rows = await self.add(connection, running.events)\n", "")
    function(
        where,
        '    crash_point("commit.after")\n',
        '    crash_point("commit.after")\n'
        "    async with transaction(self._pool) as connection:\n"
        "        rows = await self.add(connection, running.events)\n",
    )


@mutant(
    "Outbox rows are deleted before Kafka has acknowledged them",
    stages=DATABASE,
    caught_by="I1 I2 I3 I4 I6 rest",  # where it is the workspace that nobody hears of, nothing can be asked at all
    scenario=AFTER_SENDS,
)
def outbox_deleted_before_acknowledged() -> None:
    send = "refused = await self._producer.deliver([record for _, record in rows])\n"
    early = (
        "await queries.remove_rows(self._pool, ids=[row_id for row_id, _ in rows])\n"
        '    crash_point("outbox.after_send")\n    '
    )
    function("shared.outbox:Outbox._send", send, early + send)


@mutant("Nobody sweeps the outbox", stages=DATABASE, caught_by="I1 I2 I4 rest", scenario=AFTER_COMMITS)
def sweeper_off() -> None:
    function("shared.outbox:Outbox._sweep_forever", "backoff = Backoff()", "return")


@mutant(
    "The relay remembers the highest row it has sent, and passes over what commits late",
    stages=DATABASE,
    caught_by="I1 I4 rest",
    scenario=Scenario(strikes=["postgres_is_slow", "keys_are_made"]),
)
def high_water_mark_relay() -> None:
    newer = (
        'mark = getattr(self, "_mark", 0)\n'
        "{pad}rows = [row for row in rows if row[0] > mark]\n"
        "{pad}self._mark = max([mark, *(row[0] for row in rows)])\n"
    )
    held = "if rows and len(self._unsent) < HELD_ROWS:"
    function("shared.outbox:Outbox.hand_over", held, newer.format(pad=" " * 4) + f"    {held}")
    swept = " " * 12 + "backoff.reset()\n"
    function("shared.outbox:Outbox._sweep", swept, " " * 12 + newer.format(pad=" " * 12) + swept)


@mutant(
    "A producer that the broker has refused a record is used on",
    caught_by="I1 I7 rest",
    scenario=Scenario(poison=60, strikes=["dead_letters_are_refused"]),
)
def producer_not_renewed() -> None:
    function("shared.kafka:Producer.renew", "async with self._lock:\n", "return\n    async with self._lock:\n")
    where = "shared.kafka:Producer.deliver"
    function(where, "apart = Producer(self._settings)", "apart = self")
    function(where, "await apart.stop()", "pass")


# -- leases

SETTLED = "where w.work_id = s.work_id and w.epoch = s.epoch and w.holder = :holder"
LOST = "losses = w.losses + (w.holder is not null)::int"


@mutant(
    "A settlement is not fenced: a zombie's counts too",
    stages=WORKING,
    caught_by="I1 I2 I4 I5",
    scenario=Scenario(strikes=["inference_stands_still"], provider={"weights": {"slow": 1}, "slow_seconds": 1.5}),
)
def fencing_removed() -> None:
    unfenced = "where w.work_id = s.work_id and (w.holder = :holder or true)"
    query("shared.leases:queries", "shared/sql/leases.sql", "settle", SETTLED, unfenced)


@mutant(
    "A lost lease counts as a failure of the work",
    stages={"inference"},
    caught_by="I2",
    # One job, that is lost again and again, and not as often as ends it.
    scenario=Scenario(crash="inference.settle.before:1", starts=5, requests=1, seed=3),
)
def losses_counted_as_failures() -> None:
    failed = "failures = w.failures + (w.holder is not null)::int"
    query("services.inference.flows:queries", "services/inference/flows.sql", "claim", LOST, failed)


@mutant(
    "Leases are not renewed while the work goes on",
    stages=WORKING,
    caught_by="I5",
    # Longer than a lease (4.5 s), and not as long as a call may take (6 s).
    scenario=Scenario(
        provider={"weights": {"slow": 1}, "slow_seconds": 5.3},
        requests=30,
        uncertain=False,
    ),
)
def heartbeat_missing() -> None:
    # Not the heartbeat alone: who claims renews first where nobody has for half a lease.
    function("shared.leases:Worker._renew", "if leases:", "if leases and not leases:")


@mutant(
    "Of two leases of one piece of work that end together, the lost one is recorded too",
    caught_by="test",
    scenario=Scenario(
        test="tests/live/test_delivery.py::"
        "test_a_lease_lost_and_taken_again_by_one_worker_counts_once_where_both_settle_together"
    ),
)
def settled_by_id_alone() -> None:
    function(
        "shared.leases:Worker._settle_once",
        "if lease.fence in settled]",
        "if lease.work_id in {work_id for work_id, *_ in settled}]",
    )
