-- name: now()$
select clock_timestamp();

-- name: flows(kinds, lanes)
-- What waits, by backend and workspace: a walk over the index from one flow to the next, however much waits in each.
with recursive flow as (
    select first.* from unnest(:kinds::text[]) as k(kind) cross join unnest(:lanes::text[]) as l(lane)
    cross join lateral (
        select w.kind, w.lane, w.workspace, w.subject, w.priority from work w
        where w.kind = k.kind and w.lane = l.lane and w.ready_at is not null and w.parked is null
        order by w.workspace, w.subject, w.priority limit 1
    ) as first
    union all
    select following.* from flow f cross join lateral (
        select w.kind, w.lane, w.workspace, w.subject, w.priority from work w
        where w.kind = f.kind and w.lane = f.lane
          and (w.workspace, w.subject, w.priority) > (f.workspace, f.subject, f.priority)
          and w.ready_at is not null and w.parked is null
        order by w.workspace, w.subject, w.priority limit 1
    ) as following
)
select kind, lane, workspace, subject, priority from flow;

-- name: heads(kinds, lanes, workspaces, subjects, priorities, afters, many)
-- Since when it waits, of what could start, the first of each flow; behind a brake nothing could. `afters`: what stands before
-- is left to a later look. What a worker lost has its attempt already: whether another follows, and costs, shows when it is taken.
select f.number, w.created_at, w.currency, w.price, w.sort
from unnest(:kinds::text[], :lanes::text[], :workspaces::uuid[], :subjects::text[], :priorities::smallint[],
            :afters::timestamptz[])
     with ordinality as f(kind, lane, workspace, subject, priority, after, number)
cross join lateral (
    select w.created_at, case when w.holder is null then w.currency end as currency, w.price, w.sort from work w
    where w.kind = f.kind and w.lane = f.lane and w.workspace = f.workspace and w.subject = f.subject
      and w.priority = f.priority and w.created_at >= coalesce(f.after, '-infinity') and w.ready_at <= statement_timestamp() and w.parked is null
    order by w.created_at limit :many
) as w
where not exists (
    select from brakes b
    where (b.kind, b.name) in (('lane', f.lane), ('backend', f.subject), ('workspace', f.workspace::text))
      and (b.workspace is null or b.workspace = f.workspace) and b.released_at is null
);

-- name: claim(kinds, lanes, workspaces, subjects, priorities, afters, counts, holder, lease)
-- So many of each flow, the oldest first. A row that still names a holder was lost by it.
with due as (
    select w.work_id, w.asked_at
    from unnest(:kinds::text[], :lanes::text[], :workspaces::uuid[], :subjects::text[], :priorities::smallint[],
                :afters::timestamptz[], :counts::int[])
         as f(kind, lane, workspace, subject, priority, after, many)
    cross join lateral (
        select w.work_id, w.asked_at from work w
        where w.kind = f.kind and w.lane = f.lane and w.workspace = f.workspace and w.subject = f.subject
          and w.priority = f.priority and w.created_at >= coalesce(f.after, '-infinity')
          and w.ready_at <= statement_timestamp() and w.parked is null
        order by w.created_at limit f.many for update skip locked
    ) as w
)
update work w set holder = :holder, epoch = w.epoch + 1, losses = w.losses + (w.holder is not null)::int,
                  ready_at = clock_timestamp() + make_interval(secs => :lease)
from due where w.work_id = due.work_id and w.asked_at = due.asked_at
returning w.work_id, w.asked_at, w.kind, w.workspace, w.request_id, w.job_id, w.run, w.lane, w.subject, w.priority, w.epoch, w.failures,
          w.losses, w.deadline, w.traceparent, w.payload, w.created_at, w.currency, w.price,
          (w.deadline is not null and w.deadline < clock_timestamp()) as expired;

-- name: claim_late(kinds, many, holder, lease)
-- What waits and is out of time is only ended, which nothing holds up.
with due as (
    select w.work_id, w.asked_at from work w
    where w.deadline < statement_timestamp() and w.ready_at <= statement_timestamp() and w.parked is null
      and w.kind = any(:kinds::text[])
    order by w.deadline limit :many for update skip locked
)
update work w set holder = :holder, epoch = w.epoch + 1, losses = w.losses + (w.holder is not null)::int,
                  ready_at = clock_timestamp() + make_interval(secs => :lease)
from due where w.work_id = due.work_id and w.asked_at = due.asked_at
returning w.work_id, w.asked_at, w.kind, w.workspace, w.request_id, w.job_id, w.run, w.lane, w.subject, w.priority, w.epoch, w.failures,
          w.losses, w.deadline, w.traceparent, w.payload, w.created_at, true as expired;
