-- Of every attempt: the provider's id of the call, how long it took, and which price list its cost is from.
-- depends: catalog_0002_ledger_by_weeks

-- migrate: apply

alter table attempts add column provider_request_id text;
alter table attempts add column latency_seconds double precision;
alter table attempts add column price_list text;

-- migrate: rollback

-- Before the first release: nobody reads them.
-- squawk-ignore-file ban-drop-column
alter table attempts drop column price_list;
alter table attempts drop column latency_seconds;
alter table attempts drop column provider_request_id;
