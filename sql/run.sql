-- One run of each kind, on a role of its own, and what it leaves behind.
SET pool_exhaust.progress = off;

-- The text report; times and the run's number vary
SELECT regexp_replace(regexp_replace(line, '\d+\.\d+ s', 'N s'), 'run \d+', 'run N') AS report
FROM pool_exhaust_run('saturation', 'role', '{"role_limit": 4, "attempts": 3, "seed": 7}') AS line
WHERE line !~ '^(utilization|machine|fill|release|reserve|recover|ok    slowest)';

-- The tables agree with it
SELECT scenario, target, verdict, reason, seed, options->>'role_limit' AS role_limit,
       finished_at >= started_at AS finished, extension_version
FROM pool_exhaust_runs ORDER BY id;
SELECT seq, phase, name, outcome, expected,
       CASE WHEN unit IS NULL THEN observed END AS observed, unit, detail
FROM pool_exhaust_checks ORDER BY run_id, seq;
-- (a refused session is in use until it has gone)
SELECT max(in_use) BETWEEN 4 AND 5 AS peak, max(granted) AS granted, max(refused) AS refused,
       array_agg(DISTINCT health ORDER BY health) AS health
FROM pool_exhaust_samples;
SELECT p->>'phase' AS phase, p->>'granted' AS granted, p->>'refused' AS refused
FROM pool_exhaust_runs, jsonb_array_elements(summary->'phases') WITH ORDINALITY AS e(p, n)
ORDER BY n;
SELECT phase, metric, unit, (SELECT sum(buckets[i][2]) FROM generate_subscripts(buckets, 1) AS i) AS granted,
       pool_exhaust_percentile(buckets, 0.5) <= pool_exhaust_percentile(buckets, 1) AS in_order,
       buckets[array_upper(buckets, 1)][1] = pool_exhaust_percentile(buckets, 1) AS maximum_is_last
FROM pool_exhaust_histograms ORDER BY phase;

-- TAP, of the latest run and as it runs
SELECT regexp_replace(line, 'run \d+', 'run N') AS tap
FROM pool_exhaust_report(format => 'tap') AS line;
SELECT count(*) AS lines
FROM pool_exhaust_run('saturation', 'role', '{"role_limit": 2, "attempts": 1}', 'tap');

-- JSON is one row
SELECT r->>'verdict' AS verdict, r->>'target' AS target, jsonb_array_length(r->'checks') AS checks,
       ARRAY(SELECT jsonb_object_keys(r) ORDER BY 1) AS keys
FROM (SELECT line::jsonb AS r
      FROM pool_exhaust_run('saturation', 'role', '{"role_limit": 2, "attempts": 1}', 'json') AS line) s;

-- Several are one document, in the order that is asked for, each once
SELECT array_agg(id ORDER BY id DESC) AS runs FROM pool_exhaust_runs \gset
SELECT count(*) FILTER (WHERE line ~ '^(PASS|FAIL) ') AS verdicts, count(*) FILTER (WHERE line = '') AS blank
FROM pool_exhaust_report(:'runs'::bigint[] || :'runs'::bigint[]) AS line;
SELECT jsonb_typeof(j) AS type, ARRAY(SELECT (r->>'run_id')::bigint FROM jsonb_array_elements(j) AS r) = :'runs'::bigint[] AS in_order
FROM (SELECT string_agg(line, '')::jsonb AS j FROM pool_exhaust_report(:'runs'::bigint[], 'json') AS line) s;
SELECT regexp_replace(line, 'run \d+', 'run N') AS tap
FROM pool_exhaust_report(:'runs'::bigint[], 'tap') AS line WHERE line !~ '^     *(ok|#)';
SELECT count(*) FROM pool_exhaust_report(:'runs', 'json');

-- No cast for one, or for the latest
SELECT max(id) AS run FROM pool_exhaust_runs \gset
SELECT (SELECT string_agg(l, e'\n') FROM pool_exhaust_report(:run) l) AS report \gset
SELECT (SELECT string_agg(l, e'\n') FROM pool_exhaust_report(NULL) l) = :'report' AS latest,
       (SELECT string_agg(l, e'\n') FROM pool_exhaust_report() l) = :'report' AS latest,
       (SELECT string_agg(l, e'\n') FROM pool_exhaust_report(:'run') l) = :'report' AS literal,
       (SELECT string_agg(l, e'\n') FROM pool_exhaust_report(ARRAY[:run]) l) = :'report' AS one,
       (SELECT string_agg(l, e'\n') FROM pool_exhaust_report(:run, 'json') l) = pool_exhaust_report(NULL, 'json') AS json;

-- start and wait; a run that is over has a verdict for ever
SELECT pool_exhaust_start('saturation', 'role', '{"role_limit": 2, "attempts": 1}') AS run \gset
SELECT pool_exhaust_wait(:run);
SELECT pool_exhaust_wait(:run, '0');
SELECT pool_exhaust_stop(:run);

-- A deliberate fault is found, and reported or raised
SELECT line FROM pool_exhaust_run('saturation', 'role',
	'{"role_limit": 4, "attempts": 3, "fault": "keep_slot"}') AS line
WHERE line ~ '^FAIL  \w' OR line ~ '^ +failed: ';
SELECT count(*) FROM pool_exhaust_run('saturation', 'role',
	'{"role_limit": 4, "attempts": 3, "fault": "no_limit", "on_fail": "report"}') AS line
WHERE line !~ '^machine';
SELECT verdict, regexp_replace(reason, '; the loop woke up .*', '') AS reason FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1;
\set VERBOSITY sqlstate
SELECT pool_exhaust_run('saturation', 'role',
	'{"role_limit": 4, "attempts": 3, "fault": "miscount", "on_fail": "error"}');
\set VERBOSITY default

-- Results of a run go with it
DELETE FROM pool_exhaust_runs;
SELECT count(*) FROM pool_exhaust_checks;
SELECT count(*) FROM pool_exhaust_samples;
SELECT count(*) FROM pool_exhaust_histograms;

-- Nothing is left
SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool\_exhaust\_%';
SELECT count(*) AS under_way FROM pool_exhaust_progress;
DROP EXTENSION pool_exhaust;
