-- Attempts of which nobody knows what they cost are listed, and settled once by whoever finds out.
-- depends: inference_0001_attempts

-- migrate: apply

-- `settled_by` is a person, or the worker that heard the answer after its lease was taken over.
alter table attempts add column request_id uuid;
alter table attempts add column settled_by text;
alter table attempts add column settled_at timestamptz;
alter table attempts add column note text;

-- Before the first release: nobody waits for the table.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion, ban-drop-column
create index attempts_uncertain on attempts (workspace, started_at, attempt_id) where state = 'uncertain';

-- migrate: rollback

drop index attempts_uncertain;
alter table attempts drop column note;
alter table attempts drop column settled_at;
alter table attempts drop column settled_by;
alter table attempts drop column request_id;
