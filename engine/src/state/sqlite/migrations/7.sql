-- Plans that wait until somebody approves or discards them.
CREATE TABLE plans (
    id         TEXT PRIMARY KEY,
    project    TEXT NOT NULL,
    created_at TEXT NOT NULL,
    created_by TEXT NOT NULL,
    summary    TEXT NOT NULL,  -- JSON: numbers of files, and the cost
    status     TEXT NOT NULL,  -- open, approved, discarded
    decided_at TEXT,
    decided_by TEXT,
    run        TEXT,           -- that carries it out
    shown      BLOB NOT NULL,  -- compressed JSON: the plan as it is shown
    saved      BLOB NOT NULL   -- compressed: the saved plan
);
-- What each project did on each day (UTC): amounts by measure.
CREATE TABLE usage (
    day     INTEGER NOT NULL,  -- days since 1970
    project TEXT NOT NULL,
    measure TEXT NOT NULL,
    amount  INTEGER NOT NULL,
    PRIMARY KEY (day, project, measure)
) WITHOUT ROWID;
-- What signs browsers in to the console.
CREATE TABLE sign_ins (
    kind       TEXT NOT NULL,  -- session, link
    id         TEXT NOT NULL,  -- digest of the browser's secret
    proof      TEXT NOT NULL,  -- digest of that secret and the API token
    expires_at TEXT NOT NULL,
    PRIMARY KEY (kind, id)
) WITHOUT ROWID;
