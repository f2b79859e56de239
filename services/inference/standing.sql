-- name: seen(holder, kinds, slots)!
-- With every process that comes, those go that have long gone without a word.
with forgotten as (delete from claimers where seen_at < clock_timestamp() - interval '1 day')
insert into claimers (holder, kinds, slots) values (:holder, :kinds, :slots)
on conflict (holder) do update set kinds = excluded.kinds, slots = excluded.slots, seen_at = clock_timestamp();

-- name: gone(holders)!
-- It ended in order: seen until now, and here no more.
update claimers set slots = 0, seen_at = clock_timestamp() where holder = any(:holders::text[]);

-- name: keep_paces(workspaces, backends, sorts, seconds)!
-- Half of what is told and half of what is known, so that one process does not speak for all. What was not made for a month,
-- by a model that is gone perhaps, is forgotten with what comes new.
with forgotten as (
    delete from paces p using (select distinct w from unnest(:workspaces::uuid[]) as w) t
    where p.workspace = t.w and p.measured_at < clock_timestamp() - interval '30 days'
      and (p.backend, p.sort) not in (select * from unnest(:backends::text[], :sorts::text[]))
)
insert into paces as p (workspace, backend, sort, seconds)
select * from unnest(:workspaces::uuid[], :backends::text[], :sorts::text[], :seconds::float8[]) as t(workspace, backend, sort, seconds)
order by workspace, backend, sort
on conflict (workspace, backend, sort) do update
set seconds = (p.seconds + excluded.seconds) / 2, measured_at = clock_timestamp();

-- name: claimers(within)
-- Few rows: one of each worker. `live`: it was seen within so many seconds, and has not ended since.
select kinds, slots, seen_at, slots > 0 and seen as live, seen
from (select *, seen_at > clock_timestamp() - make_interval(secs => :within) as seen from claimers) as c;

-- name: unclaimed()
-- Kinds of work that wait and nobody claims, and how many seconds such work waits.
select kind, since, patience from unclaimed;

-- name: paces(workspaces)
select workspace, backend, sort, seconds from paces where workspace = any(:workspaces::uuid[]);

-- name: caps(workspaces)
select workspace, (limits::json ->> 'spend_per_day')::numeric as cap from workspaces
where workspace = any(:workspaces::uuid[]) and limits::json ->> 'spend_per_day' is not null;

-- name: meters(meters)
-- As they stand, locked by nobody.
select meter, tokens, counted_at, extract(epoch from clock_timestamp() - counted_at)::float8 as seconds from meters
where meter = any(:meters::text[]);

-- name: outages()
select account, since, cause, busy, probe_at from outages where probe_at is not null;

-- name: waiting_of(requests)
-- What waits of these requests, held by no worker and no brake.
select job_id, kind, lane, workspace, subject, priority, created_at, currency, price, sort, detail,
       case when ready_at > clock_timestamp() then ready_at end as later
from work where request_id = any(:requests::uuid[]) and ready_at is not null and holder is null and parked is null
order by created_at limit 1000;

-- name: first_of(kind, lane, workspace, subject, priority, many)
-- The first of a flow, to be told what holds them.
select work_id, epoch, payload, traceparent from work
where kind = :kind and lane = :lane and workspace = :workspace and subject = :subject and priority = :priority
  and ready_at <= clock_timestamp() and parked is null and holder is null
order by created_at limit :many;

-- name: still_waiting(ids)
select work_id, epoch, payload, traceparent from work
where work_id = any(:ids::uuid[]) and ready_at is not null and holder is null and parked is null;

-- name: i_tell()$
-- One process at a time tells what holds work up.
select pg_try_advisory_xact_lock(hashtext('calotype.inference.telling'));
