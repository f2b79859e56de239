-- name: now()$
-- The database's clock; host clocks only measure durations.
select clock_timestamp();

-- name: look(workspace, ids)
-- Always one row at least: the database's clock, which decides deadlines, the workspace, and what is known of these ids.
select clock_timestamp() as now, w.state as workspace_state, w.limits, r.request_id, r.state, r.digest, r.answer
from (select 1) one left join workspaces w on w.workspace = :workspace
left join requests r on r.request_id = any(:ids::uuid[]);

-- name: lock_quota(workspace)^
-- Only for workspaces with limits of jobs: until the commit nobody else reserves there, so what is counted here still holds then.
with locked as (
    insert into quotas as q (workspace, day) values (:workspace, (clock_timestamp() at time zone 'utc')::date)
    on conflict (workspace, day) do update set jobs = q.jobs
    returning jobs - released as today
)
select today, (select coalesce(sum(jobs - ended), 0)::bigint from quotas where workspace = :workspace) as open from locked;

-- name: take(workspace, now, ids, principals, states, jobs, digests, answers, batches, row_keys, traceparents)
-- The inbox and the reservation in one statement: only rows that come back are new, and only they are counted.
with new as (
    insert into requests (request_id, workspace, principal, state, jobs, digest, answer, batch_id, row_key, accepted_at, day,
                          traceparent)
    select id, :workspace::uuid, principal, state, jobs, digest, answer, batch, row_key, :now::timestamptz,
           (:now::timestamptz at time zone 'utc')::date, traceparent
    from unnest(:ids::uuid[], :principals::text[], :states::text[], :jobs::int[], :digests::text[], :answers::text[],
                :batches::uuid[], :row_keys::text[], :traceparents::text[])
         as t(id, principal, state, jobs, digest, answer, batch, row_key, traceparent)
    on conflict (request_id) do nothing
    returning request_id, jobs, day
), reserved as (
    insert into quotas as q (workspace, day, jobs)
    select :workspace::uuid, day, sum(jobs) from new group by day having sum(jobs) > 0
    on conflict (workspace, day) do update set jobs = q.jobs + excluded.jobs
)
select request_id from new;

-- name: take_told(ids, workspaces, principals, states, jobs, answers, batches, row_keys, traceparents, times)!
-- After a restore: requests that were told and are not known any more, reserved as they were. What exactly was asked is not
-- told, so no digest.
with new as (
    insert into requests (request_id, workspace, principal, state, jobs, digest, answer, batch_id, row_key, accepted_at, day,
                          traceparent)
    select distinct on (id) id, workspace, principal, state, jobs, '', answer, batch, row_key, time,
           (time at time zone 'utc')::date, traceparent
    from unnest(:ids::uuid[], :workspaces::uuid[], :principals::text[], :states::text[], :jobs::int[], :answers::text[],
                :batches::uuid[], :row_keys::text[], :traceparents::text[], :times::timestamptz[])
         as t(id, workspace, principal, state, jobs, answer, batch, row_key, traceparent, time)
    on conflict (request_id) do nothing
    returning workspace, jobs, day
)
insert into quotas as q (workspace, day, jobs)
select workspace, day, sum(jobs) from new group by workspace, day having sum(jobs) > 0 order by workspace, day
on conflict (workspace, day) do update set jobs = q.jobs + excluded.jobs;

-- name: reach_revisions(workspaces, revisions)!
-- After a restore: what is published next is later than what was told already.
insert into library_revisions as r (workspace, revision)
select workspace, max(revision) from unnest(:workspaces::uuid[], :revisions::bigint[]) as t(workspace, revision) group by workspace
on conflict (workspace) do update set revision = greatest(r.revision, excluded.revision);

-- name: settle_attempts(ids, workspaces, jobs, backends, states, costs, currencies)!
-- An attempt is charged once; one whose cost becomes known later is charged then.
with before as (
    select attempt_id from attempts where attempt_id = any(:ids::uuid[])
), charged as (
    insert into attempts as a (attempt_id, workspace, job_id, backend, state, cost, currency)
    select distinct on (id) * from unnest(:ids::uuid[], :workspaces::uuid[], :jobs::uuid[], :backends::text[], :states::text[],
        :costs::numeric[], :currencies::text[]) as t(id, workspace, job, backend, state, cost, currency)
    order by id, cost nulls last
    on conflict (attempt_id) do update set cost = excluded.cost, currency = excluded.currency, state = excluded.state
    where a.cost is null and excluded.cost is not null
    returning a.attempt_id, a.workspace, (a.settled_at at time zone 'utc')::date as day, a.currency, a.cost
)
insert into spending as s (workspace, day, currency, cost, attempts, unpriced)
select workspace, day, currency, coalesce(sum(cost), 0), count(*) filter (where before.attempt_id is null),
       count(*) filter (where cost is null) - count(*) filter (where before.attempt_id is not null)
