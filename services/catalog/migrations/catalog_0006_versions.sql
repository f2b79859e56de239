-- A version that is made anew of an approved asset waits for a person though its job has ended.
-- depends: catalog_0005_device

-- migrate: apply

alter table assets add column supersedes uuid;
alter table awaiting_review add column supersedes uuid;

-- migrate: rollback

-- Before the first release: nobody reads them.
-- squawk-ignore-file ban-drop-column
alter table awaiting_review drop column supersedes;
alter table assets drop column supersedes;
