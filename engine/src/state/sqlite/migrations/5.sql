-- Files hang on a target, a project in a place, instead of on the project. The table is rebuilt because
-- its key changes. A file without a place holds nothing yet and belongs to the place that runs write to; the
-- place adopted last is that one. And what the guards withheld in a project's last run.
CREATE TABLE targets (
    id         INTEGER PRIMARY KEY,
    project_id INTEGER NOT NULL REFERENCES project_rows(id) ON DELETE CASCADE,
    place_id   INTEGER NOT NULL REFERENCES places(id),
    recipe     TEXT,           -- fingerprint of what decides, besides the trees, what runs write there
    state      TEXT NOT NULL CHECK (state IN ('building', 'live', 'retired')),
    adopted_at TEXT,           -- NULL: what the place held of the project was not taken in
    UNIQUE (project_id, place_id)
);
CREATE UNIQUE INDEX targets_live ON targets (project_id) WHERE state = 'live';
INSERT INTO targets (project_id, place_id, state, adopted_at)
SELECT project_id, place_id, 'retired', max(adopted_at) FROM (
    SELECT project_id, place_id, adopted_at FROM adoptions
    UNION ALL SELECT DISTINCT project_id, place_id, NULL FROM files WHERE place_id IS NOT NULL)
GROUP BY project_id, place_id;
UPDATE targets SET state = CASE
    WHEN (SELECT first_run_ended_at FROM project_rows WHERE project_rows.id = project_id) IS NULL THEN 'building'
    ELSE 'live' END
WHERE id IN (SELECT first_value(id) OVER (PARTITION BY project_id ORDER BY adopted_at DESC, id DESC) FROM targets);
DROP TABLE adoptions;
DROP VIEW sync_metadata;
CREATE TABLE files_5 (
    id              INTEGER PRIMARY KEY,
    target_id       INTEGER NOT NULL REFERENCES targets(id) ON DELETE CASCADE,
    repository      TEXT NOT NULL,
    file_path       TEXT NOT NULL,
    last_commit_sha TEXT,
    last_synced_at  TEXT,
    embedding_count INTEGER NOT NULL,
    status          TEXT NOT NULL,        -- synced, skipped, failed, adopted, damaged
    blob_sha        TEXT,                 -- of what the index holds; NULL: it holds nothing
    recipe          TEXT,
    detail          TEXT,                 -- the error, or why it is skipped
    UNIQUE (target_id, repository, file_path)
);
INSERT INTO files_5
SELECT files.id, targets.id, repository, file_path, last_commit_sha, last_synced_at, embedding_count, status,
       blob_sha, files.recipe, detail
FROM files JOIN targets ON targets.project_id = files.project_id
    AND (targets.place_id = files.place_id OR files.place_id IS NULL AND targets.state <> 'retired');
DROP TABLE files;
ALTER TABLE files_5 RENAME TO files;
CREATE INDEX files_unsettled ON files (target_id, repository) WHERE status NOT IN ('synced', 'skipped');
CREATE INDEX files_blob ON files (target_id, blob_sha);
ALTER TABLE last_runs ADD COLUMN withheld TEXT NOT NULL DEFAULT '[]'; -- JSON: what guards withheld
CREATE VIEW sync_metadata AS
SELECT project_rows.name AS project_id, repository, file_path, last_commit_sha, last_synced_at, embedding_count,
       status
FROM files JOIN targets ON targets.id = target_id JOIN project_rows ON project_rows.id = targets.project_id;