from charged left join before using (attempt_id)
group by workspace, day, currency order by workspace, day, currency
on conflict (workspace, day, currency) do update set
    cost = s.cost + excluded.cost, attempts = s.attempts + excluded.attempts, unpriced = s.unpriced + excluded.unpriced;

-- name: hold_ends()$
-- What a job's runs add up to is counted before and after: nobody else may change it in between.
select pg_advisory_xact_lock(hashtext('calotype.intake.job-ends'));

-- name: end_jobs(jobs, runs, workspaces, requests, released)!
-- A run begins and ends once; `released` null: it begins. Topics have no order between them, so a job's standing is made of
-- all its runs at once, before and after: open while its last run is, given back if none of its runs cost an attempt. The
-- day is the one the job was reserved on.
with told as (
    select job, run, (array_agg(workspace))[1] as workspace, (array_agg(request))[1] as request,
           bool_and(released) as released
    from unnest(:jobs::uuid[], :runs::int[], :workspaces::uuid[], :requests::uuid[], :released::bool[])
         as t(job, run, workspace, request, released)
    group by job, run
), known as (
    select e.job_id as job, e.run, e.request_id as request, e.released from job_ends e
    where e.job_id in (select job from told)
), after as (
    select job, run, coalesce(t.request, k.request) as request,
           case when t.released is null then k.released when k.released is null then t.released
                else t.released and k.released end as released
    from told t full join known k using (job, run)
), written as (
    insert into job_ends as e (job_id, run, workspace, request_id, released)
    select job, run, workspace, request, released from told
    on conflict (job_id, run) do update
    set released = case when e.released is null then excluded.released else e.released and excluded.released end
    where excluded.released is not null and e.released is distinct from (excluded.released and coalesce(e.released, true))
), counted as (
    select job, request, 1 as sign, released, row_number() over (partition by job order by run desc) as place from after
    union all
    select job, request, -1, released, row_number() over (partition by job order by run desc) from known
), standing as (
    select job, (array_agg(request))[1] as request, sign,
           coalesce(bool_or(released is not null) filter (where place = 1), false) as ended,
           bool_and(released) as released
    from counted group by job, sign
), per_day as (
    select r.workspace, r.day, sum(s.sign * s.ended::int) as ended, sum(s.sign * (s.ended and s.released)::int) as released
    from standing s join requests r on r.request_id = s.request group by r.workspace, r.day
)
update quotas q set ended = q.ended + p.ended, released = q.released + p.released
from per_day p
where q.workspace = p.workspace and q.day = p.day and (p.ended <> 0 or p.released <> 0);

-- name: open_jobs(workspace)$
-- Accepted and not yet ended, of all days.
select coalesce(sum(jobs - ended), 0)::bigint from quotas where workspace = :workspace;

-- name: request(request_id)^
select r.request_id, r.state, r.jobs, r.answer, r.batch_id, r.row_key, r.accepted_at,
       (select count(*) from job_ends e where e.request_id = r.request_id and e.released is not null and not exists (
            select 1 from job_ends l where l.job_id = e.job_id and l.run > e.run)) as ended,
       exists (select 1 from tombstones t where t.request_id = r.request_id) as cancel_requested
from requests r where r.request_id = :request_id;

-- name: cancel(requests, jobs, workspace, by, reason)
-- The row is what makes it said once: only what comes back becomes an event, on the trace of its request. Nil job: all.
with asked as (
    insert into tombstones (request_id, job_id, workspace, cancelled_by, reason)
    select request, job, :workspace::uuid, :by, :reason from unnest(:requests::uuid[], :jobs::uuid[]) as t(request, job)
    on conflict do nothing
    returning request_id, job_id, created_at
)
select a.request_id, a.job_id, a.created_at, r.traceparent from asked a left join requests r using (request_id);

