-- Pictures by their fingerprints, so that one that comes back as another job's is known again.
-- depends: postprocess_0001_asked

-- migrate: apply

create sequence likenesses_seq as bigint;

-- Only what a rubric asks about. `bands`: pieces of the fingerprint, hashed with the workspace; twins share one.
create table likenesses (
    asset_id uuid not null,
    workspace uuid not null,
    job_id uuid not null,
    seq bigint not null default nextval('likenesses_seq'),
    asked_at timestamptz not null,
    fingerprint text not null,
    bands bigint [] not null,
    primary key (asset_id)
) with (autovacuum_vacuum_scale_factor = 0.02);
create index likenesses_banded on likenesses using gin (bands);
select partition_by_time('likenesses', 'asked_at');
select make_partition('likenesses', 'asked_at', week, week + interval '7 days')
from generate_series(date_trunc('week', now(), 'utc'), now() + interval '7 days', interval '7 days') as week;

-- Keeps a picture, once, and gives those of other jobs that were kept before it and share a band, the nearest first. Every
-- statement of a function looks anew: of two that come at once the one that waits for the lock sees the other's row.
create function liken(
    asset uuid, asked timestamptz, owner uuid, job uuid, parent uuid, print text, pieces bigint [], many integer
) returns table (asset_id uuid, fingerprint text, seq bigint) language plpgsql as $$
declare
    mine bigint;
begin
    perform pg_advisory_xact_lock(hashtext('calotype.likenesses'), hashtext(owner::text));
    insert into likenesses (asset_id, workspace, job_id, asked_at, fingerprint, bands)
    values (asset, owner, job, asked, print, pieces)
    on conflict do nothing;
    select l.seq into mine from likenesses l where l.asset_id = asset and l.asked_at = asked;
    return query
    select l.asset_id, l.fingerprint, l.seq from likenesses l
    where l.bands && pieces and l.workspace = owner and l.seq < mine and l.job_id <> job and l.asset_id is distinct from parent
    order by bit_count(('x' || left(l.fingerprint, 64))::bit(256) # ('x' || left(print, 64))::bit(256)), l.seq
    limit many;
end $$;

-- migrate: rollback

-- Before the first release: nobody reads them.
-- squawk-ignore-file ban-drop-sequence, ban-drop-function
drop function liken;
drop table likenesses;
drop sequence likenesses_seq;
