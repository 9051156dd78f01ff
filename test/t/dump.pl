# Results survive pg_dump and pg_restore, and the extension works in any schema.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('dump', conf => 'max_connections = 20');
my $dump = $node->basedir . '/dump';
my $results = q(
	SELECT (SELECT md5(string_agg(r::text, E'\n' ORDER BY id)) FROM pool_exhaust_runs r),
		   (SELECT md5(string_agg(c::text, E'\n' ORDER BY run_id, seq)) FROM pool_exhaust_checks c),
		   (SELECT md5(string_agg(s::text, E'\n' ORDER BY s::text)) FROM pool_exhaust_samples s),
		   (SELECT md5(string_agg(h::text, E'\n' ORDER BY h::text)) FROM pool_exhaust_histograms h),
		   (SELECT string_agg(service || ' ' || pool_size, ', ') FROM pool_exhaust_declared),
		   (SELECT string_agg(pooler || ' ' || value, ', ') FROM pool_exhaust_declared_poolers),
		   (SELECT count(*) FROM pool_exhaust_runs));

$node->safe_psql('postgres', q(SET client_min_messages = warning;
	SELECT pool_exhaust_run('saturation', 'role');
	SELECT pool_exhaust_run('saturation', 'server');
	SELECT pool_exhaust_run('saturation', 'role', '{"fault": "miscount"}');
	INSERT INTO pool_exhaust_declared (service, pool_size) VALUES ('shop', 5);
	INSERT INTO pool_exhaust_declared_poolers (pooler, section, setting, value) VALUES ('pb', 'pgbouncer', 'max_client_conn', '7')));
my $before = $node->safe_psql('postgres', $results);
like($before, qr/^(?:\w{32}\|){4}shop 5\|pb 7\|3$/, 'there are results');

$node->command_ok([ 'pg_dump', '--format', 'custom', '--file', $dump, '-d', 'postgres' ], 'pg_dump');
$node->safe_psql('postgres', 'CREATE DATABASE copy');
$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'copy', $dump ], 'pg_restore');
is($node->safe_psql('copy', $results), $before, 'every run, check, sample, histogram and declared service is there');
is( $node->safe_psql('copy', 'SELECT pool_exhaust_report(3)'),
	$node->safe_psql('postgres', 'SELECT pool_exhaust_report(3)'),
	'the report is the same');
$node->safe_psql('copy', q(SET client_min_messages = warning; SELECT pool_exhaust_run('saturation', 'role')));
is($node->safe_psql('copy', 'SELECT id, verdict FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1'), '4|pass',
	'the next run has the next number');
is($node->safe_psql('postgres', 'SELECT count(*) FROM pool_exhaust_runs'), 3, 'databases have results of their own');

# Runs of another database are not this one's to wait for or to stop.
{
	my $here = client($node);
	my $there = client($node, database => 'copy');
	my $run_id = $there->query(q(SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 10000, "role_limit": 1, "timeout_ms": 300000}')));
	in_progress($here, 'attempt', 'a run of another database is seen', 'done > 0');
	is($here->query('SELECT pool_exhaust_stop()'), 0, 'it is not stopped from here');
	fails_with($here, "SELECT pool_exhaust_wait($run_id)", '42704', [qr/does not exist/], 'nor waited for');
	is($there->query('SELECT pool_exhaust_stop()'), 1, 'but from there');
	$_->close foreach $here, $there;
}

# Option database: sessions in another database than the results
$node->safe_psql('postgres', 'CREATE DATABASE elsewhere; REVOKE CONNECT ON DATABASE elsewhere FROM PUBLIC');
is( $node->safe_psql('postgres', q(SET client_min_messages = warning;
		SELECT count(*) > 1 FROM pool_exhaust_run('saturation', 'role', '{"database": "elsewhere", "on_fail": "error"}'))),
	't', 'a run that connects to another database, closed to the public');

# A dump taken during a run
{
	my $here = client($node);
	my $run_id = $here->query(q(SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 10000, "role_limit": 1, "timeout_ms": 300000}')));
	like($here->query("SELECT pool_exhaust_report($run_id)"), qr/\A ?RUNNING +saturation on role/, 'a run is under way');
	$node->command_ok([ 'pg_dump', '--format', 'custom', '--file', "$dump.during", '-d', 'postgres' ], 'pg_dump during a run');
	$node->safe_psql('postgres', 'CREATE DATABASE during');
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', 'during', "$dump.during" ], 'pg_restore of that');
	like($node->safe_psql('during', "SELECT pool_exhaust_report($run_id)"),
		qr/\A ?ABORTED +saturation on role .*\n +the run is not under way, and its results were not written$/m, 'it is not under way there: report');
	is($node->safe_psql('during', "SELECT pool_exhaust_wait($run_id)"), 'aborted', 'it is not under way there: wait');
	is($here->query('SELECT pool_exhaust_stop()'), 1, 'but here');
	$here->close;
}

# Another schema, with a name that needs quotes, and not in the search path
$node->safe_psql('postgres', 'CREATE DATABASE "an other"');
my $client = client($node, database => 'an other');
$client->query('CREATE SCHEMA "Odd ""one"""');
$client->query('CREATE EXTENSION pool_exhaust SCHEMA "Odd ""one"""');
is(sqlstate($client), '00000', 'the extension goes into another schema') or diag $client->message;
$client->query("SET search_path = ''");
foreach my $target ('role', 'server')
{
	like($client->query(qq(SELECT "Odd ""one""".pool_exhaust_run('saturation', '$target'))) // $client->message,
		qr/\A ?PASS +saturation on $target/, "a run on $target from another schema");
}
foreach my $view (qw(scenarios progress slots refusals refused_services backends pools runs checks samples histograms))
{
	$client->query(qq(SELECT count(*) FROM "Odd ""one""".pool_exhaust_$view));
	is(sqlstate($client), '00000', "$view from another schema") or diag $client->message;
}
is($client->query(q(SELECT count(*) FROM pg_class WHERE relname LIKE 'pool\_exhaust\_%' AND relnamespace = 'public'::regnamespace)), 0,
	'nothing is in schema public');

# Nothing is left of an extension that was dropped.
$client->query('DROP EXTENSION pool_exhaust');
is($client->query(q(SELECT count(*) FROM pg_class WHERE relname LIKE '%pool\_exhaust%')), 0, 'a dropped extension leaves no relation');
$client->close;

left_nothing($node);
done_testing();
