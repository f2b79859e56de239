-- name: keep(jobs, workspaces, images)!
-- The latest of each job.
insert into previews as p (job_id, workspace, image)
select * from unnest(:jobs::uuid[], :workspaces::uuid[], :images::bytea[])
on conflict (job_id) do update set image = excluded.image, drawn_at = excluded.drawn_at;

-- name: drop(jobs)!
-- With them what a worker left behind that was killed.
delete from previews where job_id = any(:jobs::uuid[]) or drawn_at < clock_timestamp() - interval '10 minutes';

-- name: preview(job)$
-- Of one caller, as row-level security shows them.
select image from previews where job_id = :job and drawn_at >= clock_timestamp() - interval '10 minutes';
