-- What was approved, where it may go, and what became of it there.
-- depends:

-- migrate: apply

-- The inbox of approvals; kept whole, because a target that becomes known later is owed what was approved since.
create table assets (
    asset_version_id uuid primary key,
    workspace uuid not null,
    approved_at timestamptz not null,
    event text not null,
    traceparent text
);
create index assets_since on assets (workspace, approved_at);

-- What each target is now. `since` is when it was first heard of: topics have no order between them, so which assets a
-- target is owed is told by times, not by which event came first.
create table targets (
    workspace uuid not null,
    name text not null,
    version integer not null,
    state text not null,
    document text not null,
    since timestamptz not null,
    changed_at timestamptz not null,
    primary key (workspace, name)
);

-- One asset version at one target. The work row of the same id carries the lease while it is pending; `run` counts a
-- person's fresh starts.
create table publications (
    publication_id uuid primary key,
    workspace uuid not null,
    request_id uuid not null,
    job_id uuid not null,
    asset_id uuid not null,
    asset_version_id uuid not null,
    target text not null,
    confidentiality text not null,
    state text not null,
    run integer not null default 1,
    code text,
    detail text,
    remedy text,
    location text,
    receipts text,
    created_at timestamptz not null default clock_timestamp(),
    settled_at timestamptz
) with (fillfactor = 70);
create index publications_newest on publications (workspace, created_at desc, publication_id desc);
create index publications_job on publications (job_id);
create index publications_request on publications (request_id);
create index publications_asset on publications (asset_id);

-- migrate: rollback

drop table publications, targets, assets;
