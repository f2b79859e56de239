-- name: one_at_a_time(asset)$
-- Who asks twice before the first answer gets the first one's: of two at once, one asks after the other.
select pg_advisory_xact_lock(hashtext('calotype.replays.' || :asset::uuid::text));

-- name: last(asset)^
select number, ended_at is not null as ended, replay_id, manifest_sha256 from replays
where asset_id = :asset order by number desc limit 1;

-- name: ask(replay, workspace, asset, number, manifest, backend, by, currency, price_list)$
insert into replays (replay_id, workspace, asset_id, number, manifest_sha256, backend, asked_by, currency, price_list)
values (:replay, :workspace, :asset, :number, :manifest, :backend, :by, :currency, :price_list) returning asked_at;

-- name: price(replay, asked, currency, amount)!
-- What it may cost stands at its work, as a job's does: claims hold it to the cap of its workspace.
update work set currency = :currency, price = :amount where work_id = :replay and asked_at = :asked;

-- name: reserved(replays)
-- What was let go before, and not found to have cost nothing since.
select replay_id from replays where replay_id = any(:replays::uuid[]) and reserved is not null;

-- name: reserve(replays, amounts)!
update replays r set reserved = t.amount, started_at = clock_timestamp()
from unnest(:replays::uuid[], :amounts::numeric[]) as t(replay_id, amount) where r.replay_id = t.replay_id;

-- name: waiting(replays)
-- As rows of jobs that wait, to be told where they stand.
select w.work_id as job_id, w.kind, w.lane, w.workspace, w.subject, w.priority, w.created_at, w.currency, w.price, w.sort, w.detail,
       case when w.ready_at > clock_timestamp() then w.ready_at end as later
from replays r join work w on w.work_id = r.replay_id and w.asked_at = r.asked_at
where r.replay_id = any(:replays::uuid[]) and w.ready_at is not null and w.holder is null and w.parked is null;

-- name: drop(replay)$
-- Ends what nobody works on; the row of work before the replay's, as a settlement does.
update work w set ready_at = null, parked = null, holder = null, outcome = 'cancelled', finished_at = clock_timestamp()
from replays r where r.replay_id = :replay and w.work_id = r.replay_id and w.asked_at = r.asked_at
  and w.ready_at is not null and (w.holder is null or w.ready_at < clock_timestamp())
returning w.payload;

-- name: cancel(replay, by)$
update replays set cancelled_by = :by where replay_id = :replay and ended_at is null and cancelled_by is null
returning asset_id;

-- name: cancelled_by(replay)$
select cancelled_by from replays where replay_id = :replay;

-- name: note_step(replay, step, steps)!
update replays set step = :step, steps = :steps where replay_id = :replay and ended_at is null;

-- name: begin_call(replay, once)$
-- Before anybody is asked for the image. Of who sends a bill nothing comes back where that was written before: then it is
-- not done again.
update replays set called_at = clock_timestamp(), provider_request_id = null
where replay_id = :replay and (called_at is null or not :once) and cancelled_by is null and ended_at is null returning true;

-- name: try_later(replay, free, away, device)!
-- What is known to have cost nothing is as if nobody had been asked; of anything else the money stays set aside.
update replays set
    called_at = case when not :free then called_at end, reserved = case when not :free then reserved end,
    away_since = case when :away then coalesce(away_since, clock_timestamp()) end,
    device_seconds = coalesce(device_seconds + :device, :device, device_seconds)
where replay_id = :replay;

-- name: is_long_away(replay, patience)$
select away_since < clock_timestamp() - :patience::interval from replays where replay_id = :replay;

-- name: before(replay)^
select called_at is not null as was_called, provider_request_id, cancelled_by, ended_at is not null as is_over from replays where replay_id = :replay;

-- name: keep_provider_id(replay, provider_id)!
-- As soon as the provider has named it, as of an attempt.
update replays set provider_request_id = :provider_id where replay_id = :replay and ended_at is null;

-- name: settle_uncertain(ids, costs, currencies, provider_ids, price_lists, by, note)
-- As of attempts: only what is uncertain comes back.
update replays r set
    is_uncertain = false, cost = t.cost, currency = coalesce(t.currency, r.currency), price_list = t.price_list,
    provider_request_id = coalesce(t.provider_id, r.provider_request_id),
    settled_by = :by, settled_at = clock_timestamp(), note = :note
from unnest(:ids::uuid[], :costs::numeric[], :currencies::text[], :provider_ids::text[], :price_lists::text[])
     as t(id, cost, currency, provider_id, price_list)
where r.replay_id = t.id and r.is_uncertain
returning r.replay_id;

-- name: end_replay(replay, state, verdict, measure, changed, reason, detail, cost, currency, price_list, provider_id, seconds, device, uncertain)!
-- Where nobody was asked for the image it cost nothing, which who ends it need not know.
update replays set
    state = :state, verdict = :verdict, measure = :measure, changed = :changed, reason = :reason, detail = :detail,
    cost = case when called_at is null then 0 else :cost::numeric end, currency = coalesce(:currency, currency),
    price_list = :price_list, provider_request_id = coalesce(:provider_id, provider_request_id), seconds = :seconds,
    device_seconds = coalesce(device_seconds + :device, :device, device_seconds), ended_at = clock_timestamp(),
    is_uncertain = :uncertain and called_at is not null
where replay_id = :replay and ended_at is null;

-- name: replays(asset, replay, many)
-- Newest first; of one caller, as row-level security shows them. Running is what somebody holds a lease of.
select r.replay_id, r.asset_id, r.number, r.manifest_sha256, r.backend, r.asked_by, r.asked_at,
       case when r.state = 'pending' and w.holder is not null then 'running' else r.state end as state,
       r.step, r.steps, r.verdict, r.measure, r.changed, r.reason, coalesce(r.detail, 'cancelled by ' || r.cancelled_by, w.detail) as detail, r.cost, r.currency,
       r.price_list, r.provider_request_id, r.seconds, r.device_seconds, r.is_uncertain as uncertain, r.ended_at
from replays r left join work w on w.work_id = r.replay_id and w.asked_at = r.asked_at and w.ready_at is not null
where (:asset::uuid is null or r.asset_id = :asset) and (:replay::uuid is null or r.replay_id = :replay)
order by r.asked_at desc, r.number desc limit :many;
