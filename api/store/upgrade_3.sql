-- From schema 2 to 3: jobs may be made of runs, each a job whose parent they are.
ALTER TABLE jobs ADD COLUMN run TEXT;
ALTER TABLE jobs ADD COLUMN run_digest TEXT;
ALTER TABLE jobs ADD COLUMN max_runs INTEGER;
DROP INDEX jobs_by_parent;
CREATE INDEX jobs_by_parent ON jobs (parent, state, id) WHERE parent IS NOT NULL;
CREATE INDEX jobs_by_run_digest ON jobs (run_digest, id) WHERE run_digest IS NOT NULL;
