-- Leases are also on units, and each has its own term.
ALTER TABLE leases ADD COLUMN unit BIGINT, ADD COLUMN lapse INTERVAL NOT NULL DEFAULT '45 seconds';
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
CREATE INDEX units_state ON units (state, project);
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
