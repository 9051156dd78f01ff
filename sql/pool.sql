-- One run of each scenario over an application-style pool, and what it leaves
-- behind; workloads of the caller's own.
SET pool_exhaust.progress = off;

CREATE VIEW latest AS SELECT * FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1;
CREATE VIEW checks AS
	SELECT c.* FROM pool_exhaust_checks c JOIN latest r ON c.run_id = r.id ORDER BY seq;

-- The text report; times and the run's number vary
SELECT regexp_replace(regexp_replace(line, '\d+(\.\d+)? (ms|s\M)|\d+ to \d+ (ms)', 'N \2\3', 'g'), 'run \d+', 'run N') AS report
FROM pool_exhaust_run('queue', 'pool', '{"long_ms": 400, "pool_timeout_ms": 2000, "tolerance_ms": 5000, "seed": 7}') AS line
WHERE line !~ '^(utilization|machine)';

-- The tables agree with it
SELECT scenario, target, verdict, reason, seed, finished_at >= started_at AS finished,
       summary->'capacity' AS capacity, summary->'peak_in_use' AS peak
FROM latest;
SELECT jsonb_pretty(options) FROM latest;
SELECT seq, phase, name, outcome, expected,
       CASE WHEN unit IS NULL THEN observed END AS observed, unit, detail
FROM checks;
SELECT p->>'phase' AS phase, p->>'granted' AS granted, p->>'refused' AS refused, p->>'timed_out' AS timed_out
FROM latest, jsonb_array_elements(summary->'phases') WITH ORDINALITY AS e(p, n)
ORDER BY n;
SELECT max(s.in_use) AS in_use, max(s.waiting) > 0 AS waiting, max(s.granted) BETWEEN 20 AND 21 AS granted,
       max(s.refused) AS refused, max(s.timed_out) AS timed_out,
       max(s.p50_ms) > 0 AS p50_ms, max(s.p99_ms) > 0 AS p99_ms, bool_or(s.health = 'exhausted') AS exhausted
FROM pool_exhaust_samples s JOIN latest r ON s.run_id = r.id;

-- A queue that is full refuses at once
SELECT count(*) > 0 AS ran
FROM pool_exhaust_run('queue', options => '{"long_ms": 400, "pool_timeout_ms": 1300, "tolerance_ms": 5000, "max_waiting": 3}');
SELECT verdict, reason FROM latest;
SELECT name, expected, observed FROM checks WHERE name IN ('refused at once', 'timed out');
SELECT max(s.refused) AS refused, max(s.timed_out) AS timed_out
FROM pool_exhaust_samples s JOIN latest r ON s.run_id = r.id;

-- The other scenarios, with what they claim
SELECT count(*) > 0 AS ran FROM pool_exhaust_run('degradation', options => '{
	"pool_size": 4, "max_overflow": 2, "work_ms": 10, "baseline_ms": 200, "sustained_ms": 800,
	"burst_ms": 100, "burst_every_ms": 800, "burst_percent": 200}');
SELECT verdict, reason FROM latest;
SELECT phase, name, outcome FROM checks;

SELECT count(*) > 0 AS ran FROM pool_exhaust_run('isolation', options => '{"baseline_ms": 200}');
SELECT verdict, reason FROM latest;
SELECT phase, name, outcome, CASE WHEN name ~ '^(errors|sessions)|without' THEN observed END AS observed FROM checks;

SELECT count(*) > 0 AS ran
FROM pool_exhaust_run('latency', options => '{"levels": [20, 80, 100], "level_ms": 1000}');
SELECT verdict, reason FROM latest;
SELECT phase, name, outcome, expected FROM checks;
SELECT p->>'phase' AS phase,
       (SELECT string_agg(name, ' ' ORDER BY name COLLATE "C") FROM jsonb_object_keys(p->'figures') AS name) AS figures
FROM latest, jsonb_array_elements(summary->'phases') WITH ORDINALITY AS e(p, n)
ORDER BY n;
-- (each latency of a level, with the percentiles that the summary has)
SELECT h.phase, string_agg(metric, ' ' ORDER BY metric) AS metrics, bool_and(unit = 'us') AS us,
       bool_and((SELECT sum(buckets[i][2]) FROM generate_subscripts(buckets, 1) AS i) > 0) AS have_values,
       bool_and(p->'figures'->(metric || '_p99_ms') IS NULL OR round((p->'figures'->(metric || '_p99_ms'))::numeric, 3) =
           round((pool_exhaust_percentile(buckets, 0.99) / 1000)::numeric, 3)) AS as_in_summary
FROM latest r, jsonb_array_elements(summary->'phases') WITH ORDINALITY AS e(p, n), pool_exhaust_histograms h
WHERE h.run_id = r.id AND h.phase = p->>'phase' AND p->>'phase' ~ '%'
GROUP BY h.phase, n ORDER BY n;

SELECT count(*) > 0 AS ran
FROM pool_exhaust_run('accuracy', options => '{"churn_ms": 500, "failing_percent": 20, "seed": 7}');
SELECT verdict, reason FROM latest;
SELECT phase, name, outcome, CASE WHEN name ~ '^(pool|sessions|requests|timed|refused|in use)' THEN observed END AS observed
FROM checks;

-- The same seed brings the same clients: as many, and as many with a failed operation
SELECT string_agg(observed, ' ' ORDER BY seq) AS churn
FROM checks WHERE name IN ('granted in the churn', 'operations that failed') \gset
SELECT count(*) > 0 AS ran
FROM pool_exhaust_run('accuracy', options => '{"churn_ms": 500, "failing_percent": 20, "seed": 7, "levels": [0]}');
SELECT string_agg(observed, ' ' ORDER BY seq) = :'churn' AS same_churn
FROM checks WHERE name IN ('granted in the churn', 'operations that failed');

