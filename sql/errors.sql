-- Bad input: an ERROR that says what was wrong and what would be right, before
-- anything is touched.
\set VERBOSITY default

SELECT pool_exhaust_run('no_such_scenario');
SELECT pool_exhaust_run(NULL);
SELECT pool_exhaust_run('');
SELECT pool_exhaust_run('saturation', 'no_such_target');
SELECT pool_exhaust_run('saturation', 'role', NULL);
SELECT pool_exhaust_run('saturation', 'role', format => 'no_such_format');
SELECT pool_exhaust_run('saturation', 'role', format => NULL);

-- Options: not an object, unknown, wrong type, out of range
SELECT pool_exhaust_run('saturation', 'role', '[]');
SELECT pool_exhaust_run('saturation', 'role', '5');
SELECT pool_exhaust_run('saturation', 'role', '{"knoks": 5}');
SELECT pool_exhaust_run('saturation', 'role', '{"attempts": "5"}');
SELECT pool_exhaust_run('saturation', 'role', '{"attempts": null}');
SELECT pool_exhaust_run('saturation', 'role', '{"attempts": [5]}');
SELECT pool_exhaust_run('saturation', 'role', '{"attempts": {"a": 5}}');
SELECT pool_exhaust_run('saturation', 'role', '{"attempts": true}');
SELECT pool_exhaust_run('saturation', 'role', '{"attempts": 1.5}');
SELECT pool_exhaust_run('saturation', 'role', '{"attempts": 0}');
SELECT pool_exhaust_run('saturation', 'role', '{"attempts": -1}');
SELECT pool_exhaust_run('saturation', 'role', '{"attempts": 10001}');
SELECT pool_exhaust_run('saturation', 'role', '{"attempts": 1e30}');
SELECT pool_exhaust_run('saturation', 'role', '{"role_limit": 0}');
SELECT pool_exhaust_run('saturation', 'role', '{"handshakes": 241}');
SELECT pool_exhaust_run('saturation', 'role', '{"chaos": -1}');
SELECT pool_exhaust_run('saturation', 'role', '{"chaos": 101}');
SELECT pool_exhaust_run('saturation', 'role', '{"chaos": 0.5}');
SELECT pool_exhaust_run('saturation', 'role', '{"chaos": "much"}');
SELECT pool_exhaust_run('saturation', 'role', '{"timeout_ms": 99}');
SELECT pool_exhaust_run('saturation', 'role', '{"seed": -1}');
SELECT pool_exhaust_run('saturation', 'role', '{"on_fail": "explode"}');
SELECT pool_exhaust_run('saturation', 'role', '{"bystanders": 1}');
SELECT pool_exhaust_run('saturation', 'role', '{"profile": "slow"}');
SELECT pool_exhaust_run('saturation', 'role', '{"profile": null}');
SELECT pool_exhaust_run('saturation', 'role', '{"fault": ""}');
SELECT pool_exhaust_run('saturation', 'role', '{"database": ""}');
SELECT pool_exhaust_run('saturation', 'role', jsonb_build_object('database', repeat('x', 64)));
SELECT pool_exhaust_run('saturation', 'role', '{"database": "pool_exhaust_no_such_db"}');

-- What other scenarios have
SELECT pool_exhaust_run('saturation', 'pool');
SELECT pool_exhaust_run('saturation', 'role', '{"pool_size": 5}');
SELECT pool_exhaust_run('saturation', 'role', '{"attempts": 5, "levels": [50]}');
SELECT pool_exhaust_run('saturation', 'role', '{"workload": "SELECT 1"}');

