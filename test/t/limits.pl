# What a run needs and cannot have is an error with the numbers and the way
# out, before anything is touched.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The first node: few open files, one worker (the extension's own), and other
# sessions.  500 = 497 regular + 3 superuser
my $node = new_server('limits', conf => q(
max_worker_processes = 1
max_logical_replication_workers = 0
max_connections = 500
));
my $caller = client($node);

fails_with($caller, "SELECT pool_exhaust_$_('saturation', 'role', '{\"role_limit\": 1}')", '53000',
	[ qr/no background worker is free/, qr/max_worker_processes is 1\./, qr/Raise max_worker_processes/ ], "no worker for $_")
  foreach 'run', 'start';
fails_with($caller, "SELECT pool_exhaust_$_(1)", '53000', [ qr/no background worker is free/, qr/Raise max_worker_processes/ ], "no worker for $_")
  foreach 'hold', 'leak';
is($caller->query('SELECT (SELECT count(*) FROM pool_exhaust_progress), (SELECT count(*) FROM pool_exhaust_holds)'), '0|0', 'no worker, no run and no hold');
$caller->close;
$node->append_conf('postgresql.conf', 'max_worker_processes = 8');
$node->stop;
is(system_log('sh', '-c', 'ulimit -n 300 && exec pg_ctl --wait --pgdata "$1" --log "$2" start', 'sh',
	$node->data_dir, $node->logfile), 0, 'the server starts with 300 open files');
$node->_update_pid(1);

# 568 = 496 connections + 8 handshakes + 64 to spare
$caller = client($node);
fails_with($caller, "SELECT pool_exhaust_run('saturation', 'server')", '53000',
	[ qr/needs 568 open files/, qr/hard limit is 300/, qr/ulimit -Hn/ ], 'too few open files');
# 473 = 401 connections + 8 handshakes + 64 to spare
fails_with($caller, "SELECT pool_exhaust_hold(400, state => 'lock wait')", '53000', [ qr/the hold needs 473 open files/, qr/hard limit is 300/ ], 'too few for a hold');
like($caller->query(q(SELECT pool_exhaust_run('saturation', 'role', '{"role_limit": 100}'))) // $caller->message, qr/\A ?PASS/,
	'enough for a role, though');
$caller->close;
$node->stop;
$node->append_conf('postgresql.conf', 'max_connections = 20');
$node->start;

# 20 = 17 regular + 3 superuser; one of the 17 is the caller's
$caller = client($node);
$caller->query('SET pool_exhaust.max_connections_per_run = 5');
fails_with($caller, "SELECT pool_exhaust_run('saturation', 'server')", '53400',
	[ qr/would hold 16 connections, more than the 5/, qr/Raise pool_exhaust.max_connections_per_run/ ], 'more connections than a run may hold');
fails_with($caller, q(SELECT pool_exhaust_run('saturation', 'role', '{"role_limit": 6}')), '53400',
	[ qr/would hold 6 connections, more than the 5/ ], 'one more than a run may hold');
is($caller->query(q(SELECT count(*) > 1 FROM pool_exhaust_run('saturation', 'role', '{"role_limit": 5, "on_fail": "error"}'))), 't',
	'as many as a run may hold') or diag $caller->message;
$caller->query('RESET pool_exhaust.max_connections_per_run');
fails_with($caller, q(SELECT pool_exhaust_run('saturation', 'role', '{"role_limit": 17}')), '22023',
	[ qr/"role_limit" is 17, but only 16 connections are left/, qr/1 of 17 slots/, qr/Lower role_limit/ ], 'more connections than there are');
fails_with($caller, q(SELECT pool_exhaust_run('saturation', 'role', '{"database": "nowhere"}')), '3D000',
	[qr/database "nowhere" does not exist/], 'no such database');
is($caller->query('SELECT string_agg(verdict, $$ $$) FROM pool_exhaust_runs'), 'pass pass', 'what was refused left no run');

# Bystanders: sessions of other roles
$caller->query("CREATE ROLE app LOGIN");
my $app = client($node, user => 'app');
fails_with($caller, "SELECT pool_exhaust_run('saturation', 'server')", '55006',
	[ qr/1 client sessions? of other roles/, qr/role "app"/, qr/Aim at target role/, qr/bystanders/ ], 'a bystander');
is($caller->query(q(SELECT count(*) > 1 FROM pool_exhaust_run('saturation', 'role', '{"on_fail": "error"}'))), 't',
	'a run on a role reports beside a bystander') or diag $caller->message;

