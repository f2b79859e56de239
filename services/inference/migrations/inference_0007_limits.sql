-- What holds work up beside brakes and absences: what a day may cost, and how often somebody may be called.
-- depends: inference_0006_money

-- migrate: apply

-- What an attempt of it may cost. No currency: nothing. A currency and no price: nobody knows.
alter table work add column currency text, add column price numeric;
update work set currency = coalesce(payload::json ->> 'currency', 'USD'), price = (payload::json ->> 'price')::numeric
where ready_at is not null and coalesce((payload::json ->> 'price')::numeric, 1) > 0
  and (payload::json ->> 'price' is not null or payload::json ->> 'kind' in ('openai', 'stability', 'replicate', 'bedrock'));

-- What it was let go for; it counts as spent until its cost is known.
alter table attempts add column reserved numeric;

-- The sum of a day's attempts (UTC, by their beginning): `settled` of those whose cost is known, `reserved` of the others.
create table spend (
    workspace uuid not null,
    day date not null,
    currency text not null,
    settled numeric not null default 0,
    reserved numeric not null default 0,
    changed_at timestamptz not null default clock_timestamp(),
    primary key (workspace, day, currency)
) with (fillfactor = 50);

-- Whoever writes an attempt moves the sum with it, so that the two never differ. What costs nothing moves nothing.
create function move_spend() returns trigger language plpgsql as $$
begin
    insert into spend as s (workspace, day, currency, settled, reserved)
    select m.workspace, m.day, m.currency, sum(m.settled), sum(m.reserved)
    from (
        select new.workspace, (new.started_at at time zone 'utc')::date as day, new.currency, coalesce(new.cost, 0) as settled,
               case when new.cost is null then coalesce(new.reserved, 0) else 0 end as reserved
        union all
        select old.workspace, (old.started_at at time zone 'utc')::date, old.currency, -coalesce(old.cost, 0),
               case when old.cost is null then -coalesce(old.reserved, 0) else 0 end
        where tg_op = 'UPDATE'
    ) as m (workspace, day, currency, settled, reserved)
    group by m.workspace, m.day, m.currency order by m.currency
    on conflict (workspace, day, currency) do update set
        settled = s.settled + excluded.settled, reserved = s.reserved + excluded.reserved, changed_at = clock_timestamp();
    return null;
end $$;
create trigger spend_begins after insert on attempts for each row
    when (coalesce(new.cost, new.reserved, 0) <> 0) execute function move_spend();
create trigger spend_moves after update on attempts for each row
    when ((new.cost, new.currency, new.reserved) is distinct from (old.cost, old.currency, old.reserved)
          and (coalesce(new.cost, new.reserved, 0) <> 0 or coalesce(old.cost, old.reserved, 0) <> 0))
    execute function move_spend();

-- Token buckets: how many calls a backend or an account had left, and when. `tokens` null: it was not called yet.
create table meters (
    meter text primary key,
    tokens double precision,
    counted_at timestamptz not null default clock_timestamp()
);

-- Who claims what, seen a moment ago; and what a picture of a backend has taken lately, over all that make them.
create table claimers (
    holder text primary key,
    kinds text[] not null,
    slots integer not null,
    seen_at timestamptz not null default clock_timestamp()
);
create table paces (
    workspace uuid not null,
    backend text not null,
    seconds double precision not null,
    measured_at timestamptz not null default clock_timestamp(),
    primary key (workspace, backend)
) with (fillfactor = 50);

-- What is held is counted by every claim that a limit of calls concerns: few rows, whatever waits.
-- Before the first release: nobody waits for the table.
-- squawk-ignore-file require-concurrent-index-creation, require-concurrent-index-deletion, ban-drop-column, ban-drop-function
create index work_held on work (kind) where holder is not null;

-- migrate: rollback

drop index work_held;
drop table paces, claimers, meters;
drop trigger spend_moves on attempts;
drop trigger spend_begins on attempts;
drop function move_spend;
drop table spend;
alter table attempts drop column reserved;
alter table work drop column price, drop column currency;
