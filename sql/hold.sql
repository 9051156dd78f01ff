-- Connections held and leaked by hand: errors, each with the value seen and the
-- way out, before anything is touched; and what can be seen from one session.
-- test/t/holds.pl has the rest.

-- Arguments
SELECT pool_exhaust_hold(NULL);
SELECT pool_exhaust_hold(0);
SELECT pool_exhaust_hold(-1);
SELECT pool_exhaust_hold(262144);
SELECT pool_exhaust_hold(2147483647);
SELECT pool_exhaust_hold(1, NULL);
SELECT pool_exhaust_hold(1, 'no_such_target');
SELECT pool_exhaust_hold(1, 'pool');
SELECT pool_exhaust_hold(1, state => NULL);
SELECT pool_exhaust_hold(1, state => 'no such state');
SELECT pool_exhaust_hold(1, state => 'IDLE');
SELECT pool_exhaust_hold(5, state => 'growth');
SELECT pool_exhaust_hold(1, options => NULL);
SELECT pool_exhaust_leak(NULL);
SELECT pool_exhaust_leak(0);
DO $$
DECLARE
	hint text;
BEGIN
	PERFORM pool_exhaust_leak(4, 'growth');
EXCEPTION WHEN invalid_parameter_value THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RAISE NOTICE 'too few for a growth: % | %', regexp_replace(SQLERRM, 'bounds \d+', 'bounds N'), regexp_replace(hint, '\d+ slots', 'N slots');
END $$;
SELECT pool_exhaust_leak(1, NULL);
SELECT pool_exhaust_leak(1, 'no such kind');
SELECT pool_exhaust_leak(1, target => NULL);
SELECT pool_exhaust_leak(1, target => 'pool');
SELECT pool_exhaust_leak(1, options => NULL);

-- Options
SELECT pool_exhaust_hold(1, options => '[]');
SELECT pool_exhaust_hold(1, options => '{"no_such_option": 1}');
SELECT pool_exhaust_hold(1, options => '{"fault": "none"}');
SELECT pool_exhaust_hold(1, options => '{"profile": "quick"}');
SELECT pool_exhaust_hold(1, options => '{"profile": "slow"}');
SELECT pool_exhaust_leak(1, options => '{"bystanders": "ignore"}');
SELECT pool_exhaust_hold(1, options => '{"hold_ms": -1}');
SELECT pool_exhaust_hold(1, options => '{"hold_ms": 86400001}');
SELECT pool_exhaust_hold(1, options => '{"hold_ms": "1 s"}');
SELECT pool_exhaust_hold(1, options => '{"spacing_ms": -1}');
SELECT pool_exhaust_hold(1, options => '{"spacing_ms": 600001}');
SELECT pool_exhaust_hold(1, options => '{"timeout_ms": 99}');
SELECT pool_exhaust_hold(1, options => '{"handshakes": 241}');
SELECT pool_exhaust_hold(1, options => '{"role_limit": 0}');
SELECT pool_exhaust_hold(1, options => '{"reserved": "steal"}');
SELECT pool_exhaust_hold(1, options => '{"database": "pool_exhaust_no_such_db"}');
SELECT pool_exhaust_hold(1, options => '{"reserved": "take"}');
SELECT pool_exhaust_leak(1, 'dead client', options => '{"reserved": "take"}');
SELECT pool_exhaust_hold(1, state => 'authenticating');
SELECT pool_exhaust_leak(1, 'authenticating', options => '{"reserved": "keep"}');
SELECT pool_exhaust_leak(20, 'growth', options => '{"spacing_ms": 1000, "timeout_ms": 19000}');
SET pool_exhaust.max_hold_time = '3s';
SELECT pool_exhaust_leak(20, 'growth', options => '{"spacing_ms": 200}');
RESET pool_exhaust.max_hold_time;

-- More than may be held, more than there are
SET pool_exhaust.max_connections_per_run = 2;
SELECT pool_exhaust_hold(3);
SELECT pool_exhaust_hold(2, state => 'lock wait');
SELECT pool_exhaust_leak(1, 'abandoned', 'role');
RESET pool_exhaust.max_connections_per_run;
SELECT pool_exhaust_hold(3, 'role', options => '{"role_limit": 2}');
SELECT pool_exhaust_hold(2, 'role', 'lock wait', '{"role_limit": 2}');
DO $$
BEGIN
	PERFORM pool_exhaust_hold(262143);
EXCEPTION WHEN too_many_connections OR insufficient_resources THEN
	RAISE NOTICE 'all there can be: %', regexp_replace(SQLERRM, 'after \d+', 'after N');
END $$;
SELECT pool_exhaust_release(0);
SELECT pool_exhaust_release(-1);
SELECT pool_exhaust_release();

-- What one session sees of its holds
SELECT pool_exhaust_hold(2, 'role', 'idle in transaction (aborted)') AS aborted \gset
SELECT pool_exhaust_hold(2, 'role', 'lock wait', '{"hold_ms": 60000}') AS waiting \gset
SELECT pool_exhaust_leak(2, 'active', options => '{"role_limit": 7}') AS active \gset
SELECT pool_exhaust_leak(16, 'growth', options => '{"spacing_ms": 20, "database": "postgres"}') AS growth \gset
SELECT target, state, connections, leaked, since <= now() AS since, expires_at - since AS time
FROM pool_exhaust_holds ORDER BY hold_id;
SELECT b.state, b.application_name, b.usename ~ '^pool_exhaust_\d+$' AS own_role, h.state AS held_in,
       b.datname = current_database() AS here, b.run_id, count(*)
FROM (SELECT pid, hold_id, application_name, usename, datname, run_id,
             -- a companion may be in the middle of its SELECT 1
             CASE WHEN datname = 'postgres' AND state = 'active' THEN 'idle' ELSE state END AS state
      FROM pool_exhaust_backends) AS b JOIN pool_exhaust_holds h USING (hold_id)
GROUP BY h.hold_id, b.state, b.application_name, own_role, h.state, here, b.run_id ORDER BY h.hold_id, b.state;
SELECT count(*) AS runs_under_way FROM pool_exhaust_progress;
SELECT pool_exhaust_stop() AS runs_stopped;
SELECT pool_exhaust_wait(0);

-- One after the other, then all
SELECT pool_exhaust_release(:aborted) AS aborted;
SELECT pool_exhaust_release(:active) AS active;

-- The transaction that asked may fail: its holds stay
BEGIN;
SELECT pool_exhaust_hold(1) IS NOT NULL AS held;
ROLLBACK;
SELECT sum(connections) AS connections FROM pool_exhaust_holds;
SELECT pool_exhaust_release() AS all_others;
SELECT pool_exhaust_release() AS all_others;

-- No right
CREATE ROLE pool_exhaust_test_nobody;
SET ROLE pool_exhaust_test_nobody;
SELECT pool_exhaust_hold(1);
SELECT pool_exhaust_leak(1);
SELECT pool_exhaust_release();
SELECT * FROM pool_exhaust_holds;
RESET ROLE;
DROP ROLE pool_exhaust_test_nobody;

-- Nothing is left
SELECT count(*) AS holds FROM pool_exhaust_holds;
SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool\_exhaust\_%';
