-- name: brake(kind, name, workspace, mode, by, reason)$
-- One in force for each; to brake what is braked already says why and how anew.
insert into brakes as b (kind, name, workspace, mode, braked_by, reason)
values (:kind, :name, :workspace, :mode, :by, :reason)
on conflict (kind, name, workspace) where released_at is null
do update set mode = excluded.mode, braked_by = excluded.braked_by, reason = excluded.reason
returning brake_id;

-- name: release_brake(kind, name, workspace, by)$
-- Nothing more is parked by it; what it had parked is let go, a part at once and the rest by and by.
update brakes set released_at = clock_timestamp(), released_by = :by
where kind = :kind and name = :name and workspace is not distinct from :workspace::uuid and released_at is null
returning brake_id;

-- name: brakes_in_force()
select kind, name, workspace, mode, braked_by, reason, since from brakes where released_at is null order by since, brake_id;

-- name: brakes_at_work()
-- Those by which something is to be parked, let go or ended.
select brake_id, released_at is not null as released, swept, since < clock_timestamp() - interval '10 seconds' as old
from brakes order by brake_id;

-- name: park(brake_id, many)$
-- A part of what waits behind it, and nobody's claim waits for this.
with braked as (
    select w.work_id, w.asked_at from brakes b
    join work w on w.ready_at is not null and w.parked is null and w.holder is null
     and (b.kind, b.name) in (('lane', w.lane), ('backend', w.subject), ('target', w.subject), ('workspace', w.workspace::text))
     and (b.workspace is null or b.workspace = w.workspace) and (w.deadline is null or w.deadline > clock_timestamp())
    where b.brake_id = :brake_id and b.released_at is null
    limit :many for update of w skip locked
), moved as (
    update work w set parked = :brake_id from braked
    where w.work_id = braked.work_id and w.asked_at = braked.asked_at returning w.work_id
)
select count(*) from moved;

-- name: let_go(brake_id, many)$
-- Each keeps its place in the queue; one that another brake holds up as well stays behind that.
with freed as (
    select work_id, asked_at from work where parked = :brake_id limit :many for update skip locked
), moved as (
    update work w set parked = (
        select min(b.brake_id) from brakes b
        where (b.kind, b.name) in (('lane', w.lane), ('backend', w.subject), ('target', w.subject), ('workspace', w.workspace::text))
          and (b.workspace is null or b.workspace = w.workspace) and b.released_at is null
    )
    from freed where w.work_id = freed.work_id and w.asked_at = freed.asked_at returning w.work_id
)
select count(*) from moved;

-- name: let_expire(brake_id, many)$
-- A deadline passes behind a brake as well: the next claim ends it.
with late as (
    select work_id, asked_at from work where parked = :brake_id and deadline < statement_timestamp()
    limit :many for update skip locked
), moved as (
    update work w set parked = null from late
    where w.work_id = late.work_id and w.asked_at = late.asked_at returning w.work_id
)
select count(*) from moved;

-- name: mark_swept(brake_id)!
update brakes set swept = true where brake_id = :brake_id;

-- name: forget_brake(brake_id)!
delete from brakes where brake_id = :brake_id and released_at is not null
  and not exists (select from work where parked = :brake_id);
