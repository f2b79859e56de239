-- Of every replay: what it used of a device of ours. From now on `called_at` is written whoever is asked for the image.
-- depends: inference_0012_paces_by_sort

-- migrate: apply

alter table replays add column device_seconds double precision;

-- migrate: rollback

-- Before the first release: nobody reads it.
-- squawk-ignore-file ban-drop-column
alter table replays drop column device_seconds;
