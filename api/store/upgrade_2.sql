-- From schema 1 to 2: jobs may repeat another and may have a parent. Specifications, which had absolute paths, are
-- rewritten by api/store/upgrade.c in the same transaction.
ALTER TABLE jobs ADD COLUMN retry_of TEXT;
ALTER TABLE jobs ADD COLUMN parent TEXT;
CREATE INDEX jobs_by_parent ON jobs (parent, id) WHERE parent IS NOT NULL;
