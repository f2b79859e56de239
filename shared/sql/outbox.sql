-- name: add_rows(topics, keys, headers, bodies)
-- One statement for a batch; `returning` comes back in the order of the arrays.
insert into outbox (topic, key, headers, body)
select * from unnest(:topics::text[], :keys::bytea[], :headers::text[], :bodies::text[])
returning id;

-- name: remove_rows(ids)!
-- By id and only what was acknowledged: rows commit out of order, so no high-water mark is safe.
delete from outbox where id = any(:ids::bigint[]);

-- name: left_behind(age, many, mine)
-- What a process that died, or could not send, left: oldest first. Refused rows wait for a person, and what the sweeping
-- process itself still holds is on its way.
select id, topic, key, headers, body from outbox
where created_at < clock_timestamp() - make_interval(secs => :age) and refused is null
  and id <> all(:mine::bigint[])
order by id limit :many;

-- name: set_aside(id, reason)!
-- Kept for a person: sent alone to a fresh producer, the broker refused it.
update outbox set refused = :reason where id = :id;

-- name: try_sweeper_lock()$
-- Held by the session: one sweeper per stage, and a dead one lets go with its connection.
select pg_try_advisory_lock(hashtext('calotype.outbox.' || current_schema()));
