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
-- All but the newest: an empty feed could not say what it has forgotten.
delete from feed where told_at < clock_timestamp() - make_interval(secs => :seconds) and id < (select max(id) from feed);

-- name: forget_pace()!
delete from pace where minute < clock_timestamp() - interval '1 day';

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

-- name: open_dead_letters()
select consumer_group, topic, count(*) as letters from dead_letters
where state in ('waiting', 'replaying') group by consumer_group, topic;

-- name: publications_in_trouble()
select target, state, count(*) as publications from publications
where state in ('failed', 'uncertain') group by target, state;

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
where dead_letter_id = any(:ids::uuid[]) and (workspace = :workspace or workspace is null)
  and state in ('waiting', 'replaying')  -- also one that no broker takes any more
returning dead_letter_id, workspace, topic, consumer_group, reason, detail, about, request_id, headers, ended_at;

-- name: open_jobs(jobs, requests, completed)
-- Of these jobs, or of all jobs of these requests: those of whose run something could still become.
select j.job_id, j.request_id, j.workspace, j.run from jobs j
where (j.job_id = any(:jobs::uuid[]) or j.request_id = any(:requests::uuid[])) and j.rank < :completed::int;

-- name: jobs(batch, request, campaign, sku, ranks, steps, waiting, seq, variant, many)
-- A page in the order of arrival, newest request first; the cursor is the last row's (seq, variant).
select j.job_id, j.request_id, j.variant, j.run, j.rank, j.step, j.since, j.reason,
       r.seq, r.batch_id, r.row_key, r.campaign, r.asset_type, r.template, r.product, r.skus, r.locale, r.headline,
       r.priority, r.confidentiality, r.variants, r.principal, r.accepted_at, r.parent_asset_id,
       p.waiting_on, p.detail, p.attempt, p.denoised, p.denoising, p.preview, p.noted_at
from requests r
join jobs j on j.request_id = r.request_id
left join progress p on p.job_id = j.job_id and p.run = j.run and p.step >= j.step and j.rank < 2
where (:batch::uuid is null or r.batch_id = :batch)
  and (:request::uuid is null or r.request_id = :request)
  and (:campaign::text is null or r.campaign = :campaign)
  and (:sku::text is null or r.skus @> array[:sku::text])
  and (:ranks::int[] is null or j.rank = any(:ranks))
  and (:steps::int[] is null or j.step = any(:steps))
  and (:waiting::text is null or p.waiting_on = :waiting or (:waiting = 'review' and j.rank = 2))
  and (:seq::bigint is null or r.seq < :seq or (r.seq = :seq and coalesce(j.variant, 0) > :variant::int))
order by r.seq desc, coalesce(j.variant, 0)
limit :many;

-- name: jobs_by_id(ids)
-- Known from its first fact on: its request may be heard of later.
select j.job_id, j.request_id, j.variant, j.run, j.rank, j.step, j.since, j.reason,
       r.seq, r.batch_id, r.row_key, r.campaign, r.asset_type, r.template, r.product, r.skus, r.locale, r.headline,
       r.priority, r.confidentiality, r.variants, r.principal, r.accepted_at, r.parent_asset_id,
       p.waiting_on, p.detail, p.attempt, p.denoised, p.denoising, p.preview, p.noted_at
from jobs j
left join requests r on r.request_id = j.request_id
left join progress p on p.job_id = j.job_id and p.run = j.run and p.step >= j.step and j.rank < 2
where j.job_id = any(:ids::uuid[])
order by r.seq, j.variant;

-- name: counts(grouping, batch, request, campaign, sku)
select case :grouping::text
           when 'status' then j.rank::text
           when 'stage' then j.step::text
           when 'batch' then r.batch_id::text
           when 'campaign' then r.campaign
           when 'waiting_on' then case when j.rank = 2 then 'review' else p.waiting_on end
       end as key, j.rank, count(*) as jobs
from requests r
join jobs j on j.request_id = r.request_id
left join progress p on p.job_id = j.job_id and p.run = j.run and p.step >= j.step and j.rank < 2
where (:batch::uuid is null or r.batch_id = :batch)
  and (:request::uuid is null or r.request_id = :request)
  and (:campaign::text is null or r.campaign = :campaign)
  and (:sku::text is null or r.skus @> array[:sku::text])
group by 1, 2 order by 1, 2;

-- name: attempts(jobs)
select job_id, attempt_id, run, number, backend, state, cost, currency, seconds, provider_request_id, latency_seconds,
       price_list, device_seconds
from attempts
where job_id = any(:jobs::uuid[]) order by job_id, run, number;

-- name: failed_runs(jobs)
-- What is told of runs that failed, more than anybody lists: to be read of a few.
select about as job_id, type, body from ledger where about = any(:jobs::uuid[]) and type = 'JobFailed' order by occurred_at;

-- name: failures_of(jobs)
select distinct on (job_id) job_id, run, failed_at, stage, reason, detail, remedy from failures
where job_id = any(:jobs::uuid[]) order by job_id, run desc;

