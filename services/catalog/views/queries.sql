-- What the pages ask. All of it in the caller's transaction: row-level security stands in for the workspace. The time is now(),
-- the transaction's: no index serves a comparison with clock_timestamp(), which may change from row to row.

-- name: queue(which, campaign, many)
-- The frames of a queue in the order of arrival. `to_review` also has what was decided a moment ago, so that a set does not
-- vanish under the reviewer's eyes.
with members as (
    select asset_id, asset_version_id, request_id, job_id, true as open from awaiting_review
    where :which::text = 'to_review'
    union all
    select asset_id, asset_version_id, request_id, job_id, false from decisions
    where state <> 'undone'
      and case :which when 'to_review' then decided_at > now() - interval '10 minutes' and principal not like 'check:%'
               when 'approved' then decision = 'approve' and decided_at > now() - interval '1 day'
               else decision = 'reject' and decided_at > now() - interval '1 day' end
)
select m.asset_id, m.asset_version_id, m.request_id, m.open, r.seq, j.variant
from members m join requests r using (request_id) join jobs j on j.job_id = m.job_id
where :campaign::text is null or r.campaign = :campaign
order by r.seq, j.variant, m.asset_id
limit :many;

-- name: waiting_by_campaign()
select r.campaign, count(*) as waiting from awaiting_review a join requests r using (request_id)
group by r.campaign order by r.campaign nulls last;

-- name: decided_by_campaign()
-- Of the last day.
select r.campaign, d.decision, count(*) as decided
from decisions d join requests r using (request_id)
where d.state <> 'undone' and d.decided_at > now() - interval '1 day'
group by r.campaign, d.decision;

-- name: pace_today()^
-- Of people: what a check rejected took nobody's time.
select count(*) as decided, count(*) filter (where decision = 'approve') as accepted,
       count(*) filter (where decided_at > now() - interval '30 minutes') as lately,
       extract(epoch from now() - min(decided_at)
               filter (where decided_at > now() - interval '30 minutes'))::float8 as seconds
from decisions where state <> 'undone' and decided_at >= date_trunc('day', now()) and principal not like 'check:%';

-- name: frames(requests, versions)
-- Every picture of these requests with the fact that describes it. Of an asset with several versions one that stands in the
-- queue (`versions`), and of these the one that waits, else the one that was decided on last.
select distinct on (s.asset_id) s.*, l.body
from standing s
join ledger l on l.about = s.job_id and l.event_id = s.event_id
where s.request_id = any(:requests::uuid[]) and s.run = s.job_run
order by s.asset_id, s.asset_version_id = any(:versions::uuid[]) desc, s.waits desc, s.decided_at desc nulls last, s.seq desc;

-- name: request_of_asset(asset)$
select request_id from assets where asset_id = :asset limit 1;

-- name: facts_about(abouts, types)
select about, event_id, type, occurred_at, traceparent, body from ledger
where about = any(:abouts::uuid[]) and (:types::text[] is null or type = any(:types))
order by occurred_at, recorded_at;

-- name: in_flight()
-- Every open request's jobs by where they stand; a note of running tells who is at work from who waits.
select j.rank, j.step, coalesce(p.waiting_on, case when p.job_id is null then '' else 'running' end) as note,
       count(*) as jobs, extract(epoch from now() - min(j.since))::float8 as oldest,
       max(p.detail) as detail
from requests r join jobs j on j.request_id = r.request_id
left join progress p on p.job_id = j.job_id and p.run = j.run and p.step >= j.step and j.rank < 2
where r.completed_at is null
group by 1, 2, 3;

-- name: failed_by_stage()
-- Of the last day, and still so: a fresh run takes a job off this list.
select f.stage, count(*) as jobs from failures f join jobs j on j.job_id = f.job_id and j.run = f.run and j.rank = 4
where f.failed_at > now() - interval '1 day' group by f.stage;

-- name: publishing()^
-- Approved within the hour and no target has said anything yet; and what targets refused within the day.
select (select count(*) from decisions d
        where d.decision = 'approve' and d.state = 'final' and d.decided_at > now() - interval '1 hour'
          and not exists (select 1 from publications p
                          where p.request_id = d.request_id and p.asset_version_id = d.asset_version_id)) as waiting,
       (select extract(epoch from now() - min(d.ended_at))::float8 from decisions d
        where d.decision = 'approve' and d.state = 'final' and d.decided_at > now() - interval '1 hour'
          and not exists (select 1 from publications p
                          where p.request_id = d.request_id and p.asset_version_id = d.asset_version_id)) as oldest,
       (select count(*) from publications where state in ('failed', 'uncertain')
          and changed_at > now() - interval '1 day') as failed;

