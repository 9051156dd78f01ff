# Which roles may see what the monitor remembers, and what there is without it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = new_server('views', conf => qq(
max_connections = 30
max_prepared_transactions = 1
autovacuum = off
pool_exhaust.http_port = $port
pool_exhaust.sample_interval = 20ms
));
$node->safe_psql('postgres', q(
CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
CREATE ROLE plain LOGIN;
CREATE ROLE team;
CREATE ROLE member LOGIN IN ROLE team;
CREATE ROLE stranger LOGIN;
GRANT SELECT ON pool_exhaust_services TO team;
GRANT EXECUTE ON FUNCTION pool_exhaust_services_rows() TO team;
ALTER ROLE team LOGIN;
));
my @new = ('pool_exhaust_services', 'pool_exhaust_timeline', 'pool_exhaust_pools');
my @functions = ('pool_exhaust_health()', "pool_exhaust_headroom('stranger', 'postgres')");
my $superuser = client($node, application_name => 'secret');
my $stranger = client($node, user => 'stranger', application_name => 'strange');
client($node, user => 'stranger', application_name => 'past')->close;
ok(samples($superuser, 2), 'there is something to see');

# 30 = 27 regular + 3 superuser
is($superuser->query("SELECT share FROM pool_exhaust_services WHERE service = 'stranger/strange'"), '0.037', 'share has 4 decimals');
is($superuser->query("SELECT utilization FROM pool_exhaust_pools WHERE kind = 'server'"), '0.0741', 'utilization has 4 decimals');
is($superuser->query('SELECT free, free_unreserved FROM pool_exhaust_slots'), '28|25', 'slots: what is free with and without the reserves');

my $times = "SELECT idle_ms >= 0, xact_ms >= 0 FROM pool_exhaust_backends WHERE service = 'stranger/strange'";
ok(wait_for($superuser, $times, 't|'), 'xact_ms is NULL without a transaction');
$stranger->query('BEGIN');
ok(wait_for($superuser, $times, 't|t'), 'xact_ms of a transaction');
$stranger->query('COMMIT');

# ---------- Lock waits ----------

# 1 <- 2 <- 3 <- 4, and 5 in the queue behind 2: with what 1 holds it does not conflict
$superuser->query('CREATE ROLE queued LOGIN; CREATE TABLE one (); CREATE TABLE two (); CREATE TABLE three (); GRANT SELECT ON one, two, three TO queued;
	GRANT SELECT ON pool_exhaust_backends TO queued;
	GRANT EXECUTE ON FUNCTION pool_exhaust_leaks_rows(), pool_exhaust_lock_waits(), pool_exhaust_run_roles() TO queued');
my @queue = map { client($node, application_name => $_, $_ > 3 ? (user => 'queued') : ()) } 1 .. 5;
my $waiting = "SELECT count(lock_wait_ms) FROM pool_exhaust_backends WHERE application_name ~ '^[1-5]\$'";
my @waits = (undef, [ 'LOCK TABLE two', 'LOCK TABLE one' ], [ 'LOCK TABLE three', 'LOCK TABLE two' ], [ 'SELECT 1', 'LOCK TABLE three IN ACCESS SHARE MODE' ],
	[ 'SELECT 1', 'LOCK TABLE one IN ACCESS SHARE MODE' ]);
$queue[0]->query('BEGIN; LOCK TABLE one IN ACCESS SHARE MODE');
foreach my $i (1 .. 4)
{
	$queue[$i]->query("BEGIN; $waits[$i][0]");
	$queue[$i]->send($waits[$i][1]);
	ok(wait_for($superuser, $waiting, $i), "lock waits: session " . ($i + 1) . ' waits');
}
my $behind = "SELECT string_agg(concat_ws(' ', b.application_name,
		(SELECT string_agg(f.application_name, '+' ORDER BY f.application_name) FROM pool_exhaust_backends f WHERE f.pid = ANY (b.blocked_by)),
		coalesce(r.application_name, w.root_blocker::text), b.lock_wait_ms <= 1 + extract(epoch FROM clock_timestamp() - b.state_change) * 1000), ', ' ORDER BY b.application_name)
	FROM pool_exhaust_backends b LEFT JOIN pool_exhaust_lock_waits() w USING (pid) LEFT JOIN pg_stat_activity r ON r.pid = w.root_blocker
	WHERE b.application_name ~ '^[1-5]\$'";
