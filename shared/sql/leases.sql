-- name: enqueue(ids, asked, kinds, workspaces, requests, jobs, runs, lanes, subjects, priorities, delays, deadlines, traceparents, payloads, holder, lease)
-- The key is the inbox: only rows that come back are new. One of which it is not known when it was asked for, from before
-- 0.2 or from a restore, is known by its id alone. With a holder they arrive already claimed by this process, but
-- for those that stand behind a brake.
insert into work (work_id, asked_at, kind, workspace, request_id, job_id, run, lane, subject, priority, ready_at, deadline,
                  traceparent, payload, parked, holder, epoch)
select id, asked, kind, workspace, request, job, run, lane, subject, priority,
       clock_timestamp() + make_interval(secs => delay + case when held then :lease::float8 else 0 end),
       deadline, traceparent, payload, brake, case when held then :holder::text end, held::int
from (
    select t.*, b.brake, :holder::text is not null and b.brake is null as held
    from unnest(:ids::uuid[], :asked::timestamptz[], :kinds::text[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :runs::int[],
                :lanes::text[], :subjects::text[], :priorities::smallint[], :delays::float8[], :deadlines::timestamptz[],
                :traceparents::text[], :payloads::text[])
         as t(id, asked, kind, workspace, request, job, run, lane, subject, priority, delay, deadline, traceparent, payload)
    cross join lateral (
        select min(brake_id) as brake from brakes b
        where (b.kind, b.name) in (('lane', t.lane), ('backend', t.subject), ('target', t.subject), ('workspace', t.workspace::text))
          and (b.workspace is null or b.workspace = t.workspace) and b.released_at is null
    ) b
) as new
where not exists (select from work w where w.work_id = new.id and w.asked_at = '2000-01-01 00:00+00')
on conflict (work_id, asked_at) do nothing
returning work_id, parked is not null as parked;

-- name: claim(kinds, after, many, holder, lease)
-- One index scan serves new work and expired leases; a row that still names a holder was lost by it. `after`: what was
-- ready before is left to a later look. A stable clock, so that it bounds the scan within each priority. What came in while
-- a brake was put on is not parked yet, and passed over; what is out of time is only ended, which no brake holds up.
with due as (
    select work_id, asked_at, ready_at from work w
    where ready_at >= coalesce(:after::timestamptz, '-infinity') and ready_at <= statement_timestamp()
      and parked is null and kind = any(:kinds::text[])
      and (deadline < clock_timestamp() or not exists (
          select from brakes b
          where (b.kind, b.name) in (('lane', w.lane), ('backend', w.subject), ('target', w.subject), ('workspace', w.workspace::text))
            and (b.workspace is null or b.workspace = w.workspace) and b.released_at is null
      ))
    order by priority desc, ready_at
    limit :many for update skip locked
)
update work w set holder = :holder, epoch = w.epoch + 1, losses = w.losses + (w.holder is not null)::int,
                  ready_at = clock_timestamp() + make_interval(secs => :lease)
from due where w.work_id = due.work_id and w.asked_at = due.asked_at
returning w.work_id, w.asked_at, due.ready_at, w.kind, w.workspace, w.request_id, w.job_id, w.run, w.lane, w.subject, w.priority, w.epoch, w.failures,
          w.losses, w.deadline, w.traceparent, w.payload, w.created_at,
          (w.deadline is not null and w.deadline < clock_timestamp()) as expired;

-- name: renew(ids, asked, epochs, holder, lease)
-- One heartbeat for all leases of a worker; what does not come back is another's now.
update work w set ready_at = clock_timestamp() + make_interval(secs => :lease)
from unnest(:ids::uuid[], :asked::timestamptz[], :epochs::int[]) as mine(work_id, asked_at, epoch)
where w.work_id = mine.work_id and w.epoch = mine.epoch and w.holder = :holder and w.asked_at = mine.asked_at
returning w.work_id;

-- name: settle(ids, asked, epochs, holder, outcomes, details, delays, failed)
-- Fenced by the epoch: a zombie's late settlement returns no row, so nothing is emitted for it. A delay means: again, and
-- then it may find a brake.
update work w set
    ready_at = case when s.delay is null then null else clock_timestamp() + make_interval(secs => s.delay) end,
    finished_at = case when s.delay is null then clock_timestamp() end,
    outcome = s.outcome, detail = s.detail, holder = null, failures = w.failures + s.failed,
    parked = case when s.delay is not null then (
        select min(brake_id) from brakes b
        where (b.kind, b.name) in (('lane', w.lane), ('backend', w.subject), ('target', w.subject), ('workspace', w.workspace::text))
          and (b.workspace is null or b.workspace = w.workspace) and b.released_at is null
    ) end
from unnest(:ids::uuid[], :asked::timestamptz[], :epochs::int[], :outcomes::text[], :details::text[], :delays::float8[], :failed::int[])
     as s(work_id, asked_at, epoch, outcome, detail, delay, failed)
where w.work_id = s.work_id and w.epoch = s.epoch and w.holder = :holder and w.asked_at = s.asked_at
returning s.work_id, s.asked_at, s.epoch;

-- name: bury(requests, jobs, asked, workspaces, by, reasons)!
-- A cancel outlives the message that brought it; nil job: the whole request.
insert into tombstones (request_id, job_id, asked_at, workspace, cancelled_by, reason)
select request, coalesce(job, '00000000-0000-0000-0000-000000000000'), asked, workspace, cancelled_by, reason
from unnest(:requests::uuid[], :jobs::uuid[], :asked::timestamptz[], :workspaces::uuid[], :by::text[], :reasons::text[])
     as t(request, job, asked, workspace, cancelled_by, reason)
on conflict do nothing;

-- name: buried(requests, jobs)
-- Which of these jobs somebody asked to end, and who.
select distinct on (asked.job) asked.job as job_id, t.cancelled_by
from unnest(:requests::uuid[], :jobs::uuid[]) as asked(request, job)
join tombstones t on t.request_id = asked.request
 and t.job_id in (asked.job, '00000000-0000-0000-0000-000000000000');

-- name: drop_waiting(requests, jobs, by)
-- What nobody works on yet ends with the cancel itself; what is held ends at its next step.
update work w set ready_at = null, parked = null, outcome = 'cancelled', finished_at = clock_timestamp()
from unnest(:requests::uuid[], :jobs::uuid[], :by::text[]) as c(request_id, job_id, cancelled_by)
where w.request_id = c.request_id and (c.job_id is null or w.job_id = c.job_id)
  and w.ready_at is not null and w.holder is null
returning w.work_id, w.asked_at, w.run, w.job_id, w.epoch, w.payload, w.traceparent, c.cancelled_by;
