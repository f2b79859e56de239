-- What each picture measures, so that a set can be compared with itself.
-- depends: catalog_0006_versions

-- migrate: apply

-- `campaign`, '' for none, and `asset_type` say which set it is of. `colours` is JSON: five of them with their shares.
create table measures (
    asset_id uuid not null,
    asset_version_id uuid not null,
    workspace uuid not null,
    job_id uuid not null,
    run integer not null,
    processed_at timestamptz not null,
    campaign text not null,
    asset_type text not null,
    exposure double precision not null,
    product_scale double precision,
    centre_x double precision,
    centre_y double precision,
    colours text not null,
    primary key (asset_id, asset_version_id)
);
create index measures_of_set on measures (workspace, campaign, asset_type, processed_at);

-- migrate: rollback

drop table measures;
