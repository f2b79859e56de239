-- What every execution of a job on a backend was, and cost.
-- depends:

-- migrate: apply

-- Written when the work is claimed, before the backend is called: an attempt whose worker died is not forgotten, and
-- its cost is not 0 but unknown (null).
create table attempts (
    attempt_id uuid primary key,
    workspace uuid not null,
    job_id uuid not null,
    run integer not null,
    number integer not null,
    backend text not null,
    state text not null default 'started',
    cost numeric,
    currency text not null default 'USD',
    seconds double precision,
    provider_request_id text,
    reason text,
    started_at timestamptz not null default clock_timestamp(),
    ended_at timestamptz
) with (fillfactor = 70);

-- Claims go lane by lane and kind by kind, each in its own order; the shared index knows neither.
-- The first release: the table is new, nobody waits for it.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion
create index work_lane on work (kind, lane, priority desc, ready_at) where ready_at is not null;
drop index work_ready;

-- migrate: rollback

create index work_ready on work (priority desc, ready_at) where ready_at is not null;
drop index work_lane;
drop table attempts;
