-- What the ledger edge writes: one statement a table and batch, never one a fact. Everything here may be repeated.

-- name: write_facts(abouts, ids, workspaces, types, times, traces, bodies)!
-- Not COPY: Postgres refuses COPY FROM on a table with row-level security. `unnest` costs 4 µs more a fact and needs no
-- second try on a conflict.
insert into ledger (about, event_id, workspace, type, occurred_at, traceparent, body)
select * from unnest(:abouts::uuid[], :ids::uuid[], :workspaces::uuid[], :types::text[], :times::timestamptz[],
                     :traces::text[], :bodies::text[])
on conflict do nothing;

-- name: keep_pace(workspaces, minutes, types, facts)!
insert into pace as p (workspace, minute, type, facts)
select * from unnest(:workspaces::uuid[], :minutes::timestamptz[], :types::text[], :facts::int[])
    as t(workspace, minute, type, facts)
order by t.workspace, t.minute, t.type
on conflict (workspace, minute, type) do update set facts = p.facts + excluded.facts;

-- name: write_requests(ids, workspaces, batches, row_keys, campaigns, asset_types, templates, products, skus, locales, headlines, priorities, confidentialities, variants, principals, times, parents)!
insert into requests (request_id, workspace, batch_id, row_key, campaign, asset_type, template, product, skus, locale,
                      headline, priority, confidentiality, variants, principal, accepted_at, parent_asset_id)
select id, workspace, batch, row_key, campaign, asset_type, template, product, string_to_array(skus, e'\x1f'), locale,
       headline, priority, confidentiality, variants, principal, accepted_at, parent
from unnest(:ids::uuid[], :workspaces::uuid[], :batches::uuid[], :row_keys::text[], :campaigns::text[],
            :asset_types::text[], :templates::text[], :products::text[], :skus::text[], :locales::text[],
            :headlines::text[], :priorities::text[], :confidentialities::text[], :variants::int[], :principals::text[],
            :times::timestamptz[], :parents::uuid[])
     as t(id, workspace, batch, row_key, campaign, asset_type, template, product, skus, locale, headline, priority,
          confidentiality, variants, principal, accepted_at, parent)
on conflict do nothing;

-- name: fold_jobs(jobs, requests, workspaces, runs, ranks, steps, sinces, reasons, variants)
-- `later` of domain.py in SQL: the place further along wins; of the same place the earliest time. In the order of the
-- key, so that two writers cannot deadlock. Only rows that changed come back.
insert into jobs as j (job_id, request_id, workspace, run, rank, step, since, reason, variant)
select * from unnest(:jobs::uuid[], :requests::uuid[], :workspaces::uuid[], :runs::int[], :ranks::smallint[],
                     :steps::smallint[], :sinces::timestamptz[], :reasons::text[], :variants::smallint[])
     as t(job_id, request_id, workspace, run, rank, step, since, reason, variant)
order by t.job_id
on conflict (job_id) do update set
    run = case when (excluded.run, excluded.rank, excluded.step, j.since, coalesce(excluded.reason, ''))
                  > (j.run, j.rank, j.step, excluded.since, coalesce(j.reason, '')) then excluded.run else j.run end,
    rank = case when (excluded.run, excluded.rank, excluded.step, j.since, coalesce(excluded.reason, ''))
                   > (j.run, j.rank, j.step, excluded.since, coalesce(j.reason, '')) then excluded.rank else j.rank end,
    step = case when (excluded.run, excluded.rank, excluded.step, j.since, coalesce(excluded.reason, ''))
                   > (j.run, j.rank, j.step, excluded.since, coalesce(j.reason, '')) then excluded.step else j.step end,
    since = case when (excluded.run, excluded.rank, excluded.step, j.since, coalesce(excluded.reason, ''))
                    > (j.run, j.rank, j.step, excluded.since, coalesce(j.reason, '')) then excluded.since else j.since end,
    reason = case when (excluded.run, excluded.rank, excluded.step, j.since, coalesce(excluded.reason, ''))
                     > (j.run, j.rank, j.step, excluded.since, coalesce(j.reason, '')) then excluded.reason else j.reason end,
    variant = greatest(j.variant, excluded.variant)
where (excluded.run, excluded.rank, excluded.step, j.since, coalesce(excluded.reason, ''))
    > (j.run, j.rank, j.step, excluded.since, coalesce(j.reason, ''))
   or (excluded.variant is not null and j.variant is null)
returning job_id, request_id, workspace, run, rank, step;

