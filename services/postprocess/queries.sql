-- name: enqueue_finished(kind, ids, asked, workspaces, requests, jobs, runs, outcomes)
-- Work that is over as soon as it is heard of (cancelled, or nothing to make): the row is still the inbox, so only those
-- that come back are new. `created_at` is the time of the fact.
insert into work (work_id, asked_at, kind, workspace, request_id, job_id, run, ready_at, outcome, finished_at, payload)
select id, asked, :kind, workspace, request, job, run, null, outcome, clock_timestamp(), ''
from unnest(:ids::uuid[], :asked::timestamptz[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :runs::int[], :outcomes::text[])
     as t(id, asked, workspace, request, job, run, outcome)
where not exists (select from work w where w.work_id = id and w.asked_at = '2000-01-01 00:00+00')
on conflict (work_id, asked_at) do nothing
returning work_id, created_at;

-- name: current_time()$
-- Facts are dated by the database, never by a worker's host.
select clock_timestamp();

-- name: seen_before(asset, asked_at, workspace, job, parent, fingerprint, bands, many)
-- Kept and looked up in one round trip, under a lock that a statement of its own could not wait for and then see past.
select asset_id, fingerprint from liken(:asset, :asked_at, :workspace, :job, :parent, :fingerprint, :bands::bigint[], :many)
order by seq;

-- name: remember(assets, workspaces, jobs, times, fingerprints, bands)!
-- After a restore: what was asked about since, in the order in which it was told. What is known keeps its place.
insert into likenesses (asset_id, workspace, job_id, asked_at, fingerprint, bands)
select asset, workspace, job, time, fingerprint, string_to_array(bands, ',')::bigint []
from unnest(:assets::uuid[], :workspaces::uuid[], :jobs::uuid[], :times::timestamptz[], :fingerprints::text[], :bands::text[])
     as t(asset, workspace, job, time, fingerprint, bands)
where not exists (select from likenesses l where l.asset_id = asset)
order by time, asset;

-- name: recipe_versions(workspace, name)
-- Newest first; what was withdrawn is listed too, for what was made by it is still looked at.
select version, digest, state from library_items
where workspace = :workspace and kind = 'recipe' and name = :name order by version desc;
