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
CREATE ROLE signaller LOGIN IN ROLE pg_signal_backend;
GRANT EXECUTE ON FUNCTION pool_exhaust_run(text, text, jsonb, text), pool_exhaust_start(text, text, jsonb),
	pool_exhaust_wait(bigint, interval), pool_exhaust_stop(bigint), pool_exhaust_report(bigint, text)
	TO tester, tester2, signaller;
));

my $superuser = client($node);
my @views = split /\n/, $superuser->query(q(
	SELECT relname FROM pg_class WHERE relname LIKE 'pool\_exhaust\_%' AND relkind IN ('r', 'v') ORDER BY relname));
my @functions = split /\n/, $superuser->query(q(
	SELECT proname FROM pg_proc WHERE proname LIKE 'pool\_exhaust\_%' ORDER BY proname));
cmp_ok(scalar(@views), '>=', 10, 'there are views and tables');
cmp_ok(scalar(@functions), '>=', 14, 'there are functions');

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
  foreach 'DELETE FROM pool_exhaust_runs', "UPDATE pool_exhaust_runs SET verdict = 'pass'", 'TRUNCATE pool_exhaust_samples';
is($client->query("SELECT usename FROM pool_exhaust_backends WHERE usename <> 'watcher'"), scalar getpwuid($>),
	'pg_monitor sees sessions of other roles');
$client->close;

# A role that was granted the functions, and no table
my $tester = client($node, user => 'tester');
my $report = $tester->query("SELECT pool_exhaust_run('saturation', 'role')") // $tester->message;
like($report, qr/\A ?PASS +saturation on role/, 'a role that was granted it runs, and gets the report');
like($tester->query("SELECT pool_exhaust_report(NULL, 'json')::jsonb->>'verdict'"), qr/^pass$/, 'and reads it again');
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
# drop it ends no run, however long it waits.
$run_id = $superuser->query("SELECT pool_exhaust_start($long)");
in_progress($superuser, 'attempt', 'a refused DROP EXTENSION: the run is there', 'done > 0');
$tester->send('DROP EXTENSION pool_exhaust');
ok(wait_for($superuser, "SELECT count(*) FROM pg_locks WHERE classid = 'pg_extension'::regclass AND NOT granted", 1),
	'a refused DROP EXTENSION: it waits');
my $done = $superuser->query("SELECT done FROM pool_exhaust_progress WHERE run_id = $run_id");
ok(wait_for($superuser, "SELECT done > $done + 20 FROM pool_exhaust_progress WHERE run_id = $run_id", 't'),
	'a refused DROP EXTENSION: the run goes on');
is($superuser->query("SELECT pool_exhaust_stop($run_id)"), 1, 'a refused DROP EXTENSION: it is stopped');
is($tester->result, undef, 'a refused DROP EXTENSION: it fails');
is(sqlstate($tester), '42501', 'a refused DROP EXTENSION: for lack of the right');
run_ends($superuser, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'a refused DROP EXTENSION');

$_->close foreach $superuser, $tester, $tester2;
left_nothing($node);
done_testing();
