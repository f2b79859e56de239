-- name: waiting_kinds()
-- A walk over the index from one kind to the next.
with recursive kind as (
    (select w.kind from work w where w.ready_at is not null and w.parked is null order by w.kind limit 1)
    union all
    select next.kind from kind k cross join lateral (
        select w.kind from work w where w.kind > k.kind and w.ready_at is not null and w.parked is null order by w.kind limit 1
    ) as next
)
select kind from kind;

-- name: observe(kinds, patience, gap)
-- Who is claimed again is forgotten; of whom nobody looked for so long, it begins anew.
with claimed as (delete from unclaimed where kind <> all(:kinds::text[]))
insert into unclaimed as u (kind, patience) select *, :patience::float8 from unnest(:kinds::text[]) as k order by k
on conflict (kind) do update set
    since = case when u.looked_at < clock_timestamp() - make_interval(secs => :gap) then clock_timestamp() else u.since end,
    looked_at = clock_timestamp(), patience = excluded.patience
returning kind, since, since < clock_timestamp() - make_interval(secs => patience) as is_over;

-- name: overdue(kinds, lanes, workspaces, subjects, priorities, patience, many)
-- What waits for so long, the oldest of each flow. A lease that has run out holds nothing any more, and nobody will take it over.
select w.work_id, w.asked_at, w.kind, w.workspace, w.epoch, w.payload, w.traceparent, false as is_late
from unnest(:kinds::text[], :lanes::text[], :workspaces::uuid[], :subjects::text[], :priorities::smallint[])
     as f(kind, lane, workspace, subject, priority)
cross join lateral (
    select * from work w
    where w.kind = f.kind and w.lane = f.lane and w.workspace = f.workspace and w.subject = f.subject
      and w.priority = f.priority and w.ready_at is not null and w.parked is null
      and (w.holder is null or w.ready_at < statement_timestamp())
      and w.created_at < statement_timestamp() - make_interval(secs => :patience)
    order by w.created_at limit :many for update skip locked
) as w
limit :many;

-- name: late(kinds, many)
-- Workers end what is out of time; here there is none.
select work_id, asked_at, kind, workspace, epoch, payload, traceparent, true as is_late from work
where deadline < statement_timestamp() and ready_at is not null and parked is null and kind = any(:kinds::text[])
  and (holder is null or ready_at < statement_timestamp())
order by deadline limit :many for update skip locked;

-- name: end_work(ids, asked, outcomes, details)!
-- Of a holder whose lease ran out nothing counts any more: it finds no row to settle.
update work w set ready_at = null, holder = null, outcome = t.outcome, detail = t.detail, finished_at = clock_timestamp()
from unnest(:ids::uuid[], :asked::timestamptz[], :outcomes::text[], :details::text[]) as t(work_id, asked_at, outcome, detail)
where w.work_id = t.work_id and w.asked_at = t.asked_at;
