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
SELECT pool_exhaust_run('saturation', 'role', '{"knocks": "5"}');
SELECT pool_exhaust_run('saturation', 'role', '{"knocks": null}');
SELECT pool_exhaust_run('saturation', 'role', '{"knocks": [5]}');
SELECT pool_exhaust_run('saturation', 'role', '{"knocks": {"a": 5}}');
SELECT pool_exhaust_run('saturation', 'role', '{"knocks": true}');
SELECT pool_exhaust_run('saturation', 'role', '{"knocks": 1.5}');
SELECT pool_exhaust_run('saturation', 'role', '{"knocks": 0}');
SELECT pool_exhaust_run('saturation', 'role', '{"knocks": -1}');
SELECT pool_exhaust_run('saturation', 'role', '{"knocks": 10001}');
SELECT pool_exhaust_run('saturation', 'role', '{"knocks": 1e30}');
SELECT pool_exhaust_run('saturation', 'role', '{"role_limit": 0}');
SELECT pool_exhaust_run('saturation', 'role', '{"handshakes": 65}');
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
SELECT pool_exhaust_run('saturation', 'role', '{"knocks": 5, "levels": [50]}');
SELECT pool_exhaust_run('saturation', 'role', '{"workload": "SELECT 1"}');

-- Levels, workloads and pools, of the scenarios that have them

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
SELECT pool_exhaust_start('saturation', 'role', '{"knocks": 0}');

-- Runs that are not there
SELECT pool_exhaust_wait(NULL);
SELECT pool_exhaust_wait(0);
SELECT pool_exhaust_wait(0, '-1 second');
SELECT pool_exhaust_report(0);
SELECT pool_exhaust_report(NULL, 'no_such_format');
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