-- name: note_progress(jobs, workspaces, runs, times, steps, waiting, details, attempts, denoised, denoising, previews)!
-- The latest note of the highest run.
insert into progress as p (job_id, workspace, run, noted_at, step, waiting_on, detail, attempt, denoised, denoising, preview)
select * from unnest(:jobs::uuid[], :workspaces::uuid[], :runs::int[], :times::timestamptz[], :steps::smallint[],
                     :waiting::text[], :details::text[], :attempts::int[], :denoised::int[], :denoising::int[], :previews::int[])
     as t(job_id, workspace, run, noted_at, step, waiting_on, detail, attempt, denoised, denoising, preview)
order by t.job_id
on conflict (job_id) do update set
    run = excluded.run, noted_at = excluded.noted_at, step = excluded.step, waiting_on = excluded.waiting_on,
    detail = excluded.detail, attempt = excluded.attempt, denoised = excluded.denoised, denoising = excluded.denoising,
    preview = excluded.preview
where (excluded.run, excluded.noted_at) > (p.run, p.noted_at);

-- name: write_failures(jobs, runs, workspaces, requests, times, stages, reasons, details, remedies)!
-- Of two words on the end of one run (its stage's, and an operator's who dropped a dead letter) the first said holds.
insert into failures as f (job_id, run, workspace, request_id, failed_at, stage, reason, detail, remedy)
select * from unnest(:jobs::uuid[], :runs::int[], :workspaces::uuid[], :requests::uuid[], :times::timestamptz[],
                     :stages::text[], :reasons::text[], :details::text[], :remedies::text[])
     as t(job_id, run, workspace, request_id, failed_at, stage, reason, detail, remedy)
order by t.job_id, t.run
on conflict (job_id, run) do update set
    failed_at = excluded.failed_at, stage = excluded.stage, reason = excluded.reason, detail = excluded.detail,
    remedy = excluded.remedy
where (excluded.failed_at, excluded.stage, excluded.reason, excluded.detail) < (f.failed_at, f.stage, f.reason, f.detail);

-- name: write_attempts(jobs, ids, workspaces, runs, numbers, backends, states, costs, currencies, seconds, settled, provider_ids, latencies, price_lists, device_times)!
-- What is known replaces what is not; a late settlement replaces both.
insert into attempts as a (job_id, attempt_id, workspace, run, number, backend, state, cost, currency, seconds, settled,
                           provider_request_id, latency_seconds, price_list, device_seconds)
select * from unnest(:jobs::uuid[], :ids::uuid[], :workspaces::uuid[], :runs::int[], :numbers::int[], :backends::text[],
                     :states::text[], :costs::numeric[], :currencies::text[], :seconds::float8[], :settled::bool[],
                     :provider_ids::text[], :latencies::float8[], :price_lists::text[], :device_times::float8[])
     as t(job_id, attempt_id, workspace, run, number, backend, state, cost, currency, seconds, settled, provider_id,
          latency, price_list, device_time)
order by t.job_id, t.attempt_id
on conflict (job_id, attempt_id) do update set
    state = excluded.state, cost = excluded.cost, currency = excluded.currency, seconds = excluded.seconds,
    settled = excluded.settled, provider_request_id = excluded.provider_request_id,
    latency_seconds = excluded.latency_seconds, price_list = excluded.price_list, device_seconds = excluded.device_seconds
where (excluded.settled, excluded.cost is not null) > (a.settled, a.cost is not null);

