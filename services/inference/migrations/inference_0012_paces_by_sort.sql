-- How long pictures take is known by what determines it: the backend, the model and the size.
-- depends: inference_0011_previews

-- migrate: apply

-- Before the first release: nobody waits for the table, and a pace is known again after the next picture.
-- squawk-ignore-file ban-drop-table, adding-required-field, constraint-missing-not-valid, ban-drop-column
alter table work add column sort text;
drop table paces;
create table paces (
    workspace uuid not null,
    backend text not null,
    sort text not null,
    seconds double precision not null,
    measured_at timestamptz not null default clock_timestamp(),
    primary key (workspace, backend, sort)
) with (fillfactor = 50);

-- migrate: rollback

drop table paces;
create table paces (
    workspace uuid not null,
    backend text not null,
    seconds double precision not null,
    measured_at timestamptz not null default clock_timestamp(),
    primary key (workspace, backend)
) with (fillfactor = 50);
alter table work drop column sort;
