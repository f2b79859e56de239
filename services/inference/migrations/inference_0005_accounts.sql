-- Accounts with providers that did not take a call when they were last asked.
-- depends: inference_0004_flows

-- migrate: apply

-- No row: it answers. `probe_at` is set when so many calls failed in a row, or it asked for patience: it is left alone
-- until then. `busy`: it answered that it is asked too often.
create table outages (
    account text primary key,
    failures integer not null,
    since timestamptz not null,
    cause text not null,
    busy boolean not null default false,
    probe_at timestamptz
);

-- Work of a provider is claimed by its account.
update work set kind = concat_ws('/', kind, payload::json #>> '{call, provider}')
where ready_at is not null and payload::json #>> '{call, provider}' is not null and kind not like '%/%/%';

-- migrate: rollback

drop table outages;
update work set kind = concat_ws('/', split_part(kind, '/', 1), split_part(kind, '/', 2))
where ready_at is not null and kind like '%/%/%';
