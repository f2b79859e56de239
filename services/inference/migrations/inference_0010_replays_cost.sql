-- What replays cost is part of what the workspace's day cost; a replay can be cancelled.
-- depends: inference_0009_unclaimed

-- migrate: apply

-- Before the first release: nobody waits for the table.
-- squawk-ignore-file adding-field-with-default, ban-drop-column
-- `reserved`: what it was let go for, `started_at`: when, and on which day it counts, as of an attempt.
alter table replays add column reserved numeric;
alter table replays add column started_at timestamptz not null default clock_timestamp();
alter table replays add column cancelled_by text;
update replays set started_at = asked_at;

create trigger replay_spend_moves after update on replays for each row
    when ((new.cost, new.currency, new.reserved) is distinct from (old.cost, old.currency, old.reserved)
          and (coalesce(new.cost, new.reserved, 0) <> 0 or coalesce(old.cost, old.reserved, 0) <> 0))
    execute function move_spend();

-- migrate: rollback

drop trigger replay_spend_moves on replays;
alter table replays drop column cancelled_by;
alter table replays drop column started_at;
alter table replays drop column reserved;
