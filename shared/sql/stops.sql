-- name: stops()
select consumer_group, topic, partition, bad, looked_at from consumer_stops;

-- name: stop(consumer_group, topic, partition, bad, looked_at)!
-- The first member's word; the others of its group stop because of it.
insert into consumer_stops (consumer_group, topic, partition, bad, looked_at)
values (:consumer_group, :topic, :partition, :bad, :looked_at)
on conflict do nothing;

-- name: resume(consumer_group)$
delete from consumer_stops where consumer_group = :consumer_group returning 1;
