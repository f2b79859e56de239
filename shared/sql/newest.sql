-- name: keep_newest(topics, keys, workspaces, versions, revisions, headers, bodies)!
insert into newest as n (topic, key, workspace, version, revision, headers, body)
select distinct on (topic, key) * from unnest(:topics::text[], :keys::bytea[], :workspaces::uuid[], :versions::int[],
    :revisions::bigint[], :headers::text[], :bodies::text[]) as t(topic, key, workspace, version, revision, headers, body)
order by topic, key, version desc, revision desc
on conflict (topic, key) do update set
    version = excluded.version, revision = excluded.revision, headers = excluded.headers, body = excluded.body
where (excluded.version, excluded.revision) > (n.version, n.revision);

-- name: newer(topics, keys, bodies)
-- What has to follow these records, because one of them was not the newest of its key.
select distinct n.topic, n.key, n.headers, n.body
from newest n join unnest(:topics::text[], :keys::bytea[], :bodies::text[]) as sent(topic, key, body)
  on n.topic = sent.topic and n.key = sent.key and n.body <> sent.body;
