-- Work that was queued before it said when it was asked for.
-- depends: publisher_0002_outages

-- migrate: apply

update work set asked_at = a.approved_at
from publications p join assets a using (asset_version_id)
where p.publication_id = work.work_id and work.asked_at = '2000-01-01 00:00+00';

-- migrate: rollback

select 1;
