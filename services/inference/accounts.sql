-- name: away(accounts)
-- Held until the claim is over: of two that find the same account due, one asks.
select account, probe_at <= clock_timestamp() as due from outages
where account = any(:accounts::text[]) and probe_at is not null order by account for update;

-- name: under_way(kinds)
-- Of which of these kinds something is being called now.
select distinct kind from work
where kind = any(:kinds::text[]) and holder is not null and ready_at > clock_timestamp() and parked is null;

-- name: outage(account)^
-- The row as it stands, made where there is none, and held: what follows from it is written by who read it.
insert into outages as o (account, failures, since, cause) values (:account, 0, clock_timestamp(), '')
on conflict (account) do update set failures = o.failures
returning failures, since, cause, probe_at, clock_timestamp() as now;

-- name: note_outage(account, failures, cause, busy, probe_at)!
update outages set failures = :failures, cause = :cause, busy = :busy, probe_at = :probe_at where account = :account;

-- name: end_outages(accounts)
delete from outages where account = any(:accounts::text[]) returning account, since, probe_at;

-- name: count_failures(ids, asked, most)!
-- They go again as a job's own failures do, or are ended at once.
update work w set failures = w.failures + 1,
    ready_at = clock_timestamp() + make_interval(secs => case when w.failures + 1 < :most then power(2, w.failures) else 0 end)
from unnest(:ids::uuid[], :asked::timestamptz[]) as t(work_id, asked_at)
where w.work_id = t.work_id and w.asked_at = t.asked_at and w.ready_at is not null;

-- name: resume(kinds)!
-- What was tried meanwhile waits for a time of its own no longer.
update work set ready_at = clock_timestamp()
where kind = any(:kinds::text[]) and holder is null and parked is null and outcome = 'again' and ready_at > clock_timestamp();

-- name: outages()
select account, since, busy, probe_at as next_try_at from outages where probe_at is not null order by since;