-- Levels, workloads and pools, of the scenarios that have them
SELECT pool_exhaust_run('queue', 'server');
SELECT pool_exhaust_run('queue', options => '{"idle_order": "random"}');
SELECT pool_exhaust_run('latency', options => '{"arrivals": "random"}');
SELECT pool_exhaust_run('latency', options => '{"levels": 50}');
SELECT pool_exhaust_run('latency', options => '{"levels": {"a": 50}}');
SELECT pool_exhaust_run('latency', options => '{"levels": []}');
SELECT pool_exhaust_run('latency', options => '{"levels": [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17]}');
SELECT pool_exhaust_run('latency', options => '{"levels": [50, "100"]}');
SELECT pool_exhaust_run('latency', options => '{"levels": [50, 1.5]}');
SELECT pool_exhaust_run('accuracy', options => '{"levels": [50, 1001]}');
SELECT pool_exhaust_run('accuracy', options => '{"levels": [-1, 50]}');
SELECT pool_exhaust_run('queue', options => '{"workload": ""}');
SELECT pool_exhaust_run('queue', options => '{"workload": null}');
SELECT pool_exhaust_run('queue', options => '{"workload": ["SELECT 1"]}');
SELECT pool_exhaust_run('queue', options => jsonb_build_object('workload', repeat('x', 1024)));
SELECT pool_exhaust_run('queue', options => '{"workload": "/* nothing */ ;"}');
SELECT pool_exhaust_run('queue', options => '{"workload": "SET CATALOG ''x''"}');
SELECT pool_exhaust_run('queue', options => '{"workload": "COPY pool_exhaust_runs TO STDOUT"}');
SELECT pool_exhaust_run('queue', options => '{"workload": "COPY pool_exhaust_runs FROM STDIN"}');
SELECT pool_exhaust_run('queue', options => '{"workload": "SELECT 1; SET work_mem = 1"}');

