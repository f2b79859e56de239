-- name: take(ids, asked, kinds, workspaces, requests, jobs, runs, lanes, subjects, priorities, deadlines, traceparents, payloads, currencies, prices, sorts, holders, endings, lease)
-- The row is the inbox: only those that come back are new. With a holder they arrive already claimed, but for those that
-- stand behind a brake; with an ending, or a deadline that has passed, they are over as soon as they are heard of.
insert into work (work_id, asked_at, kind, workspace, request_id, job_id, run, lane, subject, priority, deadline, traceparent,
                  payload, currency, price, sort, ready_at, parked, holder, epoch, outcome, finished_at)
select id, asked, kind, workspace, request, job, run, lane, subject, priority, deadline, traceparent, payload, currency, price, sort,
       case when ending is null then now + make_interval(secs => case when held then :lease::float8 else 0 end) end,
       case when ending is null then brake end,
       case when held then holder end,
       held::int,
       ending,
       case when ending is not null then now end
from (
    select *, holder is not null and brake is null and ending is null as held
    from (
        select t.*, b.brake, clock_timestamp() as now,
               coalesce(t.given, case when t.deadline < clock_timestamp() then 'expired' end) as ending
        from unnest(:ids::uuid[], :asked::timestamptz[], :kinds::text[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :runs::int[],
                    :lanes::text[], :subjects::text[], :priorities::smallint[], :deadlines::timestamptz[],
                    :traceparents::text[], :payloads::text[], :currencies::text[], :prices::numeric[], :sorts::text[], :holders::text[],
                    :endings::text[])
             as t(id, asked, kind, workspace, request, job, run, lane, subject, priority, deadline, traceparent, payload,
                  currency, price, sort, holder, given)
        cross join lateral (
            select min(brake_id) as brake from brakes b
            where (b.kind, b.name) in (('lane', t.lane), ('backend', t.subject), ('workspace', t.workspace::text))
              and (b.workspace is null or b.workspace = t.workspace) and b.released_at is null
        ) b
    ) as asked
) as new
where not exists (select from work w where w.work_id = new.id and w.asked_at = '2000-01-01 00:00+00')
on conflict (work_id, asked_at) do nothing
returning work_id, outcome, created_at, parked is not null as parked;

-- name: begin_attempts(ids, workspaces, requests, jobs, runs, numbers, backends, currencies, reserved)!
-- The intent, in the transaction of the claim: before any backend is called, and with what it may cost set aside. Here and
-- below by workspace, so that two writers move the sums of two workspaces in one order.
insert into attempts (attempt_id, workspace, request_id, job_id, run, number, backend, currency, reserved)
select * from unnest(:ids::uuid[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :runs::int[], :numbers::int[],
                     :backends::text[], :currencies::text[], :reserved::numeric[]) as t(id, workspace)
order by workspace
on conflict (attempt_id) do nothing;

-- name: keep_provider_id(attempt, provider_id)!
-- As soon as the provider has named it: whoever asks them what became of the call needs it most when nothing else is known.
update attempts set provider_request_id = :provider_id where attempt_id = :attempt and state = 'started';

-- name: end_attempts(ids, workspaces, requests, jobs, runs, numbers, backends, states, costs, currencies, seconds, provider_ids, reasons, price_lists, latencies, device_times)!
-- Work that is over at once has no intent: there its only row begins and ends here.
insert into attempts as a (attempt_id, workspace, request_id, job_id, run, number, backend, state, cost, currency, seconds,
                           provider_request_id, reason, price_list, latency_seconds, device_seconds, ended_at)
select *, clock_timestamp()
from unnest(:ids::uuid[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :runs::int[], :numbers::int[], :backends::text[],
            :states::text[], :costs::numeric[], :currencies::text[], :seconds::float8[], :provider_ids::text[], :reasons::text[],
            :price_lists::text[], :latencies::float8[], :device_times::float8[]) as t(id, workspace)
order by workspace
on conflict (attempt_id) do update set
    state = excluded.state, cost = excluded.cost, currency = excluded.currency, seconds = excluded.seconds,
    provider_request_id = coalesce(excluded.provider_request_id, a.provider_request_id), reason = excluded.reason,
    price_list = excluded.price_list, latency_seconds = excluded.latency_seconds, device_seconds = excluded.device_seconds,
    ended_at = excluded.ended_at;

-- name: earlier_attempts(ids, billing, resumable)
-- What was tried before. An attempt without an end was lost with its worker: what it cost is not known, and where somebody
-- sends a bill neither is whether there was anything to bill. One that can be asked about by the provider's id stays open.
update attempts a set
    state = case when a.state <> 'started' or t.resumable and a.provider_request_id is not null then a.state
                 when t.bills then 'uncertain' else 'failed' end,
    reason = case when a.state <> 'started' or t.resumable and a.provider_request_id is not null then a.reason
                  when t.bills then 'backend_unavailable' else 'internal' end,
    ended_at = case when a.state <> 'started' or t.resumable and a.provider_request_id is not null then a.ended_at
                    else clock_timestamp() end
from unnest(:ids::uuid[], :billing::bool[], :resumable::bool[]) as t(id, bills, resumable)
where a.attempt_id = t.id
returning a.attempt_id, a.number, a.backend, a.state, a.cost, a.currency, a.seconds, a.provider_request_id, a.reason,
          a.price_list, a.latency_seconds, a.device_seconds,
          extract(epoch from clock_timestamp() - a.started_at)::float8 as age_seconds;

-- name: uncertain_attempts(backend, older, after, many)
-- Oldest first, and of one caller, as row-level security shows them. A replay is nobody's job's, and stands under its own id.
select *, extract(epoch from clock_timestamp() - started_at)::float8 as age_seconds
from (
    select attempt_id, request_id, job_id, run, null::uuid as asset_id, number, backend, currency, provider_request_id, reason,
           latency_seconds, started_at
    from attempts where state = 'uncertain'
    union all
    select replay_id, null, null, null, asset_id, number, backend, currency, provider_request_id, reason, null, called_at
    from replays where is_uncertain
) as u
where (:backend::text is null or backend = :backend)
  and started_at <= clock_timestamp() - make_interval(secs => :older::float8)
  and (:after::uuid is null
       or (started_at, attempt_id) > (coalesce((select b.started_at from attempts b where b.attempt_id = :after),
                                               (select r.called_at from replays r where r.replay_id = :after)), :after))
order by started_at, attempt_id limit :many;

-- name: count_uncertain()
select backend, count(*) as attempts
from (select backend from attempts where state = 'uncertain' union all select backend from replays where is_uncertain) as u
group by backend;

-- name: settle_uncertain(ids, states, costs, currencies, provider_ids, price_lists, latencies, by, note)
-- Only what is uncertain comes back: an attempt is settled once, whoever finds out.
update attempts a set
    state = t.state, cost = t.cost, currency = coalesce(t.currency, a.currency),
    provider_request_id = coalesce(t.provider_id, a.provider_request_id), price_list = t.price_list,
    latency_seconds = coalesce(t.latency, a.latency_seconds),
    reason = case when t.state = 'succeeded' then null else a.reason end,
    settled_by = :by, settled_at = clock_timestamp(), note = :note
from unnest(:ids::uuid[], :states::text[], :costs::numeric[], :currencies::text[], :provider_ids::text[],
            :price_lists::text[], :latencies::float8[])
     as t(id, state, cost, currency, provider_id, price_list, latency)
where a.attempt_id = t.id and a.state = 'uncertain'
returning a.attempt_id, a.workspace, a.request_id, a.job_id, a.run, a.number, a.backend, a.state, a.cost, a.currency,
          a.seconds, a.provider_request_id, a.reason, a.price_list, a.latency_seconds, a.device_seconds, a.settled_at;

-- name: settled_attempts(ids)
-- Of one caller, as row-level security shows them.
select attempt_id, state, cost, currency, settled_by, settled_at from attempts
where attempt_id = any(:ids::uuid[]) and state not in ('uncertain', 'started')
union all
select replay_id, case when cost > 0 then 'succeeded' else 'failed' end, cost, currency, settled_by, settled_at from replays
where replay_id = any(:ids::uuid[]) and settled_at is not null;

-- name: traces(ids)
-- What became known late goes on with its job's trace, as long as the job's work is kept.
select work_id, traceparent from work where work_id = any(:ids::uuid[]);

-- name: payloads(ids)
-- A fresh start repeats what a run before it was asked; one that was forgotten knows nothing.
select work_id, payload from work where work_id = any(:ids::uuid[]) and payload <> '';

-- name: forget(ids, asked, workspaces, requests, jobs, runs, kind, outcome)
-- Runs that are over as soon as they are heard of, for want of anything to make: only those that come back are new.
insert into work (work_id, asked_at, kind, workspace, request_id, job_id, run, ready_at, outcome, finished_at, payload)
select id, asked, :kind, workspace, request, job, run, null, :outcome, clock_timestamp(), ''
from unnest(:ids::uuid[], :asked::timestamptz[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :runs::int[])
     as t(id, asked, workspace, request, job, run)
where not exists (select from work w where w.work_id = id and w.asked_at = '2000-01-01 00:00+00')
on conflict (work_id, asked_at) do nothing
returning work_id, created_at;

-- name: tell_prediction(channel, attempt, at, oldest)$
-- Whoever polls for it may sit in any process. By the database's clock, so that no two hosts' are compared.
select count(pg_notify(:channel::text, :attempt::text)) > 0
where abs(extract(epoch from clock_timestamp()) - :at::float8) <= :oldest::float8;

-- name: current_time()$
-- Facts are dated by the database, never by a worker's host.
select clock_timestamp();

-- name: tell_attempts(ids, workspaces, requests, jobs, runs, numbers, backends, states, costs, currencies, seconds, provider_ids, reasons, price_lists, latencies, device_times)!
-- After a restore: how attempts ended that are under way here, or not known any more. What is settled stays so.
insert into attempts as a (attempt_id, workspace, request_id, job_id, run, number, backend, state, cost, currency, seconds,
                           provider_request_id, reason, price_list, latency_seconds, device_seconds, ended_at)
select distinct on (id) *, clock_timestamp()
from unnest(:ids::uuid[], :workspaces::uuid[], :requests::uuid[], :jobs::uuid[], :runs::int[], :numbers::int[], :backends::text[],
            :states::text[], :costs::numeric[], :currencies::text[], :seconds::float8[], :provider_ids::text[], :reasons::text[],
            :price_lists::text[], :latencies::float8[], :device_times::float8[])
     as t(id, workspace, request, job, run, number, backend, state, cost, currency, seconds, provider_id, reason, price_list, latency,
          device_time)
on conflict (attempt_id) do update set
    state = excluded.state, cost = excluded.cost, currency = excluded.currency, seconds = excluded.seconds,
    provider_request_id = coalesce(excluded.provider_request_id, a.provider_request_id), reason = excluded.reason,
    price_list = excluded.price_list, latency_seconds = excluded.latency_seconds, device_seconds = excluded.device_seconds,
    ended_at = excluded.ended_at
where a.state = 'started';

-- name: remember_payloads(ids, payloads)!
-- After a restore: what runs were asked that are over and whose work never came here, for fresh starts of them.
update work w set payload = t.payload from unnest(:ids::uuid[], :payloads::text[]) as t(id, payload)
where w.work_id = t.id and w.payload = '';

-- name: workspaces_with_routes()
select distinct workspace from library_items where kind = 'routes';

-- name: today()$
-- Which day it is for whatever begins or ends with a day (UTC), by the database's clock.
select (clock_timestamp() at time zone 'utc')::date;

-- name: published(workspace, kinds)
-- What a request of the workspace can name.
select kind, name, version, digest from library_items
where workspace = :workspace and state = 'published' and kind = any(:kinds::text[]) order by kind, name, version;
