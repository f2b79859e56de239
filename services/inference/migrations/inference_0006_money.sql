-- Of every attempt: which price list its cost is from, and how long the provider's call took.
-- depends: inference_0005_accounts

-- migrate: apply

alter table attempts add column price_list text;
alter table attempts add column latency_seconds double precision;

-- migrate: rollback

-- Before the first release: nobody reads them.
-- squawk-ignore-file ban-drop-column
alter table attempts drop column latency_seconds;
alter table attempts drop column price_list;
