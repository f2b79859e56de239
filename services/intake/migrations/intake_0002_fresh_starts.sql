-- Runs of a job that have begun and not ended.
-- depends: intake_0001_requests

-- migrate: apply

-- A job's run, once it ended or, of a fresh start, once it began: then `released` is null. A job is open as long as its
-- last run is; it was used up if any of its runs cost an attempt.
-- Nobody but intake reads this column, and it asks whether it is null.
-- squawk-ignore-file ban-drop-not-null, adding-not-nullable-field
alter table job_ends alter column released drop not null;

-- migrate: rollback

delete from job_ends where released is null;
alter table job_ends alter column released set not null;