# A run that another role is refused by, when it attempts
sub disturbed
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($bystanders, $attempts) = @_;

	my $run_id = $caller->query(qq(SELECT pool_exhaust_start('saturation', 'server',
		'{"bystanders": "$bystanders", "attempts": $attempts, "timeout_ms": 120000}')));
	in_progress($caller, 'attempt', "$bystanders: the server is full", 'done > 0');
	my $refused = login($node, user => 'app');
	is(sqlstate($refused), '53300', "$bystanders: another session is refused");
	$refused->vanish;
	is($caller->query("SELECT count(*) FROM pool_exhaust_progress WHERE phase = 'attempt'"), 1, "$bystanders: the run is still at it")
	  if $bystanders eq 'ignore';
	$caller->query("SELECT pool_exhaust_wait($run_id)");
	return $run_id;
}

run_ends($caller, disturbed('abort', 10000),
	'aborted: another client was refused a slot (option bystanders = abort)', 'abort');
is($app->query('SELECT 1'), 1, 'abort: the bystander is unharmed');
run_ends($caller, disturbed('ignore', 500), 'pass', 'ignore');
is($app->query('SELECT 1'), 1, 'ignore: the bystander is unharmed');
$app->close;
ok(wait_for($caller, 'SELECT in_use FROM pool_exhaust_slots', 1), 'the bystander leaves');
run_ends($caller, disturbed('refuse', 10000),
	'aborted: another client was refused a slot (option bystanders = refuse)', 'refuse');

# A transaction that has not committed the extension, and a database without it
$node->safe_psql('postgres', 'CREATE DATABASE other');
my $other = client($node, database => 'other');
fails_with($other, "BEGIN; CREATE EXTENSION pool_exhaust; SELECT pool_exhaust_run('saturation', 'role')", '55000',
	[ qr/could not start: extension pool_exhaust is not installed/, qr/commit it first/ ], 'an extension that is not there yet');
$other->query('ROLLBACK');
$other->query("CREATE FUNCTION run(text, text, jsonb, text) RETURNS SETOF text AS '\$libdir/pool_exhaust', 'pool_exhaust_run' LANGUAGE C");
fails_with($other, "SELECT run('saturation', 'role', '{}', 'text')", '55000',
	[ qr/extension pool_exhaust is not installed in this database/, qr/CREATE EXTENSION pool_exhaust/ ], 'the library without the extension');
$other->close;
$caller->close;
left_nothing($node);
$node->stop;

# Not preloaded: the extension can be made, and says what is missing.
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->start;
$caller = client($node);
{
	my ($rc, $out, $err) = $node->psql('postgres', 'DROP EXTENSION pool_exhaust; CREATE EXTENSION pool_exhaust');
	is($rc, 0, 'not preloaded: the extension is made') or diag $err;
	like($err, qr/WARNING:  pool_exhaust is not in shared_preload_libraries.*\nHINT:  Set shared_preload_libraries = 'pool_exhaust' in postgresql.conf and restart/,
		'not preloaded: with the line to add');
}
fails_with($caller, "SELECT * FROM $_", '55000',
	[ qr/pool_exhaust is not in shared_preload_libraries/, qr/Add pool_exhaust to shared_preload_libraries/ ], "not preloaded: $_")
  foreach "pool_exhaust_run('saturation')", "pool_exhaust_run('saturation', 'role')", "pool_exhaust_start('saturation')",
  'pool_exhaust_wait(1)', 'pool_exhaust_stop()', 'pool_exhaust_hold(1)', 'pool_exhaust_leak(1)', 'pool_exhaust_release()',
  map { "pool_exhaust_$_" } qw(progress holds refusals refused_services backends pools);
like($caller->query("SELECT string_agg(item || '=' || coalesce(value, ''), ' ' ORDER BY item) || ': ' || string_agg(detail, '') FILTER (WHERE item = 'would start') FROM pool_exhaust_plan('leak')"),
	qr/^roles=2 scenario=leak target=pool would start=no: 55000: pool_exhaust is not in shared_preload_libraries\./, 'not preloaded: a plan says that it would not start');
is($caller->query('SELECT rank, cause, next_step, confidence FROM pool_exhaust_explain()'),
	q(1|not preloaded|ALTER SYSTEM SET shared_preload_libraries = 'pool_exhaust';|cannot tell), 'not preloaded: that is what is wrong');
is($caller->query('SELECT in_use, capacity FROM pool_exhaust_slots'), '1|17', 'not preloaded: slots are counted all the same');
is($caller->query('SELECT count(*) > 0 FROM pool_exhaust_scenarios'), 't', 'not preloaded: scenarios are described');
fails_with($caller, 'SELECT pool_exhaust_report()', '42704', [qr/no run in this database yet/], 'not preloaded: no report yet');
$caller->query("INSERT INTO pool_exhaust_runs (scenario, target, options, seed, started_at, server_version, extension_version)
	VALUES ('queue', 'pool', '{}', 1, clock_timestamp(), '1', '1')");
like($caller->query('SELECT pool_exhaust_report()') // $caller->message, qr/\A ?ABORTED +queue on pool/, 'not preloaded: no run is under way');
$caller->close;

left_nothing($node, not_preloaded => 1);
done_testing();
