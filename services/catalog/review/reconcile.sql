-- What a restore tells the desk anew: decisions that were told after the catalog's database was copied.

-- name: tell_decisions(ids, workspaces, assets, versions, review_versions, decisions, codes, reasons, rubrics, principals, times, traces)
-- Open until their end is read; the run is that of the version they are about.
insert into decisions (decision_id, workspace, asset_id, asset_version_id, request_id, job_id, run, review_version, decision,
                       code, reason, rubric, principal, decided_at, undo_until, traceparent)
select distinct on (t.id) t.id, t.workspace, a.asset_id, a.asset_version_id, a.request_id, a.job_id, a.run, t.review_version,
       t.decision, t.code, t.reason, string_to_array(t.rubric, e'\x1f'), t.principal, t.time,
       t.time + make_interval(secs => coalesce(w.undo_seconds, 0)), t.trace
from unnest(:ids::uuid[], :workspaces::uuid[], :assets::uuid[], :versions::uuid[], :review_versions::int[], :decisions::text[],
            :codes::text[], :reasons::text[], :rubrics::text[], :principals::text[], :times::timestamptz[], :traces::text[])
     as t(id, workspace, asset, version, review_version, decision, code, reason, rubric, principal, time, trace)
join assets a on a.asset_id = t.asset and a.asset_version_id = t.version
left join workspaces w on w.workspace = t.workspace
on conflict (decision_id) do nothing
returning decision_id;

-- name: tell_undone(ids, principals, times)!
update decisions d set state = 'undone', ended_at = t.time, ended_by = t.principal
from unnest(:ids::uuid[], :principals::text[], :times::timestamptz[]) as t(id, principal, time)
where d.decision_id = t.id and d.state = 'open';

-- name: tell_final(ids, times)!
update decisions d set state = 'final', ended_at = t.time
from unnest(:ids::uuid[], :times::timestamptz[]) as t(id, time)
where d.decision_id = t.id and d.state = 'open';

-- name: decided(assets)!
-- What is decided waits for nobody.
delete from awaiting_review a using decisions d
where a.asset_id = any(:assets::uuid[]) and d.asset_id = a.asset_id and d.asset_version_id = a.asset_version_id
  and d.state <> 'undone';

-- name: await_again(assets)!
-- What was decided and taken back waits, for a review that builds on the last one, if its job has not ended meanwhile.
insert into awaiting_review (asset_id, asset_version_id, workspace, request_id, job_id, run, review_version, supersedes)
select d.asset_id, d.asset_version_id, d.workspace, d.request_id, d.job_id, d.run, max(d.review_version) + 1, a.supersedes
from decisions d
join assets a on a.asset_id = d.asset_id and a.asset_version_id = d.asset_version_id
join jobs j on j.job_id = d.job_id and j.run = d.run and (j.rank = 2 or a.supersedes is not null)
where d.asset_id = any(:assets::uuid[])
group by d.asset_id, d.asset_version_id, d.workspace, d.request_id, d.job_id, d.run, a.supersedes
having bool_and(d.state = 'undone')
on conflict (asset_id, asset_version_id) do update set review_version = excluded.review_version;

-- name: left_open(ids)
-- Decisions that become facts when their window has passed.
select decision_id, workspace, greatest(extract(epoch from undo_until - clock_timestamp()), 0)::float8 as delay
from decisions where decision_id = any(:ids::uuid[]) and state = 'open';
