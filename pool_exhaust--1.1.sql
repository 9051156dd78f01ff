/* pool_exhaust--1.1.sql */

-- complain if script is sourced in psql, rather than via CREATE EXTENSION
\echo Use "CREATE EXTENSION pool_exhaust" to load this file. \quit

/* ---------- Results ---------- */

CREATE TABLE pool_exhaust_runs (
	id					bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	scenario			text NOT NULL,
	target				text NOT NULL,
	options				jsonb NOT NULL,
	verdict				text CHECK (verdict IN ('pass', 'fail', 'invalid', 'aborted')),
	reason				text,
	started_at			timestamptz NOT NULL,
	finished_at			timestamptz,
	seed				bigint NOT NULL,
	server_version		text NOT NULL,
	extension_version	text NOT NULL,
	summary				jsonb,
	role				text,
	environment			jsonb,
	calibration			jsonb
);
COMMENT ON TABLE pool_exhaust_runs IS
	'one row a run; no verdict while it is under way';
COMMENT ON COLUMN pool_exhaust_runs.role IS
	'the role that started it, as which its session had logged in; NULL in rows of version 1.0';
COMMENT ON COLUMN pool_exhaust_runs.environment IS
	'what runs must have in common to be compared: versions, processors, max_connections, options that differ from their defaults, target and its kind; NULL in rows of version 1.0';
COMMENT ON COLUMN pool_exhaust_runs.calibration IS
	'how fast the machine was when the run began: logins_per_s to this server, loops_per_s of a fixed loop; NULL in rows of version 1.0';

CREATE TABLE pool_exhaust_checks (
	run_id		bigint NOT NULL REFERENCES pool_exhaust_runs ON DELETE CASCADE,
	seq			integer NOT NULL,
	phase		text NOT NULL,
	name		text NOT NULL,
	outcome		text NOT NULL CHECK (outcome IN ('pass', 'fail', 'skip')),
	expected	text NOT NULL,
	observed	text NOT NULL,
	unit		text,
	detail		text,
	operator	text,
	expected_num	float8,
	tolerance	float8,
	observed_num	float8,
	PRIMARY KEY (run_id, seq)
);
COMMENT ON TABLE pool_exhaust_checks IS
	'one row a comparison of expected and observed; detail says what a failure means';
COMMENT ON COLUMN pool_exhaust_checks.expected IS
	'what was expected, in words, without the unit';
COMMENT ON COLUMN pool_exhaust_checks.observed IS
	'what was observed, in words, without the unit';
COMMENT ON COLUMN pool_exhaust_checks.unit IS
	'of expected and observed, in words and in numbers; NULL: they have none';
COMMENT ON COLUMN pool_exhaust_checks.detail IS
	'what a failure means and what to check next; of a skipped check, why it was skipped';
COMMENT ON COLUMN pool_exhaust_checks.operator IS
	'how observed_num is compared with expected_num: =, += (a counter rose by exactly that much), <=, >=, +- (within tolerance), up to (at most tolerance more), += up to (the same of a counter); NULL where texts were compared, where the check was skipped, and in rows of version 1.0';
COMMENT ON COLUMN pool_exhaust_checks.expected_num IS
	'what was expected; NULL without an operator';
COMMENT ON COLUMN pool_exhaust_checks.tolerance IS
	'how far observed_num may be from expected_num; NULL unless the operator is +-, up to or += up to';
COMMENT ON COLUMN pool_exhaust_checks.observed_num IS
	'what was observed; NULL without an operator';

CREATE TABLE pool_exhaust_samples (
	run_id		bigint NOT NULL REFERENCES pool_exhaust_runs ON DELETE CASCADE,
	at			timestamptz NOT NULL,
	in_use		integer NOT NULL,
	waiting		integer NOT NULL,
	granted		bigint NOT NULL,
	refused		bigint NOT NULL,
	timed_out	bigint NOT NULL,
	p50_ms		float8,
	p99_ms		float8,
	health		text NOT NULL
);
CREATE INDEX pool_exhaust_samples_run_id_idx ON pool_exhaust_samples (run_id);
COMMENT ON TABLE pool_exhaust_samples IS
	'the pool of a run over time; counters since the run began, latencies of the phase so far';

CREATE TABLE pool_exhaust_histograms (
	run_id		bigint NOT NULL REFERENCES pool_exhaust_runs ON DELETE CASCADE,
	phase		text NOT NULL,
	metric		text NOT NULL,
	unit		text NOT NULL,
	buckets		bigint[] NOT NULL
);
CREATE INDEX pool_exhaust_histograms_run_id_idx ON pool_exhaust_histograms (run_id);
COMMENT ON TABLE pool_exhaust_histograms IS
	'how long things took in each phase of a run, as a histogram';
COMMENT ON COLUMN pool_exhaust_histograms.metric IS
	'what took that long: grant (of a connection by the pool), wait (for a connection), connect, query, response (of a whole operation)';
COMMENT ON COLUMN pool_exhaust_histograms.unit IS
	'of the values: us is microseconds';
COMMENT ON COLUMN pool_exhaust_histograms.buckets IS
	'a row a bucket that is not empty, ascending: {its largest value, how many fell into it}; the last of those values is the maximum; values from 64 on are up to 3.2 % too large';

CREATE TABLE pool_exhaust_declared (
	service			text PRIMARY KEY
		CONSTRAINT pool_exhaust_declared_service_check CHECK (length(service) BETWEEN 1 AND 200),
	role			text,
	database		text,
	application_name text,
	via				text,
	replicas		integer NOT NULL DEFAULT 1
		CONSTRAINT pool_exhaust_declared_replicas_check CHECK (replicas BETWEEN 0 AND 10000),
	replicas_max	integer
		CONSTRAINT pool_exhaust_declared_replicas_max_check CHECK (replicas_max BETWEEN replicas AND 10000),
	surge			integer NOT NULL DEFAULT 0
		CONSTRAINT pool_exhaust_declared_surge_check CHECK (surge BETWEEN 0 AND 10000),
	processes		integer NOT NULL DEFAULT 1
		CONSTRAINT pool_exhaust_declared_processes_check CHECK (processes BETWEEN 1 AND 1000),
	pool_size		integer NOT NULL
		CONSTRAINT pool_exhaust_declared_pool_size_check CHECK (pool_size BETWEEN 0 AND 10000),
	max_overflow	integer NOT NULL DEFAULT 0
		CONSTRAINT pool_exhaust_declared_max_overflow_check CHECK (max_overflow BETWEEN 0 AND 10000),
	min_idle		integer NOT NULL DEFAULT 0
		CONSTRAINT pool_exhaust_declared_min_idle_check CHECK (min_idle BETWEEN 0 AND pool_size + max_overflow),
	source			text NOT NULL DEFAULT 'sql'
);
COMMENT ON TABLE pool_exhaust_declared IS
	'the services that connect to this server, with the pools that they are configured with: what pool_exhaust_budget() adds up';
COMMENT ON COLUMN pool_exhaust_declared.service IS
	'its name in the budget; each is declared once';
COMMENT ON COLUMN pool_exhaust_declared.role IS
	'as which it logs in; NULL: not known, so that no limit of a role is checked';
COMMENT ON COLUMN pool_exhaust_declared.database IS
	'to which it connects, by the name that the pooler has for it if it goes by one; NULL: not known';
COMMENT ON COLUMN pool_exhaust_declared.application_name IS
	'of its sessions, to know them among those that run beside it; NULL: all sessions of the role are its own';
COMMENT ON COLUMN pool_exhaust_declared.via IS
	'the pooler that it connects through; replication: its connections are walsenders; NULL: it connects to the server';
COMMENT ON COLUMN pool_exhaust_declared.replicas IS
	'how many run on an ordinary day';
COMMENT ON COLUMN pool_exhaust_declared.replicas_max IS
	'how many an autoscaler may start; NULL: replicas';
COMMENT ON COLUMN pool_exhaust_declared.surge IS
	'how many more run during a deploy';
COMMENT ON COLUMN pool_exhaust_declared.processes IS
	'processes of each replica, with a pool each';
COMMENT ON COLUMN pool_exhaust_declared.pool_size IS
	'connections of each pool';
COMMENT ON COLUMN pool_exhaust_declared.max_overflow IS
	'connections of each pool beyond pool_size';
