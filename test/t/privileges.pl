# The rights of each role: none for PUBLIC, reading for pg_monitor, running for the
# roles that were granted it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('rights', conf => 'max_connections = 40');
$node->safe_psql('postgres', q(
CREATE ROLE plain LOGIN;
CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
CREATE ROLE tester LOGIN;
CREATE ROLE tester2 LOGIN;
CREATE ROLE owner LOGIN;
CREATE ROLE signaller LOGIN IN ROLE pg_signal_backend;
GRANT EXECUTE ON FUNCTION pool_exhaust_run(text, text, jsonb, text), pool_exhaust_start(text, text, jsonb), pool_exhaust_plan(text, text, jsonb),
	pool_exhaust_wait(bigint, interval), pool_exhaust_stop(bigint), pool_exhaust_report(bigint, text),
	pool_exhaust_report(bigint[], text), pool_exhaust_report(text, text)
	TO tester, tester2, signaller;
));

my $superuser = client($node);
my @views = split /\n/, $superuser->query(q(
	SELECT relname FROM pg_class WHERE relname LIKE 'pool\_exhaust\_%' AND relkind IN ('r', 'v') ORDER BY relname));
my @functions = split /\n/, $superuser->query(q(
	SELECT proname FROM pg_proc WHERE proname LIKE 'pool\_exhaust\_%' ORDER BY proname));
cmp_ok(scalar(@views), '>=', 10, 'there are views and tables');
cmp_ok(scalar(@functions), '>=', 14, 'there are functions');

