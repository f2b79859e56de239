-- What every stage with a database needs to deliver: outbox, leased work, and what is current about workspaces.
-- depends:

-- migrate: apply

-- Append-only; a row lives until Kafka has acknowledged it. No index but the key: it is deleted by id.
create table outbox (
    id bigint generated always as identity primary key,
    topic text not null,
    key bytea not null,
    headers text not null,
    body text not null,
    created_at timestamptz not null default clock_timestamp(),
    refused text
);

-- One row per piece of slow work; the key is the inbox. `ready_at` null: finished. In the future: waits, or is leased
-- until then. So one partial index serves claim and recovery.
create table work (
    work_id uuid primary key,
    kind text not null,
    workspace uuid not null,
    request_id uuid,
    job_id uuid,
    run integer not null default 1,
    lane text not null default 'standard',
    priority smallint not null default 0,
    ready_at timestamptz,
    holder text,
    epoch integer not null default 0,
    failures smallint not null default 0,
    losses smallint not null default 0,
    deadline timestamptz,
    outcome text,
    detail text,
    created_at timestamptz not null default clock_timestamp(),
    finished_at timestamptz,
    traceparent text,
    payload text not null
) with (fillfactor = 70);
create index work_ready on work (priority desc, ready_at) where ready_at is not null;
create index work_request on work (request_id) where ready_at is not null;

-- A cancel outlives the message that brought it: tested at enqueue, claim and settle. job_id nil: the whole request.
create table tombstones (
    request_id uuid not null,
    job_id uuid not null default '00000000-0000-0000-0000-000000000000',
    workspace uuid not null,
    cancelled_by text not null,
    reason text,
    created_at timestamptz not null default clock_timestamp(),
    primary key (request_id, job_id)
);

create table workspaces (
    workspace uuid primary key,
    name text not null,
    state text not null,
    limits text not null,
    undo_seconds double precision not null,
    revision bigint not null
);

create table api_keys (
    key_id text primary key,
    workspace uuid not null,
    sha256 text not null,
    principal text not null,
    roles text[] not null,
    active boolean not null
);

create table library_items (
    workspace uuid not null,
    kind text not null,
    name text not null,
    version integer not null,
    digest text not null,
    state text not null,
    owner text,
    document text,
    primary key (workspace, kind, name, version)
);

-- migrate: rollback

drop table outbox, work, tombstones, workspaces, api_keys, library_items;
