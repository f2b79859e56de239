-- name: act(workspace, principal, action, subject, detail)!
insert into operator_actions (workspace, principal, action, subject, detail)
values (:workspace, :principal, :action, :subject, :detail);

-- name: actions(principal, action, before, many)
-- Newest first. Only the caller's workspace: row-level security stands in for the condition.
select seq, workspace, acted_at, principal, action, subject, detail from operator_actions
where (:principal::text is null or principal = :principal)
  and (:action::text is null or action = :action or starts_with(action, :action || '.'))
  and (:before::bigint is null or seq < :before)
order by seq desc limit :many;
