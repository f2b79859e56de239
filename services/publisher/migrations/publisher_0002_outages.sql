-- Targets that are away, and publications of which nobody knows whether they were taken.
-- depends: publisher_0001_publications shared_0002_brakes

-- migrate: apply

-- A target that did not take something when it was last asked; no row: it answers. `probe_at` is set when so many tries
-- failed in a row that it is left alone until then.
create table outages (
    workspace uuid not null,
    target text not null,
    failures integer not null,
    since timestamptz not null,
    cause text not null,
    probe_at timestamptz,
    primary key (workspace, target)
);

-- `patience`: how long a publication is tried, as the target's document says; null: for ever.
alter table targets add column patience interval;

-- `unsure`: some try may have been taken though nobody said so. `sent_run`: the start in which it was sent to a target
-- that knows no key and shows nothing: there it is sent once. `verified`: how the delivery is known.
alter table publications add column unsure boolean not null default false, add column sent_run integer,
    add column verified text;

update work set subject = p.target from publications p where p.publication_id = work.work_id and work.subject is null;

-- Claims walk from target to target and take the oldest of each. Nobody works while it migrates.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion, ban-drop-column
create index work_of_target on work (workspace, subject, ready_at) where ready_at is not null and parked is null;

-- migrate: rollback

drop index work_of_target;
alter table publications drop column unsure, drop column sent_run, drop column verified;
alter table targets drop column patience;
drop table outages;
