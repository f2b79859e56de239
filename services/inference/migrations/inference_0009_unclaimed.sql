-- Since when work waits that no live process claims.
-- depends: inference_0008_replays

-- migrate: apply

-- A row for each kind of work that waits and that nobody claims, for as long as somebody looks: where nobody looked for a
-- while, all of inference was away, and the time begins anew. `patience`: seconds after which such work goes elsewhere or ends.
create table unclaimed (
    kind text primary key,
    since timestamptz not null default clock_timestamp(),
    looked_at timestamptz not null default clock_timestamp(),
    patience double precision not null
);

-- migrate: rollback

drop table unclaimed;
