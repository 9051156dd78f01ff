-- Saturation of this very server, judged from beside the run as well.
\set QUIET 1
\set ON_ERROR_ROLLBACK 1
\set ON_ERROR_STOP true
\pset format unaligned
\pset tuples_only true
\pset pager off
SET pool_exhaust.progress = off;
SELECT plan(24);

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
SELECT count(*) AS lines FROM pool_exhaust_run('saturation', 'server', '{"fault": "miscount"}') \gset
SELECT is(outcome, 'fail', 'a miscounted refusal fails the ledger')
	FROM claims WHERE name = 'refusals in the ledger';
SELECT count(*) AS lines FROM pool_exhaust_run('saturation', 'server', '{"fault": "no_limit"}') \gset
SELECT is(verdict, 'invalid', 'a run that saw no refusal is invalid') FROM latest;
SELECT matches(reason, '^nothing was refused', 'and says why') FROM latest;
SELECT count(*) AS lines FROM pool_exhaust_run('saturation', 'role', '{"fault": "leave_session"}') \gset
SELECT is(outcome, 'fail', 'a session left behind fails the release')
	FROM claims WHERE name = 'sessions left after the release';

-- Nothing is left
SELECT is_empty($$ SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool\_exhaust\_%' $$, 'no role is left');
SELECT is_empty($$ SELECT run_id FROM pool_exhaust_progress $$, 'no run is left');

SELECT * FROM finish();
