-- `projects` and `sync_metadata` begin with the original system's columns; see version 4.
CREATE TABLE projects (
    id                 INTEGER PRIMARY KEY,
    name               TEXT NOT NULL UNIQUE,
    organization       TEXT,
    filter_keyword     TEXT,
    namespace          TEXT NOT NULL,
    enabled            INTEGER NOT NULL,
    allowed_extensions TEXT,              -- JSON array; NULL: every text file
    exclude_patterns   TEXT NOT NULL,     -- JSON array
    created_at         TEXT NOT NULL,
    updated_at         TEXT NOT NULL,
    selection          TEXT               -- fingerprint of the selection of the last finished run
);
CREATE TABLE places (
    id        INTEGER PRIMARY KEY,
    kind      TEXT NOT NULL,
    host      TEXT NOT NULL,
    idx       TEXT NOT NULL,
    namespace TEXT NOT NULL,
    UNIQUE (kind, host, idx, namespace)
);
-- A place is known to a project once what it held was taken in, whole.
CREATE TABLE adoptions (
    project_id INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    place_id   INTEGER NOT NULL REFERENCES places(id),
    adopted_at TEXT NOT NULL,
    PRIMARY KEY (project_id, place_id)
) WITHOUT ROWID;
CREATE TABLE repositories (
    project_id      INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    name            TEXT NOT NULL,
    key             TEXT NOT NULL,        -- the source's stable key
    entry           TEXT,                 -- the listing's entry at the last finished sync, JSON
    last_commit_sha TEXT,
    last_synced_at  TEXT,
    head_sha        TEXT,                 -- the head last seen, indexed or not
    head_asked_at   TEXT,
    settled         INTEGER NOT NULL DEFAULT 0, -- nothing failed, nothing withheld
    basis           TEXT,                 -- fingerprint of what decides which files, and how
    orphan_since    TEXT,
    PRIMARY KEY (project_id, name)
) WITHOUT ROWID;
CREATE TABLE recipes (
    fingerprint TEXT PRIMARY KEY,
    parts       TEXT NOT NULL             -- JSON object: what it is made of, for the reasons of a plan
) WITHOUT ROWID;
CREATE TABLE sync_metadata (
    id              INTEGER PRIMARY KEY,
    project_id      INTEGER NOT NULL REFERENCES projects(id) ON DELETE CASCADE,
    repository      TEXT NOT NULL,
    file_path       TEXT NOT NULL,
    last_commit_sha TEXT,
    last_synced_at  TEXT,
    embedding_count INTEGER NOT NULL,
    status          TEXT NOT NULL,        -- synced, skipped, failed, adopted, damaged
    blob_sha        TEXT,                 -- of what the index holds; NULL: it holds nothing
    recipe          TEXT,
    place_id        INTEGER REFERENCES places(id),
    detail          TEXT,                 -- the error, or why it is skipped
    UNIQUE (project_id, repository, file_path)
);
CREATE INDEX sync_metadata_unsettled ON sync_metadata (project_id, repository) WHERE status NOT IN ('synced', 'skipped');
CREATE INDEX sync_metadata_blob ON sync_metadata (project_id, blob_sha);
CREATE TABLE chunks (
    file_id     INTEGER NOT NULL REFERENCES sync_metadata(id) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    fingerprint TEXT NOT NULL,            -- of the record's metadata, without commit_sha and url
    PRIMARY KEY (file_id, id)
) WITHOUT ROWID;
-- Ids that are about to exist or to go, so may exist: written before an upsert, closed with the file's rows.
CREATE TABLE intents (
    place_id   INTEGER NOT NULL REFERENCES places(id),
    id         TEXT NOT NULL,
    project    TEXT NOT NULL,
    repository TEXT NOT NULL,
    file_path  TEXT NOT NULL,
    PRIMARY KEY (place_id, id)
) WITHOUT ROWID;
CREATE INDEX intents_file ON intents (project, repository, file_path);
-- Ids in a place that a file has left: to be deleted, once the file is whole in its new place.
CREATE TABLE leftovers (
    place_id   INTEGER NOT NULL REFERENCES places(id),
    id         TEXT NOT NULL,
    project    TEXT NOT NULL,
    repository TEXT NOT NULL,
    file_path  TEXT NOT NULL,
    PRIMARY KEY (place_id, id)
) WITHOUT ROWID;
CREATE INDEX leftovers_project ON leftovers (project);
CREATE TABLE runs (
    id          TEXT PRIMARY KEY,
    trigger     TEXT NOT NULL,
    started_at  TEXT NOT NULL,
    finished_at TEXT,
    outcome     TEXT,
    report      TEXT                      -- JSON; NULL while it runs, or when it was killed
) WITHOUT ROWID;
CREATE TABLE run_events (
    run_id TEXT NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    seq    INTEGER NOT NULL,
    at     TEXT NOT NULL,
    event  TEXT NOT NULL,                 -- JSON
    PRIMARY KEY (run_id, seq)
) WITHOUT ROWID;
-- Answers that a source asks for conditionally.
CREATE TABLE answers (
    key     TEXT PRIMARY KEY,
    etag    TEXT NOT NULL,
    body    BLOB NOT NULL,
    used_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO counters VALUES ('revision', 0);
