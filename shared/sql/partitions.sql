-- name: hold_partitions()$
-- One of a stage's processes makes and drops partitions; the others find it done.
select pg_try_advisory_xact_lock(hashtext('calotype.partitions.' || current_schema()));

-- name: be_brief()!
-- What waits for a lock here makes everybody behind it wait: rather try again later.
set local lock_timeout = '300ms';

-- name: partitions(parent)
-- Name, end of range, bytes and about how many rows; without the one for everything else, which has no range.
select c.relname as name,
       (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([^'']+)''\)'))[1]::timestamptz as until,
       pg_total_relation_size(c.oid) as bytes, greatest(c.reltuples, 0)::bigint as rows
from pg_inherits i join pg_class c on c.oid = i.inhrelid
where i.inhparent = to_regclass(:parent) and pg_get_expr(c.relpartbound, c.oid) <> 'DEFAULT'
order by until;

-- name: make_partition(parent, moment, since, until)$
select make_partition(:parent, :moment, :since, :until);

-- name: current_week()^
-- Partitions begin on Mondays, Greenwich time.
select clock_timestamp() as now, date_trunc('week', clock_timestamp(), 'utc') as week;