-- name: publications_of(requests)
select publication_id, request_id, job_id, asset_version_id, target, state, location, detail, changed_at
from publications where request_id = any(:requests::uuid[]) order by changed_at;

-- name: assets(batch, request, campaign, sku, ranks, seq, many)
-- A page of versions, newest first. An approved one that is not the one approved last is superseded by that.
select s.*, r.batch_id, r.row_key, r.campaign, r.asset_type, r.template, r.product, r.skus, r.locale,
       r.confidentiality, r.parent_asset_id,
       case when s.rank = 6 then nullif((
           select d.asset_version_id from decisions d
           where d.asset_id = s.asset_id and d.decision = 'approve' and d.state = 'final' order by d.ended_at desc limit 1
       ), s.asset_version_id) end as superseded_by
from standing s
join requests r on r.request_id = s.request_id
where (:batch::uuid is null or r.batch_id = :batch)
  and (:request::uuid is null or r.request_id = :request)
  and (:campaign::text is null or r.campaign = :campaign)
  and (:sku::text is null or r.skus @> array[:sku::text])
  and (:ranks::int[] is null or s.rank = any(:ranks))
  and (:seq::bigint is null or s.seq < :seq)
order by s.seq desc
limit :many;

-- name: asset(id)^
-- The version of an asset that was approved last, which nothing supersedes, else its newest.
select s.*, r.batch_id, r.row_key, r.campaign, r.asset_type, r.template, r.product, r.skus, r.locale,
       r.confidentiality, r.parent_asset_id, null::uuid as superseded_by
from standing s
left join requests r on r.request_id = s.request_id
where s.asset_id = :id
order by coalesce(s.decision = 'approve' and s.decision_state = 'final', false) desc,
         case when s.decision = 'approve' and s.decision_state = 'final' then s.ended_at end desc, s.seq desc limit 1;

-- name: versions(asset)
-- Every version of an asset, oldest first, and where each stands.
select * from standing where asset_id = :asset order by seq;

-- name: accepted(request)$
select body from ledger where about = :request and type = 'RequestAccepted' limit 1;

-- name: children(asset)
-- Jobs that were asked to be more like this asset, oldest first.
select j.job_id, j.request_id, j.run, j.rank from requests r join jobs j on j.request_id = r.request_id
where r.parent_asset_id = :asset order by r.seq, j.variant limit 100;

-- name: decisions_of(asset)
select decision_id, asset_version_id, review_version, decision, code, reason, rubric, principal, decided_at, undo_until,
       state, ended_at, ended_by
from decisions where asset_id = :asset order by decided_at;

-- name: decisions_that_hold(assets)
-- The decision of each asset that holds: an approval, even where a later version was rejected; else the newest.
select distinct on (asset_id) asset_id, decision_id, decision, code, reason, principal, decided_at, undo_until, state
from decisions where asset_id = any(:assets::uuid[]) and state <> 'undone'
order by asset_id, (decision = 'approve' and state = 'final') desc, decided_at desc;

-- name: file(id)^
-- The fact that describes the file; which of its files it is, the reader finds by deriving the ids again.
select l.type, l.body from files f join ledger l on l.about = f.job_id and l.event_id = f.event_id where f.file_id = :id;

-- name: find(id)^
-- What an id names, where it names something that is looked up by it.
select * from (
    select 'request' as kind, request_id, null::uuid as job_id from requests where request_id = :id
    union all select 'job', request_id, job_id from jobs where job_id = :id
    union all select * from (select 'batch', null::uuid, null::uuid from requests where batch_id = :id limit 1) as b
    union all select 'asset', request_id, job_id from assets where asset_id = :id
    union all select 'file', j.request_id, j.job_id from files f join jobs j using (job_id) where f.file_id = :id
    union all select 'publication', request_id, job_id from publications where publication_id = :id
    union all select 'decision', request_id, job_id from decisions where decision_id = :id
    union all select 'dead letter', request_id, about from dead_letters where dead_letter_id = :id
    union all select * from (select 'request', about, null::uuid from ledger where about = :id limit 1) as l
) as found limit 1;

-- name: find_by_reading(id)^
-- Ids that a person asks for now and then: found by reading an index through, not by an index each.
select * from (
    select 'asset version' as kind, request_id, job_id from assets where asset_version_id = :id
    union all
    select 'attempt', j.request_id, j.job_id from attempts a join jobs j using (job_id) where a.attempt_id = :id
    union all
    select 'event', (body::json ->> 'request_id')::uuid,
           nullif(about, (body::json ->> 'request_id')::uuid) from ledger where event_id = :id
) as found limit 1;

-- name: jobs_of_requests(requests)
select job_id, request_id from jobs where request_id = any(:requests::uuid[]) order by request_id, variant;

-- name: requests_of_batch(batch, many)
select request_id, count(*) over () as requests from requests where batch_id = :batch order by seq limit :many;

-- name: life(abouts)
-- Every fact of these jobs and requests, in the order of time.
select about, event_id, type, occurred_at, recorded_at, traceparent, body from ledger
where about = any(:abouts::uuid[]) order by occurred_at, recorded_at, event_id;

