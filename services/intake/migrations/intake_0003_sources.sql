-- Pictures that requests start from.
-- depends: intake_0002_fresh_starts intake_0002_request_traces

-- migrate: apply

-- As they were rewritten: their bytes lie in the store under `key`. The id is derived from the workspace and the hash, so
-- the same picture twice is one row. Nothing deletes them: a job may be started again whenever somebody wants it.
create table sources (
    source_id uuid primary key,
    workspace uuid not null,
    sha256 text not null,
    key text not null,
    media_type text not null,
    width integer not null,
    height integer not null,
    bytes bigint not null,
    uploaded_by text not null,
    created_at timestamptz not null default clock_timestamp()
);

-- migrate: rollback

drop table sources;
