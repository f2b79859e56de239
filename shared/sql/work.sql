-- What an operator asks of a stage's work. A caller's transaction sees its own; brakes on everybody are for all to see.

-- name: lines()
-- Per lane and kind what runs, what could start, what waits for a retry, what a brake holds.
select kind, lane,
       count(*) filter (where holder is not null) as running,
       count(*) filter (where holder is null and parked is null and ready_at <= clock_timestamp()) as waiting,
       count(*) filter (where holder is null and parked is null and ready_at > clock_timestamp()) as delayed,
       count(*) filter (where parked is not null) as held,
       extract(epoch from clock_timestamp() - min(created_at) filter (where holder is null))::float8 as oldest_seconds
from work where ready_at is not null group by kind, lane order by lane, kind;

-- name: workers()
-- Who holds leases. A lease that has run out is lost: the next claim takes it over.
select holder, count(*) as leases, array_agg(distinct kind order by kind) as kinds,
       count(*) filter (where ready_at < clock_timestamp()) as run_out,
       extract(epoch from clock_timestamp() - min(created_at))::float8 as oldest_seconds
from work where ready_at is not null and holder is not null group by holder order by holder;

-- name: work_of(requests)
-- Where the jobs of these requests stand in this stage's queue, and by which brake they are held.
select w.job_id, w.kind, w.lane, w.subject, w.holder, w.ready_at, w.created_at, w.failures, w.losses,
       w.ready_at > clock_timestamp() as later, w.detail, w.parked
from work w where w.request_id = any(:requests::uuid[]) and w.ready_at is not null;

-- name: brakes(workspace)
-- Those that hold this workspace's work, with how much of it still runs and how much waits; counted to a limit.
select b.brake_id, b.kind, b.name, b.workspace, b.mode, b.braked_by, b.reason, b.since,
       (select count(*) from (select from work w where w.parked = b.brake_id and w.workspace = :workspace limit 100000) held)
           as held,
       (select count(*) from work w where w.ready_at is not null and w.holder is not null and w.workspace = :workspace
          and (b.kind, b.name) in (('lane', w.lane), ('backend', w.subject), ('target', w.subject),
                                   ('workspace', w.workspace::text))) as running
from brakes b
where b.released_at is null and (b.workspace is null or b.workspace = :workspace)
order by b.since, b.brake_id;