-- name: requests_to_cancel(batch_id, many)
-- Requests of the batch that still have a job to end and were not told yet.
select r.request_id from requests r
where r.batch_id = :batch_id and r.state = 'accepted'
  and not exists (select 1 from tombstones t where t.request_id = r.request_id
                  and t.job_id = '00000000-0000-0000-0000-000000000000')
  and r.jobs > (select count(*) from job_ends e where e.request_id = r.request_id and e.released is not null
                and not exists (select 1 from job_ends l where l.job_id = e.job_id and l.run > e.run))
order by r.request_id limit :many;

-- name: batch(batch_id)^
select * from batches where batch_id = :batch_id;

-- name: lock_batch(batch_id)^
select state, upload from batches where batch_id = :batch_id for update;

-- name: batches_of(workspace, many)
select batch_id, name, state, upload, rows, accepted, unchanged, refused, jobs, created_at, updated_at
from batches where workspace = :workspace order by created_at desc limit :many;

-- name: send_batch(batch_id, workspace, name, principal, format, encoding, delimiter, header, defaults, parts, rows, traceparent)^
-- A new file for a batch of this name; none comes back while the one before is still being read.
insert into batches as b (batch_id, workspace, name, principal, state, upload, format, encoding, delimiter, header, defaults,
                          parts, next_part, rows, traceparent)
values (:batch_id, :workspace, :name, :principal, 'expanding', 1, :format, :encoding, :delimiter, :header, :defaults, :parts, 0,
        :rows, :traceparent)
on conflict (batch_id) do update set
    principal = excluded.principal, state = 'expanding', upload = b.upload + 1, format = excluded.format,
    encoding = excluded.encoding, delimiter = excluded.delimiter, header = excluded.header, defaults = excluded.defaults,
    parts = excluded.parts, next_part = 0, rows = excluded.rows, accepted = 0, unchanged = 0, refused = 0, jobs = 0,
    traceparent = excluded.traceparent, detail = null, updated_at = clock_timestamp()
where b.state not in ('expanding', 'cancelling')
returning batch_id, upload;

-- name: forget_faults(batch_id, upload)!
delete from batch_faults where batch_id = :batch_id and upload < :upload;

-- name: advance_batch(batch_id, next_part, accepted, unchanged, refused, jobs, state)!
update batches set next_part = :next_part, accepted = accepted + :accepted, unchanged = unchanged + :unchanged,
    refused = refused + :refused, jobs = jobs + :jobs, state = :state, updated_at = clock_timestamp()
where batch_id = :batch_id;

-- name: end_batch(batch_id, state, detail)!
update batches set state = :state, detail = :detail, updated_at = clock_timestamp() where batch_id = :batch_id;

-- name: rows_known(batch_id, keys)
select row_key, digest, request_id, upload, line from batch_rows
where batch_id = :batch_id and row_key = any(:keys::text[]);

-- name: keep_rows(batch_id, workspace, upload, keys, digests, requests, lines, changed)!
insert into batch_rows (batch_id, row_key, workspace, digest, request_id, upload, line, changed)
select :batch_id::uuid, key, :workspace::uuid, digest, request, :upload::int, line, changed
from unnest(:keys::text[], :digests::text[], :requests::uuid[], :lines::int[], :changed::bool[])
     as t(key, digest, request, line, changed)
on conflict (batch_id, row_key) do update set
    digest = excluded.digest, request_id = excluded.request_id, upload = excluded.upload, line = excluded.line,
    changed = excluded.changed;

-- name: keep_faults(batch_id, workspace, upload, lines, keys, cells, problems)!
insert into batch_faults (batch_id, upload, line, workspace, row_key, cells, problems)
select :batch_id::uuid, :upload::int, line, :workspace::uuid, key, cells, problems
from unnest(:lines::int[], :keys::text[], :cells::text[], :problems::text[]) as t(line, key, cells, problems)
on conflict do nothing;

-- name: rows_after(batch_id, upload, line, many)
-- Accepted and refused rows of the current file, in the order of their lines.
select line, b.row_key, case when changed then 'accepted' else 'unchanged' end as state, request_id, r.jobs, null as problems
from batch_rows b join requests r using (request_id)
where b.batch_id = :batch_id and upload = :upload and line > :line
union all
select line, row_key, 'refused', null, 0, problems
from batch_faults where batch_id = :batch_id and upload = :upload and line > :line
order by line limit :many;

-- name: faults_after(batch_id, upload, line, many)
select line, cells, problems from batch_faults
where batch_id = :batch_id and upload = :upload and line > :line order by line limit :many;

