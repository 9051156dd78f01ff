# A hot standby: the views work, a run does not, and says what to do.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $primary = new_server('primary', streaming => 1, conf => 'max_connections = 12');
$primary->safe_psql('postgres', 'CREATE ROLE app LOGIN CONNECTION LIMIT 1');
$primary->safe_psql('postgres', "SELECT pool_exhaust_run('saturation', 'role', '{\"role_limit\": 4}')");
$primary->backup('base');

my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->start;
$primary->wait_for_catchup($standby);

my $watcher = client($standby);
is($watcher->query('SELECT pg_is_in_recovery()'), 't', 'it is a standby');

# 12 = 9 regular + 3 superuser
is($watcher->query('SELECT max_connections, superuser_reserved, capacity, in_use, free, free_unreserved FROM pool_exhaust_slots'),
	'12|3|9|1|11|8', 'slots');
my $app = client($standby, user => 'app');
foreach (1 .. 2)
{
	my $refused = login($standby, user => 'app', application_name => 'shop');
	is(sqlstate($refused), '53300', 'a connection is refused');
	$refused->vanish;
}
is(refusals($watcher), 'role_limit 2', 'refusals');
is($watcher->query('SELECT cause, usename, datname, application_name, refusals FROM pool_exhaust_refused_services'),
	'role_limit|app|postgres|shop|2', 'refused services');
is($watcher->query("SELECT kind, capacity, in_use, health, refused FROM pool_exhaust_pools WHERE name = 'app'"),
	'role|1|1|exhausted|2', 'pools');
is($watcher->query("SELECT usename, state, run_id FROM pool_exhaust_backends WHERE usename = 'app'"), 'app|idle|', 'backends');
is($watcher->query('SELECT count(*) FROM pool_exhaust_progress'), 0, 'progress');
is($watcher->query('SELECT count(*) > 0 FROM pool_exhaust_scenarios'), 't', 'scenarios');
is($watcher->query('SELECT verdict FROM pool_exhaust_runs'), 'pass', 'results of the primary');
like($watcher->query('SELECT pool_exhaust_report()'), qr/\A ?PASS +saturation on role/, 'the report of a run of the primary');
is($watcher->query('SELECT pool_exhaust_wait(1)'), 'pass', 'the verdict of a run of the primary');
is($watcher->query('SELECT pool_exhaust_stop()'), 0, 'nothing to stop');
$app->close;

foreach my $target ('server', 'role')
{
	fails_with($watcher, "SELECT pool_exhaust_$_('saturation', '$target')", '25006',
		[ qr/cannot run while the server is in recovery/, qr/Run it on the primary/ ], "$_ on $target")
	  foreach 'run', 'start';
}
like($watcher->query("SELECT value, detail FROM pool_exhaust_plan('saturation') WHERE item = 'would start'"), qr/^no\|25006: a scenario cannot run while the server is in recovery\./, 'a plan says that it would not');
is($watcher->query('SELECT count(*) FROM pool_exhaust_progress'), 0, 'no run was begun');
fails_with($watcher, "SELECT pool_exhaust_$_(1)", '25006',
	[ qr/connections cannot be held while the server is in recovery/, qr/A hold makes a login role/ ], $_)
  foreach 'hold', 'leak';
is($watcher->query('SELECT (SELECT count(*) FROM pool_exhaust_holds), pool_exhaust_release()'), '0|0', 'nothing is held, nothing to release');
$watcher->close;

# A run of the primary, which has no verdict when the standby is promoted
my $run_id = $primary->safe_psql('postgres', q(SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 10000, "role_limit": 1, "timeout_ms": 300000}')));
$primary->wait_for_catchup($standby);
like($standby->safe_psql('postgres', "SELECT pool_exhaust_report($run_id)"), qr/\A ?RUNNING +saturation on role/, 'a run of the primary is under way');
my $waiter = client($standby);
fails_with($waiter, "SELECT pool_exhaust_wait($run_id)", '55000', [ qr/run $run_id has no verdict here yet/, qr/on the primary|of the primary/ ],
	'to wait for a run of the primary');
$waiter->close;

# Once it is promoted it runs.
ok($standby->poll_query_until('postgres', 'SELECT in_use FROM pool_exhaust_slots', 1), 'the sessions are gone');
$standby->promote;
ok($standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), 'it is promoted');
ok($standby->poll_query_until('postgres', "SELECT verdict FROM pool_exhaust_runs WHERE id = $run_id", 'aborted'),
	'the run of the old primary has a verdict, without another run');
is($primary->safe_psql('postgres', 'SELECT pool_exhaust_stop()'), 1, 'and is under way on the old primary');
like($standby->safe_psql('postgres', "SET client_min_messages = warning; SELECT pool_exhaust_run('saturation', 'server')"),
	qr/\A ?PASS +saturation on server/, 'a run on the new primary');

left_nothing($standby);
left_nothing($primary);
done_testing();
