-- name: settle_told(ids, kinds, workspaces, requests, jobs, runs, outcomes)!
-- Work whose end Kafka has: a row that is open ends, one that is not there yet is over before anybody hears of it. When
-- that was asked for is not known, so it is known by its id alone.
with open as (
    update work w set ready_at = null, parked = null, holder = null, outcome = t.outcome, finished_at = clock_timestamp()
    from unnest(:ids::uuid[], :outcomes::text[]) as t(id, outcome)
    where w.work_id = t.id and w.ready_at is not null
)
insert into work (work_id, kind, workspace, request_id, job_id, run, ready_at, outcome, finished_at, payload)
select distinct on (id) id, kind, workspace, request, job, run, null::timestamptz, outcome, clock_timestamp(), ''
from unnest(:ids::uuid[], :kinds::text[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :runs::int[], :outcomes::text[])
     as t(id, kind, workspace, request, job, run, outcome)
where not exists (select from work w where w.work_id = id);

-- name: end_work(ids, outcomes)!
-- The same, of rows that are there.
update work w set ready_at = null, parked = null, holder = null, outcome = t.outcome, finished_at = clock_timestamp()
from unnest(:ids::uuid[], :outcomes::text[]) as t(id, outcome)
where w.work_id = t.id and w.ready_at is not null;