-- What is wrong, in one line each
CREATE FUNCTION refusal(scenario text, options jsonb, target text DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	detail text;
	hint text;
BEGIN
	PERFORM pool_exhaust_run(scenario, target, options);
	RETURN 'it ran';
EXCEPTION WHEN invalid_parameter_value OR configuration_limit_exceeded THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
	RETURN regexp_replace(concat_ws(' | ', message, nullif(detail, ''), nullif(hint, '')),
		'only -?\d+|\d+ of \d+ slots', 'N', 'g');
END $$;
\pset format unaligned
\pset tuples_only on

-- Targets: these aim at a pool of their own, and at nothing else
SELECT refusal(name, '{}', target)
FROM pool_exhaust_scenarios, unnest(ARRAY['server', 'role']) AS target
WHERE default_target = 'pool' ORDER BY name COLLATE "C", target;

-- Options that another scenario has
SELECT refusal(scenario, jsonb_build_object(option, 1))
FROM (VALUES ('queue', 'attempts'), ('queue', 'work_ms'), ('degradation', 'levels'), ('isolation', 'long_operations'),
	('latency', 'role_limit'), ('accuracy', 'long_ms')) AS v (scenario, option);

-- Sizes and times out of range; the hints say the same bounds
SELECT split_part(refusal('queue', jsonb_build_object(option, value)), ' | ', 1)
FROM (VALUES
	('pool_size', 0), ('pool_size', -1), ('pool_size', 10001),
	('max_overflow', -1), ('max_overflow', 10001),
	('max_waiting', -1), ('max_waiting', 100001),
	('pool_timeout_ms', 0), ('pool_timeout_ms', 9), ('pool_timeout_ms', 600001),
	('connect_timeout_ms', 9), ('connect_timeout_ms', 600001),
	('max_lifetime_ms', -1), ('max_lifetime_ms', 86400001),
	('long_operations', 0), ('long_operations', 100001), ('quick_operations', 0), ('quick_operations', 100001),
	('long_ms', 0), ('long_ms', 600001), ('tolerance_ms', 0), ('tolerance_ms', 60001)) AS v (option, value);
SELECT split_part(refusal('degradation', jsonb_build_object(option, value)), ' | ', 1)
FROM (VALUES
	('work_ms', -1), ('work_ms', 60001), ('load_percent', 0), ('load_percent', 101),
	('burst_percent', 100), ('burst_percent', 1001), ('baseline_ms', 9), ('baseline_ms', 86400001),
	('sustained_ms', 9), ('burst_ms', 9), ('burst_every_ms', 9), ('success_percent', 101),
	('burst_error_percent', -1), ('response_limit_ms', 0), ('recovery_limit_ms', 3600001)) AS v (option, value);
SELECT split_part(refusal(scenario, jsonb_build_object(option, value)), ' | ', 1)
FROM (VALUES
	('isolation', 'clients', 0), ('isolation', 'clients', 100001), ('isolation', 'exhaust_ms', 9), ('isolation', 'role_limit', 0),
	('latency', 'level_ms', 9), ('latency', 'rate', 0), ('latency', 'rate', 100001), ('latency', 'latency_limit_ms', 0),
	('latency', 'latency_limit_percent', 1001), ('latency', 'tolerance_percent', 0), ('latency', 'tolerance_percent', 101),
	('accuracy', 'churn_ms', 9), ('accuracy', 'failing_percent', 101)) AS v (scenario, option, value);

-- Options that contradict each other: at the bound, and beyond
SELECT refusal('queue', '{"long_operations": 4, "quick_operations": 1}');
SELECT refusal('queue', '{"pool_size": 1, "max_overflow": 2, "long_operations": 1, "quick_operations": 1}');
SELECT refusal('degradation', '{"burst_ms": 500, "burst_every_ms": 500}');
SELECT refusal('degradation', '{"burst_ms": 501, "burst_every_ms": 500}');
SELECT refusal('degradation', '{"sustained_ms": 999}');
SELECT refusal('degradation', '{"load_percent": 80, "burst_percent": 164, "burst_ms": 250, "burst_every_ms": 1000}');
SELECT refusal('isolation', '{"pool_size": 2, "clients": 3}');
SELECT refusal('isolation', '{"pool_timeout_ms": 400, "long_ms": 400}');
SELECT refusal('isolation', '{"pool_timeout_ms": 500, "long_ms": 400}');
SELECT refusal('latency', '{"levels": [50, 101]}');
SELECT refusal('latency', '{"levels": [0], "tolerance_percent": 6}');
SELECT refusal('latency', '{"pool_size": 1, "max_overflow": 1, "levels": [100, 20]}');
SELECT refusal('queue', '{"long_ms": 1000, "pool_timeout_ms": 1000, "timeout_ms": 2000}');
SELECT refusal('degradation', '{"baseline_ms": 500, "sustained_ms": 1000, "timeout_ms": 2000}');
SELECT refusal('isolation', '{"baseline_ms": 500, "exhaust_ms": 500, "long_ms": 1000, "timeout_ms": 2000}');
SELECT refusal('latency', '{"levels": [20, 50], "level_ms": 1000, "timeout_ms": 2000}');
SELECT refusal('accuracy', '{"churn_ms": 2000, "timeout_ms": 2000}');
SET pool_exhaust.max_run_time = '2s';
SELECT refusal('accuracy', '{"churn_ms": 2000, "timeout_ms": 10000}');
RESET pool_exhaust.max_run_time;
SELECT refusal('queue', '{"database": "template1", "workload": "SELECT 1"}');

-- More connections than there are: two services, sessions beside the pool
SELECT refusal(scenario, '{"pool_size": 9999, "max_overflow": 4}')
FROM unnest(ARRAY['queue', 'leak', 'degradation', 'isolation', 'recovery', 'latency', 'accuracy']) AS scenario;
SET pool_exhaust.max_connections_per_run = 4;
SELECT refusal(scenario, '{"pool_size": 3, "max_overflow": 2}')
FROM unnest(ARRAY['queue', 'leak', 'degradation', 'isolation', 'recovery', 'latency', 'accuracy']) AS scenario;
SET pool_exhaust.max_connections_per_run = 9;
SELECT refusal('isolation', '{"pool_size": 3, "max_overflow": 2}');
RESET pool_exhaust.max_connections_per_run;

-- What outlives its operation, and what does not: that may be, and meets the
-- next reason to refuse
CREATE FUNCTION lasting(workload text) RETURNS text LANGUAGE sql AS $$
	SELECT CASE WHEN r LIKE 'the run would hold 5 connections%' THEN 'may be' ELSE split_part(r, ' | ', 2) END
	FROM refusal('queue', jsonb_build_object('workload', workload)) AS r
$$;
\pset format aligned
\pset tuples_only off
SET pool_exhaust.max_connections_per_run = 1;
SELECT w AS workload, lasting(w) FROM unnest(ARRAY[
	'SELEC 1', 'SET LOCAL work_mem = 1', 'SET TRANSACTION READ ONLY', 'EXECUTE p', 'BEGIN', 'DO $a$ BEGIN END $a$',
	'CREATE TEMP TABLE t (a int) ON COMMIT DROP', 'SELECT 1 INTO t', 'DECLARE c CURSOR FOR SELECT 1',
	'COPY t TO ''/x''', 'SELECT set_config(''work_mem'', ''1MB'', false)',
	'RESET ALL', 'SET ROLE r', 'SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY',
	'PREPARE p AS SELECT 1', 'DEALLOCATE ALL', 'PREPARE TRANSACTION ''x''', 'LISTEN c', 'UNLISTEN *', 'DISCARD ALL', 'LOAD ''x''',
	'DECLARE c CURSOR WITH HOLD FOR SELECT 1', 'CREATE TEMP TABLE t (a int)', 'CREATE TABLE pg_temp.t (a int)',
	'CREATE TEMP TABLE t AS SELECT 1', 'SELECT 1 INTO TEMP t UNION SELECT 2', 'CREATE TEMP VIEW v AS SELECT 1',
	'CREATE TEMP SEQUENCE s', 'EXPLAIN ANALYZE CREATE TEMP TABLE t AS SELECT 1']) AS w;
RESET pool_exhaust.max_connections_per_run;
DROP FUNCTION lasting, refusal;

-- More than fits, more than allowed
DO $$
BEGIN
	PERFORM pool_exhaust_run('saturation', 'role', '{"role_limit": 10000}');
EXCEPTION WHEN invalid_parameter_value THEN
	RAISE NOTICE 'role_limit beyond capacity: %', regexp_replace(SQLERRM, 'only \d+', 'only N');
END $$;
SET pool_exhaust.max_connections_per_run = 2;
SELECT pool_exhaust_run('saturation', 'role', '{"role_limit": 3}');
RESET pool_exhaust.max_connections_per_run;

-- start checks the same
SELECT pool_exhaust_start('no_such_scenario');
SELECT pool_exhaust_start('saturation', 'pool');
SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 0}');
SELECT pool_exhaust_start('queue', options => '{"long_operations": 1, "quick_operations": 1}');
SELECT pool_exhaust_start('queue', options => '{"workload": "LISTEN c"}');

