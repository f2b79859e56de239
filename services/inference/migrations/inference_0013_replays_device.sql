-- Of every replay: what it used of a device of ours, and since when its provider is away.
-- depends: inference_0012_paces_by_sort

-- migrate: apply

-- From now on `called_at` is written whoever is asked for the image.
alter table replays add column device_seconds double precision;
-- Since when the provider of this one took no call: it is patient for a day, as a job is.
alter table replays add column away_since timestamptz;

-- migrate: rollback

-- Before the first release: nobody reads them.
-- squawk-ignore-file ban-drop-column
alter table replays drop column away_since;
alter table replays drop column device_seconds;
