-- Plans that wait until somebody approves or discards them.
CREATE TABLE plans (
    id         TEXT COLLATE "C" PRIMARY KEY,
    project    TEXT COLLATE "C" NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    created_by TEXT NOT NULL,
    summary    JSON NOT NULL,           -- numbers of files, and the cost
    status     TEXT NOT NULL,           -- open, approved, discarded
    decided_at TIMESTAMPTZ,
    decided_by TEXT,
    run        TEXT,                    -- that carries it out
    shown      BYTEA NOT NULL,          -- compressed JSON: the plan as it is shown
    saved      BYTEA NOT NULL           -- compressed: the saved plan
);
-- What each project did on each day (UTC): amounts by measure.
CREATE TABLE usage (
    day     BIGINT NOT NULL,            -- days since 1970
    project TEXT COLLATE "C" NOT NULL,
    measure TEXT COLLATE "C" NOT NULL,
    amount  BIGINT NOT NULL,
    PRIMARY KEY (day, project, measure)
);
