-- name: keep_workspaces(workspaces, names, states, limits, undo, revisions)
-- The highest revision wins, whatever order the topic is read in. In the order in which inference's claims lock them.
insert into workspaces as w (workspace, name, state, limits, undo_seconds, revision)
select * from unnest(:workspaces::uuid[], :names::text[], :states::text[], :limits::text[], :undo::float8[], :revisions::bigint[])
    as t(workspace)
order by workspace
on conflict (workspace) do update set
    name = excluded.name, state = excluded.state, limits = excluded.limits,
    undo_seconds = excluded.undo_seconds, revision = excluded.revision
where excluded.revision >= w.revision
returning workspace;

-- name: forget_keys(workspaces)!
-- A key that the workspace's newest state does not name is gone.
delete from api_keys where workspace = any(:workspaces::uuid[]);

-- name: keep_keys(ids, workspaces, hashes, principals, roles, active)!
insert into api_keys (key_id, workspace, sha256, principal, roles, active)
select id, workspace, sha256, principal, string_to_array(roles, ','), active
from unnest(:ids::text[], :workspaces::uuid[], :hashes::text[], :principals::text[], :roles::text[], :active::bool[])
     as t(id, workspace, sha256, principal, roles, active)
on conflict (key_id) do update set
    sha256 = excluded.sha256, principal = excluded.principal, roles = excluded.roles, active = excluded.active;

-- name: keep_items(workspaces, kinds, names, versions, digests, states, owners, documents, revisions)!
-- Of one version the highest revision wins, whatever order the topic is read in.
insert into library_items as i (workspace, kind, name, version, digest, state, owner, document, revision)
select * from unnest(:workspaces::uuid[], :kinds::text[], :names::text[], :versions::int[], :digests::text[], :states::text[],
                     :owners::text[], :documents::text[], :revisions::bigint[])
on conflict (workspace, kind, name, version) do update set
    digest = excluded.digest, state = excluded.state, owner = excluded.owner, document = excluded.document,
    revision = excluded.revision
where excluded.revision >= i.revision;

-- name: key(key_id)^
select k.key_id, k.workspace, k.sha256, k.principal, k.roles, k.active, w.name as workspace_name, w.state
from api_keys k join workspaces w using (workspace) where k.key_id = :key_id;

-- name: newest_items(workspaces, kind)
-- Of each workspace, whichever it has.
select n.* from unnest(:workspaces::uuid[]) as w(workspace) cross join lateral (
    select distinct on (name) workspace, name, document from library_items i
    where i.workspace = w.workspace and i.kind = :kind and i.state = 'published'
    order by name, version desc
) as n where n.document is not null;
