-- Claims pass over what stands behind a brake.
-- depends: inference_0001_attempts

-- migrate: apply

-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion
drop index if exists work_ready;
drop index work_lane;
create index work_lane on work (kind, lane, priority desc, ready_at) where ready_at is not null and parked is null;

-- migrate: rollback

drop index work_lane;
create index work_lane on work (kind, lane, priority desc, ready_at) where ready_at is not null;
