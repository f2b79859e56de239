-- The trace that a request is on, for what is said of it later.
-- depends: intake_0001_requests

-- migrate: apply

-- Null where it was accepted by an older release.
alter table requests add column traceparent text;

-- migrate: rollback

-- squawk-ignore ban-drop-column
alter table requests drop column traceparent;
