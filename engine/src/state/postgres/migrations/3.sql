-- Leases are also on units, and each has its own term.
ALTER TABLE leases ADD COLUMN unit BIGINT, ADD COLUMN lapse INTERVAL NOT NULL DEFAULT '45 seconds',
    ADD COLUMN claim TEXT;                 -- the worker's id, a space, and what differs for each call that claims units
-- Processes that work on units. A process enters again and again while it lives.
CREATE TABLE workers (
    id       TEXT PRIMARY KEY,             -- different for each start
    label    TEXT NOT NULL,
    version  TEXT NOT NULL,                -- of the program
    capacity INT NOT NULL,                 -- units at once
    since    TIMESTAMPTZ NOT NULL DEFAULT now(),
    seen     TIMESTAMPTZ NOT NULL DEFAULT now()
);
-- Configurations, as workers get them.
CREATE TABLE generations (
    number     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest     TEXT NOT NULL UNIQUE,
    version    TEXT NOT NULL,              -- of the program that wrote it
    content    JSON NOT NULL,
    written_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TABLE component_parts (
    digest TEXT NOT NULL,
    part   INT NOT NULL,
    bytes  BYTEA NOT NULL,
    PRIMARY KEY (digest, part)
);
CREATE TABLE generation_answers (
    generation BIGINT NOT NULL REFERENCES generations(number) ON DELETE CASCADE,
    worker     TEXT NOT NULL REFERENCES workers(id) ON DELETE CASCADE,
    refused    TEXT,                       -- NULL: the worker can work with it
    PRIMARY KEY (generation, worker)
);
-- The queue: one repository of one project in one run.
CREATE TABLE units (
    id         BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run        TEXT COLLATE "C" NOT NULL,
    project    TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    generation BIGINT NOT NULL REFERENCES generations(number),
    digest     TEXT NOT NULL,              -- of the work, by which it is known again
    task       TEXT NOT NULL,
    state      TEXT NOT NULL DEFAULT 'ready' CHECK (state IN ('ready', 'running', 'done', 'dead', 'dropped')),
    attempts   INT NOT NULL DEFAULT 0,     -- counted when they begin
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    changed_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    not_before TIMESTAMPTZ NOT NULL DEFAULT now(),
    epoch      BIGINT,                     -- of its lease while it runs
    worker     TEXT,                       -- the label of the last one
    progress   TEXT,
    result     TEXT,
    reason     TEXT,                       -- of the last failure
    history    JSONB NOT NULL DEFAULT '[]'
);
CREATE UNIQUE INDEX units_open ON units (project, repository) WHERE state <> 'done';
CREATE INDEX units_of_run ON units (run);
CREATE INDEX units_state ON units (state, project, id);
CREATE UNIQUE INDEX units_epoch ON units (epoch) WHERE epoch IS NOT NULL;
-- Ids whose writer lost its lease before it closed its intents. A call to the store that it had sent may arrive late,
-- so they are looked at once more, some time later.
CREATE TABLE suspects (
    place_id   BIGINT NOT NULL REFERENCES places(id),
    id         TEXT NOT NULL,
    project    TEXT COLLATE "C" NOT NULL,
    repository TEXT COLLATE "C" NOT NULL,
    file_path  TEXT COLLATE "C" NOT NULL,
    look_at    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (place_id, id)
);
-- How many leases were taken over from a holder that did not renew them.
CREATE TABLE takeovers (n BIGINT NOT NULL);
INSERT INTO takeovers VALUES (0);
-- A lease may also be on a role among the processes of this state, such as that of the dispatcher.
ALTER TABLE leases ADD COLUMN role TEXT;
CREATE UNIQUE INDEX leases_of_role ON leases (role) WHERE role IS NOT NULL;
-- The order in which daemons took up configurations; NULL: only a run of the command line used it.
ALTER TABLE generations ADD COLUMN adopted BIGINT UNIQUE;
CREATE SEQUENCE adoptions;
-- Daemons. A daemon enters again and again while it lives.
CREATE TABLE daemons (
    id       TEXT PRIMARY KEY,             -- different for each start
    label    TEXT NOT NULL,
    version  TEXT NOT NULL,                -- of the program
    since    TIMESTAMPTZ NOT NULL DEFAULT now(),
    seen     TIMESTAMPTZ NOT NULL DEFAULT now()
);
-- What the dispatcher shows to the other daemons, and what its successor continues with. One row.
CREATE TABLE dispatcher (
    one      BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    daemon   TEXT NOT NULL,
    epoch    BIGINT NOT NULL,              -- of its lease
    shown    TEXT NOT NULL,
    shown_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
-- What other daemons ask the dispatcher for.
CREATE TABLE requests (
    id       BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key      TEXT NOT NULL UNIQUE,         -- different for each request, by which it is stored once
    content  TEXT NOT NULL,
    answer   TEXT,                         -- NULL: not yet answered
    asked_at TIMESTAMPTZ NOT NULL DEFAULT now()
);
-- Events of active runs, for readers at other daemons.
CREATE TABLE live_events (
    id     BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run    TEXT COLLATE "C" NOT NULL,
    events TEXT NOT NULL,
    at     TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX live_events_age ON live_events (at);
-- What all processes together may ask a service for. Each process borrows for a second's calls at a time.
CREATE TABLE allowances (
    key          TEXT PRIMARY KEY,         -- digest of service, account and credential
    requests     DOUBLE PRECISION,         -- left to borrow; NULL: none was ever borrowed
    tokens       DOUBLE PRECISION,
    refilled_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    request_rate DOUBLE PRECISION,         -- a minute: the smallest rate with which stages borrow
    requested_at TIMESTAMPTZ,              -- when one with this rate did
    token_rate   DOUBLE PRECISION,         -- likewise
    drawn_at     TIMESTAMPTZ,
    paused_until TIMESTAMPTZ,
    reason       TEXT                      -- of the pause
);
-- Places for calls of each process, where a service limits how many calls there may be at once.
CREATE TABLE allowance_calls (
    key      TEXT NOT NULL,
    borrower TEXT NOT NULL,
    calls    INT NOT NULL,
    wanted   INT NOT NULL,
    until    TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (key, borrower)
);
-- What signs browsers in to the console.
CREATE TABLE sign_ins (
    kind       TEXT NOT NULL,              -- session, link
    id         TEXT COLLATE "C" NOT NULL,  -- digest of the browser's secret
    proof      TEXT NOT NULL,              -- digest of that secret and the API token
    expires_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (kind, id)
);