-- name: write_assets(assets, versions, workspaces, requests, jobs, runs, events, times, rejected, supersedes)
-- The asset's row is the inbox: only what has just arrived can wait for a person, if its job has not ended otherwise and
-- nobody cancelled it. What a check rejects waits for nobody, and is rejected too where its run was told to have failed
-- (rank 4): in whichever order the two are heard. A version that is to take an approved one's place waits until it is
-- decided on itself. What comes back waits, or is to be rejected.
with told as (
    select * from unnest(:assets::uuid[], :versions::uuid[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[],
                         :runs::int[], :events::uuid[], :times::timestamptz[], :rejected::bool[], :supersedes::uuid[])
        as t(asset_id, asset_version_id, workspace, request_id, job_id, run, event_id, processed_at, rejected, supersedes)
), arrived as (
    insert into assets (asset_id, asset_version_id, workspace, request_id, job_id, run, event_id, processed_at, supersedes)
    select asset_id, asset_version_id, workspace, request_id, job_id, run, event_id, processed_at, supersedes from told
    on conflict do nothing
    returning asset_id, asset_version_id
), undecided as (
    select distinct on (t.asset_id, t.asset_version_id) t.*
    from told t join arrived using (asset_id, asset_version_id)
    join jobs j on j.job_id = t.job_id and j.run = t.run
    where case when t.supersedes is null then (j.rank = 2 or (t.rejected and j.rank = 4)) and not exists (
        select 1 from tombstones s
        where s.request_id = t.request_id and s.job_id in (t.job_id, '00000000-0000-0000-0000-000000000000')
    ) else not exists (
        select 1 from ledger l
        where l.about = t.job_id and l.type in ('AssetApproved', 'AssetRejected')
          and (l.body::json ->> 'asset_version_id')::uuid = t.asset_version_id
    ) end
), waiting as (
    insert into awaiting_review (asset_id, asset_version_id, workspace, request_id, job_id, run, supersedes)
    select asset_id, asset_version_id, workspace, request_id, job_id, run, supersedes from undecided where not rejected
    on conflict do nothing
    returning asset_version_id
)
select asset_version_id from waiting union all select asset_version_id from undecided where rejected;

-- name: write_measures(assets, versions, workspaces, jobs, runs, times, campaigns, asset_types, exposures, scales, xs, ys, colours)!
insert into measures (asset_id, asset_version_id, workspace, job_id, run, processed_at, campaign, asset_type, exposure,
                      product_scale, centre_x, centre_y, colours)
select * from unnest(:assets::uuid[], :versions::uuid[], :workspaces::uuid[], :jobs::uuid[], :runs::int[],
                     :times::timestamptz[], :campaigns::text[], :asset_types::text[], :exposures::float8[], :scales::float8[], :xs::float8[],
                     :ys::float8[], :colours::text[])
on conflict do nothing;

-- name: write_rejections(ids, workspaces, assets, versions, requests, jobs, runs, review_versions, codes, reasons, principals, times, traces)!
-- Decisions that checks made: facts already, so there is no window in which they are taken back.
insert into decisions (decision_id, workspace, asset_id, asset_version_id, request_id, job_id, run, review_version, decision,
                       code, reason, rubric, principal, decided_at, undo_until, state, ended_at, traceparent)
select id, workspace, asset, version, request, job, run, review_version, 'reject', code, reason, '{}', principal, at, at,
       'final', at, trace
from unnest(:ids::uuid[], :workspaces::uuid[], :assets::uuid[], :versions::uuid[], :requests::uuid[], :jobs::uuid[],
            :runs::int[], :review_versions::int[], :codes::text[], :reasons::text[], :principals::text[],
            :times::timestamptz[], :traces::text[])
     as t(id, workspace, asset, version, request, job, run, review_version, code, reason, principal, at, trace)
on conflict do nothing;

-- name: write_files(files, workspaces, jobs, events)!
-- A file that several versions of an asset have is described by the same one of their facts, whichever came first.
insert into files as f (file_id, workspace, job_id, event_id)
select * from unnest(:files::uuid[], :workspaces::uuid[], :jobs::uuid[], :events::uuid[])
    as t(file_id, workspace, job_id, event_id)
order by t.file_id
on conflict (file_id) do update set event_id = excluded.event_id where excluded.event_id < f.event_id;

-- name: write_publications(ids, workspaces, requests, jobs, versions, targets, ranks, states, locations, details, times)!
-- A later state has a higher rank, and of the same rank the later word counts. Where it was placed is said by one fact only,
-- and stays until it is withdrawn.
insert into publications as p (publication_id, workspace, request_id, job_id, asset_version_id, target, rank, state,
                               location, detail, changed_at)
select * from unnest(:ids::uuid[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :versions::uuid[],
                     :targets::text[], :ranks::smallint[], :states::text[], :locations::text[], :details::text[],
                     :times::timestamptz[])
     as t(publication_id, workspace, request_id, job_id, asset_version_id, target, rank, state, location, detail, changed_at)
order by t.publication_id
on conflict (publication_id) do update set
    (rank, state, detail, changed_at) = (
        select * from (values (excluded.rank, excluded.state, excluded.detail, excluded.changed_at),
                              (p.rank, p.state, p.detail, p.changed_at)) as said(rank, state, detail, changed_at)
        order by said.rank desc, said.changed_at desc limit 1
    ),
    location = case when 'withdrawn' in (excluded.state, p.state) then null
                    when (excluded.rank, excluded.changed_at) > (p.rank, p.changed_at)
                    then coalesce(excluded.location, p.location) else coalesce(p.location, excluded.location) end
where (excluded.rank, excluded.changed_at) > (p.rank, p.changed_at) or (p.location is null and excluded.location is not null);

-- name: share_cancels()$
-- Taken before tombstones are read, and against `hold_cancels`: of an asset that arrives and a cancel that is heard at
-- the same time, whichever commits second sees the other.
select pg_advisory_xact_lock_shared(hashtext('calotype.catalog.cancels'));

-- name: hold_cancels()$
select pg_advisory_xact_lock(hashtext('calotype.catalog.cancels'));

-- name: await_review(asset, version, workspace, request, job, run, review_version, supersedes)$
-- A decision was taken back: somebody can decide again, unless the job ended or was started again meanwhile, or another
-- decision holds: a check's rejection that was overruled, of a version made anew.
insert into awaiting_review (asset_id, asset_version_id, workspace, request_id, job_id, run, review_version, supersedes)
select :asset, :version, :workspace, :request, j.job_id, j.run, :review_version, :supersedes::uuid
from (
    select job_id, run from jobs
    where job_id = :job and run = :run and (rank = 2 or :supersedes::uuid is not null) for update
) as j
where not exists (
    select from decisions d where d.asset_id = :asset and d.asset_version_id = :version and d.state <> 'undone'
)
on conflict do nothing
returning 1;

-- name: stop_waiting(jobs, ended)!
-- The job ended some other way, or was started again: nobody needs to decide on what this run made. A version that was
-- made anew came when its job had long ended.
delete from awaiting_review a using jobs j
where a.job_id = any(:jobs::uuid[]) and j.job_id = a.job_id
  and ((j.rank >= :ended::int and a.supersedes is null) or j.run > a.run);

-- name: stop_waiting_for(assets, versions)!
-- These versions were decided on.
delete from awaiting_review a using unnest(:assets::uuid[], :versions::uuid[]) as t(asset_id, asset_version_id)
where a.asset_id = t.asset_id and a.asset_version_id = t.asset_version_id;

-- name: drop_cancelled(requests, jobs)
-- The same lock as a decision's: whoever deletes the row has won. A nil job is the whole request. What was approved stays
-- so, and a version made anew of it is not what a cancel means.
with held as (
    select a.asset_id, a.asset_version_id from awaiting_review a
    where a.supersedes is null and exists (
        select 1 from unnest(:requests::uuid[], :jobs::uuid[]) as c(request_id, job_id)
        where c.request_id = a.request_id and (c.job_id is null or c.job_id = a.job_id)
    )
    order by a.asset_id for update
)
delete from awaiting_review a using held
where a.asset_id = held.asset_id and a.asset_version_id = held.asset_version_id
returning a.request_id, a.job_id, a.run, a.workspace, clock_timestamp() as dropped_at,
          (select l.traceparent from ledger l where l.about = a.job_id and l.type = 'ImageProcessed' limit 1) as traceparent;

-- name: hold_requests(requests)
-- Two transactions that end the last two jobs of a request meet here: the second one counts what the first one did.
select request_id from requests where request_id = any(:requests::uuid[]) order by request_id for update;

-- name: ended_jobs(requests, ended)
-- Every job of those requests whose jobs have all ended. The number asked for counts, not the number heard of. What is
-- said of the request goes on its own trace.
with done as materialized (
    select r.request_id, r.workspace,
           (select l.traceparent from ledger l where l.about = r.request_id and l.type = 'RequestAccepted') as traceparent
    from requests r
    where r.request_id = any(:requests::uuid[])
      and r.variants = (select count(*) from jobs k where k.request_id = r.request_id and k.rank >= :ended::int)
)
select d.request_id, d.workspace, d.traceparent, j.job_id, j.run, j.rank, j.since
from done d join jobs j on j.request_id = d.request_id;

-- name: cost_of(jobs)
-- Null where any attempt's cost is unknown: unknown is never 0.
select job_id, case when bool_and(cost is not null) then sum(cost) end as cost, min(currency) as currency,
       count(distinct currency) as currencies
from attempts where job_id = any(:jobs::uuid[]) group by job_id;

-- name: told_before(abouts, ids)
-- One end of a request is told once: what it cost may be known better by now, and the same event must not say two things.
select l.event_id from unnest(:abouts::uuid[], :ids::uuid[]) as t(about, event_id)
join ledger l on l.about = t.about and l.event_id = t.event_id;

-- name: complete_requests(requests)!
-- Once: hearing its facts again changes nothing.
update requests set completed_at = clock_timestamp() where request_id = any(:requests::uuid[]) and completed_at is null;

-- name: reopen_requests(requests, ended)!
-- A fresh run of one of its jobs: the request is in flight again, unless that run's end was heard before its beginning.
update requests r set completed_at = null
where r.request_id = any(:requests::uuid[]) and r.completed_at is not null
  and exists (select 1 from jobs j where j.request_id = r.request_id and j.rank < :ended::int);