-- Workloads.  Those that fail, or leave something behind, prove nothing
CREATE ROLE pool_exhaust_test_owner;
CREATE TABLE of_another (a integer);
ALTER TABLE of_another OWNER TO pool_exhaust_test_owner;
CREATE FUNCTION makes_temporary() RETURNS void LANGUAGE plpgsql AS $$
BEGIN
	CREATE TEMP TABLE scratch (a integer);
END $$;
CREATE FUNCTION tried(workload text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pool_exhaust_run('queue', options => jsonb_build_object(
		'workload', workload, 'pool_size', 1, 'max_overflow', 0, 'long_operations', 1, 'long_ms', 1,
		'pool_timeout_ms', 1000, 'tolerance_ms', 5000));
	RETURN (SELECT concat_ws(': ', verdict, reason) FROM latest);
END $$;
\pset format unaligned
SELECT w AS workload, tried(w) FROM unnest(ARRAY[
	'SELECT 1/0',
	'SELEC 1',
	'SELECT * FROM of_another',
	'INSERT INTO no_such_table VALUES (1)',
	'BEGIN',
	'BEGIN; SELECT 1; COMMIT AND CHAIN',
	'SELECT set_config(''work_mem'', ''1MB'', false)',
	'SELECT pg_advisory_lock(1)',
	'SELECT makes_temporary()',
	'DO $a$ BEGIN CREATE TEMP TABLE t (a int); CREATE TEMP VIEW v AS SELECT 1; END $a$',
	'CREATE FUNCTION pg_temp.f() RETURNS integer LANGUAGE sql AS ''SELECT 1''',
	'DO $a$ BEGIN EXECUTE ''PREPARE p AS SELECT 1''; END $a$',
	'DO $a$ BEGIN EXECUTE ''LISTEN c''; END $a$',
	'DO $a$ BEGIN EXECUTE ''DECLARE c CURSOR WITH HOLD FOR SELECT 1''; END $a$',
	'SELECT pg_terminate_backend(pg_backend_pid())']) AS w;
-- such a run has no pool, no check, and no measure of the machine
SELECT summary->'capacity' AS capacity, calibration, (SELECT count(*) FROM checks) AS checks,
       (SELECT string_agg(p->>'phase', ', ' ORDER BY n) FROM jsonb_array_elements(summary->'phases') WITH ORDINALITY AS e(p, n)) AS phases
FROM latest;

-- These are fit for it
SELECT w AS workload, tried(w) FROM unnest(ARRAY[
	'SELECT 1; SELECT count(*) FROM pg_class',
	'BEGIN; SET LOCAL work_mem = ''1MB''; SELECT set_config(''work_mem'', ''2MB'', true), pg_advisory_xact_lock_shared(1); COMMIT',
	'BEGIN; CREATE TEMP TABLE t (a int) ON COMMIT DROP; INSERT INTO t VALUES (1); COMMIT']) AS w;
\pset format aligned

-- Each operation runs it once: 10 long ones, 5 quick ones, and the trial.  TAP,
-- as it runs, and the same run as JSON, which is one row
CREATE TABLE did (pid integer DEFAULT pg_backend_pid(), role text DEFAULT current_user, n integer);
GRANT INSERT ON did TO PUBLIC;
SELECT regexp_replace(line, 'run \d+', 'run N') AS tap
FROM pool_exhaust_run('queue', 'pool', '{"long_ms": 400, "pool_timeout_ms": 2000, "tolerance_ms": 5000,
	"workload": "INSERT INTO did (n) VALUES (1), (2); INSERT INTO did (n) VALUES (3)"}', 'tap') AS line;
SELECT verdict, reason FROM latest;
SELECT n, count(*), count(DISTINCT pid) AS sessions, min(role) AS role FROM did GROUP BY n ORDER BY n;
SELECT options->>'workload' AS workload FROM latest;
SELECT r->>'verdict' AS verdict, r->>'target' AS target, jsonb_array_length(r->'checks') AS checks,
       r->'options'->>'idle_order' AS idle_order,
       ARRAY(SELECT jsonb_object_keys(r) ORDER BY 1) AS keys
FROM (SELECT line::jsonb AS r FROM pool_exhaust_report(format => 'json') AS line) s;
DROP TABLE did, of_another;
DROP FUNCTION tried, makes_temporary;
DROP ROLE pool_exhaust_test_owner;

-- A deliberate fault is found, and reported or raised
SELECT line FROM pool_exhaust_run('queue', options => '{"pool_size": 1, "max_overflow": 0, "long_operations": 1, "long_ms": 1,
	"pool_timeout_ms": 1000, "tolerance_ms": 5000, "fault": "miscount"}') AS line
WHERE line ~ '^(FAIL  |      )\w' OR line ~ '^ +failed: ';
\set VERBOSITY sqlstate
SELECT pool_exhaust_run('saturation', 'role', '{"fault": "keep_slot", "on_fail": "error"}');
\set VERBOSITY default

-- Nothing is left
SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool\_exhaust\_%';
SELECT count(*) AS under_way FROM pool_exhaust_progress;
SELECT count(*) AS pools FROM pool_exhaust_pools WHERE kind = 'pool';
SELECT count(*) AS sessions FROM pg_stat_activity WHERE usename ~ '^pool_exhaust_';
DROP VIEW checks, latest;
DELETE FROM pool_exhaust_runs;