-- Runs that are not there
SELECT pool_exhaust_wait(NULL);
SELECT pool_exhaust_wait(0);
SELECT pool_exhaust_wait(0, '-1 second');
SELECT pool_exhaust_report(0);
SELECT pool_exhaust_report(NULL, 'no_such_format');
SELECT pool_exhaust_report(NULL::bigint[]);
SELECT pool_exhaust_report(ARRAY[]::bigint[], 'json');
SELECT pool_exhaust_report(ARRAY[1, NULL]::bigint[]);
SELECT pool_exhaust_report('{0}', 'tap');
SELECT pool_exhaust_report('latest');
SELECT pool_exhaust_report(ARRAY[0], 'no_such_format');
SELECT pool_exhaust_report(array_agg(n)) FROM generate_series(1, 1001) AS n;
SELECT pool_exhaust_stop(0);
SELECT pool_exhaust_stop();

-- No right
CREATE ROLE pool_exhaust_test_nobody;
SET ROLE pool_exhaust_test_nobody;
SELECT pool_exhaust_run('saturation', 'role');
SELECT pool_exhaust_start('saturation', 'role');
SELECT pool_exhaust_stop();
SELECT * FROM pool_exhaust_slots;
SELECT * FROM pool_exhaust_runs;
SELECT * FROM pool_exhaust_census();
RESET ROLE;
DROP ROLE pool_exhaust_test_nobody;

-- Nothing was touched
SELECT count(*) AS runs FROM pool_exhaust_runs;
SELECT count(*) AS under_way FROM pool_exhaust_progress;
SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool\_exhaust\_%';