# Each object of the extension, and what roles may do with it: a role of PUBLIC's
# rights, pg_monitor, one that may run, the owner of the database, superusers. X is
# EXECUTE, U is USAGE, the others are the letters of access privileges in psql.
my %rights = map { my ($object, $letters) = /^(.*?\S) {2,}(.*)$/; $object => $letters =~ s/ +/ /gr } split /\n/, <<'RIGHTS';
function pool_exhaust_run(text, text, jsonb, text)                   -  -  X  -  X
function pool_exhaust_plan(text, text, jsonb)                        -  X  X  -  X
function pool_exhaust_budget(text, jsonb)                            -  X  -  -  X
function pool_exhaust_budget_import(text, text)                      -  -  -  -  X
function pool_exhaust_start(text, text, jsonb)                       -  -  X  -  X
function pool_exhaust_wait(bigint, interval)                         -  -  X  -  X
function pool_exhaust_stop(bigint)                                   -  -  X  -  X
function pool_exhaust_report(bigint, text)                           -  X  X  -  X
function pool_exhaust_report(bigint[], text)                         -  X  X  -  X
function pool_exhaust_report(text, text)                             -  X  X  -  X
function pool_exhaust_hold(integer, text, text, jsonb)               -  -  -  -  X
function pool_exhaust_leak(integer, text, text, jsonb)               -  -  -  -  X
function pool_exhaust_release(bigint)                                -  -  -  -  X
function pool_exhaust_drive_open(text, text, integer, integer, integer, text, integer)  -  -  -  -  X
function pool_exhaust_drive_load(integer, text, text, double precision[], boolean, bigint, integer)  -  -  -  -  X
function pool_exhaust_drive_stop(integer)                            -  -  -  -  X
function pool_exhaust_drive_crowd(text, integer, bigint, bigint, integer)  -  -  -  -  X
function pool_exhaust_drive(integer, integer, boolean, bigint, integer)  -  -  -  -  X
function pool_exhaust_scenarios_rows()                               -  X  -  -  X
function pool_exhaust_progress_rows()                                -  X  -  -  X
function pool_exhaust_holds_rows()                                   -  X  -  -  X
function pool_exhaust_census()                                       -  X  -  -  X
function pool_exhaust_refusals_rows()                                -  X  -  -  X
function pool_exhaust_refused_services_rows()                        -  X  -  -  X
function pool_exhaust_run_roles()                                    -  X  -  -  X
function pool_exhaust_services_rows()                                -  X  -  -  X
function pool_exhaust_pools_rows()                                   -  X  -  -  X
function pool_exhaust_timeline_rows()                                -  X  -  -  X
function pool_exhaust_leaks_rows()                                   -  X  -  -  X
function pool_exhaust_lock_waits()                                   -  X  -  -  X
function pool_exhaust_leak_rules_rows()                              -  X  -  -  X
function pool_exhaust_heals_rows()                                   -  X  -  -  X
function pool_exhaust_heal(boolean)                                  -  -  -  -  X
function pool_exhaust_explain(timestamp with time zone)              -  X  -  -  X
function pool_exhaust_slo(double precision, interval, double precision)  -  X  -  -  X
function pool_exhaust_slo_run(bigint, double precision, interval, double precision)  -  X  -  -  X
function pool_exhaust_history(timestamp with time zone, timestamp with time zone, interval)  -  X  -  -  X
function pool_exhaust_incidents_rows()                               -  X  -  -  X
function pool_exhaust_incident(timestamp with time zone, text)       -  X  -  -  X
function pool_exhaust_health()                                       -  X  -  -  X
function pool_exhaust_headroom(regrole, text)                        -  X  -  -  X
function pool_exhaust_percentile(bigint[], double precision)         -  X  -  -  X
function pool_exhaust_merge_buckets(bigint[], bigint[])              -  X  -  -  X
aggregate pool_exhaust_merge(bigint[])                               -  X  -  -  X
function pool_exhaust_mann_whitney(double precision[], double precision[], boolean)  -  X  -  -  X
function pool_exhaust_median(double precision[])                     -  X  -  -  X
function pool_exhaust_mad(double precision[])                        -  X  -  -  X
function pool_exhaust_shifts(bigint[], bigint[], boolean)            -  X  -  -  X
function pool_exhaust_compare(bigint, bigint, text)                  -  X  -  -  X
function pool_exhaust_reset_stats()                                  -  -  -  -  X
function pool_exhaust_fdw_validator(text[], oid)                     -  -  -  -  X
table pool_exhaust_runs                                              -  r  -  -  arwdDxt
table pool_exhaust_checks                                            -  r  -  -  arwdDxt
table pool_exhaust_samples                                           -  r  -  -  arwdDxt
table pool_exhaust_histograms                                        -  r  -  -  arwdDxt
table pool_exhaust_declared                                          -  r  -  -  arwdDxt
table pool_exhaust_declared_poolers                                  -  r  -  -  arwdDxt
view pool_exhaust_trends                                             -  r  -  -  arwdDxt
view pool_exhaust_scenarios                                          -  r  -  -  arwdDxt
view pool_exhaust_scenario_options                                   -  r  -  -  arwdDxt
view pool_exhaust_progress                                           -  r  -  -  arwdDxt
view pool_exhaust_holds                                              -  r  -  -  arwdDxt
view pool_exhaust_slots                                              -  r  -  -  arwdDxt
view pool_exhaust_refusals                                           -  r  -  -  arwdDxt
view pool_exhaust_refused_services                                   -  r  -  -  arwdDxt
view pool_exhaust_backends                                           -  r  -  -  arwdDxt
view pool_exhaust_services                                           -  r  -  -  arwdDxt
view pool_exhaust_pools                                              -  r  -  -  arwdDxt
view pool_exhaust_timeline                                           -  r  -  -  arwdDxt
view pool_exhaust_incidents                                          -  r  -  -  arwdDxt
view pool_exhaust_leaks                                              -  r  -  -  arwdDxt
view pool_exhaust_leak_rules                                         -  r  -  -  arwdDxt
view pool_exhaust_heals                                              -  r  -  -  arwdDxt
sequence pool_exhaust_runs_id_seq                                    -  -  -  -  rwU
foreign-data wrapper pool_exhaust                                    -  -  -  -  U
RIGHTS

