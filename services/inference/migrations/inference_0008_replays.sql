-- Images made again from their manifests, and what came of it.
-- depends: inference_0007_limits

-- migrate: apply

-- A replay is nobody's job: it has a row of work, and this one, which stays. `number` counts an asset's replays.
-- `called_at`: when somebody was called who sends a bill; once that is written nobody is called again for this replay.
-- Cost null: not known, which is not 0.
create table replays (
    replay_id uuid primary key,
    workspace uuid not null,
    asset_id uuid not null,
    number integer not null,
    manifest_sha256 text not null,
    backend text not null,
    asked_by text not null,
    asked_at timestamptz not null default clock_timestamp(),
    state text not null default 'pending',
    step integer,
    steps integer,
    verdict text,
    measure text,
    changed text,
    reason text,
    detail text,
    cost numeric,
    currency text not null default 'USD',
    price_list text,
    provider_request_id text,
    called_at timestamptz,
    seconds double precision,
    ended_at timestamptz,
    unique (asset_id, number)
);

-- migrate: rollback

drop table replays;
