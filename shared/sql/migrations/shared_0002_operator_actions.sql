-- Who did what to the pipeline.
-- depends: shared_0001_delivery

-- migrate: apply

-- One row per act of a person, in the transaction of what it changes; written once (postgres.py takes the right to change
-- or delete a row from both roles). Workspace null: an act on the whole installation.
create table operator_actions (
    seq bigint generated always as identity primary key,
    workspace uuid,
    acted_at timestamptz not null default clock_timestamp(),
    principal text not null,
    action text not null,
    subject text not null,
    detail text not null
);
create index operator_actions_listed on operator_actions (workspace, seq);

-- migrate: rollback

drop table operator_actions;