$superuser->query('ALTER DATABASE postgres OWNER TO owner');
my %found = map { split /=/, $_, 2 } split /\n/, $superuser->query(q(
	WITH members AS (SELECT classid, objid FROM pg_depend
		WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pool_exhaust')
		-- those of rows, and arrays of them, are members of their own since PostgreSQL 18
		AND NOT EXISTS (SELECT FROM pg_type t LEFT JOIN pg_type e ON e.oid = t.typelem
			WHERE classid = 'pg_type'::regclass AND t.oid = objid AND (t.typrelid <> 0 OR e.typrelid <> 0))),
	roles (role, n) AS (VALUES ('plain', 1), ('watcher', 2), ('tester', 3), ('owner', 4), (current_user, 5)),
	letters (classid, kind, letter, word) AS (VALUES ('pg_proc'::regclass, '', 'X', 'EXECUTE'), ('pg_foreign_data_wrapper', '', 'U', 'USAGE'),
		('pg_class', 'rv', 'r', 'SELECT'), ('pg_class', 'rv', 'a', 'INSERT'), ('pg_class', 'rv', 'w', 'UPDATE'), ('pg_class', 'rv', 'd', 'DELETE'),
		('pg_class', 'rv', 'D', 'TRUNCATE'), ('pg_class', 'rv', 'x', 'REFERENCES'), ('pg_class', 'rv', 't', 'TRIGGER'),
		('pg_class', 'S', 'r', 'SELECT'), ('pg_class', 'S', 'w', 'UPDATE'), ('pg_class', 'S', 'U', 'USAGE')),
	granted AS (SELECT m.classid, m.objid, n, coalesce(string_agg(letter, '' ORDER BY strpos('arwdDxtUX', letter)) FILTER (WHERE
			CASE WHEN m.classid = 'pg_proc'::regclass THEN has_function_privilege(role::text, m.objid, word)
				 WHEN m.classid = 'pg_foreign_data_wrapper'::regclass THEN has_foreign_data_wrapper_privilege(role::text, m.objid, word)
				 WHEN kind = 'S' THEN has_sequence_privilege(role::text, m.objid, word)
				 ELSE has_table_privilege(role::text, m.objid, word) END), '-') AS what
		FROM members m CROSS JOIN roles LEFT JOIN pg_class c ON m.classid = 'pg_class'::regclass AND c.oid = m.objid
			 LEFT JOIN letters l ON l.classid = m.classid AND (kind = '' OR strpos(kind, c.relkind::text) > 0)
		GROUP BY 1, 2, 3)
	SELECT type || ' ' || regexp_replace(regexp_replace(identity, '(?<![a-z_])(public|pg_catalog)\.', '', 'g'), ',', ', ', 'g')
		|| '=' || string_agg(what, ' ' ORDER BY n)
	FROM granted, pg_identify_object(classid, objid, 0) GROUP BY type, identity));
