-- The ledger. `projects` and `sync_metadata` are the original system's tables as views. Names compare byte by byte,
-- as in the program, whatever the database's locale.
CREATE TABLE project_rows (
    id                 BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name               TEXT COLLATE "C" NOT NULL UNIQUE,
    organization       TEXT,
    filter_keyword     TEXT,
    namespace          TEXT NOT NULL,
    enabled            BOOLEAN NOT NULL,
    allowed_extensions TEXT[],             -- NULL: every text file
    exclude_patterns   TEXT[] NOT NULL,
    created_at         TIMESTAMPTZ NOT NULL,
    updated_at         TIMESTAMPTZ NOT NULL,
    selection          TEXT,               -- fingerprint of the selection of the last finished run
    first_run_ended_at TIMESTAMPTZ         -- the spending guard lets a first run pass
);
CREATE TABLE places (
    id        BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind      TEXT NOT NULL,
    host      TEXT NOT NULL,
    idx       TEXT NOT NULL,
    namespace TEXT NOT NULL,
    UNIQUE (kind, host, idx, namespace)
);
-- A project in a place.
CREATE TABLE targets (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id BIGINT NOT NULL REFERENCES project_rows(id) ON DELETE CASCADE,
    place_id   BIGINT NOT NULL REFERENCES places(id),
    recipe     TEXT,        -- fingerprint of what decides, besides the trees, what runs write there
    state      TEXT NOT NULL CHECK (state IN ('building', 'live', 'retired')),
    adopted_at TIMESTAMPTZ, -- NULL: what the place held of the project was not taken in
    UNIQUE (project_id, place_id)
);
CREATE UNIQUE INDEX targets_live ON targets (project_id) WHERE state = 'live';
CREATE TABLE repositories (
    project_id      BIGINT NOT NULL REFERENCES project_rows(id) ON DELETE CASCADE,
    name            TEXT COLLATE "C" NOT NULL,
    key             TEXT NOT NULL,       -- the source's stable key
    entry           JSON,                -- the listing's entry at the last finished sync
    last_commit_sha TEXT,
    last_synced_at  TIMESTAMPTZ,
    head_sha        TEXT,                -- the head last seen, indexed or not
    head_asked_at   TIMESTAMPTZ,
    settled         BOOLEAN NOT NULL DEFAULT FALSE, -- nothing failed, nothing withheld
    basis           TEXT,                -- fingerprint of what decides which files, and how
    orphan_since    TIMESTAMPTZ,
    commits_behind  BIGINT,              -- from last_commit_sha to head_sha; NULL: not counted; -1: unknown
    revision        BIGINT NOT NULL DEFAULT 0, -- grows with its files' records
    PRIMARY KEY (project_id, name)
);
CREATE TABLE selected_repositories (
    project_id BIGINT NOT NULL REFERENCES project_rows(id) ON DELETE CASCADE,
    name       TEXT COLLATE "C" NOT NULL,
    error      TEXT,                            -- why the last run could not index it; NULL: it could
    empty      BOOLEAN NOT NULL DEFAULT FALSE,  -- it has no commits
    PRIMARY KEY (project_id, name)
);
CREATE TABLE recipes (
    fingerprint TEXT PRIMARY KEY,
    parts       TEXT NOT NULL            -- JSON object: what it is made of, for the reasons of a plan
);
CREATE TABLE files (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    target_id       BIGINT NOT NULL REFERENCES targets(id) ON DELETE CASCADE,
    repository      TEXT COLLATE "C" NOT NULL,
    file_path       TEXT COLLATE "C" NOT NULL,
    last_commit_sha TEXT,
    last_synced_at  TIMESTAMPTZ,
    embedding_count BIGINT NOT NULL,
    status          TEXT NOT NULL,       -- synced, skipped, failed, adopted, damaged
    blob_sha        TEXT,                -- of what the index holds; NULL: it holds nothing
    recipe          TEXT,
    detail          TEXT,                -- the error, or why it is skipped
    UNIQUE (target_id, repository, file_path)
);
CREATE INDEX files_unsettled ON files (target_id, repository) WHERE status NOT IN ('synced', 'skipped');
CREATE INDEX files_blob ON files (target_id, blob_sha);
CREATE TABLE chunks (
    file_id     BIGINT NOT NULL REFERENCES files(id) ON DELETE CASCADE,
    id          TEXT NOT NULL,
    fingerprint TEXT NOT NULL,           -- of the record's metadata, without commit_sha and url
    PRIMARY KEY (file_id, id)
);
-- Ids that are about to exist or to go, so may exist: written before an upsert, closed with the file's rows.
CREATE TABLE intents (
    place_id   BIGINT NOT NULL REFERENCES places(id),
    id         TEXT NOT NULL,
    project    TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    file_path  TEXT COLLATE "C" NOT NULL,
    epoch      BIGINT NOT NULL DEFAULT 0, -- of the lease under which it was opened
    PRIMARY KEY (place_id, id)
);
CREATE INDEX intents_file ON intents (project, repository, file_path);
-- Ids in a place that a file has left: to be deleted, once the file is whole in its new place.
CREATE TABLE leftovers (
    place_id   BIGINT NOT NULL REFERENCES places(id),
    id         TEXT NOT NULL,
    project    TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    file_path  TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (place_id, id)
);
CREATE INDEX leftovers_file ON leftovers (project, repository, file_path);
CREATE TABLE runs (
    id          TEXT COLLATE "C" PRIMARY KEY,
    request     TEXT COLLATE "C" NOT NULL, -- the request that asked for the run; its own id where it asked for one
    project     TEXT COLLATE "C",          -- NULL: several, or what the file does not declare any more
    trigger     TEXT NOT NULL,
    started_at  TIMESTAMPTZ NOT NULL,
    finished_at TIMESTAMPTZ,
    outcome     TEXT,
    report      JSONB                      -- NULL while it runs, or when it was killed
);
CREATE INDEX runs_by_start ON runs (started_at, id);
CREATE INDEX runs_by_request ON runs (request);
CREATE INDEX runs_by_project ON runs (project, started_at, id);
CREATE TABLE run_events (
    run_id TEXT COLLATE "C" NOT NULL REFERENCES runs(id) ON DELETE CASCADE,
    seq    BIGINT NOT NULL,
    at     TIMESTAMPTZ NOT NULL,
    event  JSON NOT NULL,
    PRIMARY KEY (run_id, seq)
);
CREATE TABLE last_runs (
    project     TEXT COLLATE "C" PRIMARY KEY,
    run_id      TEXT NOT NULL,
    finished_at TIMESTAMPTZ NOT NULL,
    outcome     TEXT NOT NULL,
    error       TEXT,                      -- why it ended early, or its first failure
    withheld    JSON NOT NULL              -- what guards withheld
);
-- Answers that a source asks for conditionally.
CREATE TABLE answers (
    key     TEXT PRIMARY KEY,
    etag    TEXT NOT NULL,
    body    BYTEA NOT NULL,
    used_at TIMESTAMPTZ NOT NULL
);
-- Leases on projects. Only the server's clock decides when one ends.
CREATE SEQUENCE epochs;
CREATE TABLE leases (
    epoch    BIGINT PRIMARY KEY DEFAULT nextval('epochs'),
    projects TEXT[] NOT NULL,              -- empty: all
    process  BIGINT NOT NULL,              -- the holder's process id, for messages
    since    TIMESTAMPTZ NOT NULL DEFAULT now(),
    until    TIMESTAMPTZ NOT NULL
);
-- The vector cache. A row without a vector is a claim.
CREATE TABLE vectors (
    key           BYTEA PRIMARY KEY,
    vector        BYTEA,                   -- check, then f32 little-endian
    used          DATE NOT NULL DEFAULT CURRENT_DATE,
    claimed_by    BIGINT,
    claimed_until TIMESTAMPTZ
);
CREATE INDEX vectors_by_use ON vectors (used);
-- Who asked for what, and how it was answered.
CREATE TABLE audit (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       TIMESTAMPTZ NOT NULL,
    who      TEXT NOT NULL,
    what     TEXT NOT NULL,
    projects TEXT[] COLLATE "C" NOT NULL,
    outcome  TEXT NOT NULL,
    address  TEXT
);
CREATE INDEX audit_at ON audit (at);
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN RAISE EXCEPTION 'the audit log is append-only'; END$$;
CREATE TRIGGER audit_append_only BEFORE UPDATE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE VIEW projects AS
SELECT name AS id, name, organization, filter_keyword, namespace, enabled, allowed_extensions, exclude_patterns,
       created_at, updated_at
FROM project_rows;
CREATE VIEW sync_metadata AS
SELECT project_rows.name AS project_id, repository, file_path, last_commit_sha, last_synced_at, embedding_count,
       status
FROM files JOIN targets ON targets.id = target_id JOIN project_rows ON project_rows.id = targets.project_id;
