-- A revision for each repository instead of one for the whole ledger, which every transaction had to change;
-- and the original system's tables as views with its columns and text ids, so that queries written for it
-- work.
ALTER TABLE repositories ADD COLUMN revision INTEGER NOT NULL DEFAULT 0; -- grows with its files' records
DROP TABLE counters;
ALTER TABLE projects RENAME TO project_rows;
ALTER TABLE sync_metadata RENAME TO files;
CREATE VIEW projects AS
SELECT name AS id, name, organization, filter_keyword, namespace, enabled, allowed_extensions, exclude_patterns,
       created_at, updated_at
FROM project_rows;
CREATE VIEW sync_metadata AS
SELECT project_rows.name AS project_id, repository, file_path, last_commit_sha, last_synced_at, embedding_count,
       status
FROM files JOIN project_rows ON project_rows.id = files.project_id;