$superuser->query('ALTER DATABASE postgres OWNER TO CURRENT_USER');
cmp_ok(scalar(keys %found), '>', 40, 'there are objects');
is($found{$_} // 'no such object', $rights{$_} // 'no row in this table', "rights: $_") foreach sort keys %{ { %found, %rights } };

# PUBLIC
is($superuser->query(q(SELECT string_agg(relname, ', ') FROM pg_class
		WHERE relname LIKE 'pool\_exhaust\_%' AND relkind IN ('r', 'v', 'S')
		AND has_table_privilege('plain', oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
		AND relkind <> 'S')), '', 'PUBLIC has no right on any view or table');
is($superuser->query(q(SELECT string_agg(proname, ', ') FROM pg_proc
		WHERE proname LIKE 'pool\_exhaust\_%' AND has_function_privilege('plain', oid, 'EXECUTE'))),
	'', 'PUBLIC may call no function');
my $client = client($node, user => 'plain');
fails_with($client, "SELECT * FROM $_", '42501', [qr/permission denied/], "PUBLIC: $_")
  foreach @views, "pool_exhaust_run('saturation')", 'pool_exhaust_stop()', 'pool_exhaust_report()', 'pool_exhaust_census()',
	'pool_exhaust_heal()', 'pool_exhaust_heal(false)', 'pool_exhaust_leaks_rows()', 'pool_exhaust_heals_rows()';
$client->close;

# pg_monitor
$client = client($node, user => 'watcher');
foreach my $view (@views)
{
	$client->query("SELECT count(*) FROM $view");
	is(sqlstate($client), '00000', "pg_monitor sees $view") or diag $client->message;
}
fails_with($client, "SELECT $_", '42501', [qr/permission denied/], "pg_monitor: $_")
  foreach "pool_exhaust_run('saturation')", "pool_exhaust_start('saturation')", 'pool_exhaust_stop()',
	'pool_exhaust_heal()', 'pool_exhaust_heal(false)';
fails_with($client, $_, '42501', [qr/permission denied/], "pg_monitor: $_")
  foreach 'DELETE FROM pool_exhaust_runs', "UPDATE pool_exhaust_runs SET verdict = 'pass'", 'TRUNCATE pool_exhaust_samples', 'DELETE FROM pool_exhaust_histograms';
is($client->query("SELECT usename FROM pool_exhaust_backends WHERE usename <> 'watcher'"), scalar getpwuid($>),
	'pg_monitor sees sessions of other roles');
$client->close;

# A role that was granted the functions, and no table
my $tester = client($node, user => 'tester');
my $report = $tester->query("SELECT pool_exhaust_run('saturation', 'role')") // $tester->message;
like($report, qr/\A ?PASS +saturation on role/, 'a role that was granted it runs, and gets the report');
like($tester->query("SELECT pool_exhaust_report(NULL, 'json')::jsonb->>'verdict'"), qr/^pass$/, 'and reads it again');
is($superuser->query('SELECT string_agg(role, $$,$$) FROM pool_exhaust_runs'), 'tester', 'the run has the role that started it');
my $superuser_run = $superuser->query("SELECT pool_exhaust_start('saturation', 'role')");
is($superuser->query("SELECT pool_exhaust_wait($superuser_run)"), 'pass', 'a run of the superuser');
my $tester_run = $tester->query(q(SELECT pool_exhaust_report()::text)) =~ /run (\d+)$/m ? $1 : 0;
cmp_ok($tester_run, '<', $superuser_run, 'the latest run is that of the role itself');
fails_with($tester, "SELECT pool_exhaust_report(ARRAY[$tester_run, $superuser_run])", '42501', [qr/permission denied for the report of run $superuser_run/],
	'several runs, one of another role');
fails_with($tester, "SELECT pool_exhaust_report($superuser_run)", '42501', [ qr/permission denied for the report of run $superuser_run/, qr/pg_monitor/ ],
	'the report of a run of another role');
{
	my $other = client($node, user => 'tester2');
	my $monitor = client($node, user => 'watcher');

	fails_with($other, "SELECT pool_exhaust_report($tester_run, '$_')", '42501', [qr/permission denied/], "a run of another role: $_") foreach 'text', 'json', 'tap';
	fails_with($other, "SELECT pool_exhaust_report($_)", '42501', [qr/permission denied for the report of run $tester_run/], "and in $_")
	  foreach "ARRAY[$tester_run]", "ARRAY[$tester_run]::bigint[], 'json'", "'$tester_run'", "'{$tester_run}', 'tap'";
	fails_with($other, 'SELECT pool_exhaust_report()', '42704', [qr/there was no run in this database yet that you may read/], 'a role without a run');
	fails_with($other, 'SELECT pool_exhaust_report(987654321)', '42704', [qr/run 987654321 does not exist/], 'a run that is not there');
	like($monitor->query("SELECT pool_exhaust_report($_)"), qr/\A ?PASS/, "pg_monitor reads the report of run $_") foreach $tester_run, $superuser_run;
	$superuser->query("UPDATE pool_exhaust_runs SET role = NULL WHERE id = $tester_run");
	fails_with($tester, "SELECT pool_exhaust_report($tester_run)", '42501', [qr/permission denied/], 'a run of version 1.0, without a role');
	$superuser->query("UPDATE pool_exhaust_runs SET role = 'tester' WHERE id = $tester_run");
	$superuser->query('GRANT SELECT ON pool_exhaust_runs TO tester2');
	like($other->query("SELECT pool_exhaust_report($tester_run)"), qr/\A ?PASS/, 'SELECT on the table is the right to all reports');
	$superuser->query('REVOKE SELECT ON pool_exhaust_runs FROM tester2');
	$_->close foreach $other, $monitor;
}
fails_with($tester, 'SELECT * FROM pool_exhaust_runs', '42501', [qr/permission denied/], 'but not the tables');
is($tester->query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_'"), 0, 'the run had a role of its own, and dropped it');

# The owner of a run decides which roles may stop it.
my $long = q('saturation', 'role', '{"attempts": 10000, "role_limit": 1, "timeout_ms": 300000}');
my $run_id = $superuser->query("SELECT pool_exhaust_start($long)");
in_progress($superuser, 'attempt', 'a run of the superuser', 'done > 0');
fails_with($tester, "SELECT pool_exhaust_stop($run_id)", '42501',
	[ qr/permission denied to stop run $run_id/, qr/pg_signal_backend/ ], 'a run of another role');
is($tester->query('SELECT pool_exhaust_stop()'), 0, 'stop of all leaves the runs of others');
is($superuser->query("SELECT count(*) FROM pool_exhaust_progress WHERE run_id = $run_id"), 1, 'the run goes on');

# The sessions of a run are shown to roles that may see the sessions of others.
is($superuser->query("SELECT count(*), min(usename) ~ '^pool_exhaust_' FROM pool_exhaust_backends WHERE run_id = $run_id AND state IS NOT NULL AND application_name = 'pool_exhaust' AND usename ~ '^pool_exhaust_'"),
	'1|t', 'the superuser sees the session of the run');
$superuser->query('GRANT SELECT ON pool_exhaust_backends, pool_exhaust_slots TO tester; GRANT EXECUTE ON FUNCTION pool_exhaust_run_roles(), pool_exhaust_leaks_rows(), pool_exhaust_census() TO tester');
is($tester->query('SELECT count(*), min(usename) FROM pool_exhaust_backends'), '1|tester', 'a plain role sees only its own session');
my $signaller = client($node, user => 'signaller');
is($signaller->query("SELECT pool_exhaust_stop($run_id)"), 1, 'pg_signal_backend may stop it');
run_ends($superuser, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'stopped by pg_signal_backend');
$signaller->close;

$run_id = $tester->query("SELECT pool_exhaust_start($long)");
my $tester2 = client($node, user => 'tester2');
fails_with($tester2, "SELECT pool_exhaust_stop($run_id)", '42501', [qr/permission denied/], 'a run of another tester');
is($tester2->query("SELECT pool_exhaust_wait($run_id, '0') IS NULL"), 't', 'any role with the right may wait');
is($tester->query("SELECT pool_exhaust_stop($run_id)"), 1, 'its owner may stop it');
run_ends($superuser, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'stopped by its owner');
$run_id = $tester->query("SELECT pool_exhaust_start($long)");
is($superuser->query('SELECT pool_exhaust_stop()'), 1, 'a superuser may stop all');
run_ends($superuser, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'stopped by a superuser');

# A run from within a function of another role, and past a hostile schema
$superuser->query(q(
	CREATE FUNCTION run_it() RETURNS text LANGUAGE sql SECURITY DEFINER SET search_path = public
		AS $$ SELECT pool_exhaust_run('saturation', 'role') LIMIT 1 $$;
	CREATE SCHEMA hostile AUTHORIZATION tester));
like($tester2->query('SELECT run_it()'), qr/\A ?PASS/, 'a run from a SECURITY DEFINER function');
$tester->query('CREATE TABLE hostile.pool_exhaust_runs (id int); CREATE FUNCTION hostile.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT 1/0 $$');
like($tester->query("SET search_path = hostile, public, pg_catalog; SELECT pool_exhaust_run('saturation', 'role')") // $tester->message,
	qr/PASS +saturation/, 'objects of the same names are passed over');

# What is found by name while a report or a view is read as another role must
# not be what the caller put there: an operator that fits better than
# pg_catalog's would run with the rights of the extension's owner.
my $trap = q(
	CREATE FUNCTION hostile.trap(%1$s, %2$s) RETURNS %3$s LANGUAGE plpgsql AS $$
	BEGIN
		IF (SELECT rolsuper FROM pg_roles WHERE rolname OPERATOR(pg_catalog.=) current_user) THEN
			ALTER ROLE tester SUPERUSER;
		END IF;
		RETURN $1 OPERATOR(pg_catalog.%4$s) $2;
	END $$;
	CREATE OPERATOR hostile.%4$s (LEFTARG = %1$s, RIGHTARG = %2$s, FUNCTION = hostile.trap));
foreach ([ 'bigint', 'bigint', 'boolean', '=' ], [ 'text', 'text', 'text', '||' ])
{
	$tester->query(sprintf($trap, @$_));
	is(sqlstate($tester), '00000', "a trap for operator $_->[3]") or diag $tester->message;
}
like($tester->query("SET search_path = hostile, public, pg_catalog; SELECT public.pool_exhaust_report()") // $tester->message,
	qr/PASS +saturation/, 'a report past hostile operators');
is($superuser->query("SELECT rolsuper FROM pg_roles WHERE rolname = 'tester'"), 'f', 'no superuser by an operator');

# A run goes only where its caller may connect.
$superuser->query('CREATE DATABASE secret');
$superuser->query('REVOKE CONNECT ON DATABASE secret FROM PUBLIC');
$tester->query(q(SET search_path = public; SELECT pool_exhaust_run('saturation', 'role', '{"database": "secret"}')));
is(sqlstate($tester), '42501', 'no run into a database that its caller may not connect to');

# What a machine has for itself, and not for others, is no service to aim at: whatever
# the URL says, the address that it leads to counts.
$superuser->query('GRANT USAGE ON FOREIGN DATA WRAPPER pool_exhaust TO tester');
my $number = 0;
foreach my $host ('169.254.169.254', '2852039166', '0xa9fea9fe', '169.254.1.1:5432', '[::ffff:169.254.169.254]', '[64:ff9b::a9fe:a9fe]',
	'[fe80::1]', '[febf::1]', '[fd00:ec2::254]', '100.100.100.200')
{
	my $server = 'machine' . ++$number;

	$tester->query("CREATE SERVER $server FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'http', url 'http://$host')");
	my $id = $tester->query("SELECT pool_exhaust_start('backpressure', '$server')") // die $tester->message;
	is($tester->query("SELECT pool_exhaust_wait($id)"), 'invalid', "$host: verdict");
	like($superuser->query("SELECT reason FROM pool_exhaust_runs WHERE id = $id"),
		qr/^the service is at [\da-f.:]+, an? (?:link-local address|address of cloud metadata), where only superusers may aim/, "$host: reason");
}
foreach my $host ('169.254.1.1', '127.0.0.1:1')
{
	my $user = $host =~ /^127/ ? $tester : $superuser;
	my $server = 'machine' . ++$number;

	$user->query("CREATE SERVER $server FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'http', url 'http://$host')");
	my $id = $user->query(qq(SELECT pool_exhaust_start('backpressure', '$server', '{"response_limit_ms": 1000}'))) // die $user->message;
	is($superuser->query("SELECT pool_exhaust_wait($id)"), 'invalid', "$host: verdict");
	like($superuser->query("SELECT reason FROM pool_exhaust_runs WHERE id = $id"), qr/^GET \/ /, "$host: it was asked");
}

# Settings of the database and of all roles do not reach the runner.
$superuser->query("ALTER DATABASE postgres SET default_transaction_read_only = on");
$superuser->query("ALTER DATABASE postgres SET statement_timeout = '1ms'");
$superuser->query("ALTER DATABASE postgres SET search_path = ''");
is($superuser->query("SELECT pool_exhaust_wait(pool_exhaust_start('saturation', 'role'))"), 'pass', 'a run in a database with odd settings')
  or diag $superuser->message;
$superuser->query('ALTER DATABASE postgres RESET ALL');

# Those that would end a runner at its first ERROR, without a clean-up, or make it
# another role.
$superuser->query('CREATE DATABASE odd');
my $odd = client($node, database => 'odd');
$odd->query('CREATE EXTENSION pool_exhaust');
$odd->query("ALTER DATABASE odd SET $_") // die $odd->message
  foreach 'exit_on_error = on', 'session_authorization = plain', 'role = plain', "idle_session_timeout = '1min'";
is($odd->query(q(SELECT pool_exhaust_wait(pool_exhaust_start('queue', 'pool', '{"workload": "SELECT 1/0"}')))), 'invalid',
	'exit_on_error of the database: a run that ends by an ERROR has its verdict') or diag $odd->message;
is($odd->query(q(SELECT reason FROM pool_exhaust_runs)), 'the workload failed: 22012 division by zero',
	'and its own reason: the sessions of its role do not have the setting');
is($odd->query(q(SELECT pool_exhaust_wait(pool_exhaust_start('saturation', 'role')))), 'pass',
	'session_authorization and role of the database: a run has its own rights') or diag $odd->query('SELECT pool_exhaust_report()');
is($odd->query(q(SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_')), 0, 'and its role is dropped');
$odd->close;

# DROP EXTENSION takes its lock before it asks for the right: a role that may not
# drop it ends no run, and keeps none from beginning.
$run_id = $superuser->query("SELECT pool_exhaust_start($long)");
in_progress($superuser, 'attempt', 'a refused DROP EXTENSION: the run is there', 'done > 0');
foreach (1 .. 3)
{
	fails_with($tester, 'DROP EXTENSION pool_exhaust', '42501', [qr/must be owner/], 'a refused DROP EXTENSION: it does not wait for the end of the run');
	like($superuser->query("SELECT pool_exhaust_hold(1, 'role')") // $superuser->message, qr/^\d+$/, 'a refused DROP EXTENSION: a hold can begin');
}
my $done = $superuser->query("SELECT done FROM pool_exhaust_progress WHERE run_id = $run_id");
ok(wait_for($superuser, "SELECT done > $done + 20 FROM pool_exhaust_progress WHERE run_id = $run_id", 't'),
	'a refused DROP EXTENSION: the run goes on');
is($superuser->query('SELECT pool_exhaust_release()'), 3, 'a refused DROP EXTENSION: the holds are released');
is($superuser->query("SELECT pool_exhaust_stop($run_id)"), 1, 'a refused DROP EXTENSION: it is stopped');
run_ends($superuser, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'a refused DROP EXTENSION');

# The owner drops it, in a transaction that lasts: what is to begin waits for a while, and says why it does not.
my $owner = client($node);
$owner->query($_) foreach 'BEGIN', 'DROP EXTENSION pool_exhaust CASCADE';
is(sqlstate($owner), '00000', 'a DROP EXTENSION under way: it is one') or diag $owner->message;
fails_with($superuser, 'SELECT pool_exhaust_hold(1)', '55P03', [qr/extension pool_exhaust is being altered or dropped/], 'a DROP EXTENSION under way');
$owner->query('ROLLBACK');
$owner->close;
like($superuser->query('SELECT pool_exhaust_hold(1)') // $superuser->message, qr/^\d+$/, 'a DROP EXTENSION that was rolled back: a hold can begin');
is($superuser->query('SELECT pool_exhaust_release()'), 1, 'a DROP EXTENSION that was rolled back: it is released');

$_->close foreach $superuser, $tester, $tester2;
left_nothing($node);
done_testing();
