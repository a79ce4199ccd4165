-- Shadows: temporary copies of tables, made and filled under a transaction's snapshot, in
-- which it goes on once it holds no lock on real rows. Run once, as superuser, after
-- catalog.sql. Everything here runs with the rights of the client, and with a search_path of its
-- own where nothing of the client's is run: a user's table may be called as a type is, and a
-- shadow is found before pg_catalog.

-- Whether a visible row's xmin is this transaction's: no other's is newer than the snapshot.
CREATE FUNCTION sandbox.is_own(id xid) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT NOT pg_visible_in_snapshot(id::pg_catalog.text::pg_catalog.xid8, pg_current_snapshot()) $$;
-- The newest id of this transaction: that of the statement under the last savepoint.
CREATE FUNCTION sandbox.newest() RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT max(transactionid::text::bigint)::text FROM pg_locks
  WHERE locktype = 'transactionid' AND pid = pg_backend_pid() AND mode = 'ExclusiveLock' $$;

CREATE FUNCTION sandbox.qualified(rel oid) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('%I.%I', nspname, relname) FROM pg_class c
  JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = rel $$;

CREATE FUNCTION sandbox.quoted(rel oid) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('"%s"."%s"', replace(nspname, '"', '""'), replace(relname, '"', '""'))
  FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = rel $$;

-- The columns of a table that can be written, and those of its primary key.
CREATE FUNCTION sandbox.columns(rel oid) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT array_agg(quote_ident(attname) ORDER BY attnum) FROM pg_attribute
  WHERE attrelid = rel AND attnum > 0 AND NOT attisdropped AND attgenerated = '' $$;
CREATE FUNCTION sandbox.key(rel oid) RETURNS text[] LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT array_agg(quote_ident(attname) ORDER BY attnum) FROM pg_index
  JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY ((indkey::int2[])[0:indnkeyatts - 1])
  WHERE indrelid = rel AND indisprimary $$;
-- The key of a row as one value, and the condition for the row with the key $1. A table
-- without a primary key has neither.
CREATE FUNCTION sandbox.key_value(rel oid) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT format('jsonb_build_array(%s)', array_to_string(sandbox.key(rel), ', ')) $$;
CREATE FUNCTION sandbox.has_key(rel oid) RETURNS text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT string_agg(format('%s = ($1->>%s)::%s', quote_ident(attname), n - 1,
      format_type(atttypid, atttypmod)), ' AND ')
  FROM unnest(sandbox.key(rel)) WITH ORDINALITY AS k (name, n)
  JOIN pg_attribute ON attrelid = rel AND quote_ident(attname) = name $$;

-- The shadows of this transaction. A comment says of which table, and by which id the rows
-- were filled in: a table of that knowledge would need a name that a user's may have.
CREATE FUNCTION sandbox.shadows() RETURNS TABLE (base oid, shadow oid, fill text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT split_part(description, ' ', 1)::oid, c.oid, split_part(description, ' ', 2)
  FROM pg_class c JOIN pg_description ON classoid = 'pg_class'::regclass AND objoid = c.oid
  WHERE relnamespace = pg_my_temp_schema() AND objsubid = 0 AND relkind = 'r' $$;
CREATE FUNCTION sandbox.note_shadow(base oid, shadow regclass, fill text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  EXECUTE format('COMMENT ON TABLE %s IS %L', shadow, concat(base, ' ', fill));
END $$;

-- The tables that this transaction has written so far, by functions and foreign keys too.
CREATE FUNCTION sandbox.written() RETURNS SETOF oid LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT oid FROM pg_class WHERE relkind = 'r' AND relpersistence <> 't'
    AND pg_stat_get_xact_tuples_inserted(oid) + pg_stat_get_xact_tuples_updated(oid)
      + pg_stat_get_xact_tuples_deleted(oid) > 0
    AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace,
      'sandbox'::regnamespace) $$;
-- What a statement that names these may touch: they, what views show of others, and what
-- has been written already.
CREATE FUNCTION sandbox.reached(rels oid[]) RETURNS SETOF oid LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE below AS (
    SELECT unnest(rels) AS rel
    UNION SELECT d.refobjid FROM below JOIN pg_rewrite r ON r.ev_class = rel
      JOIN pg_depend d ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
        AND d.refclassid = 'pg_class'::regclass)
  SELECT rel FROM below UNION SELECT sandbox.written() $$;
-- Whether a statement would pass by the shadows: through a view, or in a function.
CREATE FUNCTION sandbox.bypasses_shadows(rels oid[], names text[]) RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM pg_class WHERE oid = ANY (rels) AND relkind = 'v'
      AND relnamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace,
        'sys'::regnamespace))
    OR EXISTS (SELECT FROM pg_proc WHERE proname = ANY (names) AND provolatile <> 'i'
      AND pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace,
        'sandbox'::regnamespace, 'sys'::regnamespace)) $$;
