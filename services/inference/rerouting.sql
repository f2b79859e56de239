-- name: away(seconds)
-- Accounts that have taken no call for so long, and will take none for a while.
select account, since from outages
where probe_at is not null and since < clock_timestamp() - make_interval(secs => :seconds) order by account;

-- name: waiting(kinds, after, many)
-- What waits for such an account and nobody works on, oldest first; behind a brake it stays where it was put.
select work_id, asked_at, workspace, epoch, payload, created_at from work
where kind = any(:kinds::text[]) and ready_at is not null and parked is null and holder is null
  and created_at > :after
order by created_at limit :many for update skip locked;

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
