-- What a stage's metrics say of its tables. Asked seldom (gauges.py): with a large backlog each of these reads all of it.

-- name: outbox()^
select count(*) filter (where refused is null) as waiting, count(*) filter (where refused is not null) as refused,
       coalesce(extract(epoch from clock_timestamp() - min(created_at) filter (where refused is null)), 0)::float8 as oldest
from outbox;

-- name: work()
select kind, lane,
       count(*) filter (where holder is not null and ready_at >= clock_timestamp()) as running,
       count(*) filter (where holder is not null and ready_at < clock_timestamp()) as lost,
       count(*) filter (where holder is null and parked is null and ready_at <= clock_timestamp()) as waiting,
       count(*) filter (where holder is null and parked is null and ready_at > clock_timestamp()) as delayed,
       count(*) filter (where parked is not null) as held,
       coalesce(extract(epoch from clock_timestamp() - min(created_at) filter (where holder is null and parked is null)), 0)::float8
           as oldest
from work where ready_at is not null group by kind, lane;

-- name: brakes()
select kind, mode, count(*) as brakes from brakes where released_at is null group by kind, mode;