-- The functions of these names that may write: what users made and did not declare stable.
CREATE FUNCTION sandbox.find_writing_functions(names text[]) RETURNS SETOF text LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT DISTINCT proname::text FROM pg_proc WHERE proname = ANY (names) AND provolatile = 'v'
    AND pronamespace NOT IN ('pg_catalog'::regnamespace, 'information_schema'::regnamespace,
      'sandbox'::regnamespace, 'sys'::regnamespace) $$;

-- The tables that a write to the named ones may read or change through foreign keys:
-- everything below them, and the parents of all these. Without those shadowed already.
CREATE FUNCTION sandbox.related(rels oid[]) RETURNS TABLE (name text, columns text)
LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
  WITH RECURSIVE shadowed AS MATERIALIZED (SELECT * FROM sandbox.shadows()),
  below AS (
    SELECT coalesce(base, found) AS rel
    FROM sandbox.reached(rels) AS found LEFT JOIN shadowed ON shadow = found
    UNION
    SELECT conrelid FROM below JOIN pg_constraint ON confrelid = rel WHERE contype = 'f'),
  family AS (
    SELECT rel FROM below UNION
    SELECT confrelid FROM below JOIN pg_constraint ON conrelid = rel WHERE contype = 'f')
  SELECT sandbox.quoted(rel), array_to_string(sandbox.columns(rel), ', ')
  FROM family JOIN pg_class ON oid = rel
  WHERE relkind = 'r' AND relnamespace::regnamespace NOT IN ('pg_catalog', 'sandbox')
    AND rel NOT IN (SELECT base FROM shadowed)
  ORDER BY rel $$;

-- An empty shadow with the keys and unique indexes of the table.
CREATE FUNCTION sandbox.make_shadow(base regclass) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  name text := (SELECT relname FROM pg_class WHERE oid = base);
  shadow text := format('pg_temp.%I', name);
  part record;
BEGIN
  EXECUTE format('CREATE TEMP TABLE %I (LIKE %s INCLUDING DEFAULTS INCLUDING GENERATED) '
    'ON COMMIT DROP', name, sandbox.qualified(base));
  FOR part IN SELECT attname, pg_get_serial_sequence(sandbox.qualified(base), attname) AS seq
    FROM pg_attribute WHERE attrelid = base AND attidentity <> '' LOOP
    EXECUTE format('ALTER TABLE %s ALTER %I SET DEFAULT nextval(%L)',
      shadow, part.attname, part.seq);
  END LOOP;
  FOR part IN SELECT relname, pg_get_constraintdef(k.oid) AS definition,
      pg_get_indexdef(indexrelid) AS build
    FROM pg_index JOIN pg_class c ON c.oid = indexrelid
    LEFT JOIN pg_constraint k ON conindid = indexrelid AND contype IN ('p', 'u')
    WHERE indrelid = base AND indisunique AND indisvalid LOOP
    EXECUTE coalesce(
      format('ALTER TABLE %s ADD CONSTRAINT %I ', shadow, part.relname) || part.definition,
      replace(part.build, format(' ON %s USING', sandbox.qualified(base)),
        format(' ON %s USING', shadow)));
  END LOOP;
  PERFORM sandbox.note_shadow(base, shadow::regclass, '');
END $$;

-- Remember by which id the rows of new shadows were filled in: all others were written.
CREATE FUNCTION sandbox.note_fill() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  part record;
  fill text;
