-- What was asked, what was sent in files, and what it used up.
-- depends:

-- migrate: apply

-- The inbox of every way in: the id is derived from what the sender calls the request, so a second sending finds its
-- row. A refused Kafka event has a row too (state rejected, no jobs): it was answered, and is not judged again.
create table requests (
    request_id uuid primary key,
    workspace uuid not null,
    principal text not null,
    state text not null,
    jobs integer not null,
    digest text not null,
    answer text not null,
    batch_id uuid,
    row_key text,
    accepted_at timestamptz not null,
    day date not null
);
create index requests_batch on requests (batch_id, request_id) where batch_id is not null;

-- Reserved when a request is accepted, settled by what the later stages report. `released`: ended without an attempt.
create table quotas (
    workspace uuid not null,
    day date not null,
    jobs integer not null default 0,
    ended integer not null default 0,
    released integer not null default 0,
    primary key (workspace, day)
) with (fillfactor = 50);

-- Money per attempt: the row is the inbox of its charge. Cost null: not known (yet), never nothing.
create table attempts (
    attempt_id uuid primary key,
    workspace uuid not null,
    job_id uuid not null,
    backend text not null,
    state text not null,
    cost numeric,
    currency text not null,
    settled_at timestamptz not null default clock_timestamp()
);

create table spending (
    workspace uuid not null,
    day date not null,
    currency text not null,
    cost numeric not null default 0,
    attempts integer not null default 0,
    unpriced integer not null default 0,
    primary key (workspace, day, currency)
) with (fillfactor = 50);

-- A job's run ends once, whoever reports it.
create table job_ends (
    job_id uuid not null,
    run integer not null,
    workspace uuid not null,
    request_id uuid not null,
    released boolean not null,
    primary key (job_id, run)
);
create index job_ends_request on job_ends (request_id);

-- One named collection of rows; `upload` counts the files that were sent for it. `parts` are the stored pieces of the
-- current file, each a sequence of whole rows: they are read in order, one lease and one transaction each.
create table batches (
    batch_id uuid primary key,
    workspace uuid not null,
    name text not null,
    principal text not null,
    state text not null,
    upload integer not null,
    format text not null,
    encoding text not null,
    delimiter text not null,
    header text not null,
    defaults text not null,
    parts text not null,
    next_part integer not null,
    rows integer not null,
    accepted integer not null default 0,
    unchanged integer not null default 0,
    refused integer not null default 0,
    jobs integer not null default 0,
    traceparent text,
    detail text,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
);
create index batches_workspace on batches (workspace, created_at desc);

-- A row's identity across uploads: its key. The digest tells a changed row from the same one.
create table batch_rows (
    batch_id uuid not null,
    row_key text not null,
    workspace uuid not null,
    digest text not null,
    request_id uuid not null,
    upload integer not null,
    line integer not null,
    changed boolean not null,
    primary key (batch_id, row_key)
);
create index batch_rows_line on batch_rows (batch_id, upload, line);

-- The rows of the current upload that were refused, as they were written.
create table batch_faults (
    batch_id uuid not null,
    upload integer not null,
    line integer not null,
    workspace uuid not null,
    row_key text,
    cells text not null,
    problems text not null,
    primary key (batch_id, upload, line)
);

-- Which version of a workspace's library is current: what was read of it is good until this number moves.
create table library_revisions (
    workspace uuid primary key,
    revision bigint not null
);

-- One-time sign-in links; only the hash of a link's token is kept.
create table links (
    sha256 text primary key,
    workspace uuid not null,
    key_id text not null,
    expires_at timestamptz not null,
    used_at timestamptz
);

-- migrate: rollback

drop table requests, quotas, attempts, spending, job_ends, batches, batch_rows, batch_faults, library_revisions, links;
