-- The SQL surface: its objects, the roles that may use them, their comments.
CREATE EXTENSION pool_exhaust;

-- Relations and their columns
SELECT c.relname, c.relkind,
       string_agg(a.attname, ', ' ORDER BY a.attnum) AS columns
FROM pg_depend d
     JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
     JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
     JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE e.extname = 'pool_exhaust' AND c.relkind IN ('r', 'v')
GROUP BY c.relname, c.relkind
ORDER BY c.relkind, c.relname COLLATE "C";

-- Functions
SELECT p.proname, pg_get_function_arguments(p.oid) AS arguments,
       pg_get_function_result(p.oid) AS result
FROM pg_depend d
     JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
     JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid
WHERE e.extname = 'pool_exhaust'
ORDER BY p.proname COLLATE "C", pg_get_function_arguments(p.oid) COLLATE "C";

-- Everything carries a comment and the prefix
SELECT pg_describe_object(d.classid, d.objid, 0) AS without_comment
FROM pg_depend d
     JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
     LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND d.objid = c.oid
WHERE e.extname = 'pool_exhaust'
  AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass)
  AND c.relkind IS DISTINCT FROM 'S'
  AND obj_description(d.objid, d.classid::regclass::name) IS NULL;

-- PUBLIC may use nothing
SELECT c.relname AS open_to_public
FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relname LIKE 'pool\_exhaust\_%' AND a.grantee = 0;
SELECT p.proname AS open_to_public
FROM pg_proc p
WHERE p.proname LIKE 'pool\_exhaust\_%'
  AND (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0));

-- pg_monitor may read, and not run
SELECT p.proname, has_function_privilege('pg_monitor', p.oid, 'EXECUTE') AS pg_monitor
FROM pg_proc p
WHERE p.proname IN ('pool_exhaust_run', 'pool_exhaust_start', 'pool_exhaust_wait',
                    'pool_exhaust_stop', 'pool_exhaust_report', 'pool_exhaust_hold',
                    'pool_exhaust_leak', 'pool_exhaust_release', 'pool_exhaust_heal')
ORDER BY p.proname COLLATE "C";
SELECT c.relname AS closed_to_pg_monitor
FROM pg_class c
WHERE c.relname LIKE 'pool\_exhaust\_%' AND c.relkind IN ('r', 'v')
  AND NOT has_table_privilege('pg_monitor', c.oid, 'SELECT');

-- Settings
SELECT name, boot_val, unit, context, min_val, max_val
FROM pg_settings WHERE name LIKE 'pool\_exhaust.%' ORDER BY name COLLATE "C";
SET pool_exhaust.no_such_setting = 1;
\set VERBOSITY sqlstate
SET pool_exhaust.max_run_time = 0;
SET pool_exhaust.max_hold_time = 0;
SET pool_exhaust.max_connections_per_run = -1;
\set VERBOSITY default

-- The scenarios explain themselves
SELECT name, summary, default_target, effect FROM pool_exhaust_scenarios;
SELECT key, value FROM pool_exhaust_scenarios, jsonb_each(options)
WHERE name = 'saturation' ORDER BY key COLLATE "C";
SELECT * FROM pool_exhaust_scenario_options WHERE scenario = 'latency';
SELECT count(*) AS options, bool_and(quick IS NOT NULL) AS have_defaults,
       max(length(scenario)) + max(length(option)) + max(length(type)) + max(length(quick)) + greatest(max(length(standard)), 8)
           + max(length(soak)) + max(length(bounds)) + 20 <= 120 AS narrow
FROM pool_exhaust_scenario_options
HAVING count(*) = (SELECT count(*) FROM pool_exhaust_scenarios, jsonb_object_keys(options)) AND count(*) > 100;

-- One row a cause, zeros included
SELECT cause, sqlstate, http_status FROM pool_exhaust_refusals;

-- The server is always a pool; the figures hang together
SELECT name, kind, capacity > 0 AS has_capacity, in_use > 0 AS in_use, idle, overflow, waiting,
       utilization > 0 AS used, health
FROM pool_exhaust_pools WHERE kind = 'server';
SELECT capacity = max_connections - superuser_reserved - reserved AS capacity,
       in_use + free = max_connections AS free, authenticating <= in_use AS authenticating,
       free_unreserved = capacity - in_use AS free_unreserved
FROM pool_exhaust_slots;
SELECT datname = current_database() AS datname, usename = session_user AS usename, state,
       service = session_user || '/' || current_setting('application_name') AS service,
       run_id, hold_id, leak
FROM pool_exhaust_backends WHERE pid = pg_backend_pid();

-- Limits of roles and databases are pools too
CREATE ROLE pool_exhaust_test_limited LOGIN CONNECTION LIMIT 3;
CREATE ROLE pool_exhaust_test_group NOLOGIN CONNECTION LIMIT 3;
CREATE DATABASE pool_exhaust_test_db CONNECTION LIMIT 0;
SELECT name, kind, capacity, in_use, utilization, health
FROM pool_exhaust_pools WHERE name LIKE 'pool\_exhaust\_test%' ORDER BY kind, name;
DROP DATABASE pool_exhaust_test_db;
DROP ROLE pool_exhaust_test_limited, pool_exhaust_test_group;
