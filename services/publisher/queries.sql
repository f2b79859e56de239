-- name: guard_assets()^
-- Assets and targets arrive on topics without order between them. Whoever writes one must see every other that was
-- committed: many asset batches at once, or one change of a target.
select pg_advisory_xact_lock_shared(hashtext('calotype.publisher.targets'));

-- name: guard_targets()^
select pg_advisory_xact_lock(hashtext('calotype.publisher.targets'));

-- name: add_assets(versions, workspaces, approved, events, traceparents)
-- The inbox: only what comes back is new.
insert into assets (asset_version_id, workspace, approved_at, event, traceparent)
select * from unnest(:versions::uuid[], :workspaces::uuid[], :approved::timestamptz[], :events::text[], :traceparents::text[])
on conflict (asset_version_id) do nothing
returning asset_version_id;

-- name: targets_of(workspaces)
-- What these workspaces publish to now.
select workspace, name, document, since from targets where workspace = any(:workspaces::uuid[]) and state = 'published';

-- name: hear_targets(workspaces, names, since)!
-- Makes unknown targets known and moves `since` back to the earliest word of each.
insert into targets as t (workspace, name, version, state, document, since, changed_at)
select workspace, name, 0, '', '', min(since), '-infinity'
from unnest(:workspaces::uuid[], :names::text[], :since::timestamptz[]) as heard(workspace, name, since)
group by workspace, name
on conflict (workspace, name) do update set since = least(t.since, excluded.since);

-- name: change_targets(workspaces, names, versions, states, documents, patiences, changed)!
-- The highest version's latest change is what holds, in whatever order they come.
update targets t set version = c.version, state = c.state, document = c.document, patience = c.patience,
                     changed_at = c.changed
from (
    select distinct on (workspace, name) *
    from unnest(:workspaces::uuid[], :names::text[], :versions::int[], :states::text[], :documents::text[],
                :patiences::interval[], :changed::timestamptz[])
         as heard(workspace, name, version, state, document, patience, changed)
    order by workspace, name, version desc, changed desc
) c
where t.workspace = c.workspace and t.name = c.name and (c.version, c.changed) >= (t.version, t.changed_at);

-- name: owed(workspaces)
-- What was approved since a target is there and has no publication at it: it came before its target did.
select a.event, a.traceparent, t.name, t.document
from targets t
join assets a on a.workspace = t.workspace and a.approved_at >= t.since
where t.workspace = any(:workspaces::uuid[]) and t.state = 'published'
  and not exists (select from publications p where p.asset_version_id = a.asset_version_id and p.target = t.name);

-- name: add_publications(ids, workspaces, requests, jobs, assets, versions, targets, confidentialities, states, codes, details, remedies)
-- A refused one is settled as it is made.
insert into publications (publication_id, workspace, request_id, job_id, asset_id, asset_version_id, target, confidentiality,
                          state, code, detail, remedy, settled_at)
select id, workspace, request, job, asset, version, target, confidentiality, state, code, detail, remedy,
       case when state <> 'pending' then clock_timestamp() end
