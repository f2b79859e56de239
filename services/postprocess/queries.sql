-- name: enqueue_finished(kind, ids, workspaces, requests, jobs, runs, outcomes)
-- Work that is over as soon as it is heard of (cancelled, or nothing to make): the row is still the inbox, so only those
-- that come back are new. `created_at` is the time of the fact.
insert into work (work_id, kind, workspace, request_id, job_id, run, ready_at, outcome, finished_at, payload)
select id, :kind, workspace, request, job, run, null, outcome, clock_timestamp(), ''
from unnest(:ids::uuid[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :runs::int[], :outcomes::text[])
     as t(id, workspace, request, job, run, outcome)
on conflict (work_id) do nothing
returning work_id, created_at;

-- name: current_time()$
-- Facts are dated by the database, never by a worker's host.
select clock_timestamp();
