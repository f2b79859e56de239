-- Work that was queued before it said when it was asked for.
-- depends:

-- migrate: apply

-- What was over at once kept nothing that says it: heard again within the week after, its fact leaves once more, as the
-- same event.
update work set asked_at = (payload::json ->> 'occurred_at')::timestamptz
where asked_at = '2000-01-01 00:00+00' and payload <> '';

-- migrate: rollback

select 1;
