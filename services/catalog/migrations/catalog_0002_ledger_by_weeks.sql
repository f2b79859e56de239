-- The ledger stands in partitions by the time of the fact: what is written now meets a small index, however long the past.
-- depends: catalog_0001_ledger

-- migrate: apply

select partition_by_time('ledger', 'occurred_at');
select make_partition('ledger', 'occurred_at', week, week + interval '7 days')
from generate_series(date_trunc('week', now(), 'utc'), now() + interval '7 days', interval '7 days') as week;

-- migrate: rollback

-- squawk-ignore-file renaming-table, ban-drop-constraint, constraint-missing-not-valid, adding-serial-primary-key-field
create table ledger_before (like ledger including all);
insert into ledger_before select * from ledger;
drop table ledger;
alter table ledger_before rename to ledger;
alter table ledger drop constraint ledger_before_pkey, add primary key (about, event_id);
