-- What a rebuild reads. The tables it folds into are temporary ones of the same names, which come first in every session.

-- name: lives(workspace, after, many)
-- Whose facts there are, a page at a time, by one fact of each.
select about, (body::json ->> 'request_id')::uuid as request_id from (
    select distinct on (about) about, body from ledger
    where (:after::uuid is null or about > :after) and (:workspace::uuid is null or workspace = :workspace)
    order by about limit :many
) as first order by about;

-- name: accepted(requests)
-- The requests of which the ledger knows what was asked, and so how many jobs they have.
select about as request_id, (body::json ->> 'variants')::int as variants from ledger
where about = any(:requests::uuid[]) and type = 'RequestAccepted';

-- name: facts(abouts)
select type, occurred_at, traceparent, body from ledger where about = any(:abouts::uuid[]) order by about, recorded_at;

-- name: hold_jobs(jobs)
-- In the order in which every writer locks them: who has a fact of these jobs waits until they are mended.
select job_id from catalog.jobs where job_id = any(:jobs::uuid[]) order by job_id for update;

-- name: complete(ended)!
-- In the temporary tables: a request is complete when as many of its jobs have ended as were asked for.
update pg_temp.requests r set completed_at = (select max(j.since) from pg_temp.jobs j where j.request_id = r.request_id)
where r.variants = (select count(*) from pg_temp.jobs j where j.request_id = r.request_id and j.rank >= :ended::int);

-- name: without_facts(workspace, after, many)
-- Jobs in the projection of which the ledger knows nothing: older than what it keeps, or put there by no fact.
select j.job_id from catalog.jobs j
where j.job_id > :after and (:workspace::uuid is null or j.workspace = :workspace)
  and not exists (select from ledger l where l.about = j.job_id)
  and not exists (select from ledger l where l.about = j.request_id)
order by j.job_id limit :many;
