-- Which request and which project a run belongs to; every selected repository, also one that was
-- never indexed; when a project's first run ended.
ALTER TABLE runs ADD COLUMN request TEXT;   -- the request that asked for the run; its own id where it asked for one
ALTER TABLE runs ADD COLUMN project TEXT;   -- NULL: several, or what the file does not declare any more
UPDATE runs SET
    request = CASE instr(id, '.') WHEN 0 THEN id ELSE substr(id, 1, instr(id, '.') - 1) END,
    project = CASE
        WHEN id LIKE '%.orphans.' THEN NULL
        WHEN json_array_length(report, '$.projects') = 1 THEN report ->> '$.projects[0].project'
        WHEN report IS NULL AND instr(id, '.') > 0 THEN substr(id, instr(id, '.') + 1)
    END;
CREATE INDEX runs_by_start ON runs (started_at, id);
CREATE INDEX runs_by_request ON runs (request);
CREATE INDEX runs_by_project ON runs (project, started_at, id);
CREATE TABLE selected_repositories (
    project_id INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    error      TEXT,                        -- why the last run could not index it; NULL: it could
    empty      INTEGER NOT NULL DEFAULT 0,  -- it has no commits
    PRIMARY KEY (project_id, name)
) WITHOUT ROWID;
-- When a run of the project first came to its end: the spending guard lets a first run pass.
ALTER TABLE projects ADD COLUMN first_run_ended_at TEXT;
UPDATE projects SET first_run_ended_at = updated_at
WHERE id IN (SELECT project_id FROM repositories WHERE last_commit_sha IS NOT NULL);