from unnest(:ids::uuid[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :assets::uuid[], :versions::uuid[],
            :targets::text[], :confidentialities::text[], :states::text[], :codes::text[], :details::text[], :remedies::text[])
     as p(id, workspace, request, job, asset, version, target, confidentiality, state, code, detail, remedy)
on conflict (publication_id) do nothing
returning publication_id;

-- name: standing(workspace, name, id)^
-- How target and publication stand when a try begins. No clock but this one goes into a signature. `newer` is a later
-- version that stands there, else one that does or may yet. A lease is committed before its try reads this, so of two
-- versions that are tried at the same moment at least one sees the other.
select t.state, t.document, coalesce(p.unsure, false) as unsure, coalesce(p.sent_run = p.run, false) as sent,
       (select o.cause from outages o where o.workspace = :workspace and o.target = :name and o.probe_at is not null) as down,
       n.event as newer, coalesce(n.state = 'delivered', false) as newer_stands,
       exists (select from publications o join assets oa on oa.asset_version_id = o.asset_version_id
               join work w on w.work_id = o.publication_id
               where o.asset_id = p.asset_id and o.target = p.target and o.state = 'pending'
                 and (oa.approved_at, oa.asset_version_id) < (a.approved_at, a.asset_version_id)
                 and w.holder is not null and w.ready_at > clock_timestamp()) as older_under_way,
       clock_timestamp() as now
from (values (:workspace::uuid, :name::text, :id::uuid)) as asked(workspace, name, id)
left join targets t on t.workspace = asked.workspace and t.name = asked.name
left join publications p on p.publication_id = asked.id
left join assets a on a.asset_version_id = p.asset_version_id
left join lateral (
    select na.event, n.state from publications n join assets na on na.asset_version_id = n.asset_version_id
    where n.asset_id = p.asset_id and n.target = p.target and n.state in ('pending', 'uncertain', 'delivered')
      and (na.approved_at, na.asset_version_id) > (a.approved_at, a.asset_version_id)
    order by n.state = 'delivered' desc, na.approved_at desc, na.asset_version_id desc limit 1
) n on true;

-- name: hold_versions(ids)
-- Of two versions of an asset that are delivered at the same moment the second to be settled sees the first: whoever settles
-- one has all of them. In the order of the key, so that nobody waits in a circle.
select o.publication_id
from unnest(:ids::uuid[]) as i(publication_id) join publications s using (publication_id)
cross join lateral (
    select o.publication_id from publications o where o.asset_id = s.asset_id and o.target = s.target
) o join publications p on p.publication_id = o.publication_id
order by p.publication_id for update of p;

-- name: supersede(ids)
-- Of an asset's versions that stand at one target the one that was approved last is served, in whichever order they were
-- delivered; each of the others is told once.
update publications p set state = 'superseded', detail = 'superseded by ' || x.newer_version
from (
    select distinct on (o.publication_id) o.publication_id, oa.event, oa.traceparent, na.event as newer,
           na.asset_version_id as newer_version
    from unnest(:ids::uuid[]) as i(publication_id) join publications s using (publication_id)
    join publications o on o.asset_id = s.asset_id and o.target = s.target and o.state = 'delivered'
    join publications n on n.asset_id = s.asset_id and n.target = s.target and n.state = 'delivered'
    join assets oa on oa.asset_version_id = o.asset_version_id
    join assets na on na.asset_version_id = n.asset_version_id
    where (na.approved_at, na.asset_version_id) > (oa.approved_at, oa.asset_version_id)
    order by o.publication_id, na.approved_at desc, na.asset_version_id desc
) x
where p.publication_id = x.publication_id and p.state = 'delivered'
returning p.target, x.event, x.traceparent, x.newer;

-- name: delivered_before(assets, versions)
-- By the assets, for which there is an index.
select publication_id from publications
where asset_id = any(:assets::uuid[]) and asset_version_id = any(:versions::uuid[]) and state = 'delivered';

-- name: mark_sent(id, epoch)$
-- Before it is sent to a target where twice would be twice; a zombie gets no row back.
update publications p set sent_run = p.run from work w
where p.publication_id = :id and w.work_id = p.publication_id and w.epoch = :epoch and w.ready_at > clock_timestamp()
returning p.publication_id;

-- name: settle_publications(ids, states, codes, details, remedies, locations, receipts, verified, unsure, now)!
-- Beside the settlement of the lease, whose epoch is the fence; a publication that waits only says why.
update publications p set
    state = s.state, code = s.code, detail = s.detail, remedy = s.remedy, location = s.location, receipts = s.receipts,
    verified = s.verified, unsure = p.unsure or s.unsure, sent_run = null,
    settled_at = case when s.state <> 'pending' then :now::timestamptz end
from unnest(:ids::uuid[], :states::text[], :codes::text[], :details::text[], :remedies::text[], :locations::text[],
            :receipts::text[], :verified::text[], :unsure::boolean[])
     as s(publication_id, state, code, detail, remedy, location, receipts, verified, unsure)
where p.publication_id = s.publication_id and p.state = 'pending';

-- name: now()$
-- The one clock that dates a fact.
select clock_timestamp();

-- name: list_publications(state, target, request, job, asset, version, before_at, before_id, many)
-- Newest first; the cursor is the last row's time and id, so rows that arrive meanwhile move nothing.
select p.*, w.holder is not null as running, w.epoch as attempts, greatest(w.ready_at, o.probe_at) as ready_at,
       o.cause as away
from publications p
left join work w on w.work_id = p.publication_id
left join outages o on o.workspace = p.workspace and o.target = p.target and o.probe_at is not null
where (:state::text is null or p.state = :state)
  and (:target::text is null or p.target = :target)
  and (:request::uuid is null or p.request_id = :request)
  and (:job::uuid is null or p.job_id = :job)
  and (:asset::uuid is null or p.asset_id = :asset)
  and (:version::uuid is null or p.asset_version_id = :version)
  and (:before_at::timestamptz is null or (p.created_at, p.publication_id) < (:before_at, :before_id::uuid))
order by p.created_at desc, p.publication_id desc
limit :many;

-- name: show_publication(id)^
select p.*, w.holder is not null as running, w.epoch as attempts, greatest(w.ready_at, o.probe_at) as ready_at,
       o.cause as away
from publications p
left join work w on w.work_id = p.publication_id
left join outages o on o.workspace = p.workspace and o.target = p.target and o.probe_at is not null
where p.publication_id = :id;

-- name: restart(id, states)^
-- A fresh start, of one that ended without a delivery only. What was approved comes with it.
update publications p set state = 'pending', run = p.run + 1, code = null, detail = null, remedy = null, settled_at = null
from assets a
where p.publication_id = :id and p.state = any(:states::text[]) and a.asset_version_id = p.asset_version_id
returning p.run, p.target, p.workspace, p.request_id, p.job_id, a.approved_at, a.event, a.traceparent;

-- name: state(id, state, code, detail, remedy, location, verified)^
-- What a person found out of one of which nobody knew.
update publications p set state = :state, code = :code, detail = :detail, remedy = :remedy, location = :location,
                          verified = :verified, settled_at = clock_timestamp()
from assets a
where p.publication_id = :id and p.state = 'uncertain' and a.asset_version_id = p.asset_version_id
returning p.run, p.target, p.settled_at, a.event, a.traceparent;

-- name: work_again(id, asked, kind, subject, workspace, request, job, run, traceparent, payload)!
-- One that was refused at once never had a row; the row of another is taken up again.
with again as (
    update work set run = :run, ready_at = clock_timestamp(), holder = null, failures = 0, losses = 0,
        outcome = null, detail = null, finished_at = null, created_at = clock_timestamp(),
        payload = :payload, traceparent = :traceparent
    where work_id = :id and ready_at is null
)
insert into work (work_id, asked_at, kind, subject, workspace, request_id, job_id, run, ready_at, traceparent, payload)
select :id, :asked, :kind, :subject, :workspace, :request, :job, :run, clock_timestamp(), :traceparent, :payload
where not exists (select from work where work_id = :id)
on conflict (work_id, asked_at) do nothing;

-- name: list_targets()
-- Each target with what became of its publications.
select t.name, t.version, t.state, t.document, t.since, t.changed_at,
       coalesce(c.counts, '{}') as counts, o.since as away_since, o.cause as away_cause, o.probe_at
from targets t
left join outages o on o.workspace = t.workspace and o.target = t.name and o.probe_at is not null
left join lateral (
    select jsonb_object_agg(state, number)::text as counts
    from (select p.state, count(*) as number from publications p
          where p.workspace = t.workspace and p.target = t.name group by p.state) by_state
) c on true
order by t.name;

-- name: tell_publications(ids, workspaces, requests, jobs, assets, versions, targets, confidentialities, runs, states, codes, details, remedies, locations, receipts, verified, times)!
-- After a restore: how publications ended that are under way or uncertain here, or not known any more. Of one run's ends the last counts.
insert into publications as p (publication_id, workspace, request_id, job_id, asset_id, asset_version_id, target,
                               confidentiality, run, state, code, detail, remedy, location, receipts, verified, settled_at)
select distinct on (id) id, workspace, request, job, asset, version, target, confidentiality, run, state, code, detail, remedy,
       location, receipts, verified, time
from unnest(:ids::uuid[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :assets::uuid[], :versions::uuid[],
            :targets::text[], :confidentialities::text[], :runs::int[], :states::text[], :codes::text[], :details::text[],
            :remedies::text[], :locations::text[], :receipts::text[], :verified::text[], :times::timestamptz[])
     as t(id, workspace, request, job, asset, version, target, confidentiality, run, state, code, detail, remedy, location,
          receipts, verified, time)
order by id, run desc, time desc
on conflict (publication_id) do update set
    run = greatest(p.run, excluded.run), state = excluded.state, code = excluded.code, detail = excluded.detail,
    remedy = excluded.remedy, location = coalesce(excluded.location, p.location),
    receipts = coalesce(excluded.receipts, p.receipts), verified = coalesce(excluded.verified, p.verified),
    settled_at = excluded.settled_at
where p.state not in ('superseded', 'withdrawn')
  and (p.state in ('pending', 'uncertain') and p.run <= excluded.run or p.run < excluded.run
       or excluded.state = 'superseded');