-- name: add_source(source_id, workspace, sha256, key, media_type, width, height, bytes, by)$
-- Whether it is there again after it was deleted; nothing where it was there all along.
insert into sources as s (source_id, workspace, sha256, key, media_type, width, height, bytes, uploaded_by)
values (:source_id, :workspace, :sha256, :key, :media_type, :width, :height, :bytes, :by)
on conflict (source_id) do update set deleted_at = null, deleted_by = null, uploaded_by = excluded.uploaded_by,
    created_at = clock_timestamp()
where s.deleted_at is not null returning xmax <> 0;

-- name: sources(workspace, ids)
select source_id, sha256, key, media_type, width, height from sources
where workspace = :workspace and source_id = any(:ids::uuid[]) and deleted_at is null;

-- name: source_bytes(workspace, but)$
-- What the workspace's pictures take, this one left out.
select coalesce(sum(bytes), 0)::bigint from sources
where workspace = :workspace and deleted_at is null and source_id is distinct from :but;

-- name: list_sources(after, many)
-- Newest first, and of one caller, as row-level security shows them.
select source_id, sha256, media_type, width, height, bytes, uploaded_by, created_at from sources
where deleted_at is null and (:after::uuid is null
       or (created_at, source_id) < (select b.created_at, b.source_id from sources b where b.source_id = :after))
order by created_at desc, source_id desc limit :many;

-- name: delete_source(source_id, by)$
-- Nobody finds it from now on.
update sources set deleted_at = clock_timestamp(), deleted_by = :by where source_id = :source_id and deleted_at is null
returning true;

-- name: lock_deleted_source(source_id)$
-- Whoever adds it again waits until its bytes are gone, and then stores them again.
select key from sources where source_id = :source_id and deleted_at is not null for update;

-- name: shelf(workspace)
select document from library_items where workspace = :workspace and state = 'published' and document is not null;

-- name: revision(workspace)$
select revision from library_revisions where workspace = :workspace;

-- name: lock_library(workspace)$
-- Two who publish at once are checked one after the other, each against what the other made.
insert into library_revisions as r (workspace, revision) values (:workspace, 1)
on conflict (workspace) do update set revision = r.revision + 1 returning revision;

-- name: items(workspace, kind)
select kind, name, version, digest, state, owner from library_items
where workspace = :workspace and (:kind::text is null or kind = :kind) order by kind, name, version;

-- name: item(workspace, kind, name, version)^
select kind, name, version, digest, state, owner, document from library_items
where workspace = :workspace and kind = :kind and name = :name and (:version::int is null or version = :version)
order by version desc limit 1;

-- name: versions(workspace, kind, name)
-- Newest first: the first is what is in force.
select version, document from library_items
where workspace = :workspace and kind = :kind and name = :name and state = 'published' and document is not null
order by version desc;

-- name: workspace(workspace)^
select workspace, name, state, limits, undo_seconds, revision from workspaces where workspace = :workspace;

-- name: lock_workspace(workspace)^
-- Its newest state travels whole, so whoever changes a part of it goes alone.
select workspace, name, state, limits, undo_seconds, revision from workspaces where workspace = :workspace for update;

-- name: workspace_named(name)$
select workspace from workspaces where name = :name;

-- name: workspaces()
select workspace, name, state, limits, undo_seconds from workspaces order by name;

-- name: guard_names()^
-- Names are unique among all workspaces, which no row of one workspace can guard.
select pg_advisory_xact_lock(hashtext('calotype.intake.workspace-names'));

-- name: keys_of(workspace)
select key_id, workspace, sha256, principal, roles, active from api_keys where workspace = :workspace order by key_id;

-- name: add_link(sha256, workspace, key_id, seconds)!
insert into links (sha256, workspace, key_id, expires_at)
values (:sha256, :workspace, :key_id, clock_timestamp() + make_interval(secs => :seconds));

-- name: use_link(sha256)^
-- Whoever comes first; the second finds nothing, and neither does anybody after the time.
update links set used_at = clock_timestamp()
where sha256 = :sha256 and used_at is null and expires_at > clock_timestamp()
returning workspace, key_id;

-- name: usage(workspace, days)
select day, jobs, ended, released from quotas
where workspace = :workspace and day > (clock_timestamp() at time zone 'utc')::date - :days::int order by day desc;

-- name: usage_spent(workspace, days)
select day, currency, cost, attempts, unpriced from spending
where workspace = :workspace and day > (clock_timestamp() at time zone 'utc')::date - :days::int order by day desc, currency;
