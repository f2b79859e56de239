-- Pictures that were deleted.
-- depends: intake_0003_sources

-- migrate: apply

-- The row stays, so that the same picture has its id again when it is added again: a job that was to start from it can then
-- be run again.
alter table sources add column deleted_at timestamptz, add column deleted_by text;
-- squawk-ignore require-concurrent-index-creation
create index sources_workspace on sources (workspace, created_at desc) where deleted_at is null;

-- migrate: rollback

-- squawk-ignore-file require-concurrent-index-deletion, ban-drop-column
drop index sources_workspace;
delete from sources where deleted_at is not null;
alter table sources drop column deleted_at, drop column deleted_by;
