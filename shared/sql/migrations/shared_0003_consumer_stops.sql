-- Consumers that stopped because too many records were bad, until somebody resumes them.
-- depends: shared_0001_delivery

-- migrate: apply

-- One row a group: all of its members stand still, and one that starts meanwhile does too.
create table consumer_stops (
    consumer_group text primary key,
    topic text not null,
    partition integer not null,
    bad integer not null,
    looked_at integer not null,
    stopped_at timestamptz not null default clock_timestamp()
);

-- migrate: rollback

drop table consumer_stops;