is($superuser->query($behind), '1, 2 1 1 t, 3 2 1 t, 4 3 1 t, 5 2 1 t', 'lock waits: what blocks each, and the root');
is($superuser->query("SELECT count(*) FROM pool_exhaust_backends WHERE lock_wait_ms IS NOT NULL AND blocked_by IS DISTINCT FROM pg_blocking_pids(pid)"), 0,
	'lock waits: blocked_by is what pg_blocking_pids() says');
ok(wait_for($superuser, 'SELECT min(lock_wait_ms) > 200 FROM pool_exhaust_backends', 't'), 'lock waits: they last');
is($superuser->query("SELECT string_agg(application_name || ' ' || waiting_on_lock, ', ' ORDER BY application_name) FROM pool_exhaust_services WHERE application_name ~ '^[1-5]\$'"),
	'1 0, 2 1, 3 1, 4 1, 5 1', 'lock waits: by service');
is(http_metrics($port)->{waiting_on_lock}, 4, 'lock waits: /metrics');
is($superuser->query('SELECT count(*) FROM pool_exhaust_lock_waits() w JOIN pool_exhaust_backends b USING (pid)
	WHERE b.lock_wait_ms - w.lock_wait_ms BETWEEN 0 AND 5000'), 4, 'lock waits: both say for how long');
my $viewer = client($node, user => 'queued');
my $seen = "SELECT string_agg(concat_ws(' ', application_name, cardinality(blocked_by), lock_wait_ms > 0), ', ' ORDER BY application_name)
	FROM pool_exhaust_backends WHERE application_name ~ '^[1-5]\$'";
is($superuser->query($seen), '1, 2 1 t, 3 1 t, 4 1 t, 5 1 t', 'lock waits: a superuser sees those of all');
is($viewer->query($seen), '4 1 t, 5 1 t', 'lock waits: a role sees those of its own sessions');
is($viewer->query("SELECT string_agg(application_name, ' ' ORDER BY application_name) FROM pool_exhaust_lock_waits() JOIN pg_stat_activity USING (pid)"),
	'4 5', 'lock waits: their roots, too');
$viewer->close;

$queue[0]->query("PREPARE TRANSACTION 'orphan'");
is($superuser->query($behind), '1, 2 0 t, 3 2 0 t, 4 3 0 t, 5 2 0 t', 'lock waits: the root is a prepared transaction');
$superuser->query("ROLLBACK PREPARED 'orphan'");
foreach my $i (1 .. 4)
{
	is($queue[$i]->result, '', 'lock waits: session ' . ($i + 1) . ' goes on');
	$queue[$i]->query('COMMIT');
}
is($superuser->query('SELECT count(*) FROM pool_exhaust_backends WHERE num_nonnulls(blocked_by, lock_wait_ms) > 0'), 0, 'lock waits: no session waits any more');

# Two that wait for each other
$queue[$_]->query("SET deadlock_timeout = '10min'; BEGIN; LOCK TABLE " . qw(one two)[$_]) foreach 0, 1;
$queue[0]->send('LOCK TABLE two');
ok(wait_for($superuser, $waiting, 1), 'deadlock: one waits');
$queue[1]->send('LOCK TABLE one');
ok(wait_for($superuser, $waiting, 2), 'deadlock: both wait');
is($superuser->query($behind), '1 2 t, 2 1 t, 3, 4, 5', 'deadlock: it has no root');
$superuser->query("SELECT pg_cancel_backend(pid) FROM pool_exhaust_backends WHERE application_name = '2'");
$queue[$_]->result foreach 1, 0;
$_->close foreach @queue;

# Names can be anything, and are those of the catalogs.
my @odd = ("ev\e[31mil\x7f", name_in($node, "two\r\nlines\t"), "back\xe2\x80\xaewards\xc2\x9b2J", "caf\xc3\xa9");
$superuser->query("CREATE ROLE \"$_\" LOGIN CONNECTION LIMIT 9") foreach @odd;
my @clients = map { client($node, user => $_, application_name => $_ x 200) } @odd;
ok(samples($superuser, 2), 'names that are odd: they are seen');
foreach my $name (@odd)
{
	is($superuser->query("SELECT count(DISTINCT usename) FROM pool_exhaust_services WHERE usename = '$name'"), 1, 'services: an odd name');
	is($superuser->query("SELECT count(*) FROM pool_exhaust_pools WHERE name = '$name'"), 1, 'pools: an odd name');
}
$_->close foreach @clients;

my $client = client($node, user => 'plain');
fails_with($client, "SELECT * FROM $_", '42501', [qr/permission denied for view/], "PUBLIC: $_") foreach @new;
fails_with($client, "SELECT $_", '42501', [qr/permission denied for function/], "PUBLIC: $_")
  foreach @functions, 'pool_exhaust_reset_stats()', 'pool_exhaust_services_rows()';
$client->close;

$client = client($node, user => 'watcher');
foreach ((map { "(SELECT count(*) FROM $_)" } @new), @functions)
{
	like($client->query("SELECT $_"), qr/^(healthy|[1-9]\d*)$/, "pg_monitor: $_") or diag $client->message;
}
fails_with($client, 'SELECT pool_exhaust_reset_stats()', '42501', [qr/permission denied for function/], 'pg_monitor cannot reset');
is( $client->query("SELECT string_agg(service, ', ' ORDER BY service) FROM pool_exhaust_services WHERE usename IN ('stranger', 'watcher')
		OR application_name = 'secret'"),
	join(', ', sort 'stranger/past', 'stranger/strange', getpwuid($>) . '/secret', 'watcher/'), 'pg_monitor sees all services');
$client->close;

# Without pg_read_all_stats: one's own, and those of the roles one is a member of.
my $team = client($node, user => 'team', application_name => 'together');
$client = client($node, user => 'member');
is($client->query("SELECT string_agg(service, ', ' ORDER BY service) FROM pool_exhaust_services"),
	'member/, team/together', 'a member sees the services of its roles');
$_->close foreach $client, $team;
ok(wait_for($superuser, 'SELECT in_use FROM pool_exhaust_slots', 2), 'they are gone');
$client = client($node, user => 'team');
is($client->query("SELECT string_agg(concat_ws(' ', service, in_use), ', ' ORDER BY service) FROM pool_exhaust_services"),
	'team/ 1, team/together 0', 'its role sees no more than its own, past ones too');
$_->close foreach $client, $stranger;

# What does not fit into the table of names is counted in one row.
foreach (1 .. 400)
{
	client($node, user => 'stranger', application_name => "app$_")->close;
}
ok(wait_for($superuser, 'SELECT in_use FROM pool_exhaust_slots', 1), 'many services: they are gone');
my $granted = $superuser->query("SELECT granted FROM pool_exhaust_pools WHERE name = 'server'");
is($superuser->query('SELECT sum(opened) FROM pool_exhaust_services'), $granted, 'many services: every session is counted');
cmp_ok($superuser->query('SELECT count(*) FROM pool_exhaust_services'), '<=', 258, 'many services: the table is bounded, plus others, plus that of the caller');
is($superuser->query("SELECT usename, application_name, in_use, opened > 100 FROM pool_exhaust_services WHERE service ~ 'others'"),
	'(others)|(others)|0|t', 'many services: one row for the others');
my $late = client($node, user => 'stranger', application_name => 'one too many');
is($superuser->query("SELECT in_use FROM pool_exhaust_services WHERE application_name = 'one too many'"), 1,
	'many services: a service that holds a session is shown all the same');
$late->close;
$superuser->close;

# ---------- Not preloaded ----------

left_nothing($node);
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
$client = client($node);
is(monitor_pid($client), '', 'not preloaded: no monitor');
fails_with($client, "SELECT * FROM $_", '55000',
	[ qr/pool_exhaust is not in shared_preload_libraries/, qr/Add pool_exhaust to shared_preload_libraries/ ], "not preloaded: $_")
  foreach 'pool_exhaust_services', 'pool_exhaust_timeline', 'pool_exhaust_pools', 'pool_exhaust_health()', 'pool_exhaust_reset_stats()';
is($client->query("SELECT pool_exhaust_headroom('stranger')"), 26, 'not preloaded: slots can be counted all the same');
$client->close;

left_nothing($node, not_preloaded => 1);
done_testing();