BEGIN
  FOR part IN SELECT * FROM sandbox.shadows() s WHERE s.fill = '' LOOP
    EXECUTE format('SELECT xmin::text FROM %s LIMIT 1', part.shadow::regclass) INTO fill;
    PERFORM sandbox.note_shadow(part.base, part.shadow, coalesce(fill, 'none'));
  END LOOP;
END $$;

-- Checks, with the rows that broke them before they were made; foreign keys between
-- shadows, whose rows are known to be right.
CREATE FUNCTION sandbox.link_shadows() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE part record;
BEGIN
  FOR part IN SELECT s.shadow, conname, pg_get_constraintdef(k.oid) AS definition,
      CASE WHEN convalidated THEN ' NOT VALID' ELSE '' END AS unchecked
    FROM pg_constraint k JOIN sandbox.shadows() s ON s.base = conrelid
    WHERE contype = 'c' AND NOT EXISTS (SELECT FROM pg_constraint d
      WHERE d.conrelid = s.shadow AND d.conname = k.conname) LOOP
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I ', part.shadow::regclass, part.conname)
      || part.definition || part.unchecked;
  END LOOP;
  FOR part IN SELECT conname, c.shadow, pg_get_constraintdef(k.oid) AS definition,
      CASE WHEN convalidated THEN ' NOT VALID' ELSE '' END AS unchecked,
      sandbox.qualified(confrelid) AS parent, sandbox.qualified(p.shadow) AS instead
    FROM pg_constraint k JOIN sandbox.shadows() c ON c.base = conrelid
    JOIN sandbox.shadows() p ON p.base = confrelid
    WHERE contype = 'f' AND NOT EXISTS (SELECT FROM pg_constraint d
      WHERE d.conrelid = c.shadow AND d.conname = k.conname) LOOP
    EXECUTE format('ALTER TABLE %s ADD CONSTRAINT %I ', part.shadow::regclass, part.conname)
      || replace(part.definition,
        format(' REFERENCES %s(', part.parent), format(' REFERENCES %s(', part.instead))
      || part.unchecked;
  END LOOP;
END $$;

-- Check the foreign keys between shadows for all rows.
CREATE FUNCTION sandbox.check_shadows() RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE part record;
BEGIN
  FOR part IN SELECT conname, shadow::regclass AS shadow
    FROM pg_constraint JOIN sandbox.shadows() ON shadow = conrelid
    WHERE contype = 'f' AND NOT convalidated LOOP
    EXECUTE format('ALTER TABLE %s VALIDATE CONSTRAINT %I', part.shadow, part.conname);
  END LOOP;
END $$;

-- Shadow tables that this transaction has not written yet.
CREATE FUNCTION sandbox.shadow(rels oid[]) RETURNS SETOF text LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE part record;
BEGIN
  FOR part IN SELECT * FROM sandbox.related(rels) LOOP
    PERFORM sandbox.make_shadow(part.name::regclass);
    EXECUTE format('INSERT INTO pg_temp.%I (%s) SELECT %2$s FROM %3$s',
      (SELECT relname FROM pg_class WHERE oid = part.name::regclass), part.columns, part.name);
    RETURN NEXT part.name;
  END LOOP;
  PERFORM sandbox.note_fill();
  PERFORM sandbox.link_shadows();
END $$;

-- Make what was written to the shadows happen to the tables. PostgreSQL's own checks under
-- this transaction's snapshot then find every conflict. The order (changes, deletions
-- from children to parents, additions from parents to children) can meet a foreign
-- key that is not deferrable in a state the statements never showed; that ends as a
-- conflict too, and its repetition is uncontended.
CREATE FUNCTION sandbox.apply_shadows() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  part pg_catalog.record;
  action pg_catalog.text;
