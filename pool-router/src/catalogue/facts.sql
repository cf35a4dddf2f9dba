-- What of one database's catalogue decides where a statement may run. The answer has four columns:
-- kind, schema, name, fact.
--   f  function: w (writes, or is the server's own), x (writes, but only when it is executed) or
--      h (harmless), the worst of its overloads
--   a  function that may be called as t.f: w
--   r  relation: u (unlogged), f (foreign), s (sequence), v (view or row security),
--      x (view or row security over what writes only when it is executed)
--   t  type, a cast to which calls a function that writes: w
--   o  operator whose function writes: w
--   i  default isolation level: c (read committed for everybody) or o (another for somebody)
-- For PostgreSQL 11 to 18. Source of the columns: PostgreSQL docs, "System Catalogs".
--
-- Planning evaluates functions that are declared STABLE or IMMUTABLE, never VOLATILE ones
-- (PostgreSQL docs, "Function Volatility Categories"). A VOLATILE function in SQL may be replaced by
-- its body, which planning then does look at. The functions of operators are run on statistics,
-- however volatile they are.
--
-- Dependencies on what initdb made are not recorded in pg_depend, so calls of built-in functions
-- are found in the stored trees, by the numbers of the functions.
BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
SET LOCAL search_path TO '';
SET LOCAL jit TO off;
SET LOCAL statement_timeout TO {timeout};
WITH RECURSIVE
-- Built-in functions that a standby must not run for the primary.
builtin AS (
  SELECT p.oid, p.proname, p.proname = ANY ('{{writing}}'::name[]) AS writes,
         p.provolatile = 'v' AND p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'sql') AS when_executed
  FROM pg_proc p
  WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.oid < 16384
    AND p.proname <> ALL ('{pg_is_other_temp_schema,pg_my_temp_schema}'::name[])
    AND (p.proname = ANY ('{{writing},{server}}'::name[])
      OR p.proname LIKE E'pg\\_stat\\_get\\_%'
      OR p.provolatile = 'v' AND p.proname <> ALL ('{{harmless}}'::name[]))
),
pattern AS (
  SELECT ':(?:funcid|opfuncid|aggfnoid|winfnoid) (?:' || string_agg(oid::text, '|') FILTER (WHERE proname <> 'current_setting') || ') ' AS any_of,
         ':(?:funcid|opfuncid|aggfnoid|winfnoid) (?:' || string_agg(oid::text, '|') FILTER (WHERE writes) || ') ' AS writing,
         ':(?:funcid|opfuncid|aggfnoid|winfnoid) (?:' || string_agg(oid::text, '|') FILTER (WHERE NOT when_executed) || ') ' AS when_planned,
         ':funcid (?:' || string_agg(oid::text, '|') FILTER (WHERE proname = 'current_setting') || ') ' AS setting,
         E'current_setting\\s*\\(\\s*''[^'']+\\.' AS own_setting
  FROM builtin
),
-- What users (and extensions) have made and SQL can call.
routine AS (
  SELECT p.oid, n.nspname, p.proname, p.prokind, p.provolatile, l.lanname NOT IN ('c', 'internal') AS has_source,
         l.lanname = 'sql' AS is_sql,
         p.prosrc, coalesce(p.proargdefaults::text, '') || coalesce({body_tree}, '') AS tree,
         a.typtype IN ('c', 'd', 'p') AS of_row
  FROM pg_proc p
  JOIN pg_namespace n ON n.oid = p.pronamespace
  JOIN pg_language l ON l.oid = p.prolang
  LEFT JOIN pg_type a ON a.oid = p.proargtypes[0]
  WHERE (n.nspname NOT IN ('pg_catalog', 'information_schema') OR p.oid >= 16384)
    AND p.prokind <> 'p'
    AND p.prorettype <> ALL ('{trigger,event_trigger,internal,language_handler,fdw_handler,index_am_handler,tsm_handler}'::regtype[])
),
-- Those that write only when they are executed, unless what they depend on does more.
executed AS (
  SELECT r.oid FROM routine r, pattern p
  WHERE r.provolatile = 'v' AND r.prokind = 'f' AND NOT r.is_sql AND r.tree !~ p.any_of AND r.tree !~ p.setting
),
-- Words in the source of functions that claim to write nothing. A setting with a dot in its name is
-- the application's own, and follows its session from server to server.
word AS (
  SELECT DISTINCT r.oid, w.word
  FROM routine r, pattern,
    regexp_split_to_table(lower(regexp_replace(r.prosrc, own_setting, ' ', 'gi') COLLATE "C"), E'[][\\s"'';:,.(){}+*/<>=~!@#%^&|`?\\\\-]+') AS w(word)
  WHERE r.has_source AND r.provolatile <> 'v' AND r.prokind <> 'a' AND w.word <> ''
),
-- What is bad if something else is.
edge(from_class, from_oid, to_class, to_oid) AS (
  SELECT 'pg_proc'::regclass::oid, r.oid, 'pg_proc'::regclass::oid, w.oid
  FROM word w JOIN routine r ON lower(r.proname::text COLLATE "C") = w.word
  UNION ALL
  SELECT 'pg_class'::regclass, c.oid, 'pg_proc'::regclass, w.oid
  FROM word w JOIN pg_class c ON lower(c.relname::text COLLATE "C") = w.word
  WHERE c.relkind IN ('r', 'p', 'f', 'v', 'S')
  UNION ALL
  SELECT d.refclassid, d.refobjid, d.classid, d.objid FROM pg_depend d
  WHERE d.classid = 'pg_proc'::regclass
    AND d.refclassid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_operator'::regclass)
  UNION ALL
  SELECT d.refclassid, d.refobjid, 'pg_class'::regclass, c.oid
  FROM pg_depend d
  JOIN pg_rewrite r ON r.oid = d.objid
  JOIN pg_class c ON c.oid = r.ev_class
  WHERE d.classid = 'pg_rewrite'::regclass AND c.relkind = 'v' AND r.ev_type = '1'
    AND d.refclassid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_operator'::regclass, 'pg_type'::regclass)
  UNION ALL
  SELECT d.refclassid, d.refobjid, 'pg_class'::regclass, p.polrelid
  FROM pg_depend d JOIN pg_policy p ON p.oid = d.objid
  WHERE d.classid = 'pg_policy'::regclass AND p.polcmd IN ('r', '*')
    AND d.refclassid IN ('pg_proc'::regclass, 'pg_class'::regclass, 'pg_operator'::regclass)
  UNION ALL
  SELECT 'pg_class'::regclass, i.inhrelid, 'pg_class'::regclass, i.inhparent FROM pg_inherits i
  UNION ALL
  SELECT 'pg_proc'::regclass, o.oprcode, 'pg_operator'::regclass, o.oid FROM pg_operator o
  UNION ALL
  SELECT 'pg_proc'::regclass, f.oid, 'pg_proc'::regclass, a.aggfnoid
  FROM pg_aggregate a, unnest(ARRAY[a.aggtransfn, a.aggfinalfn, a.aggcombinefn, a.aggmtransfn, a.aggminvtransfn, a.aggmfinalfn]::oid[]) AS f(oid)
  WHERE f.oid <> 0
  UNION ALL
  SELECT 'pg_proc'::regclass, c.castfunc, 'pg_type'::regclass, c.casttarget FROM pg_cast c WHERE c.castfunc <> 0
  UNION ALL
  SELECT d.refclassid, d.refobjid, 'pg_type'::regclass, c.contypid
  FROM pg_depend d JOIN pg_constraint c ON c.oid = d.objid
  WHERE d.classid = 'pg_constraint'::regclass AND c.contypid <> 0
    AND d.refclassid IN ('pg_proc'::regclass, 'pg_operator'::regclass)
),
-- What is bad by itself, and then what follows from it.
bad(class, oid, why) AS (
  SELECT 'pg_proc'::regclass::oid, oid, CASE WHEN when_executed THEN 'x' ELSE 'w' END FROM builtin
  UNION
  SELECT 'pg_proc'::regclass, r.oid, CASE WHEN r.oid IN (SELECT oid FROM executed) THEN 'x' ELSE 'w' END
  FROM routine r, pattern p
  WHERE r.provolatile = 'v' OR r.tree ~ p.any_of OR r.tree ~ p.setting
    AND regexp_replace(coalesce({body_text}, 'current_setting'), p.own_setting, '', 'g') LIKE '%current_setting%'
  UNION
  SELECT 'pg_proc'::regclass, w.oid, 'w' FROM word w
  WHERE w.word = ANY ('{{writing},{server}}'::text[]) OR w.word LIKE E'pg\\_stat\\_get\\_%'
     OR w.word IN (SELECT proname::text FROM builtin)
  UNION
  SELECT 'pg_class'::regclass, c.oid, CASE WHEN c.relkind = 'f' THEN 'f' WHEN c.relkind = 'S' THEN 's' ELSE 'u' END
  FROM pg_class c
  WHERE c.relkind IN ('f', 'S') OR c.relpersistence = 'u' AND c.relkind IN ('r', 'p', 'm')
  UNION
  SELECT 'pg_class'::regclass, v.oid, CASE WHEN v.tree ~ p.when_planned THEN 'v' ELSE 'x' END
  FROM pattern p, (
    SELECT c.oid, r.ev_action::text AS tree
    FROM pg_rewrite r JOIN pg_class c ON c.oid = r.ev_class
    WHERE c.relkind = 'v' AND r.ev_type = '1') AS v
  WHERE strpos(v.tree, '{ROWMARKCLAUSE ') > 0 OR v.tree ~ p.any_of
     OR v.tree ~ p.setting
       AND regexp_replace(pg_get_viewdef(v.oid), p.own_setting, '', 'g') LIKE '%current_setting%'
  UNION
  SELECT 'pg_class'::regclass, l.polrelid, CASE WHEN l.polqual::text ~ p.when_planned THEN 'v' ELSE 'x' END
  FROM pattern p, pg_policy l
  WHERE l.polcmd IN ('r', '*') AND l.polqual::text ~ p.writing
  UNION
  SELECT e.to_class, e.to_oid, CASE
      WHEN e.to_class = 'pg_proc'::regclass AND (b.why <> 'x' OR e.to_oid NOT IN (SELECT oid FROM executed)) THEN 'w'
      WHEN e.to_class IN ('pg_proc'::regclass, 'pg_class'::regclass) AND b.why = 'x' THEN 'x'
      WHEN b.class = e.to_class AND EXISTS (SELECT FROM pg_inherits i WHERE i.inhrelid = b.oid AND i.inhparent = e.to_oid) THEN b.why
      ELSE 'v' END
  FROM bad b JOIN edge e ON e.from_class = b.class AND e.from_oid = b.oid
),
fact(kind, nspname, name, fact) AS (
  SELECT 'i', '', '', CASE WHEN s.setting = 'read committed' AND s.source IN ('default', 'configuration file', 'command line', 'environment variable', 'override')
      AND NOT EXISTS (
        SELECT FROM pg_db_role_setting r, unnest(r.setconfig) AS c(item)
        WHERE r.setdatabase IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
          AND c.item LIKE E'default\\_transaction\\_isolation=%' AND c.item NOT LIKE '%=read committed') THEN 'c' ELSE 'o' END
  FROM pg_settings s WHERE s.name = 'default_transaction_isolation'
  UNION ALL
  SELECT 'f', r.nspname::text, r.proname::text, coalesce(min(b.why), 'h')
  FROM routine r LEFT JOIN bad b ON b.class = 'pg_proc'::regclass AND b.oid = r.oid
  GROUP BY r.nspname, r.proname
  UNION ALL
  SELECT DISTINCT 'f', 'pg_catalog', u.proname::text, 'w'
  FROM builtin u WHERE u.proname IN (SELECT proname FROM routine)
  UNION ALL
  SELECT DISTINCT 'a', r.nspname::text, r.proname::text, 'w'
  FROM routine r JOIN bad b ON b.class = 'pg_proc'::regclass AND b.oid = r.oid WHERE r.of_row
  UNION ALL
  SELECT 'r', n.nspname::text, c.relname::text, min(b.why)
  FROM bad b JOIN pg_class c ON b.class = 'pg_class'::regclass AND c.oid = b.oid
  JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE n.nspname <> 'pg_catalog' AND c.relpersistence <> 't' GROUP BY n.nspname, c.relname
  UNION ALL
  SELECT DISTINCT 'o', '', o.oprname::text, 'w'
  FROM bad b JOIN pg_operator o ON b.class = 'pg_operator'::regclass AND o.oid = b.oid
  UNION ALL
  SELECT DISTINCT 't', n.nspname::text, t.typname::text, 'w'
  FROM bad b JOIN pg_type t ON b.class = 'pg_type'::regclass AND t.oid = b.oid
  JOIN pg_namespace n ON n.oid = t.typnamespace
)
SELECT kind, nspname, name, fact FROM fact LIMIT {most};
COMMIT;
