-- Where a version stands is said in one place.
-- depends: catalog_0007_measures

-- migrate: apply

-- Every version of every asset with the last decision on it that was not undone. A version made anew stands where its own
-- decision puts it, for its job was approved before; `review_version` is what a decision must name while the version
-- waits, and an approval where a check has rejected it. As its caller sees the tables: row-level security goes through.
create view standing with (security_invoker = true) as
select
    a.asset_id,
    a.asset_version_id,
    a.workspace,
    a.request_id,
    a.job_id,
    a.run,
    a.seq,
    a.event_id,
    a.processed_at,
    a.supersedes,
    j.variant,
    j.run as job_run,
    w.asset_id is not null as waits,
    coalesce(w.review_version, d.next_review) as review_version,
    d.decision_id,
    d.decision,
    d.code,
    d.reason,
    d.rubric,
    d.principal,
    d.decided_at,
    d.undo_until,
    d.ended_at,
    d.state as decision_state,
    case
        when a.supersedes is null then j.rank
        when w.asset_id is not null or d.state = 'open' then 2
        when d.decision = 'approve' then 6
        else 5
    end as rank
from assets as a
inner join jobs as j on a.job_id = j.job_id
left join awaiting_review as w on a.asset_id = w.asset_id and a.asset_version_id = w.asset_version_id
left join lateral (
    select
        l.*,
        case when l.principal like 'check:%' and (j.rank = 5 or a.supersedes is not null) then (
            select max(e.review_version) + 1 from decisions as e
            where e.asset_id = l.asset_id and e.asset_version_id = l.asset_version_id
        ) end as next_review
    from decisions as l
    where l.asset_id = a.asset_id and l.asset_version_id = a.asset_version_id and l.state <> 'undone'
    order by l.review_version desc limit 1
) as d on true;

-- migrate: rollback

-- Nobody reads it but the queries of the version that is rolled back.
-- squawk-ignore-file ban-drop-view
drop view standing;
