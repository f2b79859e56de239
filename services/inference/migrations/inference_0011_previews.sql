-- Thumbnails of what is being made, and what each attempt used of a device of ours.
-- depends: inference_0010_replays_cost

-- migrate: apply

-- Unlogged: they are of no use a moment later, and a few kilobytes a second and image would fill the log.
create unlogged table previews (
    job_id uuid primary key,
    workspace uuid not null,
    image bytea not null check (length(image) <= 32768),
    drawn_at timestamptz not null default clock_timestamp()
);
create index previews_drawn_at on previews (drawn_at);

alter table attempts add column device_seconds double precision;

-- migrate: rollback

-- Before the first release: nobody reads them.
-- squawk-ignore-file ban-drop-column
alter table attempts drop column device_seconds;
drop table previews;
