-- Requests for more like an asset know it.
-- depends: catalog_0003_calls

-- migrate: apply

alter table requests add column parent_asset_id uuid;
-- Before the first release: nobody waits for the table.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion, ban-drop-column
create index requests_of_parent on requests (parent_asset_id) where parent_asset_id is not null;

-- migrate: rollback

drop index requests_of_parent;
alter table requests drop column parent_asset_id;
