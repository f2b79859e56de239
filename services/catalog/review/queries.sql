-- Decisions, many at once. A decision is a row taken from awaiting_review; what is not taken was somebody else's.

-- name: take(assets, versions, review_versions)
-- In the order of the key, so that two reviewers with overlapping selections wait for each other and do not deadlock.
with wanted as (
    select * from unnest(:assets::uuid[], :versions::uuid[], :review_versions::int[])
        as t(asset_id, asset_version_id, review_version)
), held as (
    select a.asset_id, a.asset_version_id from awaiting_review a join wanted w using (asset_id, asset_version_id)
    where a.review_version = w.review_version
    order by a.asset_id for update of a
)
delete from awaiting_review a using held
where a.asset_id = held.asset_id and a.asset_version_id = held.asset_version_id
returning a.*;

-- name: hold_versions(assets, versions)
-- Of versions that are to take another's place: two who approve two of one asset wait for each other here.
select job_id from jobs
where job_id in (
    select a.job_id from assets a
    join unnest(:assets::uuid[], :versions::uuid[]) as w(asset_id, asset_version_id) using (asset_id, asset_version_id)
    where a.supersedes is not null
)
order by job_id for update;

-- name: replaced(assets, versions)
-- Of those, the ones whose version before is not the one approved last, be it a fact yet or not.
select a.asset_id, last.asset_version_id as stands
from assets a
join unnest(:assets::uuid[], :versions::uuid[]) as w(asset_id, asset_version_id) using (asset_id, asset_version_id)
join lateral (
    select d.asset_version_id from decisions d
    where d.asset_id = a.asset_id and d.decision = 'approve' and d.state <> 'undone'
    order by d.state = 'open' desc, d.ended_at desc, d.review_version desc limit 1
) last on last.asset_version_id not in (a.supersedes, a.asset_version_id)
where a.supersedes is not null;

-- name: hold_rejections(assets)
-- Two people who overrule the same check wait for each other here.
select decision_id from decisions
where asset_id = any(:assets::uuid[]) and principal like 'check:%' order by decision_id for update;

-- name: overrule(assets, versions, review_versions)!
-- What a check rejected and nobody has decided on since can be decided on for this transaction: by whoever approves it now,
-- building on the last review that there was.
insert into awaiting_review (asset_id, asset_version_id, workspace, request_id, job_id, run, review_version, supersedes)
select d.asset_id, d.asset_version_id, d.workspace, d.request_id, d.job_id, d.run, w.review_version, a.supersedes
from unnest(:assets::uuid[], :versions::uuid[], :review_versions::int[]) as w(asset_id, asset_version_id, review_version)
join decisions d using (asset_id, asset_version_id)
join assets a using (asset_id, asset_version_id)
join jobs j on j.job_id = d.job_id and j.run = d.run and (j.rank = 5 or a.supersedes is not null)
where d.principal like 'check:%'
  and not exists (
      select from decisions e
      where e.asset_id = d.asset_id and e.asset_version_id = d.asset_version_id
        and (e.review_version >= w.review_version or (e.decision_id <> d.decision_id and e.state <> 'undone'))
  )
on conflict do nothing;

-- name: write_decisions(ids, workspaces, assets, versions, requests, jobs, runs, review_versions, decisions, codes, reasons, rubrics, principal, window, traces)
insert into decisions (decision_id, workspace, asset_id, asset_version_id, request_id, job_id, run, review_version,
                       decision, code, reason, rubric, principal, decided_at, undo_until, traceparent)
select id, workspace, asset_id, asset_version_id, request_id, job_id, run, review_version, decision, code, reason,
       string_to_array(rubric, e'\x1f'), :principal, now.at, now.at + make_interval(secs => :window), trace
from (select clock_timestamp() as at) as now,
     unnest(:ids::uuid[], :workspaces::uuid[], :assets::uuid[], :versions::uuid[], :requests::uuid[], :jobs::uuid[],
            :runs::int[], :review_versions::int[], :decisions::text[], :codes::text[], :reasons::text[],
            :rubrics::text[], :traces::text[])
     as t(id, workspace, asset_id, asset_version_id, request_id, job_id, run, review_version, decision, code, reason,
          rubric, trace)
returning decision_id, decided_at, undo_until;

-- name: documents(assets, versions)
-- The facts these versions came from: what a public event says stands there.
select a.asset_version_id, l.body, l.traceparent from assets a
join ledger l on l.about = a.job_id and l.event_id = a.event_id
where a.asset_id = any(:assets::uuid[]) and a.asset_version_id = any(:versions::uuid[]);

-- name: conclude(ids)
-- Only what is still open becomes a fact: an undo that came first has closed it.
update decisions set state = 'final', ended_at = clock_timestamp()
where decision_id = any(:ids::uuid[]) and state = 'open'
returning *;

-- name: take_back(id, principal)^
-- While it is open it is no fact yet, so it can be taken back; the row lock decides between this and its end.
update decisions set state = 'undone', ended_at = clock_timestamp(), ended_by = :principal
where decision_id = :id and state = 'open'
returning *;

-- name: decision(id)^
select * from decisions where decision_id = :id;

-- name: standing_of(assets)
-- Why an asset could not be taken: its newest version, where its job stands, and the decision that holds.
select a.asset_id, a.asset_version_id, j.rank, j.since, j.reason as ended_why,
       w.review_version as open_at, w.asset_version_id as open_version,
       d.decision_id, d.review_version, d.decision, d.code, d.principal,
       d.decided_at, d.undo_until, d.state, d.asset_version_id as decided_version
from (select distinct on (asset_id) * from assets where asset_id = any(:assets::uuid[]) order by asset_id, seq desc) a
join jobs j on j.job_id = a.job_id
left join awaiting_review w on w.asset_id = a.asset_id
left join lateral (
    select * from decisions d where d.asset_id = a.asset_id and d.state <> 'undone' order by d.decided_at desc limit 1
) d on true;

-- name: undo_seconds(workspace)$
select undo_seconds from workspaces where workspace = :workspace;

-- name: who_may(workspace, roles)
-- The people behind active keys with one of these roles, for "ask …".
select distinct principal from api_keys
where workspace = :workspace and active and roles && :roles::text[] order by principal limit 5;
