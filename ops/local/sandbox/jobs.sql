-- Background jobs. Run once, as superuser, after isolation.sql.
CREATE TABLE sandbox.jobs (
  job_id text PRIMARY KEY, status text NOT NULL, details text, job_type text NOT NULL,
  class_id oid, object_id oid, object_name text,
  start_time timestamptz NOT NULL, update_time timestamptz NOT NULL,
  constraint_id oid);
CREATE VIEW sys.jobs AS
  SELECT job_id, status, details, job_type, class_id, object_id, object_name,
         start_time, update_time FROM sandbox.jobs;
GRANT SELECT ON sys.jobs TO PUBLIC;

-- Base32 of 16 random bytes: the last of its 26 characters holds three bits.
CREATE FUNCTION sandbox.new_job_id() RETURNS text LANGUAGE sql VOLATILE AS $$
  SELECT string_agg(substr('abcdefghijklmnopqrstuvwxyz234567', floor(random() * 32)::int + 1, 1), '')
    || substr('aeimquy4', floor(random() * 8)::int + 1, 1) FROM generate_series(1, 25) $$;

CREATE FUNCTION sandbox.submit(kind text, rel oid, constraint_id oid DEFAULT NULL)
RETURNS text LANGUAGE sql SET search_path = pg_catalog AS $$
  INSERT INTO sandbox.jobs
  SELECT sandbox.new_job_id(), 'submitted', NULL, kind, 1259, rel, sandbox.qualified(rel),
         clock_timestamp(), clock_timestamp(), constraint_id
  RETURNING job_id $$;

-- The index that this transaction has just made becomes what DSQL shows until it is built;
-- a unique one is neither filled nor enforced until then, or is if that is assumed.
CREATE FUNCTION sandbox.submit_index(
  rel regclass, is_unique boolean, nulls_equal boolean, enforced boolean)
RETURNS text LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE built oid := (SELECT max(indexrelid) FROM pg_index
  WHERE indrelid = rel AND sandbox.is_own(xmin));
BEGIN
  PERFORM sandbox.check_keys(built);
  UPDATE pg_index SET indisvalid = false, indisready = enforced OR NOT is_unique,
    indisunique = is_unique, indnullsnotdistinct = nulls_equal WHERE indexrelid = built;
  RETURN sandbox.submit('INDEX_BUILD', built);
END $$;

CREATE FUNCTION sandbox.find_constraint(rel regclass, name text) RETURNS oid
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
DECLARE found oid := (SELECT oid FROM pg_constraint WHERE conrelid = rel AND conname = name);
BEGIN
  IF found IS NULL THEN
    RAISE undefined_object USING MESSAGE = format(
      'constraint "%s" of relation "%s" does not exist', name,
      (SELECT relname FROM pg_class WHERE oid = rel));
  END IF;
  RETURN found;
END $$;
CREATE FUNCTION sandbox.submit_validation(rel regclass, name text) RETURNS text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT sandbox.submit('VALIDATE_CONSTRAINT', rel, sandbox.find_constraint(rel, name)) $$;

-- Called before the DROP; returns no row.
CREATE FUNCTION sandbox.submit_drops(rels oid[]) RETURNS SETOF text
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS $$
  SELECT NULL FROM unnest(rels) AS rel
  WHERE rel IS NOT NULL AND sandbox.submit('DROP', rel) IS NULL $$;

-- Do the work of one job. Raises lock_not_available or serialization_failure when
-- transactions are in its way.
CREATE FUNCTION sandbox.run_job(id text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  job sandbox.jobs := (SELECT j FROM sandbox.jobs j WHERE job_id = id);
  name text := sandbox.qualified(job.object_id);
  what text := (SELECT conname FROM pg_constraint WHERE oid = job.constraint_id);
  said text;
  more text;
BEGIN
  IF job.job_type = 'INDEX_BUILD' AND name IS NOT NULL THEN
    -- The index is complete but for its promise of uniqueness.
    IF (SELECT indisunique FROM pg_index WHERE indexrelid = job.object_id) THEN
      UPDATE pg_index SET indisready = true WHERE indexrelid = job.object_id;
      EXECUTE format('REINDEX INDEX %s', name);
    ELSE
      UPDATE pg_index SET indisvalid = true WHERE indexrelid = job.object_id;
    END IF;
  ELSIF job.job_type = 'VALIDATE_CONSTRAINT' AND what IS NOT NULL THEN
    EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', name, what);
  ELSIF job.job_type <> 'DROP' THEN
    said := format('relation "%s" does not exist', job.object_name);
  END IF;
  UPDATE sandbox.jobs SET status = 'completed', details = said, object_name = NULL,
    update_time = clock_timestamp() WHERE job_id = id;
EXCEPTION
  WHEN lock_not_available OR serialization_failure THEN RAISE;
  WHEN unique_violation THEN
    UPDATE sandbox.jobs SET status = 'failed', update_time = clock_timestamp(),
      details = 'found duplicate key(s) while validating index uniqueness' WHERE job_id = id;
  WHEN OTHERS THEN
    GET STACKED DIAGNOSTICS said = MESSAGE_TEXT, more = PG_EXCEPTION_DETAIL;
    UPDATE sandbox.jobs SET status = 'failed', details = concat_ws(' ', said, nullif(more, '')),
      update_time = clock_timestamp() WHERE job_id = id;
END $$;
CREATE FUNCTION sys.job_err_msg(id text) RETURNS text LANGUAGE sql STABLE AS
  $$ SELECT details FROM sys.jobs WHERE job_id = id AND status = 'failed' $$;

CREATE PROCEDURE sys.wait_for_job(IN id text, OUT succeeded boolean)
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
BEGIN
  IF id !~ '^[a-z2-7]{26}$' THEN
    RAISE invalid_text_representation USING MESSAGE = 'Unable to convert text to UUID';
  END IF;
  SELECT status = 'completed' INTO succeeded FROM sandbox.jobs WHERE job_id = id;
END $$;
