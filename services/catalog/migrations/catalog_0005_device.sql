-- Of every attempt what it used of a device of ours; of what is being made, at which step it was last drawn.
-- depends: catalog_0004_parents

-- migrate: apply

alter table attempts add column device_seconds double precision;
alter table progress add column preview integer not null default 0;

-- migrate: rollback

-- Before the first release: nobody reads them.
-- squawk-ignore-file ban-drop-column
alter table progress drop column preview;
alter table attempts drop column device_seconds;
