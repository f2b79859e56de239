-- name: away(seconds)
-- Accounts that have taken no call for so long, and will take none for a while.
select account, since from outages
where probe_at is not null and since < clock_timestamp() - make_interval(secs => :seconds) order by account;

-- name: i_look(account)$
-- One process at a time looks what of such an account's work may go elsewhere.
select pg_try_advisory_xact_lock(hashtext('calotype.inference.rerouting.' || :account::text));

-- name: waiting(kinds, lanes, workspaces, subjects, priorities, afters, many)
-- What waits for such an account and nobody works on, the oldest of each flow; behind a brake it stays where it was put.
select w.work_id, w.asked_at, w.workspace, w.epoch, w.payload, w.created_at, f.number
from unnest(:kinds::text[], :lanes::text[], :workspaces::uuid[], :subjects::text[], :priorities::smallint[],
            :afters::timestamptz[])
     with ordinality as f(kind, lane, workspace, subject, priority, after, number)
cross join lateral (
    select * from work w
    where w.kind = f.kind and w.lane = f.lane and w.workspace = f.workspace and w.subject = f.subject
      and w.priority = f.priority and w.created_at > coalesce(f.after, '-infinity')
      and w.ready_at is not null and w.parked is null and w.holder is null
    order by w.created_at limit :many for update skip locked
) as w;

-- name: under_way(attempts)
-- Calls that were cut off with their worker: nobody knows yet what became of them.
select job_id from attempts where attempt_id = any(:attempts::uuid[]) and state in ('started', 'uncertain');

-- name: reroute(ids, asked, kinds, lanes, subjects, payloads, currencies, prices, sorts)!
-- At once: what it waited for was the account, or somebody to claim it. A holder whose lease ran out settles nothing any more.
update work w set kind = t.kind, lane = t.lane, subject = t.subject, payload = t.payload, currency = t.currency,
                  price = t.price, sort = t.sort, ready_at = clock_timestamp(), holder = null
from unnest(:ids::uuid[], :asked::timestamptz[], :kinds::text[], :lanes::text[], :subjects::text[], :payloads::text[],
            :currencies::text[], :prices::numeric[], :sorts::text[])
     as t(work_id, asked_at, kind, lane, subject, payload, currency, price, sort)
where w.work_id = t.work_id and w.asked_at = t.asked_at;