COMMENT ON COLUMN pool_exhaust_declared.min_idle IS
	'connections that each pool keeps open, used or not';
COMMENT ON COLUMN pool_exhaust_declared.source IS
	'where the row is from: sql, or the kind of the document that was imported';

CREATE TABLE pool_exhaust_declared_poolers (
	pooler			text NOT NULL
		CONSTRAINT pool_exhaust_declared_poolers_pooler_check CHECK (octet_length(pooler) BETWEEN 1 AND 63),
	section			text NOT NULL
		CONSTRAINT pool_exhaust_declared_poolers_section_check CHECK (section IN ('pgbouncer', 'databases', 'users')),
	name			text NOT NULL DEFAULT '',
	setting			text NOT NULL,
	value			text NOT NULL,
	source			text NOT NULL DEFAULT 'sql',
	PRIMARY KEY (pooler, section, name, setting)
);
COMMENT ON TABLE pool_exhaust_declared_poolers IS
	'the poolers that services go by: the settings of PgBouncer that limit connections, a row each';
COMMENT ON COLUMN pool_exhaust_declared_poolers.pooler IS
	'its name, as pool_exhaust_declared.via has it';
COMMENT ON COLUMN pool_exhaust_declared_poolers.section IS
	'of pgbouncer.ini: pgbouncer, databases, users';
COMMENT ON COLUMN pool_exhaust_declared_poolers.name IS
	'of the database or user; empty in section pgbouncer';
COMMENT ON COLUMN pool_exhaust_declared_poolers.setting IS
	'as PgBouncer calls it; and processes, how many share the port';
COMMENT ON COLUMN pool_exhaust_declared_poolers.value IS
	'as it is in the file, or as the console shows it';
COMMENT ON COLUMN pool_exhaust_declared_poolers.source IS
	'where the row is from: sql, or the kind of the document that was imported';