BEGIN
  FOREACH action IN ARRAY ARRAY['U', 'D', 'I'] LOOP
    FOR part IN
      WITH RECURSIVE above AS (
        SELECT base AS rel, base AS parent FROM sandbox.shadows()
        UNION SELECT rel, confrelid FROM above JOIN pg_catalog.pg_constraint ON conrelid = parent
          WHERE contype = 'f')
      SELECT base, sandbox.qualified(base) AS name, shadow::pg_catalog.regclass AS shadow, fill,
        sandbox.key(base) AS key, sandbox.columns(base) AS columns,
        (SELECT count(*) FROM above WHERE rel = base) AS depth
      FROM sandbox.shadows()
      ORDER BY CASE action WHEN 'D' THEN -1 ELSE 1 END
        * (SELECT count(*) FROM above WHERE rel = base)
    LOOP
      EXECUTE coalesce(
        sandbox.apply_keyed(action, part.name, part.shadow, part.key, part.columns),
        sandbox.apply_unkeyed(action, part.name, part.shadow, part.columns),
        'SELECT') USING part.fill;
    END LOOP;
  END LOOP;
END $$;

CREATE FUNCTION sandbox.apply_keyed(
  action text, base text, shadow regclass, key text[], columns text[]) RETURNS text
LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
  -- An alias is found before a column of its name only where something is qualified by it.
  same pg_catalog.text := (SELECT string_agg(format('b.%1$s = s.%1$s', k), ' AND ') FROM unnest(key) k);
  identities pg_catalog.text[] := (SELECT array_agg(quote_ident(attname)) FROM pg_catalog.pg_attribute
    WHERE attrelid = base::pg_catalog.regclass AND attidentity = 'a');
  changes pg_catalog.text := (SELECT string_agg(format('%1$s = s.%1$s', c), ', ') FROM unnest(columns) c
    WHERE c <> ALL (coalesce(identities, '{}')) AND (c <> ALL (key) OR columns <@ key));
BEGIN
  RETURN CASE action
    WHEN 'U' THEN CASE WHEN changes IS NULL THEN 'SELECT' ELSE
      format('UPDATE %s b SET %s FROM %s s WHERE %s AND s.xmin::pg_catalog.text <> $1',
        base, changes, shadow, same) END
    WHEN 'D' THEN format('DELETE FROM %s b WHERE NOT EXISTS (SELECT FROM %s s WHERE %s)',
      base, shadow, same)
    ELSE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM %3$s s '
      'WHERE s.xmin::pg_catalog.text <> $1 AND NOT EXISTS (SELECT FROM %1$s b WHERE %4$s)',
      base, array_to_string(columns, ', '), shadow, same) END;
END $$;

-- Rows without a key are told apart by their content.
CREATE FUNCTION sandbox.apply_unkeyed(
  action text, base text, shadow regclass, columns text[]) RETURNS text
LANGUAGE sql STABLE AS $$
  SELECT CASE action
    WHEN 'D' THEN format('DELETE FROM %1$s WHERE ctid IN (SELECT o.at FROM ('
      'SELECT b.ctid AS at, (b.*)::pg_catalog.text AS content, row_number() OVER (PARTITION BY (b.*)::pg_catalog.text) '
      'AS n FROM %1$s b) o WHERE (o.content, o.n) NOT IN (SELECT (s.*)::pg_catalog.text, '
      'row_number() OVER (PARTITION BY (s.*)::pg_catalog.text) FROM %2$s s WHERE s.xmin::pg_catalog.text = $1))',
      base, shadow)
    WHEN 'I' THEN format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %2$s FROM %3$s s '
      'WHERE s.xmin::pg_catalog.text <> $1', base, array_to_string(columns, ', '), shadow) END $$;

-- The keys of the rows which the last statement locked, and by whom they were written.
CREATE FUNCTION sandbox.find_locked(rels oid[]) RETURNS TABLE (name text, key text, writer text)
LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE part record;
BEGIN
  FOR part IN SELECT DISTINCT n.named::regclass AS rel, s.base
    FROM sandbox.reached(rels) n (named)
    LEFT JOIN sandbox.shadows() s ON s.shadow = n.named LOOP
    IF sandbox.key(part.rel) IS NOT NULL THEN
      RETURN QUERY EXECUTE format('SELECT %L, %s::text, %s FROM %s WHERE xmax::text = '
        '(SELECT sandbox.newest())',
        sandbox.qualified(coalesce(part.base, part.rel)), sandbox.key_value(part.rel),
        CASE WHEN part.base IS NULL THEN 'xmin::text' ELSE quote_literal('') END, part.rel);
    END IF;
  END LOOP;
END $$;

