-- A replay whose call may have been billed is listed and settled as an attempt is.
-- depends: inference_0013_replays_device

-- migrate: apply

-- Before the first release: nobody waits for the table.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion, ban-drop-column, adding-field-with-default
alter table replays add column is_uncertain boolean not null default false;
alter table replays add column settled_by text;
alter table replays add column settled_at timestamptz;
alter table replays add column note text;

create index replays_uncertain on replays (workspace, called_at, replay_id) where is_uncertain;

-- migrate: rollback

drop index replays_uncertain;
alter table replays drop column note;
alter table replays drop column settled_at;
alter table replays drop column settled_by;
alter table replays drop column is_uncertain;
