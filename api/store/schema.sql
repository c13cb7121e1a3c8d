-- Schema 3 of the store, for a new database; upgrade_2.sql and upgrade_3.sql make it of schemas 1 and 2.
-- Times are milliseconds since 1970 UTC; columns of JSON text are named so in their comments.

CREATE TABLE datasets (
  id         TEXT PRIMARY KEY,           -- ds_ + ULID; also the name of the folder
  name       TEXT NOT NULL UNIQUE,
  state      TEXT NOT NULL,              -- importing, ready, failed
  job_id     TEXT NOT NULL,              -- the import job
  layout     TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  summary    TEXT                        -- JSON: counts, streams, digest; once ready
);

CREATE TABLE jobs (
  id           TEXT PRIMARY KEY,         -- job_ + ULID: the order of ids is first come, first served
  type         TEXT NOT NULL,            -- a row of the table of job types
  state        TEXT NOT NULL,            -- see job_state.h
  state_reason TEXT,
  state_number INTEGER NOT NULL,         -- counts changes of state: the ETag
  last_seq     INTEGER NOT NULL,         -- number of the newest event
  request      TEXT NOT NULL,            -- JSON: what the client asked for
  spec         TEXT NOT NULL,            -- JSON: what the worker is told; paths are relative to the data folder
  dataset_id   TEXT,
  model        TEXT,                     -- name (train) or name:version (evaluate)
  progress     TEXT,                     -- JSON
  best_epoch   INTEGER,
  error        TEXT,                     -- JSON {code, message}
  result       TEXT,                     -- JSON
  restarts     INTEGER NOT NULL DEFAULT 0,
  instance     TEXT,                     -- the server instance whose worker runs it
  created_ms   INTEGER NOT NULL,
  started_ms   INTEGER,
  ended_ms     INTEGER,
  retry_of     TEXT,                     -- the job that this one repeats
  parent       TEXT,                     -- the job whose run this one is
  run          TEXT,                     -- JSON of a run: index, point, split, fold, seed, parameters
  run_digest   TEXT,                     -- of a run: equal digests, equal results
  max_runs     INTEGER                   -- of a job with runs: how many of them run at once
);
CREATE INDEX jobs_by_state ON jobs (state, id);
CREATE INDEX jobs_by_dataset ON jobs (dataset_id);
CREATE INDEX jobs_by_parent ON jobs (parent, state, id) WHERE parent IS NOT NULL;
CREATE INDEX jobs_by_run_digest ON jobs (run_digest, id) WHERE run_digest IS NOT NULL;

CREATE TABLE events (
  job_id  TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  seq     INTEGER NOT NULL,              -- 1, 2, 3, ... without gaps
  kind    TEXT NOT NULL,
  data    TEXT NOT NULL,                 -- JSON object, without seq
  PRIMARY KEY (job_id, seq)
) WITHOUT ROWID;

CREATE TABLE epochs (
  job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  epoch  INTEGER NOT NULL,
  data   TEXT NOT NULL,                  -- JSON object: the newest epoch event of that number
  PRIMARY KEY (job_id, epoch)
) WITHOUT ROWID;

CREATE TABLE models (
  name       TEXT PRIMARY KEY,
  latest     INTEGER NOT NULL,
  created_ms INTEGER NOT NULL
);

CREATE TABLE model_versions (
  name       TEXT NOT NULL REFERENCES models (name),
  version    INTEGER NOT NULL,
  job_id     TEXT NOT NULL,
  created_ms INTEGER NOT NULL,
  digest     TEXT NOT NULL,              -- SHA-256 of the file
  bytes      INTEGER NOT NULL,
  metadata   TEXT NOT NULL,              -- JSON object
  PRIMARY KEY (name, version)
) WITHOUT ROWID;

CREATE TABLE idempotency (
  key        TEXT PRIMARY KEY,
  digest     TEXT NOT NULL,              -- of the request
  job_id     TEXT NOT NULL,
  created_ms INTEGER NOT NULL
);
