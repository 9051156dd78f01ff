-- Saturation of this very server, judged from beside the run as well.
\set QUIET 1
\set ON_ERROR_ROLLBACK 1
\set ON_ERROR_STOP true
\pset format unaligned
\pset tuples_only true
\pset pager off
SET pool_exhaust.progress = off;
SELECT plan(29);

-- The server
CREATE TEMP TABLE before AS
	SELECT cause, refusals FROM pool_exhaust_refusals;
CREATE TEMP TABLE report AS
	SELECT row_number() OVER () AS n, line
	FROM pool_exhaust_run('saturation', 'server', '{"attempts": 12}') AS line;
CREATE TEMP VIEW latest AS
	SELECT * FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1;
CREATE TEMP VIEW claims AS
	SELECT c.* FROM pool_exhaust_checks c JOIN latest r ON c.run_id = r.id;
CREATE TEMP VIEW shape AS
	SELECT s.* FROM pool_exhaust_samples s JOIN latest r ON s.run_id = r.id;

SELECT is(verdict, 'pass', 'the server''s verdict is pass') FROM latest;
SELECT matches(line, '^PASS +saturation on server +\d+ of \d+ checks +\d+\.\d\d s +run \d+$',
	'the report begins with the verdict') FROM report WHERE n = 1;
SELECT is_empty($$ SELECT name FROM claims WHERE outcome = 'fail' $$, 'no check failed');
SELECT is(expected::int, s.capacity - s.in_use, 'it held what was left to hold')
	FROM claims, pool_exhaust_slots s WHERE name = 'held connections';
SELECT is(observed, expected, 'it says that it held it') FROM claims WHERE name = 'held connections';
SELECT is(r.refusals - b.refusals, 12::bigint, 'the ledger rose by each refused attempt')
	FROM (SELECT sum(refusals)::bigint AS refusals FROM pool_exhaust_refusals) r,
		 (SELECT sum(refusals)::bigint AS refusals FROM before) b;
SELECT ok(refusals >= 12, 'under the name of the run''s role')
	FROM pool_exhaust_refused_services
	WHERE application_name = 'pool_exhaust' AND usename = 'pool_exhaust_1' AND datname = current_database()
	  AND cause IN ('reserved_slots', 'too_many_clients') AND last_at > (SELECT started_at FROM latest);
SELECT ok(max(shape.in_use) >= max(s.capacity), 'the samples saw it full')
	FROM shape, pool_exhaust_slots s;
SELECT bag_has($$ SELECT DISTINCT health FROM shape $$, $$ VALUES ('healthy'), ('exhausted') $$,
	'the samples saw it healthy and exhausted');
SELECT is((SELECT health FROM shape ORDER BY at DESC LIMIT 1), 'healthy', 'and healthy in the end');
SELECT is((summary->>'peak_in_use')::int, (SELECT max(in_use) FROM shape), 'the peak is in the summary')
	FROM latest;

-- A role: the same claims with no blast radius, so bystanders do not matter
SELECT lives_ok($$ SELECT pool_exhaust_run('saturation', 'role', '{"role_limit": 20, "attempts": 5}') $$,
	'a role can be saturated');
SELECT is(verdict, 'pass', 'the role''s verdict is pass') FROM latest;
SELECT is(observed, '53300 role_limit 5', 'refused for its own limit')
	FROM claims WHERE name = 'refusals by cause';
-- A refused session counts until it has gone, and they come one at a time.
SELECT ok(max(in_use) BETWEEN 20 AND 21, 'to its limit and no further') FROM shape;

-- Deliberate faults
SELECT lives_ok($$ SELECT pool_exhaust_run('saturation', 'server', '{"fault": "keep_slot"}') $$,
	'a fault is a report and no error');
SELECT is(verdict, 'fail', 'a slot kept back fails the run') FROM latest;
SELECT is(outcome, 'fail', 'by the connections held') FROM claims WHERE name = 'held connections';
SELECT matches(detail, '^only 9 of 10 attempts beyond capacity were refused: ', 'and says how many were refused') FROM claims WHERE name = 'refused attempts';
SELECT count(*) AS lines FROM pool_exhaust_run('saturation', 'server', '{"fault": "miscount"}') \gset
SELECT is(outcome, 'fail', 'a miscounted refusal fails the ledger')
	FROM claims WHERE name = 'refusals in the ledger';
SELECT matches(detail, '^11 refusals of 10 attempts: ', 'as more refusals than attempts') FROM claims WHERE name = 'refused attempts';
SELECT matches(detail, '^1 refusals that clients saw are not in the ledger', 'and one fewer in the ledger') FROM claims WHERE name = 'refusals in the ledger';
SELECT count(*) AS lines FROM pool_exhaust_run('saturation', 'server', '{"fault": "no_limit"}') \gset
SELECT is(verdict, 'invalid', 'a run that saw no refusal is invalid') FROM latest;
SELECT matches(reason, '^nothing was refused', 'and says why') FROM latest;
SELECT count(*) AS lines FROM pool_exhaust_run('saturation', 'role', '{"fault": "leave_session"}') \gset
SELECT is(outcome, 'fail', 'a session left behind fails the release')
	FROM claims WHERE name = 'sessions left after the release';

-- Numbers of any size, as people read them
INSERT INTO pool_exhaust_runs (scenario, target, options, verdict, started_at, finished_at, seed, server_version, extension_version, summary)
	VALUES ('recovery', 'pool', '{}', 'fail', now(), now(), 1, '15.0', '1.1', '{"elapsed_ms": 1}') RETURNING id \gset
INSERT INTO pool_exhaust_checks (run_id, seq, phase, name, outcome, expected, observed, unit, detail, operator, expected_num, tolerance, observed_num)
	SELECT :id, row_number() OVER (), '', name, outcome, '', '', 'ms', detail, operator, expected_num, tolerance, observed_num
	FROM (VALUES ('long', 'pass', NULL, '<=', 12300, NULL::float8, 12044.4::float8), ('short', 'pass', NULL, '<=', 12300, NULL, 0.056789),
		('close', 'fail', 'x', '<=', 1000, NULL, 1000.04), ('lost', 'fail', 'x', '<=', 12300, NULL, 'Infinity'),
		('near', 'pass', NULL, '+-', 1234567, 12345.678, 1230000), ('fell', 'fail', 'x', '+=', 100000, NULL, -20000))
		AS c(name, outcome, detail, operator, expected_num, tolerance, observed_num);
SELECT is(string_agg(regexp_replace(line, ' +', ' ', 'g'), E'\n' ORDER BY n), $$ok long 12044 ms (<= 12300 ms)
ok short 0.05679 ms (<= 12300 ms)
FAIL close expected <= 1000 ms, observed 1000.040000 ms
FAIL lost expected <= 12300 ms, observed never
ok near 1230000 ms (1234567 +- 12346 ms)
FAIL fell expected +100000 ms, observed -20000 ms$$, 'four digits below 10,000, all of them above, and never')
	FROM pool_exhaust_report(:id) WITH ORDINALITY AS r(line, n) WHERE line ~ '^(ok|FAIL) ' AND n > 1;
SELECT is((SELECT count(*) FROM pool_exhaust_report(:id, 'tap') AS line WHERE line ~ 'e\+|nfinity'), 0::bigint, 'the same in TAP');
DELETE FROM pool_exhaust_runs WHERE id = :id;

-- Nothing is left
SELECT is_empty($$ SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool\_exhaust\_%' $$, 'no role is left');
SELECT is_empty($$ SELECT run_id FROM pool_exhaust_progress $$, 'no run is left');

SELECT * FROM finish();
