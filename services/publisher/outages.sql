-- name: claim(many, share, holder, lease)
-- Target by target, so that a backlog of one costs the others nothing: the targets that have work (a walk over the index
-- from one to the next), how each stands, then the oldest of each as far as it has room. A row that still names a holder
-- was lost by it. Of a target that is away one publication goes when it is time, and what waited longer than its document
-- allows goes to be ended.
with recursive moment as materialized (select clock_timestamp() as now),
waiting as (
    (select workspace, subject from work where ready_at is not null and parked is null and subject is not null
     order by workspace, subject limit 1)
    union all
    select following.* from waiting w cross join lateral (
        select workspace, subject from work
        where ready_at is not null and parked is null and (workspace, subject) > (w.workspace, w.subject)
        order by workspace, subject limit 1
    ) as following
),
standing as (
    select w.workspace, w.subject, o.probe_at is not null as away, o.probe_at, t.patience, busy.mine, busy.anyones,
           sum(busy.mine) filter (where o.probe_at is not null) over () as probing
    from waiting w
    left join outages o on o.workspace = w.workspace and o.target = w.subject
    left join targets t on t.workspace = w.workspace and t.name = w.subject
    cross join moment
    cross join lateral (
        select count(*) filter (where b.holder = :holder) as mine, count(*) as anyones from work b
        where b.workspace = w.workspace and b.subject = w.subject and b.ready_at > moment.now and b.parked is null
          and b.holder is not null
    ) as busy
    where not exists (
        select from brakes b
        where (b.kind, b.name) in (('target', w.subject), ('workspace', w.workspace::text), ('lane', 'standard'))
          and (b.workspace is null or b.workspace = w.workspace) and b.released_at is null
    )
),
room as (
    select s.*, case
        when not away then :share - mine
        when probe_at > moment.now or anyones > 0 then 0
        when row_number() over (partition by away, probe_at <= moment.now order by probe_at) <= :share - probing then 1
        else 0 end as free
    from standing s cross join moment
    order by mine, random()
),
due as (
    select chosen.work_id, chosen.asked_at from room r cross join moment cross join lateral (
        select work_id, asked_at from work w
        where w.workspace = r.workspace and w.subject = r.subject and w.parked is null and w.ready_at <= moment.now
        order by w.ready_at limit greatest(r.free, 0) for update skip locked
    ) as chosen
    limit :many
),
late as (
    select oldest.work_id, oldest.asked_at from room r cross join moment cross join lateral (
        select work_id, asked_at, created_at from work w
        where w.workspace = r.workspace and w.subject = r.subject and w.parked is null and w.ready_at <= moment.now
        order by w.ready_at limit :share for update skip locked
    ) as oldest
    where r.away and oldest.created_at < moment.now - r.patience
    limit :many
),
claimed as (select work_id, asked_at from due union select work_id, asked_at from late limit :many)
update work w set holder = :holder, epoch = w.epoch + 1, losses = w.losses + (w.holder is not null)::int,
                  ready_at = clock_timestamp() + make_interval(secs => :lease)
from claimed where w.work_id = claimed.work_id and w.asked_at = claimed.asked_at
returning w.work_id, w.asked_at, w.kind, w.workspace, w.request_id, w.job_id, w.run, w.lane, w.subject, w.priority, w.epoch, w.failures,
          w.losses, w.traceparent, w.payload, w.created_at;

-- name: away_now(workspaces)
select workspace, target from outages where workspace = any(:workspaces::uuid[]) and probe_at is not null;

-- name: outage(workspace, target)^
-- The row as it stands, made where there is none, and held: what follows from it is written by who read it.
insert into outages as o (workspace, target, failures, since, cause)
values (:workspace, :target, 0, clock_timestamp(), '')
on conflict (workspace, target) do update set failures = o.failures
returning failures, since, cause, probe_at, clock_timestamp() as now;

-- name: note_outage(workspace, target, failures, cause, probe_at)!
update outages set failures = :failures, cause = :cause, probe_at = :probe_at::timestamptz
where workspace = :workspace and target = :target;

-- name: end_outages(workspaces, targets)
delete from outages o using unnest(:workspaces::uuid[], :targets::text[]) as t(workspace, target)
where o.workspace = t.workspace and o.target = t.target
returning o.workspace, o.target, o.since, o.probe_at;

-- name: resume(workspace, target)!
-- What was tried meanwhile waits for its own time: it gets its old place, before what was approved later.
update work set ready_at = created_at
where workspace = :workspace and subject = :target and ready_at is not null and parked is null and holder is null
  and outcome = 'again';