SELECT pg_catalog.pg_extension_config_dump('pool_exhaust_runs', '');
SELECT pg_catalog.pg_extension_config_dump('pool_exhaust_runs_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('pool_exhaust_checks', '');
SELECT pg_catalog.pg_extension_config_dump('pool_exhaust_samples', '');
SELECT pg_catalog.pg_extension_config_dump('pool_exhaust_histograms', '');
SELECT pg_catalog.pg_extension_config_dump('pool_exhaust_declared', '');
SELECT pg_catalog.pg_extension_config_dump('pool_exhaust_declared_poolers', '');

CREATE FUNCTION pool_exhaust_percentile(buckets bigint[], fraction float8)
RETURNS float8
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_percentile(bigint[], float8) IS
	'the value that this fraction of a histogram does not exceed, in the unit of the histogram; 0.99 is for p99';

CREATE FUNCTION pool_exhaust_merge_buckets(a bigint[], b bigint[])
RETURNS bigint[]
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_merge_buckets(bigint[], bigint[]) IS
	'the histogram of the values of both; see aggregate pool_exhaust_merge';

CREATE AGGREGATE pool_exhaust_merge(bigint[]) (
	SFUNC = pool_exhaust_merge_buckets,
	STYPE = bigint[],
	INITCOND = '{}',
	COMBINEFUNC = pool_exhaust_merge_buckets,
	PARALLEL = SAFE
);
COMMENT ON AGGREGATE pool_exhaust_merge(bigint[]) IS
	'the histogram of the values of all of them; NULLs are left out, and of none it is empty';

CREATE FUNCTION pool_exhaust_mann_whitney(base float8[], candidate float8[], exact_ties boolean DEFAULT false)
RETURNS float8
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_mann_whitney(float8[], float8[], boolean) IS
	'the two-sided p value of the test of Mann and Whitney, as scipy.stats.mannwhitneyu has it; exact_ties: of small samples it is exact also where values are equal';

CREATE FUNCTION pool_exhaust_median(sample float8[])
RETURNS float8
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_median(float8[]) IS
	'the median of the values';

CREATE FUNCTION pool_exhaust_mad(sample float8[])
RETURNS float8
AS 'MODULE_PATHNAME'
LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_mad(float8[]) IS
	'the median distance of the values from their median';

CREATE FUNCTION pool_exhaust_shifts(base bigint[], candidate bigint[], scaled boolean DEFAULT true)
RETURNS TABLE (metric text, unit text, median float8, noise float8, latest float8, change float8, p float8,
	corrected_p float8, moved integer)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH measured AS MATERIALIZED (
		SELECT run_id = ANY (candidate) AS is_candidate, (calibration->>'logins_per_s')::float8 AS logins,
			(calibration->>'loops_per_s')::float8 AS loops,
			(phase || ': ' || h.metric || ' ' || percentile) COLLATE "C" AS metric, h.unit,
			pool_exhaust_percentile(buckets, fraction) AS value
		FROM pool_exhaust_runs JOIN pool_exhaust_histograms AS h ON run_id = id,
			(VALUES ('p50', 0.50), ('p99', 0.99)) AS percentiles(percentile, fraction)
		WHERE id = ANY (base || candidate)
	), samples AS (
		SELECT m.metric, m.unit, scale,
			array_agg(value * factor) FILTER (WHERE NOT is_candidate) AS base,
			array_agg(value * factor) FILTER (WHERE is_candidate) AS candidate
		FROM measured AS m, LATERAL (VALUES ('raw', 1), ('logins', logins), ('loops', loops)) AS s(scale, factor)
		WHERE value IS NOT NULL AND factor IS NOT NULL AND (scaled OR scale = 'raw')
		GROUP BY m.metric, m.unit, scale
	), tested AS (
		SELECT s.metric, s.unit, scale, pool_exhaust_median(s.base) AS median, pool_exhaust_mad(s.base) AS noise,
			pool_exhaust_median(s.candidate) AS latest, pool_exhaust_mann_whitney(s.base, s.candidate, true) AS p
		FROM samples AS s
	), ranked AS (
		SELECT *, t.p * (count(t.p) OVER (PARTITION BY scale) + 1
			- row_number() OVER (PARTITION BY scale ORDER BY t.p)) AS times_left
		FROM tested AS t
	), judged AS (
		SELECT *, CASE WHEN r.p IS NOT NULL THEN least(max(times_left) OVER (PARTITION BY scale ORDER BY r.p), 1) END AS holm,
			CASE WHEN abs(r.latest - r.median) >= greatest(0.1 * r.median, 2 * r.noise, CASE scale WHEN 'raw' THEN 2 END)
				THEN sign(r.latest - r.median) WHEN r.p IS NOT NULL THEN 0 END::integer AS shift
		FROM ranked AS r
	)
	SELECT j.metric, j.unit,
		max(j.median) FILTER (WHERE scale = 'raw'),
		max(j.noise) FILTER (WHERE scale = 'raw'),
		max(j.latest) FILTER (WHERE scale = 'raw'),
		max((j.latest - j.median) / nullif(j.median, 0)) FILTER (WHERE scale = 'raw'),
		max(j.p), max(holm),
		CASE WHEN min(shift) = max(shift) THEN min(shift) WHEN count(shift) > 0 THEN 0 END
	FROM judged AS j
	GROUP BY j.metric, j.unit;
END;
COMMENT ON FUNCTION pool_exhaust_shifts(bigint[], bigint[], boolean) IS
	'the percentiles of each latency, of some runs against those of others: median and noise of the base, median of the candidates, the change as a part of that of the base, how probable it is by chance (Mann and Whitney), also corrected after Holm for all metrics, and moved: 1 if it is larger by a tenth and by twice the noise, -1 if it is smaller by that, 0 if neither; p and moved hold for the values and, if scaled says so, for those scaled by each calibration';

CREATE VIEW pool_exhaust_trends AS
	WITH series AS (
		SELECT scenario, target, environment, count(*) AS runs, (array_agg(id ORDER BY id DESC))[1:25] AS run_ids
		FROM pool_exhaust_runs
		WHERE verdict IN ('pass', 'fail') AND (environment ? 'repeat') IS NOT TRUE
		GROUP BY scenario, target, environment
	), confirmed AS MATERIALIZED (
		SELECT whole.id, name, part.scenario, part.target, part.environment - 'repeat' AS environment
		FROM pool_exhaust_runs AS whole JOIN pool_exhaust_checks ON run_id = whole.id,
			LATERAL jsonb_array_elements_text(whole.summary->'sub_runs') AS sub_run
			JOIN pool_exhaust_runs AS part ON part.id = sub_run::bigint
		WHERE whole.environment->>'repeat' = 'whole' AND outcome = 'fail' AND part.environment->>'repeat' = 'candidate'
	)
	SELECT scenario, target, metric COLLATE "C" AS metric, unit, 'lower' AS better, left(md5(environment::text), 8) AS environment, runs,
		median, noise, latest, change, corrected_p AS p,
		CASE WHEN runs < 8 THEN 'not enough runs'
			WHEN corrected_p < 0.01 AND moved = 1 THEN
				CASE WHEN EXISTS (SELECT FROM confirmed AS c
						WHERE name = metric AND id > coalesce(run_ids[25], 0) AND c.scenario = series.scenario
							AND c.target = series.target AND c.environment = series.environment)
					THEN 'regressed' ELSE 'suspect' END
			WHEN corrected_p < 0.01 AND moved = -1 THEN 'improved'
			ELSE 'steady' END AS verdict, run_ids
	FROM series, LATERAL pool_exhaust_shifts(run_ids[6:25], run_ids[1:5]) AS s;
COMMENT ON VIEW pool_exhaust_trends IS
	'does it get worse: the percentiles of each latency, of the last 5 runs against up to 20 before them, among runs of one scenario, target and environment that passed or failed';
COMMENT ON COLUMN pool_exhaust_trends.metric IS
	'phase, what took that long, and the percentile';
COMMENT ON COLUMN pool_exhaust_trends.unit IS
	'of median, noise and latest: us is microseconds';
COMMENT ON COLUMN pool_exhaust_trends.better IS
	'which values are better: lower';
COMMENT ON COLUMN pool_exhaust_trends.environment IS
	'stands for pool_exhaust_runs.environment: the first digits of its MD5';
COMMENT ON COLUMN pool_exhaust_trends.runs IS
	'the runs that can be compared, all of them';
COMMENT ON COLUMN pool_exhaust_trends.median IS
	'of the base: the up to 20 runs before the last 5';
COMMENT ON COLUMN pool_exhaust_trends.noise IS
	'of the base: the median distance from its median';
COMMENT ON COLUMN pool_exhaust_trends.latest IS
	'the median of the last 5 runs';
COMMENT ON COLUMN pool_exhaust_trends.change IS
	'by which part of the median of the base the latest is larger: 0.5 is 50 %';
COMMENT ON COLUMN pool_exhaust_trends.p IS
	'how probable such a difference is by chance: Mann and Whitney, after Holm over all metrics of the series, the largest of that of the values and those scaled by each calibration';
COMMENT ON COLUMN pool_exhaust_trends.verdict IS
	'not enough runs (fewer than 8), steady, suspect (p < 0.01, and worse by a tenth and by twice the noise), regressed (and a repeated run, option repeat, has confirmed it), improved (p < 0.01, and better by as much)';
COMMENT ON COLUMN pool_exhaust_trends.run_ids IS
	'the runs that are compared, the latest first: the last 5, then the base';

/* ---------- Foreign servers as targets ---------- */

CREATE FUNCTION pool_exhaust_fdw_validator(options text[], catalog oid)
RETURNS void
AS 'MODULE_PATHNAME'
LANGUAGE C STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_fdw_validator(text[], oid) IS
	'checks the options of foreign servers and user mappings';

CREATE FOREIGN DATA WRAPPER pool_exhaust VALIDATOR pool_exhaust_fdw_validator;
COMMENT ON FOREIGN DATA WRAPPER pool_exhaust IS
	'servers that runs can aim at, by name; kinds: postgres, pgbouncer, http';

/* ---------- Run a scenario ---------- */

CREATE FUNCTION pool_exhaust_run(
	scenario text,
	target text DEFAULT NULL,
	options jsonb DEFAULT '{}',
	format text DEFAULT 'text')
RETURNS SETOF text
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_run(text, text, jsonb, text) IS
	'runs a scenario and returns its report, a line a row; formats: text, json, tap, junit, markdown, html, svg, benchmark-json';

CREATE FUNCTION pool_exhaust_plan(
	scenario text,
	target text DEFAULT NULL,
	options jsonb DEFAULT '{}',
	OUT item text,
	OUT value text,
	OUT detail text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_plan(text, text, jsonb) IS
	'what pool_exhaust_run() with these arguments would do, without doing it: whether it would start, or the ERROR that it would end with; roles, connections, what it leaves to each service, and how long it may take';

CREATE FUNCTION pool_exhaust_budget(format text DEFAULT 'text', options jsonb DEFAULT '{}')
RETURNS SETOF text
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_budget(text, jsonb) IS
	'adds up what pool_exhaust_declared has against every limit on the way, a line a row: verdict, the limit that is hit first and where, limits of roles to set; option on_fail: report or error; formats: text, json, tap, junit, markdown, html';

CREATE FUNCTION pool_exhaust_budget_import(document text, kind text)
RETURNS integer
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_budget_import(text, text) IS
	'declares what a document says, in the place of what was imported as the same kind before, and returns how many rows that are; a name may follow the kind, as in csv:NAME; of kind console the document is the name of a foreign server, whose console is asked; kinds: csv, kubernetes, pgbouncer, console';

CREATE FUNCTION pool_exhaust_start(
	scenario text,
	target text DEFAULT NULL,
	options jsonb DEFAULT '{}')
RETURNS bigint
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_start(text, text, jsonb) IS
	'starts a scenario and returns the run''s id at once; the run outlives the session';

CREATE FUNCTION pool_exhaust_wait(run_id bigint, timeout interval DEFAULT NULL)
RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_wait(bigint, interval) IS
	'waits for a run and returns its verdict, or NULL when the timeout passes first';

CREATE FUNCTION pool_exhaust_stop(run_id bigint DEFAULT NULL)
RETURNS integer
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_stop(bigint) IS
	'stops a run of this database, or all of them, and returns how many, once they hold nothing';

CREATE FUNCTION pool_exhaust_report(run_id bigint DEFAULT NULL, format text DEFAULT 'text')
RETURNS SETOF text
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_report(bigint, text) IS
	'returns the report of a run, or of the latest one; formats: text, json, tap, junit, markdown, html, svg, benchmark-json';

CREATE FUNCTION pool_exhaust_compare(base bigint, candidate bigint, format text DEFAULT 'text')
RETURNS SETOF text
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_compare(bigint, bigint, text) IS
	'returns two runs of one scenario side by side, with the differences in percent and in times the noise; formats: text, json, markdown, html';

CREATE FUNCTION pool_exhaust_report(run_ids bigint[], format text DEFAULT 'text')
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'pool_exhaust_report_runs'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_report(bigint[], text) IS
	'returns the reports of several runs as one document; formats: text, json, tap, junit, markdown, html, svg, benchmark-json';

CREATE FUNCTION pool_exhaust_report(run text, format text DEFAULT 'text')
RETURNS SETOF text
AS 'MODULE_PATHNAME', 'pool_exhaust_report_literal'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_report(text, text) IS
	'the same for NULL and for literals without a type, ''7'' or ''{7,8}'', which stand for a run or several; formats: text, json, tap, junit, markdown, html, svg, benchmark-json';

CREATE FUNCTION pool_exhaust_scenarios_rows(
	OUT name text,
	OUT summary text,
	OUT default_target text,
	OUT effect text,
	OUT options jsonb)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_scenarios_rows() IS
	'the rows of view pool_exhaust_scenarios';

CREATE VIEW pool_exhaust_scenarios AS
	SELECT * FROM pool_exhaust_scenarios_rows();
COMMENT ON VIEW pool_exhaust_scenarios IS
	'the scenarios: what each does to the server, and its options with their defaults and bounds';

CREATE VIEW pool_exhaust_scenario_options AS
	SELECT s.name AS scenario, o.key AS option,
		CASE WHEN o.value ? 'values' THEN 'word'
			WHEN jsonb_typeof(o.value->'default') = 'array' THEN 'list'
			WHEN o.value ? 'max' THEN 'number'
			ELSE 'text' END AS type,
		CASE WHEN length(o.value->>'default') > 22 THEN regexp_replace(left(o.value->>'default', 19), '[^ ]*$', '...')
			ELSE o.value->>'default' END AS quick,
		o.value->>'standard' AS standard,
		o.value->>'soak' AS soak,
		CASE WHEN length(o.value->>'values') > 22 THEN regexp_replace(left(o.value->>'values', 19), '[^ ]*$', '...')
			ELSE coalesce(o.value->>'values', (o.value->>'min') || ' to ' || (o.value->>'max')) END AS bounds
	FROM pool_exhaust_scenarios_rows() AS s, jsonb_each(s.options) AS o
	ORDER BY s.name COLLATE "C", o.key COLLATE "C";
COMMENT ON VIEW pool_exhaust_scenario_options IS
	'one row an option of a scenario: its defaults by profile, and its bounds';
COMMENT ON COLUMN pool_exhaust_scenario_options.type IS
	'number, word, list (of numbers, or of names), text';
COMMENT ON COLUMN pool_exhaust_scenario_options.quick IS
	'the default in profile quick; a long text is cut, as in bounds';
COMMENT ON COLUMN pool_exhaust_scenario_options.standard IS
	'the default in profile standard; NULL: that of quick';
COMMENT ON COLUMN pool_exhaust_scenario_options.soak IS
	'the default in profile soak; NULL: that of quick';
COMMENT ON COLUMN pool_exhaust_scenario_options.bounds IS
	'the least and the greatest number, or the words; a long list is cut, and complete in pool_exhaust_scenarios.options';

CREATE FUNCTION pool_exhaust_progress_rows(
	OUT run_id bigint,
	OUT scenario text,
	OUT target text,
	OUT phase text,
	OUT done integer,
	OUT total integer,
	OUT started_at timestamptz,
	OUT connections integer)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_progress_rows() IS
	'the rows of view pool_exhaust_progress';

CREATE VIEW pool_exhaust_progress AS
	SELECT run_id, scenario, target, phase, done, total, started_at,
		   pg_catalog.clock_timestamp() - started_at AS elapsed, connections
	FROM pool_exhaust_progress_rows();
COMMENT ON VIEW pool_exhaust_progress IS
	'the runs under way: which phase, how far, how many connections they hold';

/* ---------- Hold connections by hand ---------- */

CREATE FUNCTION pool_exhaust_hold(
	connections integer,
	target text DEFAULT 'server',
	state text DEFAULT 'idle',
	options jsonb DEFAULT '{}')
RETURNS bigint
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_hold(integer, text, text, jsonb) IS
	'holds that many connections, all or none, until the session ends, and returns the id of the hold; states: idle, active, idle in transaction, idle in transaction (aborted), lock wait (takes one more session), authenticating';

CREATE FUNCTION pool_exhaust_leak(
	connections integer,
	kind text DEFAULT 'idle in transaction',
	target text DEFAULT 'server',
	options jsonb DEFAULT '{}')
RETURNS bigint
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_leak(integer, text, text, jsonb) IS
	'the same, but outlives the session; kinds: the states of a hold, abandoned (takes at least three more sessions, which go on being used), dead client, growth (takes one more)';

CREATE FUNCTION pool_exhaust_release(hold_id bigint DEFAULT NULL)
RETURNS integer
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_release(bigint) IS
	'ends a hold, or all of this database that the caller may release, and returns how many connections that closed, once they are gone';

CREATE FUNCTION pool_exhaust_holds_rows(
	OUT hold_id bigint,
	OUT target text,
	OUT state text,
	OUT connections integer,
	OUT leaked boolean,
	OUT since timestamptz,
	OUT expires_at timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_holds_rows() IS
	'the rows of view pool_exhaust_holds';

CREATE VIEW pool_exhaust_holds AS
	SELECT * FROM pool_exhaust_holds_rows();
COMMENT ON VIEW pool_exhaust_holds IS
	'the connections held and leaked by hand: one row a hold of this server';
COMMENT ON COLUMN pool_exhaust_holds.state IS
	'what its connections are held in, or the kind of the leak';
COMMENT ON COLUMN pool_exhaust_holds.connections IS
	'how many of those that were asked for are still open; sessions opened beside them do not count';
COMMENT ON COLUMN pool_exhaust_holds.leaked IS
	'whether it outlives the session that asked for it';
COMMENT ON COLUMN pool_exhaust_holds.since IS
	'when all its connections were held';
COMMENT ON COLUMN pool_exhaust_holds.expires_at IS
	'when it ends by itself: after pool_exhaust.max_hold_time, or option hold_ms';

/* ---------- Generate load for a run of another server ---------- */

CREATE FUNCTION pool_exhaust_drive_open(
	target text,
	name text,
	connections integer,
	handshakes integer,
	timeout_ms integer,
	mode text,
	pool_size integer,
	OUT kind text,
	OUT role text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_drive_open(text, text, integer, integer, integer, text, integer) IS
	'for the coordinator of a run with option drivers: prepares this session to open sessions of that name to a foreign server of this database, which the caller must have USAGE and a user mapping on; returns its kind, and the role that they log in as';

CREATE FUNCTION pool_exhaust_drive(
	acquire integer,
	release integer,
	cancel boolean,
	at_us bigint,
	wait_ms integer,
	OUT item text,
	OUT key bigint,
	OUT value bigint,
	OUT message text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_drive(integer, integer, boolean, bigint, integer) IS
	'for the coordinator of a run with option drivers: cancels, releases and acquires connections, and says what has become of all orders of this session; they end with it, or when it is silent for 4 s';

CREATE FUNCTION pool_exhaust_drive_load(
	number integer,
	sql text,
	failing_sql text,
	figures float8[],
	ordered boolean,
	at_us bigint,
	wait_ms integer,
	OUT item text,
	OUT key bigint,
	OUT value bigint,
	OUT message text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_drive_load(integer, text, text, float8[], boolean, bigint, integer) IS
	'for the coordinator of a run with option drivers: lets the clients of a load of that number come, which run that SQL on the target as the user of the mapping, and says the same as pool_exhaust_drive()';

CREATE FUNCTION pool_exhaust_drive_stop(
	number integer,
	OUT item text,
	OUT key bigint,
	OUT value bigint,
	OUT message text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_drive_stop(integer) IS
	'for the coordinator of a run with option drivers: lets no more clients of the load of that number begin, and says the same as pool_exhaust_drive()';

CREATE FUNCTION pool_exhaust_drive_crowd(
	action text,
	n integer,
	seed bigint,
	at_us bigint,
	wait_ms integer,
	OUT item text,
	OUT key bigint,
	OUT value bigint,
	OUT message text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_drive_crowd(text, integer, bigint, bigint, integer) IS
	'for the coordinator of a run with option drivers: has n clients that retry when they are refused connect, stop or disconnect, and says the same as pool_exhaust_drive()';

/* ---------- See ---------- */

CREATE FUNCTION pool_exhaust_census(
	OUT max_connections integer,
	OUT superuser_reserved integer,
	OUT reserved integer,
	OUT capacity integer,
	OUT in_use integer,
	OUT free integer,
	OUT authenticating integer,
	OUT walsenders integer,
	OUT workers integer)
RETURNS record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_census() IS
	'the row of view pool_exhaust_slots';

CREATE VIEW pool_exhaust_slots AS
	SELECT *, greatest(free - superuser_reserved - reserved, 0) AS free_unreserved
	FROM pool_exhaust_census();
COMMENT ON VIEW pool_exhaust_slots IS
	'the connection slots of this server, counted from its own shared memory';
COMMENT ON COLUMN pool_exhaust_slots.capacity IS
	'slots that every role can get: max_connections less both reserves';
COMMENT ON COLUMN pool_exhaust_slots.in_use IS
	'slots taken, also by logins that are not complete yet and by superusers';
COMMENT ON COLUMN pool_exhaust_slots.free IS
	'slots not taken, the reserved ones included';
COMMENT ON COLUMN pool_exhaust_slots.authenticating IS
	'slots taken by logins that are not complete yet; pg_stat_activity does not show them before 18';
COMMENT ON COLUMN pool_exhaust_slots.walsenders IS
	'these have slots of their own (max_wal_senders)';
COMMENT ON COLUMN pool_exhaust_slots.workers IS
	'background and autovacuum workers; these have slots of their own';
COMMENT ON COLUMN pool_exhaust_slots.free_unreserved IS
	'slots that a role without a right to the reserved ones can still take';

CREATE FUNCTION pool_exhaust_refusals_rows(
	OUT cause text,
	OUT sqlstate text,
	OUT refusals bigint,
	OUT first_at timestamptz,
	OUT last_at timestamptz,
	OUT http_status integer,
	OUT blind_since timestamptz)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_refusals_rows() IS
	'the rows of view pool_exhaust_refusals';

CREATE VIEW pool_exhaust_refusals AS
	SELECT * FROM pool_exhaust_refusals_rows();
COMMENT ON VIEW pool_exhaust_refusals IS
	'the refusal ledger: how many connections were refused since the server started, by cause';
COMMENT ON COLUMN pool_exhaust_refusals.blind_since IS
	'since when refusals of this cause, or some of them, are not counted: log_min_messages keeps them out of the server log; NULL: they are';

CREATE FUNCTION pool_exhaust_refused_services_rows(
	OUT cause text,
	OUT usename text,
	OUT datname text,
	OUT application_name text,
	OUT refusals bigint,
	OUT last_at timestamptz,
	OUT client_addr inet)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_refused_services_rows() IS
	'the rows of view pool_exhaust_refused_services, which adds up equal names';

CREATE VIEW pool_exhaust_refused_services AS
	SELECT cause, usename, datname, application_name,
		   sum(refusals)::bigint AS refusals, max(last_at) AS last_at, client_addr
	FROM pool_exhaust_refused_services_rows()
	GROUP BY cause, usename, datname, application_name, client_addr;
COMMENT ON VIEW pool_exhaust_refused_services IS
	'the services that were refused, by address: names as the clients sent them, unauthenticated; what does not fit is counted in one row (others)';
COMMENT ON COLUMN pool_exhaust_refused_services.client_addr IS
	'the address of the client, or of the pooler in between; the network (/24, IPv6: /64) or only the family (/0) where there was no place for the address; NULL for unix sockets and (others)';

CREATE FUNCTION pool_exhaust_run_roles(OUT run_id bigint, OUT hold_id bigint, OUT role oid)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_run_roles() IS
	'the login roles of the runs and holds under way';

CREATE FUNCTION pool_exhaust_leaks_rows(
	OUT pid integer,
	OUT service text,
	OUT rule text,
	OUT held_ms bigint,
	OUT evidence text,
	OUT backend_start timestamptz,
	OUT borrower text,
	OUT borrowed_since timestamptz,
	OUT certainty text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_leaks_rows() IS
	'the rows of view pool_exhaust_leaks; and those of other sessions that are borrowed, for pool_exhaust_backends: their rule is NULL';

CREATE VIEW pool_exhaust_leaks AS
	SELECT pid, service, rule, held_ms, evidence, certainty FROM pool_exhaust_leaks_rows() WHERE rule IS NOT NULL;
COMMENT ON VIEW pool_exhaust_leaks IS
	'the sessions that are suspected of a leak; rows of other roles need pg_read_all_stats';
COMMENT ON COLUMN pool_exhaust_leaks.rule IS
	'borrowed, idle in transaction, abandoned, growth or dead client';
COMMENT ON COLUMN pool_exhaust_leaks.held_ms IS
	'for how long the session has been in its state';
COMMENT ON COLUMN pool_exhaust_leaks.certainty IS
	'how certain it is: certain (its client has said so, has gone, or can only roll back), likely, possible';

CREATE FUNCTION pool_exhaust_leak_rules_rows(
	OUT rule text,
	OUT threshold_ms integer,
	OUT suspects integer,
	OUT found bigint,
	OUT unleaked bigint,
	OUT ended bigint,
	OUT healed bigint,
	OUT note text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_leak_rules_rows() IS
	'the rows of view pool_exhaust_leak_rules';

CREATE VIEW pool_exhaust_leak_rules AS
	SELECT * FROM pool_exhaust_leak_rules_rows();
COMMENT ON VIEW pool_exhaust_leak_rules IS
	'the leak rules: how many sessions each suspects, and what became of those that it found';
COMMENT ON COLUMN pool_exhaust_leak_rules.suspects IS
	'sessions that the rule suspects now; NULL while the monitor does not watch';
COMMENT ON COLUMN pool_exhaust_leak_rules.found IS
	'suspicions so far; each is a suspect still, or was cleared in one of the three ways that follow';
COMMENT ON COLUMN pool_exhaust_leak_rules.unleaked IS
	'suspects that were used again, or that later observations of their service have cleared';
COMMENT ON COLUMN pool_exhaust_leak_rules.ended IS
	'suspects that ended by themselves';
COMMENT ON COLUMN pool_exhaust_leak_rules.healed IS
	'suspects that the healer has ended';
COMMENT ON COLUMN pool_exhaust_leak_rules.note IS
	'why the rule can never fire, if that is so: a timeout of PostgreSQL or the lifetime of a pool comes first, or track_activities is off';

CREATE FUNCTION pool_exhaust_lock_waits(
	OUT pid integer,
	OUT lock_wait_ms float8,
	OUT root_blocker integer)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_lock_waits() IS
	'the sessions that wait for a heavyweight lock, for how long (NULL: it began this very moment), and the session at the head of the queue, which waits for no lock itself: one of them where there are several; 0: a prepared transaction; NULL: a deadlock. Rows of other roles need pg_read_all_stats';

CREATE VIEW pool_exhaust_backends AS
	SELECT a.pid, a.datname, a.usename, a.application_name, a.client_addr, a.state,
		   a.backend_start, a.xact_start, a.state_change,
		   CASE WHEN a.state LIKE 'idle%' THEN
			 greatest(extract(epoch FROM pg_catalog.clock_timestamp() - a.state_change) * 1000.0, 0.0)::float8
		   END AS idle_ms,
		   CASE WHEN a.xact_start IS NOT NULL THEN
			 greatest(extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start) * 1000.0, 0.0)::float8
		   END AS xact_ms,
		   a.usename::text || '/' || a.application_name AS service,
		   r.run_id,
		   r.hold_id,
		   l.rule AS leak,
		   CASE WHEN a.wait_event_type = 'Lock' THEN
			 nullif(pg_catalog.pg_blocking_pids(a.pid), '{}')
		   END AS blocked_by,
		   CASE WHEN w.since IS NOT NULL THEN
			 greatest(extract(epoch FROM pg_catalog.clock_timestamp() - greatest(w.since, a.state_change)) * 1000.0, 0.0)::float8
		   END AS lock_wait_ms,
		   l.borrower,
		   l.borrowed_since
	FROM pg_catalog.pg_stat_activity a
		 LEFT JOIN pool_exhaust_run_roles() r ON r.role = a.usesysid
		 LEFT JOIN pool_exhaust_leaks_rows() l USING (pid, backend_start)
		 LEFT JOIN (SELECT pid, min(waitstart) AS since FROM pg_catalog.pg_locks WHERE NOT granted GROUP BY pid) w
		   ON w.pid = a.pid AND a.wait_event_type = 'Lock'
	WHERE a.backend_type = 'client backend';
COMMENT ON VIEW pool_exhaust_backends IS
	'the sessions that hold the slots: one row a client backend; rows of other roles need pg_read_all_stats';
COMMENT ON COLUMN pool_exhaust_backends.xact_ms IS
	'for how long its transaction has been open; NULL without one';
COMMENT ON COLUMN pool_exhaust_backends.hold_id IS
	'the hold that the session belongs to, or is opened beside';
COMMENT ON COLUMN pool_exhaust_backends.leak IS
	'the rule that suspects a leak, see pool_exhaust_leaks';
COMMENT ON COLUMN pool_exhaust_backends.blocked_by IS
	'the sessions in front of it, as pg_blocking_pids() gives them, where it waits for a heavyweight lock; NULL: it waits for none';
COMMENT ON COLUMN pool_exhaust_backends.lock_wait_ms IS
	'for how long it has waited for a heavyweight lock; NULL: it waits for none, or began this very moment';
COMMENT ON COLUMN pool_exhaust_backends.borrower IS
	'what has the connection now, as its client says by setting pool_exhaust.borrower; NULL: it does not say';
COMMENT ON COLUMN pool_exhaust_backends.borrowed_since IS
	'when that was set last';

CREATE FUNCTION pool_exhaust_services_rows(
	OUT service text,
	OUT usename text,
	OUT application_name text,
	OUT in_use integer,
	OUT active integer,
	OUT idle integer,
	OUT idle_in_transaction integer,
	OUT share float8,
	OUT peak_in_use integer,
	OUT opened bigint,
	OUT suspects integer,
	OUT walsenders integer,
	OUT waiting_on_lock integer,
	OUT borrowed integer,
	OUT borrower text,
	OUT borrowed_since timestamptz,
	OUT borrowers jsonb,
	OUT idle_1 integer,
	OUT idle_10 integer,
	OUT idle_60 integer,
	OUT used_once integer,
	OUT longest_rest_ms bigint,
	OUT opened_5m bigint,
	OUT closed_5m bigint,
	OUT note text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_services_rows() IS
	'the rows of view pool_exhaust_services';

CREATE VIEW pool_exhaust_services AS
	SELECT * FROM pool_exhaust_services_rows();
COMMENT ON VIEW pool_exhaust_services IS
	'the services that hold the slots, and those of walsenders, by role and application_name; rows of other roles need pg_read_all_stats';
COMMENT ON COLUMN pool_exhaust_services.share IS
	'in_use / capacity of the server, 1.0 = all of it';
COMMENT ON COLUMN pool_exhaust_services.peak_in_use IS
	'most sessions in use at a sample of the monitor, or now';
COMMENT ON COLUMN pool_exhaust_services.opened IS
	'logins granted since the server started, under the application_name of the login; what does not fit is counted in one row (others)';
COMMENT ON COLUMN pool_exhaust_services.suspects IS
	'sessions suspected of a leak; NULL while the monitor does not watch';
COMMENT ON COLUMN pool_exhaust_services.walsenders IS
	'replication connections; these have slots of their own and are not in use here';
COMMENT ON COLUMN pool_exhaust_services.waiting_on_lock IS
	'sessions that wait for a heavyweight lock now: see blocked_by in pool_exhaust_backends';
COMMENT ON COLUMN pool_exhaust_services.borrowed IS
	'sessions whose client says what has them: see borrower in pool_exhaust_backends';
COMMENT ON COLUMN pool_exhaust_services.borrower IS
	'what has had one of them for longest; NULL: none is borrowed';
COMMENT ON COLUMN pool_exhaust_services.borrowed_since IS
	'since when it has had that';
COMMENT ON COLUMN pool_exhaust_services.borrowers IS
	'the five borrowers with most sessions, how many each has and since when; the rest is counted together, its borrower being null; NULL: none is borrowed';
COMMENT ON COLUMN pool_exhaust_services.idle_1 IS
	'sessions that are idle for longer than pool_exhaust.leak_threshold';
COMMENT ON COLUMN pool_exhaust_services.idle_10 IS
	'the same, for longer than ten times that';
COMMENT ON COLUMN pool_exhaust_services.idle_60 IS
	'the same, for longer than sixty times that';
COMMENT ON COLUMN pool_exhaust_services.used_once IS
	'sessions that are idle for longer than pool_exhaust.leak_threshold, and were used only soon after they were opened; NULL while the monitor does not watch';
COMMENT ON COLUMN pool_exhaust_services.longest_rest_ms IS
	'the longest that a session which shares a pool with one of these, by database and client host, ever rested before it was used again; NULL: none was';
COMMENT ON COLUMN pool_exhaust_services.opened_5m IS
	'logins granted in the last four to five minutes, or since the monitor began, under the application_name of the login; NULL: it does not know';
COMMENT ON COLUMN pool_exhaust_services.closed_5m IS
	'sessions that ended in that time, as many as have come and are not there';
COMMENT ON COLUMN pool_exhaust_services.note IS
	'a pattern that needs a human: sessions of postgres_fdw, generations of sessions that were left, listeners that pile up, a name for each process; NULL: none is seen';

CREATE FUNCTION pool_exhaust_pools_rows(
	OUT name text,
	OUT kind text,
	OUT capacity integer,
	OUT in_use integer,
	OUT idle integer,
	OUT overflow integer,
	OUT waiting integer,
	OUT utilization float8,
	OUT health text,
	OUT granted bigint,
	OUT refused bigint,
	OUT timed_out bigint,
	OUT wait_p50_ms float8,
	OUT wait_p95_ms float8,
	OUT wait_p99_ms float8,
	OUT wait_max_ms float8,
	OUT oldest_wait_ms float8,
	OUT peak_in_use integer,
	OUT peak_at timestamptz,
	OUT retry_after_s integer)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_pools_rows() IS
	'the rows of view pool_exhaust_pools';

CREATE VIEW pool_exhaust_pools AS
	WITH pools AS MATERIALIZED (SELECT * FROM pool_exhaust_pools_rows())
	SELECT * FROM pools
	UNION ALL
	SELECT srvname::text COLLATE "default", option_value, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
		   NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
	FROM pg_catalog.pg_foreign_server s
	JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw AND w.fdwname = 'pool_exhaust'
	JOIN LATERAL pg_catalog.pg_options_to_table(s.srvoptions) AS o ON o.option_name = 'kind' AND o.option_value <> 'driver'
	WHERE NOT EXISTS (SELECT FROM pools p WHERE p.name = s.srvname AND p.kind = o.option_value);
COMMENT ON VIEW pool_exhaust_pools IS
	'the pools that this server is, its slots, those of walsenders, and each role and database with a CONNECTION LIMIT; those of runs under way; and the foreign servers of this database that runs can aim at, with figures only while one does';
COMMENT ON COLUMN pool_exhaust_pools.kind IS
	'server, walsenders, role or database; pool: an application-style pool of a run; postgres, pgbouncer or http: a foreign server';
COMMENT ON COLUMN pool_exhaust_pools.idle IS
	'connections open and not handed out; only kind pool keeps such';
COMMENT ON COLUMN pool_exhaust_pools.overflow IS
	'connections handed out beyond pool_size; only kind pool has that';
COMMENT ON COLUMN pool_exhaust_pools.waiting IS
	'requests in the queue; only kind pool has one, the others refuse when they are full';
COMMENT ON COLUMN pool_exhaust_pools.utilization IS
	'in_use / capacity, 1.0 = full; more than that when reserved slots are in use';
COMMENT ON COLUMN pool_exhaust_pools.health IS
	'healthy, warning, critical or exhausted; worsens at once, improves after two samples of the monitor; NULL for a pool of capacity 0, which is closed';
COMMENT ON COLUMN pool_exhaust_pools.granted IS
	'connections granted; NULL where that is not known: for walsenders and databases, and for roles once pool_exhaust_services has (others)';
COMMENT ON COLUMN pool_exhaust_pools.refused IS
	'connections refused because this pool was full; those of roles and databases may be counted among the (others) of pool_exhaust_refused_services instead';
COMMENT ON COLUMN pool_exhaust_pools.timed_out IS
	'requests that waited for pool_timeout_ms and were not granted';
COMMENT ON COLUMN pool_exhaust_pools.wait_p50_ms IS
	'half of the granted requests waited no longer than that, since the pool was opened; at most 3.2 % too large';
COMMENT ON COLUMN pool_exhaust_pools.oldest_wait_ms IS
	'for how long the first request in the queue has waited; NULL when none waits';
COMMENT ON COLUMN pool_exhaust_pools.peak_in_use IS
	'most connections in use at a sample of the monitor, or now; NULL without the monitor';
COMMENT ON COLUMN pool_exhaust_pools.retry_after_s IS
	'seconds until a connection should be free, by the releases of the last minute; NULL when there were none, and for walsenders';

CREATE FUNCTION pool_exhaust_timeline_rows(
	OUT at timestamptz,
	OUT in_use integer,
	OUT active integer,
	OUT idle integer,
	OUT idle_in_transaction integer,
	OUT utilization float8,
	OUT refused bigint,
	OUT opened bigint,
	OUT health text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_timeline_rows() IS
	'the rows of view pool_exhaust_timeline';

CREATE VIEW pool_exhaust_timeline AS
	SELECT * FROM pool_exhaust_timeline_rows();
COMMENT ON VIEW pool_exhaust_timeline IS
	'the server over time: the last pool_exhaust.timeline_length samples of the monitor, oldest first';
COMMENT ON COLUMN pool_exhaust_timeline.in_use IS
	'slots in use at the fullest moment that was sampled in the interval';
COMMENT ON COLUMN pool_exhaust_timeline.refused IS
	'connections refused for want of slots since the row before';
COMMENT ON COLUMN pool_exhaust_timeline.opened IS
	'logins granted since the row before';

CREATE FUNCTION pool_exhaust_health()
RETURNS text
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_health() IS
	'the health of this server''s slots: healthy, warning, critical or exhausted';

CREATE FUNCTION pool_exhaust_headroom(
	role regrole DEFAULT pg_catalog.quote_ident(CURRENT_ROLE)::pg_catalog.regrole,
	database text DEFAULT pg_catalog.current_database())
RETURNS integer
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_headroom(regrole, text) IS
	'how many more connections the role can open to the database, after every limit and reserve';

CREATE FUNCTION pool_exhaust_reset_stats()
RETURNS void
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_reset_stats() IS
	'counters, peaks, names and the timeline begin anew; health stands';

/* ---------- Heal ---------- */

CREATE FUNCTION pool_exhaust_heal(
	dry_run boolean DEFAULT true,
	OUT pid integer,
	OUT service text,
	OUT rule text,
	OUT strategy text,
	OUT action text,
	OUT evidence text,
	OUT certainty text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_heal(boolean) IS
	'ends the sessions that are suspected of a leak, in the order of pool_exhaust.heal_strategies and as certain as pool_exhaust.heal_certainty wants it, or says what it would do';

CREATE FUNCTION pool_exhaust_heals_rows(
	OUT at timestamptz,
	OUT pid integer,
	OUT service text,
	OUT rule text,
	OUT strategy text,
	OUT evidence text,
	OUT run_id bigint,
	OUT certainty text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION pool_exhaust_heals_rows() IS
	'the rows of view pool_exhaust_heals';

CREATE VIEW pool_exhaust_heals AS
	SELECT * FROM pool_exhaust_heals_rows();
COMMENT ON VIEW pool_exhaust_heals IS
	'the last sessions that were ended, by the monitor or by pool_exhaust_heal(), oldest first';
COMMENT ON COLUMN pool_exhaust_heals.run_id IS
	'the run whose session it was, of the database that the run was started in; NULL for sessions of holds and of others';
COMMENT ON COLUMN pool_exhaust_heals.certainty IS
	'how certain it was: see pool_exhaust_leaks';

/* ---------- Advise ---------- */

CREATE FUNCTION pool_exhaust_explain(
	at timestamptz DEFAULT NULL,
	OUT rank integer,
	OUT cause text,
	OUT sentence text,
	OUT evidence text,
	OUT next_step text,
	OUT confidence text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_explain(timestamptz) IS
	'what is wrong with the connections of this server, or was at that moment, as far as it was recorded, the most important first: a cause, a sentence, the figures, a statement to go on with, and how certain it is (sure, likely, cannot tell); healthy if nothing is seen to be wrong';

CREATE FUNCTION pool_exhaust_slo(
	objective float8 DEFAULT 0.999,
	"window" interval DEFAULT '30 days',
	price_per_minute float8 DEFAULT NULL,
	OUT indicator text,
	OUT objective_percent float8,
	OUT level_percent float8,
	OUT good float8,
	OUT bad float8,
	OUT measured float8,
	OUT budget_used_percent float8,
	OUT minutes_burnt float8,
	OUT burn_5m float8,
	OUT burn_30m float8,
	OUT burn_1h float8,
	OUT burn_6h float8,
	OUT burn_3d float8,
	OUT alert text,
	OUT cost_low float8,
	OUT cost_high float8,
	OUT unmeasured interval,
	OUT in_runs interval,
	OUT runs bigint[],
	OUT apart text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION pool_exhaust_slo(float8, interval, float8) IS
	'the service level of the past by the flight recorder: of the logins, and of the seconds, that were measured, how many were good; the error budget, how fast it burns, and what bad seconds cost at a price';

CREATE FUNCTION pool_exhaust_slo_run(
	run_id bigint,
	objective float8 DEFAULT 0.999,
	"window" interval DEFAULT '30 days',
	price_per_minute float8 DEFAULT NULL,
	OUT bad_seconds bigint,
	OUT budget_used_percent float8,
	OUT cost_low float8,
	OUT cost_high float8,
	OUT sentence text)
LANGUAGE sql STABLE PARALLEL SAFE
BEGIN ATOMIC
	WITH steps AS (
		SELECT at, granted - lag(granted, 1, 0::bigint) OVER (ORDER BY at) AS granted,
			refused + timed_out - lag(refused + timed_out, 1, 0::bigint) OVER (ORDER BY at) AS failed
		FROM pool_exhaust_samples AS s WHERE s.run_id = pool_exhaust_slo_run.run_id
	), seconds AS (
		SELECT sum(failed)::float8 AS failed, sum(granted)::float8 AS granted
		FROM steps GROUP BY date_trunc('second', at) HAVING sum(failed) > 0
	), sums AS (
		SELECT count(*) AS bad_s, coalesce(sum(failed / (failed + granted)), 0) AS lost_s FROM seconds
	)
	SELECT bad_s, used, lost_s * price_per_minute / 60, bad_s * price_per_minute / 60,
		format('one event like run %s costs %s %% of the error budget of %s at %s %%: %s of %s seconds',
			id, round(used::numeric, 2), "window", trim_scale(100 * objective::numeric), bad_s, round(budget_s::numeric))
	FROM pool_exhaust_runs, sums, (SELECT extract(epoch FROM "window")::float8 * (1 - objective)) AS budget(budget_s),
		LATERAL (SELECT 100 * bad_s / nullif(budget_s, 0)) AS share(used)
	WHERE id = pool_exhaust_slo_run.run_id;
END;
COMMENT ON FUNCTION pool_exhaust_slo_run(bigint, float8, interval, float8) IS
	'what one event like that run would cost of the error budget: the seconds in which a request was refused or timed out';

/* ---------- Rights ---------- */

REVOKE ALL ON
	pool_exhaust_runs, pool_exhaust_checks, pool_exhaust_samples, pool_exhaust_histograms, pool_exhaust_trends, pool_exhaust_declared, pool_exhaust_declared_poolers,
	pool_exhaust_scenarios, pool_exhaust_scenario_options, pool_exhaust_progress, pool_exhaust_holds,
	pool_exhaust_slots, pool_exhaust_refusals, pool_exhaust_refused_services,
	pool_exhaust_backends, pool_exhaust_services, pool_exhaust_pools,
	pool_exhaust_timeline, pool_exhaust_leaks, pool_exhaust_leak_rules,
	pool_exhaust_heals
FROM PUBLIC;

REVOKE ALL ON FUNCTION
	pool_exhaust_run(text, text, jsonb, text),
	pool_exhaust_plan(text, text, jsonb),
	pool_exhaust_budget(text, jsonb),
	pool_exhaust_budget_import(text, text),
	pool_exhaust_start(text, text, jsonb),
	pool_exhaust_wait(bigint, interval),
	pool_exhaust_stop(bigint),
	pool_exhaust_report(bigint, text),
	pool_exhaust_report(bigint[], text),
	pool_exhaust_report(text, text),
	pool_exhaust_compare(bigint, bigint, text),
	pool_exhaust_hold(integer, text, text, jsonb),
	pool_exhaust_leak(integer, text, text, jsonb),
	pool_exhaust_release(bigint),
	pool_exhaust_drive_open(text, text, integer, integer, integer, text, integer),
	pool_exhaust_drive(integer, integer, boolean, bigint, integer),
	pool_exhaust_drive_load(integer, text, text, float8[], boolean, bigint, integer),
	pool_exhaust_drive_stop(integer),
	pool_exhaust_drive_crowd(text, integer, bigint, bigint, integer),
	pool_exhaust_scenarios_rows(),
	pool_exhaust_progress_rows(),
	pool_exhaust_holds_rows(),
	pool_exhaust_census(),
	pool_exhaust_refusals_rows(),
	pool_exhaust_refused_services_rows(),
	pool_exhaust_run_roles(),
	pool_exhaust_services_rows(),
	pool_exhaust_pools_rows(),
	pool_exhaust_timeline_rows(),
	pool_exhaust_leaks_rows(),
	pool_exhaust_lock_waits(),
	pool_exhaust_leak_rules_rows(),
	pool_exhaust_heals_rows(),
	pool_exhaust_heal(boolean),
	pool_exhaust_explain(timestamptz),
	pool_exhaust_slo(float8, interval, float8),
	pool_exhaust_slo_run(bigint, float8, interval, float8),
	pool_exhaust_health(),
	pool_exhaust_headroom(regrole, text),
	pool_exhaust_percentile(bigint[], float8),
	pool_exhaust_merge_buckets(bigint[], bigint[]),
	pool_exhaust_merge(bigint[]),
	pool_exhaust_mann_whitney(float8[], float8[], boolean),
	pool_exhaust_median(float8[]),
	pool_exhaust_mad(float8[]),
	pool_exhaust_shifts(bigint[], bigint[], boolean),
	pool_exhaust_reset_stats(),
	pool_exhaust_fdw_validator(text[], oid)
FROM PUBLIC;

-- What opens connections is for superusers and the roles that they grant it to;
-- what only reads is for pg_monitor.
GRANT SELECT ON
	pool_exhaust_runs, pool_exhaust_checks, pool_exhaust_samples, pool_exhaust_histograms, pool_exhaust_trends, pool_exhaust_declared, pool_exhaust_declared_poolers,
	pool_exhaust_scenarios, pool_exhaust_scenario_options, pool_exhaust_progress, pool_exhaust_holds,
	pool_exhaust_slots, pool_exhaust_refusals, pool_exhaust_refused_services,
	pool_exhaust_backends, pool_exhaust_services, pool_exhaust_pools,
	pool_exhaust_timeline, pool_exhaust_leaks, pool_exhaust_leak_rules,
	pool_exhaust_heals
TO pg_monitor;

GRANT EXECUTE ON FUNCTION
	pool_exhaust_plan(text, text, jsonb),
	pool_exhaust_budget(text, jsonb),
	pool_exhaust_report(bigint, text),
	pool_exhaust_report(bigint[], text),
	pool_exhaust_report(text, text),
	pool_exhaust_compare(bigint, bigint, text),
	pool_exhaust_scenarios_rows(),
	pool_exhaust_progress_rows(),
	pool_exhaust_holds_rows(),
	pool_exhaust_census(),
	pool_exhaust_refusals_rows(),
	pool_exhaust_refused_services_rows(),
	pool_exhaust_run_roles(),
	pool_exhaust_services_rows(),
	pool_exhaust_pools_rows(),
	pool_exhaust_timeline_rows(),
	pool_exhaust_leaks_rows(),
	pool_exhaust_lock_waits(),
	pool_exhaust_leak_rules_rows(),
	pool_exhaust_heals_rows(),
	pool_exhaust_percentile(bigint[], float8),
	pool_exhaust_merge_buckets(bigint[], bigint[]),
	pool_exhaust_merge(bigint[]),
	pool_exhaust_mann_whitney(float8[], float8[], boolean),
	pool_exhaust_median(float8[]),
	pool_exhaust_mad(float8[]),
	pool_exhaust_shifts(bigint[], bigint[], boolean),
	pool_exhaust_explain(timestamptz),
	pool_exhaust_slo(float8, interval, float8),
	pool_exhaust_slo_run(bigint, float8, interval, float8),
	pool_exhaust_health(),
	pool_exhaust_headroom(regrole, text)
TO pg_monitor;

-- The flight recorder
CREATE FUNCTION pool_exhaust_history(
	since timestamptz DEFAULT now() - interval '1 hour',
	until timestamptz DEFAULT now(),
	step interval DEFAULT '1 minute',
	OUT at timestamptz,
	OUT service text,
	OUT measured float8,
	OUT in_use float8,
	OUT peak_in_use integer,
	OUT active float8,
	OUT idle float8,
	OUT idle_in_transaction float8,
	OUT opened bigint,
	OUT refused bigint,
	OUT authenticating float8,
	OUT closed bigint,
	OUT reserved_in_use integer,
	OUT capacity integer,
	OUT health text)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE ROWS 1000;
COMMENT ON FUNCTION pool_exhaust_history(timestamptz, timestamptz, interval) IS
	'what the monitor has recorded between two moments, also before a restart: for each step a row for the server, with service NULL, and one for each service that had sessions, logins or refusals; averages of in use, active, idle, idle in transaction and authenticating, the peak, how many logins were granted and refused and how many sessions ended, and the worst health; measured is the part of the step that was measured, and where that is 0 the others are NULL; 100000 steps at the most';

CREATE FUNCTION pool_exhaust_incidents_rows(
	OUT started_at timestamptz,
	OUT ended_at timestamptz,
	OUT health text,
	OUT peak_in_use integer,
	OUT capacity integer,
	OUT peak_at timestamptz,
	OUT refused bigint,
	OUT refused_by_cause text,
	OUT main_holder text,
	OUT holder_in_use integer,
	OUT holder_growth integer,
	OUT second_holder text,
	OUT ended_by text,
	OUT unmeasured_s float8,
	OUT run_id bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 100;
COMMENT ON FUNCTION pool_exhaust_incidents_rows() IS
	'the rows of view pool_exhaust_incidents';

CREATE VIEW pool_exhaust_incidents AS
	SELECT started_at, ended_at, health, peak_in_use, capacity, peak_at, refused, refused_by_cause::jsonb AS refused_by_cause,
		main_holder, holder_in_use, holder_growth, second_holder, ended_by, unmeasured_s, run_id
	FROM pool_exhaust_incidents_rows();
COMMENT ON VIEW pool_exhaust_incidents IS
	'the times in which health was critical or exhausted, or a login was refused, as the monitor has recorded them, also before a restart; two that are less than a minute apart are one';
COMMENT ON COLUMN pool_exhaust_incidents.ended_at IS
	'NULL while it is under way';
COMMENT ON COLUMN pool_exhaust_incidents.health IS
	'the worst';
COMMENT ON COLUMN pool_exhaust_incidents.refused IS
	'logins that were refused in it, for any cause; refused_by_cause has them by cause';
COMMENT ON COLUMN pool_exhaust_incidents.main_holder IS
	'the service that had grown most at the peak, against the emptiest moment of the hour before; NULL: none had';
COMMENT ON COLUMN pool_exhaust_incidents.holder_growth IS
	'by how many sessions it had grown';
COMMENT ON COLUMN pool_exhaust_incidents.second_holder IS
	'a second service, if that had grown half as much or more';
COMMENT ON COLUMN pool_exhaust_incidents.ended_by IS
	'what ended it, as far as that was seen; NULL while it is under way';
COMMENT ON COLUMN pool_exhaust_incidents.unmeasured_s IS
	'seconds of it in which nothing was measured';
COMMENT ON COLUMN pool_exhaust_incidents.run_id IS
	'a run of pool_exhaust on target server that was under way; NULL: there was none';

CREATE FUNCTION pool_exhaust_incident(at timestamptz DEFAULT NULL, format text DEFAULT 'text')
RETURNS SETOF text
AS 'MODULE_PATHNAME'
LANGUAGE C VOLATILE PARALLEL UNSAFE ROWS 40;
COMMENT ON FUNCTION pool_exhaust_incident(timestamptz, text) IS
	'the incident at that moment, or else the last one before it or the first after it, within twelve hours; NULL: the latest: what happened, before, at the worst moment and after; format: text, json, markdown, html';

REVOKE ALL ON pool_exhaust_incidents FROM PUBLIC;
REVOKE ALL ON FUNCTION
	pool_exhaust_history(timestamptz, timestamptz, interval),
	pool_exhaust_incidents_rows(),
	pool_exhaust_incident(timestamptz, text)
FROM PUBLIC;
GRANT SELECT ON pool_exhaust_incidents TO pg_monitor;
GRANT EXECUTE ON FUNCTION
	pool_exhaust_history(timestamptz, timestamptz, interval),
	pool_exhaust_incidents_rows(),
	pool_exhaust_incident(timestamptz, text)
TO pg_monitor;
