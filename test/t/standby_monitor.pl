# A hot standby has a monitor too; when it is promoted the same one goes on.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @ports = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
my $primary = new_server('source', streaming => 1, conf => qq(
max_connections = 12
autovacuum = off
pool_exhaust.http_port = $ports[0]
pool_exhaust.sample_interval = 20ms
pool_exhaust.notify_database = 'postgres'
));
$primary->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('replica');
$standby->init_from_backup($primary, 'base', has_streaming => 1);
$standby->append_conf('postgresql.conf', "pool_exhaust.http_port = $ports[1]");
$standby->start;
my $watcher = client($standby);

is($watcher->query('SELECT pg_is_in_recovery()'), 't', 'it is a standby');
ok(wait_until(sub { http($ports[1], '/readyz')->{status} }, 200, '/readyz'), 'it is ready');
is(http($ports[0], '/readyz')->{status}, 200, 'and so is the primary');
ok(samples($watcher, 2), 'its timeline grows');
my $pid = monitor_pid($watcher);

# A limit made over there is a pool over here, and no session has to reconnect.
$primary->safe_psql('postgres', 'CREATE ROLE one LOGIN CONNECTION LIMIT 1');
$primary->wait_for_catchup($standby);
ok(wait_until(sub { http($ports[1], '/pools')->{content} =~ /"one"/ ? 'yes' : 'no' }, 'yes', '/pools'),
	'a new pool of the primary is one here');
my $log_start = -s $standby->logfile;
my $one = client($standby, user => 'one');
login($standby, user => 'one')->vanish foreach 1 .. 2;
ok(samples($watcher, 2), 'the monitor has seen that');
is(http_metrics($ports[1])->{'pool_health{kind="role",pool="one"}'}, 3, 'it is exhausted here');
is(http_metrics($ports[0])->{'pool_health{kind="role",pool="one"}'}, 0, 'and not there');
is(http_metrics($ports[1])->{'refusals_total{cause="role_limit"}'}, 2, 'refused were two here');
is(http_metrics($ports[0])->{'refusals_total{cause="role_limit"}'}, 0, 'and none there');
like(slurp_file($standby->logfile, $log_start), qr/LOG:  pool_exhaust: health of role "one" is exhausted, was healthy/,
	'it is in the log; there is no NOTIFY on a standby');
my $in_recovery = $watcher->query('SELECT count(*) FROM pool_exhaust_timeline');

$standby->promote;
ok($standby->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()'), 'it is promoted');
is(http($ports[1], '/readyz')->{status}, 200, 'it is ready as before');
ok(samples($watcher, 2), 'samples go on');
is(monitor_pid($watcher), $pid, 'of the same monitor');
cmp_ok($watcher->query('SELECT count(*) FROM pool_exhaust_timeline'), '>', $in_recovery, 'in the same timeline');
$watcher->query('LISTEN pool_exhaust');
$one->close;
my ($payload) = $watcher->notifications(1);
is(join(' ', @{ JSON::PP::decode_json($payload) }{qw(pool was health)}), 'one exhausted healthy', 'now there is NOTIFY');
$watcher->query('ALTER ROLE one CONNECTION LIMIT 5');
ok(wait_until(sub { http_metrics($ports[1])->{'pool_capacity_connections{kind="role",pool="one"}'} }, 5, 'capacity'),
	'and a limit that changes here');
$watcher->close;

left_nothing($standby);
left_nothing($primary);
done_testing();
