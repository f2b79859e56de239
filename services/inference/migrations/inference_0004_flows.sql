-- Work waits in flows, each of one lane, workspace, backend and priority, and within a flow by its age.
-- depends: inference_0003_asked

-- migrate: apply

-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion, constraint-missing-not-valid, ban-drop-constraint
drop index work_lane;
create index work_flow on work (kind, lane, workspace, subject, priority, created_at)
    where ready_at is not null and parked is null;
create index work_deadline on work (deadline) where ready_at is not null and parked is null;
-- A walk from one flow to the next would never come to a row without a subject.
alter table work add constraint work_waits_for_a_backend check (ready_at is null or subject is not null);

-- migrate: rollback

alter table work drop constraint work_waits_for_a_backend;
drop index work_deadline;
drop index work_flow;
create index work_lane on work (kind, lane, priority desc, ready_at) where ready_at is not null and parked is null;
