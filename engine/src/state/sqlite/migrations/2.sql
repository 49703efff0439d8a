-- How far repositories are behind, and each project's last run: the history drops the runs of projects
-- that run rarely when others run often.
-- From last_commit_sha to head_sha; NULL: nobody counted; -1: cannot be told.
ALTER TABLE repositories ADD COLUMN commits_behind INTEGER;
CREATE TABLE last_runs (
    project     TEXT PRIMARY KEY,
    run_id      TEXT NOT NULL,
    finished_at TEXT NOT NULL,
    outcome     TEXT NOT NULL,
    error       TEXT                      -- why it ended early, or its first failure
) WITHOUT ROWID;
INSERT OR REPLACE INTO last_runs
SELECT part.value ->> 'project', runs.id, finished_at, part.value ->> 'outcome',
       coalesce(part.value ->> '$.error.error', part.value ->> '$.failures[0].error')
FROM runs, json_each(report, '$.projects') AS part
WHERE finished_at IS NOT NULL ORDER BY started_at, runs.id;
