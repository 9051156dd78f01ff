# Which roles may see what the monitor remembers, and what there is without it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('views', conf => q(
max_connections = 30
autovacuum = off
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
