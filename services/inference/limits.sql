-- name: lock_caps(workspaces)
-- Held until the claim is over, in one order everywhere: what one claim leaves of a cap the next one sees.
select workspace, (limits::json ->> 'spend_per_day')::numeric as cap from workspaces
where workspace = any(:workspaces::uuid[]) and limits::json ->> 'spend_per_day' is not null
order by workspace for no key update;

-- name: spent(workspaces)
-- A statement of its own: one that has waited for the lock above does not see what was written meanwhile.
select workspace, currency, settled, reserved, changed_at from spend
where workspace = any(:workspaces::uuid[]) and day = (clock_timestamp() at time zone 'utc')::date;

-- name: put_back(ids, asked)!
-- What was taken and is not affordable after all waits on as it did.
update work w set holder = null, ready_at = clock_timestamp()
from unnest(:ids::uuid[], :asked::timestamptz[]) as t(work_id, asked_at)
where w.work_id = t.work_id and w.asked_at = t.asked_at;

-- name: meters(meters)
-- Held until the claim is over: calls at once are counted, and tokens taken, by one claim after the other.
select meter, tokens, extract(epoch from clock_timestamp() - counted_at)::float8 as seconds from meters
where meter = any(:meters::text[]) order by meter for update;

-- name: open_meters(meters)!
insert into meters (meter) select * from unnest(:meters::text[]) as m order by m on conflict do nothing;

-- name: under_way(kinds)
-- What is being called now, by whom.
select kind, workspace, subject, count(*) as calls from work
where kind = any(:kinds::text[]) and holder is not null and ready_at > clock_timestamp()
group by kind, workspace, subject;

-- name: count_calls(meters, tokens)!
update meters m set tokens = t.tokens, counted_at = clock_timestamp()
from unnest(:meters::text[], :tokens::float8[]) as t(meter, tokens) where m.meter = t.meter;
