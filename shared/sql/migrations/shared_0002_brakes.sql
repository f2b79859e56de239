-- Brakes: a backend, a lane, a target or a workspace of which nothing new starts, and where its waiting work stands meanwhile.
-- depends: shared_0001_delivery

-- migrate: apply

-- `workspace` null: for everybody. A released brake stays until nothing is parked by it any more; `swept` says that
-- what waited when it came was parked.
create table brakes (
    brake_id bigint generated always as identity primary key,
    kind text not null check (kind in ('backend', 'lane', 'target', 'workspace')),
    name text not null,
    workspace uuid,
    mode text not null check (mode in ('pause', 'drain')),
    braked_by text not null,
    reason text,
    since timestamptz not null default clock_timestamp(),
    swept boolean not null default false,
    released_at timestamptz,
    released_by text
);
create unique index brakes_in_force on brakes (kind, name, workspace) nulls not distinct where released_at is null;

-- `subject`: the backend or the target that the work is for. `parked`: the brake it stands behind, outside the index that
-- claims walk, so that a million braked rows cost nobody's claim anything; cancels and deadlines still find it.
alter table work add column subject text, add column parked bigint;

-- Nobody works while it migrates: claims and the fronts wait for these.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion, ban-drop-column
create index work_parked on work (parked, deadline) where parked is not null;
drop index if exists work_ready;
create index work_ready on work (priority desc, ready_at) where ready_at is not null and parked is null;

-- migrate: rollback

drop index if exists work_ready;
create index work_ready on work (priority desc, ready_at) where ready_at is not null;
drop index work_parked;
alter table work drop column subject, drop column parked;
drop table brakes;
