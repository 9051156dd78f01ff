-- Leaks and the healer: what is there to be asked and set, and bad input.
-- test/t/leak*.pl and heal*.pl have the rest.
SET pool_exhaust.progress = off;

-- The views
SELECT attrelid::regclass AS view, string_agg(attname || ' ' || format_type(atttypid, atttypmod), ', ' ORDER BY attnum) AS columns
FROM pg_attribute
WHERE attrelid IN ('pool_exhaust_leaks'::regclass, 'pool_exhaust_leak_rules'::regclass, 'pool_exhaust_heals'::regclass) AND attnum > 0
GROUP BY attrelid ORDER BY attrelid::regclass::text COLLATE "C";
SELECT rule, threshold_ms = (SELECT setting::int FROM pg_settings WHERE name = 'pool_exhaust.leak_threshold') AS threshold,
       suspects >= 0 AS suspects, found = suspects + unleaked + ended + healed AS adds_up
FROM pool_exhaust_leak_rules;
SELECT leak FROM pool_exhaust_backends WHERE pid = pg_backend_pid();
SELECT suspects FROM pool_exhaust_services WHERE in_use > 0 AND usename = session_user AND application_name = current_setting('application_name');

-- No suspect: nothing to do
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
CALL wait_until('count(*) >= 2 FROM pool_exhaust_timeline');
SELECT l.* FROM pool_exhaust_leaks l JOIN pg_stat_activity a USING (pid) WHERE a.datname = current_database();
SELECT h.* FROM pool_exhaust_heal() h JOIN pg_stat_activity a USING (pid) WHERE a.datname = current_database();
SELECT * FROM pool_exhaust_heal(NULL);
SELECT pool_exhaust_heal('maybe');

-- Settings: not in a session, not beyond their bounds, no other words
SET pool_exhaust.leak_threshold = '1s';
SET pool_exhaust.heal = always;
SET pool_exhaust.heal_certainty = possible;
SET pool_exhaust.heal_strategies = 'growth';
SET pool_exhaust.heal_exclude_roles = 'postgres';
\set VERBOSITY sqlstate
ALTER SYSTEM SET pool_exhaust.leak_threshold = '99ms';
ALTER SYSTEM SET pool_exhaust.leak_threshold = '86400001ms';
ALTER SYSTEM SET pool_exhaust.leak_threshold = 0;
ALTER SYSTEM SET pool_exhaust.leak_threshold = 'soon';
\set VERBOSITY default
ALTER SYSTEM SET pool_exhaust.heal = 'on';
ALTER SYSTEM SET pool_exhaust.heal = 'sometimes';
ALTER SYSTEM SET pool_exhaust.heal = '';
ALTER SYSTEM SET pool_exhaust.heal_certainty = 'sure';
ALTER SYSTEM SET pool_exhaust.heal_strategies = 'pray';
ALTER SYSTEM SET pool_exhaust.heal_strategies = growth, pray;
ALTER SYSTEM SET pool_exhaust.heal_strategies = 'dead_client';
ALTER SYSTEM SET pool_exhaust.heal_strategies = growth, abandoned, growth;
ALTER SYSTEM SET pool_exhaust.heal_strategies = 'growth, "Growth"';
ALTER SYSTEM SET pool_exhaust.heal_strategies = 'growth abandoned';
ALTER SYSTEM SET pool_exhaust.heal_strategies = 'growth,,abandoned';
ALTER SYSTEM SET pool_exhaust.heal_strategies = 'growth,';
ALTER SYSTEM SET pool_exhaust.heal_strategies = '"growth';
ALTER SYSTEM SET pool_exhaust.heal_exclude_roles = 'a b';
ALTER SYSTEM SET pool_exhaust.heal_exclude_roles = ',';
ALTER SYSTEM SET pool_exhaust.heal_exclude_roles = 'a, "b';

-- Options of the scenarios that leak
SELECT name, key, value FROM pool_exhaust_scenarios, jsonb_each(options)
WHERE name IN ('leak', 'recovery')
  AND key NOT IN (SELECT jsonb_object_keys(options) FROM pool_exhaust_scenarios WHERE name = 'queue')
ORDER BY name, key COLLATE "C";

-- What is wrong with them, in one line each
CREATE FUNCTION refusal(scenario text, options jsonb) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	message text;
	hint text;
BEGIN
	PERFORM pool_exhaust_run(scenario, options => options);
	RETURN 'it ran';
EXCEPTION WHEN invalid_parameter_value OR configuration_limit_exceeded THEN
	GET STACKED DIAGNOSTICS message = MESSAGE_TEXT, hint = PG_EXCEPTION_HINT;
	RETURN concat_ws(' | ', message, nullif(hint, ''));
END $$;
\pset format unaligned
\pset tuples_only on
SELECT refusal(scenario, jsonb_build_object(option, value))
FROM (VALUES
	('leak', 'leak_threshold_ms', '99'::jsonb), ('leak', 'leak_threshold_ms', '3600001'), ('leak', 'leak_threshold_ms', '"1s"'),
	('leak', 'operations', '0'), ('leak', 'operations', '100001'), ('leak', 'failing_percent', '101'),
	('leak', 'recovery_limit_ms', '0'), ('leak', 'vanish_ms', '100'), ('leak', 'attempts', '1'),
	('recovery', 'vanish_ms', '9'), ('recovery', 'vanish_ms', '600001'), ('recovery', 'leak_threshold_ms', '0'),
	('recovery', 'failing_percent', '10'), ('recovery', 'levels', '[50]'),
	('leak', 'fault', '"forget"'), ('recovery', 'fault', '"neverheal"'), ('queue', 'leak_threshold_ms', '1000')) AS v (scenario, option, value);

-- Options that contradict each other
SELECT refusal('leak', '{"pool_size": 2, "max_overflow": 4}');
SELECT refusal('leak', '{"pool_size": 3, "max_overflow": 2}');
SELECT refusal('leak', '{"leak_threshold_ms": 5000, "timeout_ms": 15000}');
SELECT refusal('recovery', '{"pool_size": 1, "max_overflow": 1}');
SELECT refusal('recovery', '{"leak_threshold_ms": 1000, "vanish_ms": 1000, "timeout_ms": 2000}');
\pset format aligned
\pset tuples_only off

-- Where nothing is to fail nothing can be proved
SELECT count(*) AS lines FROM pool_exhaust_run('leak', options => '{"failing_percent": 0, "pool_timeout_ms": 10000}', format => 'json');
SELECT verdict, regexp_replace(reason, '; the loop woke up .*', '') AS reason FROM pool_exhaust_runs;

-- No right
CREATE ROLE pool_exhaust_test_nobody;
SET ROLE pool_exhaust_test_nobody;
SELECT * FROM pool_exhaust_leaks;
SELECT * FROM pool_exhaust_leak_rules;
SELECT * FROM pool_exhaust_heals;
SELECT * FROM pool_exhaust_heal();
RESET ROLE;
DROP ROLE pool_exhaust_test_nobody;

DROP FUNCTION refusal;
DROP PROCEDURE wait_until;
DELETE FROM pool_exhaust_runs;
SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool\_exhaust\_%';
