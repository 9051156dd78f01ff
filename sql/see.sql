-- What can be seen: the monitor's views and functions, and their bad input.
SET pool_exhaust.progress = off;

-- Waits until a condition holds, one reading at a time
CREATE PROCEDURE wait_until(condition text) LANGUAGE plpgsql AS $$
DECLARE
	until timestamptz := clock_timestamp() + interval '60 s';
	done boolean;
BEGIN
	LOOP
		EXECUTE 'SELECT ' || condition INTO done;
		EXIT WHEN done;
		IF clock_timestamp() > until THEN
			RAISE 'timed out waiting until %', condition;
		END IF;
		PERFORM pg_stat_clear_snapshot();
		PERFORM pg_sleep(0.01);
	END LOOP;
END $$;

-- After a reset everything begins anew; sessions that ended before it have been seen
CALL wait_until(format($$ (SELECT count(*) FROM pool_exhaust_timeline WHERE at > %L) >= 2 $$, clock_timestamp()));
CALL wait_until($$ pool_exhaust_health() = 'healthy' $$);
SELECT pool_exhaust_reset_stats();
SELECT sum(refusals) AS refusals, count(first_at) AS first_at, count(last_at) AS last_at
FROM pool_exhaust_refusals;
SELECT count(*) AS refused_services FROM pool_exhaust_refused_services;
SELECT granted, refused, retry_after_s FROM pool_exhaust_pools WHERE kind = 'server';
SELECT opened FROM pool_exhaust_services WHERE in_use > 0 AND usename = session_user;

-- The timeline grows, in order, and hangs together
CALL wait_until('(SELECT count(*) FROM pool_exhaust_timeline) >= 5');
SELECT bool_and(in_use >= 1) AS in_use,
       bool_and(in_use >= active + idle + idle_in_transaction) AS states,
       bool_and(utilization = round(in_use::numeric / capacity, 4)::float8) AS utilization,
       bool_and(refused = 0 AND opened >= 0) AS counts,
       bool_and(health = 'healthy') AS health
FROM pool_exhaust_timeline, (SELECT capacity FROM pool_exhaust_slots) s;
SELECT bool_and(at > before) AS in_order
FROM (SELECT at, lag(at) OVER () AS before FROM pool_exhaust_timeline) t WHERE before IS NOT NULL;

-- A run shows in all of it
SELECT count(*) > 0 AS ran
FROM pool_exhaust_run('saturation', 'server', '{"attempts": 3, "bystanders": "ignore"}');
CALL wait_until('(SELECT sum(refused) FROM pool_exhaust_timeline) = 3');
SELECT max(in_use) >= s.capacity AS full, max(utilization) >= 1 AS utilization,
       sum(opened) >= s.capacity - 1 AS opened, bool_or(health = 'exhausted') AS exhausted
FROM pool_exhaust_timeline, (SELECT capacity FROM pool_exhaust_slots) s GROUP BY s.capacity;
SELECT peak_in_use >= capacity AS peak, peak_at > now() - interval '1 min' AS peak_at,
       granted >= capacity - 1 AS granted, refused, retry_after_s
FROM pool_exhaust_pools WHERE kind = 'server';
SELECT service, usename, application_name, in_use, peak_in_use > 1 AS peak, opened > 1 AS opened, suspects
FROM pool_exhaust_services WHERE usename = 'pool_exhaust_1';
CALL wait_until($$ pool_exhaust_health() = 'healthy' $$);

-- Headroom: the slots, the role's limit, the database's
CREATE ROLE pool_exhaust_test_app LOGIN;
CREATE ROLE pool_exhaust_test_three LOGIN CONNECTION LIMIT 3;
CREATE ROLE pool_exhaust_test_group NOLOGIN;
CREATE DATABASE pool_exhaust_test_two CONNECTION LIMIT 2;
CREATE DATABASE pool_exhaust_test_closed ALLOW_CONNECTIONS false;
SELECT pool_exhaust_headroom() = free AS superuser,
       pool_exhaust_headroom('pool_exhaust_test_app') = capacity - in_use AS app,
       pool_exhaust_headroom('pool_exhaust_test_three') AS three,
       pool_exhaust_headroom('pool_exhaust_test_group') AS cannot_log_in,
       pool_exhaust_headroom('pool_exhaust_test_app', 'pool_exhaust_test_two') AS two,
       pool_exhaust_headroom(database => 'pool_exhaust_test_two') = free AS exempt,
       pool_exhaust_headroom('pool_exhaust_test_app', 'pool_exhaust_test_closed') AS closed
FROM pool_exhaust_slots;
REVOKE CONNECT ON DATABASE pool_exhaust_test_two FROM PUBLIC;
SELECT pool_exhaust_headroom('pool_exhaust_test_app', 'pool_exhaust_test_two') AS may_not_connect;
SELECT pool_exhaust_headroom(database => 'pool_exhaust_test_nowhere');
SELECT pool_exhaust_headroom('pool_exhaust_test_nobody');
SELECT pool_exhaust_headroom(0::regrole);

-- Roles that may read, and roles that may reset
SELECT p.proname, has_function_privilege('pg_monitor', p.oid, 'EXECUTE') AS pg_monitor
FROM pg_proc p
WHERE p.proname IN ('pool_exhaust_health', 'pool_exhaust_headroom', 'pool_exhaust_reset_stats')
ORDER BY p.proname COLLATE "C";
GRANT SELECT ON pool_exhaust_services TO pool_exhaust_test_app;
GRANT EXECUTE ON FUNCTION pool_exhaust_services_rows() TO pool_exhaust_test_app;
SET ROLE pool_exhaust_test_app;
SELECT count(*) AS services_of_others FROM pool_exhaust_services;
SELECT pool_exhaust_reset_stats();
RESET ROLE;

DROP DATABASE pool_exhaust_test_two;
DROP DATABASE pool_exhaust_test_closed;
REVOKE ALL ON pool_exhaust_services FROM pool_exhaust_test_app;
REVOKE ALL ON FUNCTION pool_exhaust_services_rows() FROM pool_exhaust_test_app;
DROP ROLE pool_exhaust_test_app, pool_exhaust_test_three, pool_exhaust_test_group;
DROP PROCEDURE wait_until(text);
DELETE FROM pool_exhaust_runs;