-- name: costs(jobs)
-- Null where any attempt's cost is unknown, or where currencies differ: unknown is never 0.
select job_id, case when bool_and(cost is not null) and count(distinct currency) = 1 then sum(cost) end as cost,
       min(currency) as currency
from attempts where job_id = any(:jobs::uuid[]) group by job_id;

-- name: pictures(job)
select event_id, type, body from ledger
where about = :job and type in ('ImageGenerated', 'ImageProcessed') order by occurred_at;

-- name: failed_jobs(reason, stage, backend, batch, campaign, request, job, failed, after, many)
-- Runs that failed and are their job's last, oldest first. Only the caller's: row-level security stands in for it.
select f.seq, f.request_id, f.job_id, f.run, f.stage, f.reason, f.failed_at
from failures f
join jobs j on j.job_id = f.job_id and j.run = f.run and j.rank = :failed::int
left join requests r on r.request_id = f.request_id
where f.seq > :after
  and (:reason::text is null or f.reason = :reason)
  and (:stage::text is null or f.stage = :stage)
  and (:batch::uuid is null or r.batch_id = :batch)
  and (:campaign::text is null or r.campaign = :campaign)
  and (:request::uuid is null or f.request_id = :request)
  and (:job::uuid is null or f.job_id = :job)
  and (:backend::text is null
       or exists (select 1 from attempts a where a.job_id = f.job_id and a.run = f.run and a.backend = :backend))
order by f.seq limit :many;

-- name: hold_failed(jobs, failed)
-- In the order in which every writer locks jobs.
select job_id, run from jobs where job_id = any(:jobs::uuid[]) and rank = :failed::int order by job_id for update;

-- name: asked(requests)
select about as request_id, (body::json ->> 'deadline')::timestamptz as deadline from ledger
where about = any(:requests::uuid[]) and type = 'RequestAccepted';

-- name: uncertain_attempts(jobs)
select distinct on (job_id) job_id, attempt_id from attempts
where job_id = any(:jobs::uuid[]) and state = 'uncertain' and not settled order by job_id, run, number;

-- name: routes(workspace)
select distinct name from library_items where workspace = :workspace and kind = 'routes';

-- name: last_said(abouts)$
select max(occurred_at) from ledger where about = any(:abouts::uuid[]);

-- name: failures_said(jobs)
select about as job_id, coalesce((body::json ->> 'run')::int, 1) as run, event_id, traceparent,
       body::json ->> 'client_reference' as client_reference
from ledger where about = any(:jobs::uuid[]) and type = 'JobFailed';

-- name: current_time()$
-- Facts are dated by the database, never by a service's host.
select clock_timestamp();

-- name: approved_assets(campaign, asset_type, batch, request, assets, approved, after, many)
-- Assets by the order of their first version, each with the version that was approved last. Only the caller's: row-level
-- security stands in for it.
select a.seq, a.asset_id, a.job_id, a.request_id, d.asset_version_id, s.event_id
from assets a
join jobs j on j.job_id = a.job_id and j.run = a.run and j.rank = :approved::int
left join requests r on r.request_id = a.request_id
join lateral (
    select asset_version_id from decisions d
    where d.asset_id = a.asset_id and d.decision = 'approve' and d.state = 'final'
    order by d.ended_at desc, d.review_version desc limit 1
) d on true
join assets s on s.asset_id = a.asset_id and s.asset_version_id = d.asset_version_id
where a.supersedes is null and a.seq > :after
  and (:campaign::text is null or r.campaign = :campaign)
  and (:asset_type::text is null or r.asset_type = :asset_type)
  and (:batch::uuid is null or r.batch_id = :batch)
  and (:request::uuid is null or a.request_id = :request)
  and (:assets::uuid[] is null or a.asset_id = any(:assets))
order by a.seq limit :many;

-- name: hold_jobs(jobs)
-- In the order in which every writer locks jobs.
select job_id from jobs where job_id = any(:jobs::uuid[]) order by job_id for update;

-- name: undecided(assets)
-- Of these, those with a version made anew that waits for a person, or for the end of its undo window.
select asset_id from awaiting_review where asset_id = any(:assets::uuid[]) and supersedes is not null
union
select d.asset_id from decisions d join assets a using (asset_id, asset_version_id)
where d.asset_id = any(:assets::uuid[]) and d.state = 'open' and a.supersedes is not null;

-- name: said_of(about, types)
select about, type, body, traceparent from ledger
where about = any(:about::uuid[]) and type = any(:types::text[]) order by occurred_at, recorded_at;

-- name: recipe(workspace, name, version)^
select version, digest from library_items
where workspace = :workspace and kind = 'recipe' and name = :name and version = :version and state = 'published';

-- name: recipes(workspace)
select name || '@' || version as label from library_items
where workspace = :workspace and kind = 'recipe' and state = 'published' order by name, version desc limit 50;

-- name: recipe_versions(name)
-- Newest first; what was withdrawn too, for what was made by it is still looked at.
select version, digest from library_items where kind = 'recipe' and name = :name order by version desc;
