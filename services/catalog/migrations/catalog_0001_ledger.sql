-- The ledger, what it adds up to, and what people decide.
-- depends:

-- migrate: apply

-- Every fact once. `about` is the job; where there is none the request, else what the fact speaks of: the same event id
-- always has the same `about`, so this one index is the inbox and the way from a job to its life. An event id alone, asked
-- for by a person now and then, is found by reading that index through (14 ns a fact). Text, not jsonb: a fact is kept as
-- it was said, at less cost.
create table ledger (
    about uuid not null,
    event_id uuid not null,
    workspace uuid not null,
    type text not null,
    occurred_at timestamptz not null,
    recorded_at timestamptz not null default clock_timestamp(),
    traceparent text,
    body text not null,
    primary key (about, event_id)
);

-- What was asked, from RequestAccepted.
create table requests (
    request_id uuid primary key,
    workspace uuid not null,
    seq bigint generated always as identity,
    batch_id uuid,
    row_key text,
    campaign text,
    asset_type text not null,
    template text not null,
    product text,
    skus text [] not null,
    locale text not null,
    headline text,
    priority text not null,
    confidentiality text not null,
    variants integer not null,
    principal text not null,
    accepted_at timestamptz not null,
    completed_at timestamptz
);
create index requests_listed on requests (workspace, seq);
create index requests_of_batch on requests (batch_id, seq) where batch_id is not null;
-- What is in flight is counted from here, however many requests have long ended.
create index requests_open on requests (workspace, seq) where completed_at is null;

-- One row per job, updated by nearly every fact: narrow, with room to stay on its page, and no index on what changes.
create table jobs (
    job_id uuid primary key,
    request_id uuid not null,
    workspace uuid not null,
    since timestamptz not null,
    run integer not null,
    variant smallint,
    rank smallint not null,
    step smallint not null,
    reason text
) with (fillfactor = 70);
create index jobs_of_request on jobs (request_id);

-- The latest note of a job in flight: ephemeral, like the topic it comes from.
create table progress (
    job_id uuid primary key,
    workspace uuid not null,
    run integer not null,
    noted_at timestamptz not null,
    step smallint not null,
    waiting_on text,
    detail text,
    attempt integer not null,
    denoised integer not null,
    denoising integer not null
) with (fillfactor = 70);

-- Failed jobs stand apart: "needs someone" must not search a million that do not.
create table failures (
    job_id uuid not null,
    run integer not null,
    workspace uuid not null,
    request_id uuid not null,
    seq bigint generated always as identity,
    failed_at timestamptz not null,
    stage text not null,
    reason text not null,
    detail text not null,
    remedy text,
    primary key (job_id, run)
);
create index failures_listed on failures (workspace, seq);

-- Money is counted per attempt; unknown is null, never 0.
create table attempts (
    job_id uuid not null,
    attempt_id uuid not null,
    workspace uuid not null,
    run integer not null,
    number integer not null,
    backend text not null,
    state text not null,
    cost numeric,
    currency text not null,
    seconds double precision,
    settled boolean not null,
    primary key (job_id, attempt_id)
);

-- An asset version; its files and checks stand in the fact `event_id` of the ledger.
create table assets (
    asset_id uuid not null,
    asset_version_id uuid not null,
    workspace uuid not null,
    request_id uuid not null,
    job_id uuid not null,
    run integer not null,
    seq bigint generated always as identity,
    event_id uuid not null,
    processed_at timestamptz not null,
    primary key (asset_id, asset_version_id)
);
create index assets_listed on assets (workspace, seq);
create index assets_of_request on assets (request_id);

-- Where a file's description stands: the fact of the ledger that names it.
create table files (
    file_id uuid primary key,
    workspace uuid not null,
    job_id uuid not null,
    event_id uuid not null
);

create table publications (
    publication_id uuid primary key,
    workspace uuid not null,
    request_id uuid not null,
    job_id uuid not null,
    asset_version_id uuid not null,
    target text not null,
    rank smallint not null,
    state text not null,
    location text,
    detail text,
    changed_at timestamptz not null
);
create index publications_of_request on publications (request_id);
create index publications_in_trouble on publications (workspace, changed_at) where state in ('failed', 'uncertain');

-- A person can decide here. Whoever deletes the row, a decision or a cancel, has won: this is the lock they meet under.
create table awaiting_review (
    asset_id uuid not null,
    asset_version_id uuid not null,
    workspace uuid not null,
    request_id uuid not null,
    job_id uuid not null,
    run integer not null,
    review_version integer not null default 0,
    since timestamptz not null default clock_timestamp(),
    primary key (asset_id, asset_version_id)
);

-- `open` until the undo window has passed, then `final` (a fact) or `undone`.
create table decisions (
    decision_id uuid primary key,
    workspace uuid not null,
    asset_id uuid not null,
    asset_version_id uuid not null,
    request_id uuid not null,
    job_id uuid not null,
    run integer not null,
    review_version integer not null,
    decision text not null check (decision in ('approve', 'reject')),
    code text,
    reason text,
    rubric text [] not null,
    principal text not null,
    decided_at timestamptz not null default clock_timestamp(),
    undo_until timestamptz not null,
    state text not null default 'open' check (state in ('open', 'undone', 'final')),
    ended_at timestamptz,
    ended_by text,
    traceparent text
) with (fillfactor = 80);
create index decisions_of_asset on decisions (asset_id);
create index decisions_by_time on decisions (workspace, decided_at);

-- Records a consumer group refused, byte for byte, until somebody replays or drops them.
create table dead_letters (
    dead_letter_id uuid primary key,
    workspace uuid,
    seq bigint generated always as identity,
    topic text not null,
    consumer_group text not null,
    reason text not null,
    detail text not null,
    origin text not null,
    about uuid,
    request_id uuid,
    record_key bytea,
    record_value bytea,
    headers text not null,
    died_at timestamptz not null,
    state text not null default 'waiting' check (state in ('waiting', 'replaying', 'replayed', 'dropped')),
    ended_at timestamptz,
    ended_by text,
    note text
);
create index dead_letters_waiting on dead_letters (seq) where state in ('waiting', 'replaying');
create index dead_letters_about on dead_letters (about) where about is not null;

-- How many of each fact a minute: the lines on the Jobs page. The ledger has no index on time.
create table pace (
    workspace uuid not null,
    minute timestamptz not null,
    type text not null,
    facts integer not null,
    primary key (workspace, minute, type)
) with (fillfactor = 50);

-- What listeners of /v1/events missed. Ids are taken under a lock that is held to the commit, so they commit in order and
-- no reader's cursor skips one.
create table feed (
    id bigint generated always as identity primary key,
    workspace uuid not null,
    kind text not null,
    told_at timestamptz not null default clock_timestamp(),
    body text not null
);

-- migrate: rollback

drop table ledger, requests, jobs, progress, failures, attempts, assets, files, publications, awaiting_review, decisions,
dead_letters, pace, feed;