-- A row without a key that is locked FOR UPDATE conflicts as a written one does, also after
-- the lock is gone. A row that may not be written as it stands leaves no trace.
CREATE FUNCTION sandbox.touch(rels oid[]) RETURNS void LANGUAGE plpgsql AS $$
DECLARE rel pg_catalog.regclass;
BEGIN
  FOR rel IN SELECT DISTINCT n.named::pg_catalog.regclass
    FROM sandbox.reached(rels) n (named) LOOP
    IF (SELECT relkind FROM pg_catalog.pg_class WHERE oid = rel) = 'r' AND sandbox.key(rel) IS NULL THEN
      EXECUTE format('UPDATE %s SET %s = %2$s WHERE xmax::pg_catalog.text = (SELECT sandbox.newest())',
        rel, (SELECT quote_ident(attname) FROM pg_catalog.pg_attribute WHERE attrelid = rel AND attnum > 0
          AND NOT attisdropped AND attgenerated = '' ORDER BY attidentity = 'a', attnum LIMIT 1));
    END IF;
  END LOOP;
EXCEPTION
  WHEN check_violation OR generated_always THEN NULL;
END $$;

-- Lock these keys again; a conflict when one was changed. Tables by their real names.
CREATE FUNCTION sandbox.lock_keys(keys jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE part record;
BEGIN
  FOR part IN SELECT e->>0 AS name, e->1 AS key, e->>3 AS strength
    FROM jsonb_array_elements(keys) e LOOP
    EXECUTE format('SELECT FROM %s WHERE %s %s',
      part.name, sandbox.has_key(part.name::regclass), part.strength) USING part.key;
  END LOOP;
END $$;

-- Fail when this transaction changed a row that another one, which it could see, has locked
-- FOR UPDATE, or took its key away from one that is shared.
CREATE FUNCTION sandbox.check_keys_unchanged(keys jsonb, rels oid[]) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  part record;
  own boolean;
BEGIN
  FOR part IN SELECT coalesce(s.shadow, k.base)::regclass AS rel, key, strength, s.fill
    FROM (SELECT to_regclass(e->>0)::oid AS base, e->1 AS key, e->>2 AS writer,
      e->>3 AS strength FROM jsonb_array_elements(keys) e) k
    LEFT JOIN sandbox.shadows() s ON s.base = k.base
    WHERE coalesce(s.shadow, k.base) IN (SELECT sandbox.reached(rels))
      AND (writer = '' OR pg_visible_in_snapshot(writer::xid8, pg_current_snapshot()))
  LOOP
    EXECUTE format('SELECT %s FROM %s WHERE %s',
      coalesce(format('xmin::text <> %L', part.fill), 'sandbox.is_own(xmin)'), part.rel,
      sandbox.has_key(part.rel)) INTO own USING part.key;
    IF own IS NULL OR own AND part.strength = 'FOR UPDATE' THEN
      RAISE serialization_failure USING MESSAGE = 'a row that another transaction locked';
    END IF;
  END LOOP;
END $$;

-- Whether the last statement made a second visible row of one key: the first was deleted or
-- changed by a transaction that has committed since the snapshot.
CREATE FUNCTION sandbox.has_duplicate_key(rels oid[]) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  part record;
  found boolean;
BEGIN
  FOR part IN SELECT indrelid::regclass AS rel, coalesce(pg_get_expr(indpred, indrelid), 'true')
      AS pred, array_agg(pg_get_indexdef(indexrelid, n, true) ORDER BY n) AS keys,
      CASE WHEN indnullsnotdistinct THEN 'true' ELSE
        string_agg(format('(%s) IS NOT NULL', pg_get_indexdef(indexrelid, n, true)), ' AND ')
      END AS counts
    FROM pg_index, generate_series(1, indnkeyatts) n
    WHERE indrelid IN (SELECT sandbox.reached(rels))
      AND indisunique AND indisvalid GROUP BY indexrelid LOOP
    -- OFFSET 0: the planner believes that there is one row of a key.
    EXECUTE format('SELECT EXISTS (SELECT FROM (SELECT ROW(%s) AS key, '
      'xmin = (SELECT sandbox.newest())::xid AS new FROM %s WHERE (%s) AND (%s) OFFSET 0) r '
      'GROUP BY r.key HAVING count(*) > 1 AND bool_or(r.new))',
      array_to_string(part.keys, ', '), part.rel, part.pred, part.counts) INTO found;
    IF found THEN
      RETURN true;
    END IF;
  END LOOP;
  RETURN false;
END $$;

-- Whether any foreign key changes other rows than a statement says.
CREATE FUNCTION sandbox.cascades() RETURNS boolean LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT EXISTS (SELECT FROM pg_constraint WHERE contype = 'f'
    AND (confdeltype IN ('c', 'n', 'd') OR confupdtype IN ('c', 'n', 'd'))) $$;
-- How many rows this transaction has written, those that were undone too.
CREATE FUNCTION sandbox.count_written_rows() RETURNS bigint LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(sum(pg_stat_get_xact_tuples_inserted(oid)
    + pg_stat_get_xact_tuples_updated(oid) + pg_stat_get_xact_tuples_deleted(oid)), 0)::bigint
  FROM pg_class WHERE relkind = 'r' AND relnamespace NOT IN
    ('pg_catalog'::regnamespace, 'information_schema'::regnamespace, 'sandbox'::regnamespace) $$;

-- Fail when rows must be measured: below the smallest limit nothing is too large.
CREATE FUNCTION sandbox.check_written(since pg_lsn) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF pg_wal_lsn_diff(pg_current_wal_insert_lsn(), since) > 1 << 20 THEN
    RAISE EXCEPTION USING ERRCODE = 'SBX01';
  END IF;
END $$;

-- Fail when a value in one of the rows is too large. Sizes are as stored, compressed.
CREATE FUNCTION sandbox.check_values(rel regclass, condition text) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  part record;
  size bigint;
BEGIN
  FOR part IN SELECT attname, format_type(atttypid, NULL) AS type FROM pg_attribute
    WHERE attrelid = rel AND attnum > 0 AND NOT attisdropped AND attlen = -1 LOOP
    EXECUTE format('SELECT max(pg_column_size(t.%I)) FROM %s t WHERE %s',
      part.attname, rel, condition) INTO size;
    IF size > 1 << 20 THEN
      RAISE program_limit_exceeded USING MESSAGE = format(
        'datatype limit greater than 1048576 bytes not supported for %s', part.type);
    END IF;
  END LOOP;
END $$;
-- That of the rows which the last statement wrote.
CREATE FUNCTION sandbox.check_last(rels oid[]) RETURNS void LANGUAGE sql VOLATILE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT sandbox.check_values(oid, format('t.xmin = %L', sandbox.newest()))
  FROM pg_class WHERE oid IN (SELECT sandbox.reached(rels)) AND relkind = 'r' $$;

-- Fail when what this transaction wrote to the named tables is more than DSQL takes. Sizes
-- are as stored, compressed.
CREATE FUNCTION sandbox.check_size(rels oid[]) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  rel regclass;
  total bigint := 0;
  size bigint;
  widest bigint;
BEGIN
  FOR rel IN SELECT DISTINCT coalesce(s.base, n.named)
    FROM sandbox.reached(rels) n (named) LEFT JOIN sandbox.shadows() s ON s.shadow = n.named LOOP
    CONTINUE WHEN (SELECT relkind FROM pg_class WHERE oid = rel) IS DISTINCT FROM 'r';
    PERFORM sandbox.check_values(rel, 'sandbox.is_own(t.xmin)');
    EXECUTE format('SELECT sum(pg_column_size(t.*)), max(pg_column_size(t.*)) '
      'FROM %s t WHERE sandbox.is_own(t.xmin)', sandbox.qualified(rel)) INTO size, widest;
    IF widest > 2 << 20 THEN
      RAISE program_limit_exceeded USING MESSAGE = 'maximum row size exceeded';
    END IF;
    total := total + coalesce(size, 0);
  END LOOP;
  IF total > 10 << 20 THEN
    RAISE program_limit_exceeded USING MESSAGE = 'transaction size limit 10mb exceeded',
      DETAIL = format('Current transaction size %smb > 10mb', ceil(total / 1048576.0));
  END IF;
END $$;
GRANT USAGE ON SCHEMA sandbox TO PUBLIC;
