-- Finished work and cancels go by whole weeks, never row by row.
-- depends: shared_0002_brakes

-- migrate: apply

-- Turns a table into one that is partitioned by a time that is part of the fact, never the time of receipt: the key gets
-- that column, so the same fact heard twice finds its row in the one partition it can be in. What was there, and
-- whatever no partition is made for, stands in `<table>_elsewhen`.
create function partition_by_time(parent text, moment text) returns void language plpgsql as $$
declare
    indexes text[]; key text; each text;
begin
    select array_agg(pg_get_indexdef(indexrelid)) into indexes
    from pg_index where indrelid = parent::regclass and not indisprimary;
    for each in select indexrelid::regclass from pg_index where indrelid = parent::regclass and not indisprimary loop
        execute format('drop index %s', each);
    end loop;
    select string_agg(quote_ident(a.attname), ', ' order by array_position(i.indkey::int[], a.attnum::int)) into key
    from pg_index i join pg_attribute a on a.attrelid = i.indrelid and a.attnum = any(i.indkey)
    where i.indrelid = parent::regclass and i.indisprimary;
    execute format('alter table %I drop constraint %I', parent, parent || '_pkey');
    execute format('alter table %I rename to %I', parent, parent || '_elsewhen');
    execute format('create table %I (like %I including defaults including constraints) partition by range (%I)',
                   parent, parent || '_elsewhen', moment);
    execute format('alter table %I add primary key (%s, %I)', parent, key, moment);
    execute format('alter table %I attach partition %I default', parent, parent || '_elsewhen');
    foreach each in array coalesce(indexes, '{}') loop
        execute each;
    end loop;
end $$;

-- Makes one partition; what came before there was one for its time moves in.
create function make_partition(parent text, moment text, since timestamptz, until timestamptz) returns text
language plpgsql as $$
declare
    child text := parent || '_' || to_char(since at time zone 'utc', 'YYYYMMDD');
    options text := (select array_to_string(reloptions, ', ') from pg_class where oid = (parent || '_elsewhen')::regclass);
begin
    execute format('create table %I (like %I including defaults including constraints) %s', child, parent || '_elsewhen',
                   'with (' || options || ')');
    execute format('with moved as (delete from %I where %I >= $1 and %I < $2 returning *) insert into %I select * from moved',
                   parent || '_elsewhen', moment, moment, child) using since, until;
    execute format('alter table %I attach partition %I for values from (%L) to (%L)', parent, child, since, until);
    return child;
end $$;

-- When the fact was first written that asks for the work. Work that no fact asks for is of the year 2000.
alter table work add column asked_at timestamptz not null default '2000-01-01 00:00+00';
alter table work set (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 5000);
alter table tombstones add column asked_at timestamptz not null default '2000-01-01 00:00+00';
select partition_by_time('work', 'asked_at'), partition_by_time('tombstones', 'asked_at');
select make_partition(parent, 'asked_at', week, week + interval '7 days')
from unnest(array['work', 'tombstones']) as parent,
     generate_series(date_trunc('week', now(), 'utc'), now() + interval '7 days', interval '7 days') as week;

-- migrate: rollback

-- squawk-ignore-file ban-drop-column, renaming-table, ban-drop-constraint, constraint-missing-not-valid, adding-serial-primary-key-field, ban-drop-function
create table work_before (like work including all);
insert into work_before select * from work;
drop table work;
alter table work_before rename to work;
alter table work drop constraint work_before_pkey, drop column asked_at, add primary key (work_id);
create table tombstones_before (like tombstones including all);
insert into tombstones_before select * from tombstones;
drop table tombstones;
alter table tombstones_before rename to tombstones;
alter table tombstones drop constraint tombstones_before_pkey, drop column asked_at, add primary key (request_id, job_id);
drop function make_partition, partition_by_time;
