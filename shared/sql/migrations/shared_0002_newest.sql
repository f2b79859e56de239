-- What a compacted topic has to end with, per key.
-- depends: shared_0001_delivery

-- migrate: apply

-- The outbox keeps no order, and a record that was sent too late would be all that compaction leaves. Written in the
-- transaction of the fact; whoever sends a record of its key looks here afterwards.
create table newest (
    topic text not null,
    key bytea not null,
    workspace uuid not null,
    version integer not null,
    revision bigint not null,
    headers text not null,
    body text not null,
    primary key (topic, key)
);

-- Of one document version the highest revision counts, in whatever order they are heard.
alter table library_items add column revision bigint not null default 0;

-- migrate: rollback

-- squawk-ignore ban-drop-column
alter table library_items drop column revision;
drop table newest;
