-- What the catalog's HTTP side asks, and the small things it keeps.

-- name: tell(workspaces, kinds, bodies)$
-- The lock stands in the row source, so it is held before the first id is taken, and until the commit.
with told as (
    insert into feed (workspace, kind, body)
    select t.workspace, t.kind, t.body
    from (select pg_advisory_xact_lock(hashtext('calotype.catalog.feed'))) as held,
         unnest(:workspaces::uuid[], :kinds::text[], :bodies::text[]) as t(workspace, kind, body)
    returning id
)
select max(id) from told;

-- name: newest_news()$
select coalesce(max(id), 0) from feed;

-- name: oldest_news()$
select min(id) from feed;

-- name: news_after(after, many)
-- Only the caller's workspace: row-level security stands in for the condition.
select id, kind, body from feed where id > :after order by id limit :many;

-- name: forget_news(seconds)!
delete from feed where told_at < clock_timestamp() - make_interval(secs => :seconds);

-- name: keep_dead_letters(ids, workspaces, topics, groups, reasons, details, origins, abouts, requests, keys, bodies, headers, times)!
-- The id is derived from group and origin: the same refusal heard twice is one row.
insert into dead_letters (dead_letter_id, workspace, topic, consumer_group, reason, detail, origin, about, request_id,
                          record_key, record_value, headers, died_at)
select * from unnest(:ids::uuid[], :workspaces::uuid[], :topics::text[], :groups::text[], :reasons::text[],
                     :details::text[], :origins::text[], :abouts::uuid[], :requests::uuid[], :keys::bytea[],
                     :bodies::bytea[], :headers::text[], :times::timestamptz[])
on conflict do nothing;

-- name: dead_letters(workspace, states, topic, group, after, many)
-- A record that could not be read may name no workspace: whoever may operate the pipeline sees those too.
select dead_letter_id, workspace, seq, topic, consumer_group, reason, detail, origin, about, request_id, died_at, state,
       ended_at, ended_by, note, octet_length(record_value) as bytes
from dead_letters
where (workspace = :workspace or workspace is null) and state = any(:states::text[])
  and (:topic::text is null or topic = :topic) and (:group::text is null or consumer_group = :group)
  and seq > :after
order by seq limit :many;

-- name: dead_letter(id, workspace)^
select * from dead_letters where dead_letter_id = :id and (workspace = :workspace or workspace is null);

-- name: dead_letters_of(abouts)
-- What was refused of these jobs and requests.
select dead_letter_id, topic, consumer_group, reason, detail, about, died_at, state, ended_at, ended_by, note
from dead_letters where about = any(:abouts::uuid[]) order by seq;

-- name: begin_replay(ids, workspace, principal)
-- Marked before the record is sent: a replay that dies on the way is seen, and may be repeated.
update dead_letters set state = 'replaying', ended_by = :principal
where dead_letter_id = any(:ids::uuid[]) and (workspace = :workspace or workspace is null)
  and state in ('waiting', 'replaying')
returning dead_letter_id, consumer_group, origin, record_key, record_value, headers;

-- name: end_replay(ids, principal)!
update dead_letters set state = 'replayed', ended_at = clock_timestamp(), ended_by = :principal
where dead_letter_id = any(:ids::uuid[]) and state = 'replaying';

-- name: drop_dead_letters(ids, workspace, principal, note)
update dead_letters set state = 'dropped', ended_at = clock_timestamp(), ended_by = :principal, note = :note
where dead_letter_id = any(:ids::uuid[]) and (workspace = :workspace or workspace is null) and state = 'waiting'
returning dead_letter_id, workspace, topic, consumer_group, reason, detail, about, request_id, headers, ended_at;

-- name: open_jobs(jobs, requests, completed)
-- Of these jobs, or of all jobs of these requests: those of whose run something could still become.
select j.job_id, j.request_id, j.workspace, j.run from jobs j
where (j.job_id = any(:jobs::uuid[]) or j.request_id = any(:requests::uuid[])) and j.rank < :completed::int;