-- name: minutes()
select minute, type, facts, floor(extract(epoch from date_trunc('minute', now()) - minute) / 60)::int as ago
from pace where minute > now() - interval '31 minutes';

-- name: batches(many)
-- The newest; requests of no batch stand together, `single`, under the workspace's own id.
select coalesce(batch_id, workspace) as batch_id, batch_id is null as single, max(seq) as newest, count(*) as requests,
       sum(variants) as jobs, min(campaign) as campaign
from requests group by 1, 2 order by newest desc limit :many;

-- name: batch(batch, single)^
select coalesce(batch_id, workspace) as batch_id, batch_id is null as single, max(seq) as newest, count(*) as requests,
       sum(variants) as jobs, min(campaign) as campaign
from requests where batch_id = :batch or (:single::bool and batch_id is null) group by 1, 2;

-- name: squares(batch, single, first, many)
-- One row a job, in row and variant order.
select j.rank, p.waiting_on is not null as waits
from requests r join jobs j on j.request_id = r.request_id
left join progress p on p.job_id = j.job_id and p.run = j.run and p.step >= j.step and j.rank = 0
where r.batch_id = :batch or (:single::bool and r.batch_id is null)
order by r.seq, j.variant offset :first limit :many;

-- name: square(batch, single, place)$
select j.job_id
from requests r join jobs j on j.request_id = r.request_id
where r.batch_id = :batch or (:single::bool and r.batch_id is null)
order by r.seq, j.variant offset :place limit 1;

-- name: batch_counts(batch, single)
select j.rank, p.waiting_on is not null as waits, count(*) as jobs
from requests r join jobs j on j.request_id = r.request_id
left join progress p on p.job_id = j.job_id and p.run = j.run and p.step >= j.step and j.rank = 0
where r.batch_id = :batch or (:single::bool and r.batch_id is null)
group by 1, 2;

-- name: spent(batch, single)^
select case when bool_and(a.cost is not null) and count(distinct a.currency) = 1 then sum(a.cost) end as cost,
       min(a.currency) as currency
from requests r join jobs j on j.request_id = r.request_id join attempts a on a.job_id = j.job_id
where r.batch_id = :batch or (:single::bool and r.batch_id is null);

-- name: needs_someone(skipped, many)
-- Failed first, then what a consumer refused, then what waits for a decision.
select job_id, count(*) over () as listed from (
    select distinct on (job_id) job_id, place, at from (
        select f.job_id, 0 as place, f.failed_at as at from failures f
        join jobs j on j.job_id = f.job_id and j.run = f.run and j.rank = 4
        where f.failed_at > now() - interval '7 days'
        union all
        select j.job_id, 1, d.died_at from dead_letters d join jobs j on j.job_id = d.about
        where d.state in ('waiting', 'replaying')
        union all
        select job_id, 2, since from awaiting_review where supersedes is null
    ) as named order by job_id, place
) as once
order by place, at offset :skipped limit :many;

-- name: set_members(campaign, asset_type, many)
-- Of the newest, which the index has in order, what still may go out or has: what was rejected, failed or cancelled says
-- nothing about the set. Of an asset its newest version.
select distinct on (m.asset_id) m.asset_id, m.exposure, m.product_scale, m.centre_x, m.centre_y, m.colours
from (
    select * from measures where campaign = :campaign and asset_type = :asset_type
    order by processed_at desc limit :many
) m join jobs j on j.job_id = m.job_id and j.run = m.run and j.rank in (2, 6)
order by m.asset_id, m.processed_at desc;

-- name: sets_waiting(campaign, many)
select m.campaign, m.asset_type, count(*) as waiting
from awaiting_review w join measures m on m.asset_id = w.asset_id and m.asset_version_id = w.asset_version_id
where :campaign::text is null or m.campaign = :campaign
group by m.campaign, m.asset_type order by waiting desc, m.campaign, m.asset_type limit :many;

-- name: types_of(campaign, many)
select distinct asset_type from measures where campaign = :campaign order by asset_type limit :many;
