-- Foreign servers as targets: what they may say, and the roles that may use them
SET client_min_messages = warning;
\set VERBOSITY default
-- Kinds and what each cannot do without
CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust;
CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'oracle');
CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'pgbouncer');
CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'http', path '/');
-- What is misspelt is named before what is missing for that reason
CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust OPTIONS (knid 'http');
CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'http', ulr 'http://a');
-- Options of another kind, of nothing, and of the wrong place
CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'postgres', host 'a', url 'http://a');
CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'http', url 'http://a', host 'a');
CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'pgbouncer', host 'a', capacity '5');
CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'postgres', host 'a', user 'me');
ALTER FOREIGN DATA WRAPPER pool_exhaust OPTIONS (ADD host 'a');
-- Values
CREATE FUNCTION pg_temp.refused(options text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
	hint text;
BEGIN
	EXECUTE 'CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust OPTIONS (' || options || ')';
	RAISE 'let through';
EXCEPTION WHEN OTHERS THEN
	GET STACKED DIAGNOSTICS hint = PG_EXCEPTION_HINT;
	RETURN SQLSTATE || ' ' || SQLERRM || ' | ' || hint;
END $$;
SELECT pg_temp.refused(o) FROM unnest(ARRAY[
	$$kind 'postgres', host ''$$, $$kind 'postgres', host 'a,,b'$$,
	$$kind 'postgres', host 'a,b,a'$$, $$kind 'postgres', host '/tmp,a'$$,
	$$kind 'postgres', host 'a', port '0'$$, $$kind 'postgres', host 'a', port '65536'$$,
	$$kind 'postgres', host 'a', port 'x'$$, $$kind 'postgres', host 'a', port ''$$,
	$$kind 'postgres', host 'a', capacity '0'$$, $$kind 'postgres', host 'a', capacity '9999999'$$,
	$$kind 'postgres', host 'a', sslmode 'prefer'$$,
	$$kind 'http', url 'ftp://a'$$, $$kind 'http', url 'http://'$$, $$kind 'http', url 'http://me:secret@a'$$,
	$$kind 'http', url 'http://a/?q'$$, $$kind 'http', url 'http://a', path 'work'$$,
	$$kind 'http', url 'http://a', liveness_path '/a b'$$
]) AS o;
-- Those that are right are listed
CREATE SERVER pool_exhaust_test_bouncer FOREIGN DATA WRAPPER pool_exhaust
	OPTIONS (kind 'pgbouncer', host '127.0.0.1', port '1', dbname 'app', sslmode 'require', console 'pgbouncer');
CREATE SERVER pool_exhaust_test_postgres FOREIGN DATA WRAPPER pool_exhaust
	OPTIONS (kind 'postgres', host '127.0.0.1', port '1', dbname 'app', capacity '5');
CREATE SERVER pool_exhaust_test_http FOREIGN DATA WRAPPER pool_exhaust
	OPTIONS (kind 'http', url 'http://127.0.0.1:1', path '/work', liveness_path '/livez', other_path '/other');
SELECT name, kind, capacity, health FROM pool_exhaust_pools WHERE name LIKE 'pool\_exhaust\_test\_%' ORDER BY name COLLATE "C";
ALTER SERVER pool_exhaust_test_bouncer OPTIONS (DROP host);
ALTER SERVER pool_exhaust_test_bouncer OPTIONS (SET kind 'http');
-- Mappings
CREATE USER MAPPING FOR PUBLIC SERVER pool_exhaust_test_bouncer OPTIONS (host 'a');
CREATE USER MAPPING FOR PUBLIC SERVER pool_exhaust_test_bouncer OPTIONS (password_required 'perhaps');
-- Without one, and with one that has no password
SELECT pool_exhaust_run('saturation', 'pool_exhaust_test_bouncer');
CREATE ROLE pool_exhaust_test_user;
GRANT EXECUTE ON FUNCTION pool_exhaust_run, pool_exhaust_hold TO pool_exhaust_test_user;
SET ROLE pool_exhaust_test_user;
SELECT pool_exhaust_run('saturation', 'pool_exhaust_test_bouncer');
SELECT pool_exhaust_hold(1, 'pool_exhaust_test_bouncer');
CREATE SERVER pool_exhaust_test FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'postgres', host 'a');
RESET ROLE;
GRANT USAGE ON FOREIGN SERVER pool_exhaust_test_bouncer TO pool_exhaust_test_user;
CREATE USER MAPPING FOR pool_exhaust_test_user SERVER pool_exhaust_test_bouncer OPTIONS (user 'app');
SET ROLE pool_exhaust_test_user;
SELECT pool_exhaust_run('saturation', 'pool_exhaust_test_bouncer');
ALTER USER MAPPING FOR pool_exhaust_test_user SERVER pool_exhaust_test_bouncer OPTIONS (ADD password_required 'false');
RESET ROLE;
-- What cannot be aimed at them
SELECT pool_exhaust_run('leak', 'pool_exhaust_test_bouncer');
CREATE USER MAPPING FOR CURRENT_USER SERVER pool_exhaust_test_bouncer OPTIONS (user 'app', password 'secret');
SELECT pool_exhaust_run('leak', 'pool_exhaust_test_bouncer');
SELECT pool_exhaust_run('saturation', 'pool_exhaust_test_bouncer', '{"database": "postgres"}');
SELECT pool_exhaust_run('isolation', 'pool_exhaust_test_bouncer');
SELECT pool_exhaust_run('isolation', 'pool_exhaust_test_bouncer', '{"second": "pool_exhaust_test_postgres"}');
SELECT pool_exhaust_run('isolation', 'pool_exhaust_test_bouncer', '{"second": "pool_exhaust_test_bouncer"}');
SELECT pool_exhaust_hold(1, 'pool_exhaust_test_bouncer', 'lock wait');
SELECT pool_exhaust_hold(1, 'pool_exhaust_test_http');
-- No server is there
\set VERBOSITY sqlstate
SELECT pool_exhaust_hold(1, 'pool_exhaust_test_bouncer');
\set VERBOSITY default
SELECT substr(line, 1, 7) FROM pool_exhaust_run('saturation', 'pool_exhaust_test_bouncer') AS line LIMIT 1;
SELECT count(*) FROM pool_exhaust_runs WHERE target = 'pool_exhaust_test_bouncer' AND verdict = 'invalid'
	AND reason LIKE 'could not log in to pool_exhaust_test_bouncer: %';
-- No secret in the results
SELECT count(*) FROM pool_exhaust_runs r WHERE r::text LIKE '%secret%';
DELETE FROM pool_exhaust_runs WHERE target = 'pool_exhaust_test_bouncer';
DROP SERVER pool_exhaust_test_bouncer, pool_exhaust_test_postgres, pool_exhaust_test_http CASCADE;
DROP OWNED BY pool_exhaust_test_user;
DROP ROLE pool_exhaust_test_user;
