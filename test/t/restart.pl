# The server stops, or crashes, under a run: when it is back, nothing of the
# run is left but its row, and the next run passes.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

# One worker is free beside those that are always there: the monitor, and the launcher of
# logical replication.  And template1, of all databases, is closed.
my $node = new_server('restart', conf => q(
max_connections = 20
max_worker_processes = 3
restart_after_crash = on
));
$node->safe_psql('postgres', 'ALTER DATABASE template1 ALLOW_CONNECTIONS false');
my $crashed = 'aborted: the server stopped or crashed during the run';

# A run that fills the server and then attempts until it is ended.
sub running
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name) = @_;
	my $client = client($node);

	$client->query(q(SELECT pool_exhaust_start('saturation', 'server', '{"attempts": 10000, "timeout_ms": 300000}')));
	my $watcher = client($node);
	my $run_id = in_progress($watcher, 'attempt', "$name: the run is there", 'done > 0');
	return ($run_id, $watcher, $client);
}

# The server is back: the run is over, in the tables and everywhere.
sub recovered
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($run_id, $verdict, $name) = @_;

	ok($node->poll_query_until('postgres', "SELECT verdict IS NOT NULL FROM pool_exhaust_runs WHERE id = $run_id"),
		"$name: the run has a verdict");
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_[0-9]+\$'", 0),
		"$name: its role is gone");
	my $client = client($node);
	run_ends($client, $run_id, $verdict, $name);
	$client->query("SELECT pool_exhaust_run('saturation', 'server')");
	is($client->query('SELECT verdict FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1'), 'pass', "$name: the next run passes");
	$client->close;
}

{
	my ($run_id, @clients) = running('immediate stop');
	$node->stop('immediate');
	$_->vanish foreach @clients;
	$node->start;
	recovered($run_id, $crashed, 'immediate stop');
}

{
	my ($run_id, @clients) = running('fast stop');
	$node->stop('fast');
	$_->vanish foreach @clients;
	$node->start;
	recovered($run_id, 'aborted: the runner was asked to terminate', 'fast stop');
}

# One of the sessions, and then the runner, is killed; the server restarts.
foreach my $victim ("usename ~ '^pool_exhaust_'", "backend_type = 'pool_exhaust runner'")
{
	my $name = $victim =~ /runner/ ? 'killed runner' : 'killed session';
	my ($run_id, $watcher, $client) = running($name);
	my $log_start = -s $node->logfile;

	kill 'KILL', $watcher->query("SELECT pid FROM pg_stat_activity WHERE $victim LIMIT 1");
	ok($node->wait_for_log(qr/all server processes terminated; reinitializing/, $log_start), "$name: the server crashes");
	$_->vanish foreach $watcher, $client;
	ok(server_is_back($node), "$name: the server is back");
	recovered($run_id, $crashed, $name);
}

# The run after a crash does not wait for a clean-up by hand.
{
	my ($run_id, @clients) = running('haste');
	$node->stop('immediate');
	$_->vanish foreach @clients;
	$node->start;
	my $client = client($node);
	$client->query("SELECT pool_exhaust_run('saturation', 'server')");
	is(sqlstate($client), '00000', 'haste: a run at once') or diag $client->message;
	is($client->query("SELECT concat_ws(': ', verdict, reason) FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1"), 'pass', 'haste: it passes');
	$client->close;
	recovered($run_id, $crashed, 'haste');
}

# Two roles in one place
{
	my $starter = client($node);
	my $watcher = client($node);
	my $run_id = $starter->query(q(SELECT pool_exhaust_start('isolation', options => '{"exhaust_ms": 60000, "timeout_ms": 300000}')));
	in_progress($watcher, 'exhaust', 'two roles: the run is there');
	is($watcher->query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_[0-9]+\$'"), 2, 'two roles: the run has them');
	kill 'KILL', $watcher->query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pool_exhaust runner'");
	$_->vanish foreach $watcher, $starter;
	ok(server_is_back($node), 'two roles: the server is back');
	recovered($run_id, $crashed, 'two roles');
}

# A crash in a database that is gone afterwards
{
	$node->safe_psql('postgres', 'CREATE DATABASE dropped_db');
	$node->safe_psql('dropped_db', 'CREATE EXTENSION pool_exhaust');
	my $client = client($node, database => 'dropped_db');
	my $run_id = $client->query(q(SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 10000, "timeout_ms": 300000}')));
	in_progress($client, 'attempt', 'dropped database: the run is there', 'done > 0');
	is($client->query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_'"), 1, 'dropped database: the run has its role');

	# Each database that has something of the role gets rid of it in its turn.
	my $role = $client->query("SELECT rolname FROM pg_roles WHERE rolname ~ '^pool_exhaust_'");
	$node->safe_psql($_, "CREATE TABLE granted (); GRANT SELECT ON granted TO $role") foreach 'postgres', 'dropped_db';

	# Of a run that had no role yet
	my $bare = $node->safe_psql('dropped_db', "INSERT INTO pool_exhaust_runs (scenario, target, options, seed, started_at, server_version, extension_version)
		VALUES ('all', 'server', '{}', 1, clock_timestamp(), '1', '1') RETURNING id");
	is($node->safe_psql('dropped_db', "SELECT pool_exhaust_wait($bare)"), 'aborted', 'a row without a run: it has a verdict for those that wait');
	like($node->safe_psql('dropped_db', "SELECT pool_exhaust_report($bare)"),
		qr/\A ?ABORTED +all on server .*\n +the run is not under way, and its results were not written$/m, 'a row without a run: the report says so');
	like($node->safe_psql('dropped_db', "SELECT pool_exhaust_report($bare, 'json')"), qr/"verdict": "aborted"/, 'a row without a run: in JSON, too');

	$node->stop('immediate');
	$client->vanish;
	$node->start;
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_'", 0),
		'dropped database: the role is gone');
	is($node->safe_psql('dropped_db', "SELECT verdict FROM pool_exhaust_runs WHERE id = $run_id"), 'aborted', 'dropped database: the run is over');
	is($node->safe_psql('dropped_db', "SELECT concat_ws(': ', verdict, reason) FROM pool_exhaust_runs WHERE id = $bare"),
		$crashed, 'a row without a run: the server has given it a verdict when it started');
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE datname = 'dropped_db'", 0),
		'dropped database: no session stays in it');
	$node->safe_psql('postgres', 'DROP DATABASE dropped_db');
}

# What was killed above: a session and two runners
left_nothing($node, killed => 3);
done_testing();
