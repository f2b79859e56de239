-- Work that was queued before it said when it was asked for.
-- depends: inference_0002_brakes

-- migrate: apply

update work set asked_at = (payload::json #>> '{event, occurred_at}')::timestamptz
where asked_at = '2000-01-01 00:00+00' and payload <> '' and run = 1;

-- migrate: rollback

select 1;
