# What becomes of suspects: when the monitor is ended, or off, or reconfigured;
# when counters are reset; what can never be found, and is reported so; which
# roles may see them; and that a name can hold anything.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('leak_watch', conf => q(
max_connections = 30
autovacuum = off
pool_exhaust.leak_threshold = 400ms
pool_exhaust.sample_interval = 50ms
));
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE other LOGIN; CREATE ROLE observer LOGIN IN ROLE pg_monitor;
	GRANT SELECT ON pool_exhaust_leaks, pool_exhaust_backends, pool_exhaust_heals TO app;
	GRANT EXECUTE ON FUNCTION pool_exhaust_leaks_rows(), pool_exhaust_run_roles(), pool_exhaust_heals_rows(), pool_exhaust_heal(boolean) TO app');
my $watcher = client($node, application_name => 'watcher');
$watcher->query("SET $_ = 0") foreach 'idle_session_timeout', 'idle_in_transaction_session_timeout', 'client_connection_check_interval';

my $rule = 'idle in transaction';
my $counts = "SELECT concat_ws(' ', suspects, found, unleaked, ended, healed) FROM pool_exhaust_leak_rules WHERE rule = '$rule'";
my $all = "SELECT concat_ws(' ', sum(suspects), sum(found), sum(unleaked), sum(ended), sum(healed)) FROM pool_exhaust_leak_rules";
my $names = "SELECT coalesce(string_agg(service, ', ' ORDER BY service), 'none') FROM pool_exhaust_leaks";

# A session with an open transaction.
sub notes_are
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($expected, $name) = @_;

	ok(wait_for($watcher, "SELECT coalesce(string_agg(rule || ': ' || note, '; ' ORDER BY rule), 'none') FROM pool_exhaust_leak_rules", $expected), $name);
}

notes_are('none', 'every rule can fire');
is($watcher->query('SELECT string_agg(concat(rule, $$ $$, threshold_ms), $$, $$) FROM pool_exhaust_leak_rules'),
	'borrowed 400, idle in transaction 400, abandoned 400, growth 400, dead client 400', 'the rules and their threshold');

# ---------- The monitor comes and goes ----------

my @clients = (open_transaction($node, 'one'), open_transaction($node, 'two'));
$clients[1]->query('SELECT 1/0');
ok(wait_for($watcher, $counts, '2 2 0 0 0'), 'two suspects');
foreach my $round (1 .. 3)
{
	my $pid = monitor_pid($watcher);
	$watcher->query("SELECT pg_terminate_backend($pid)");
	ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pool_exhaust monitor' AND pid <> $pid", 1), "restart $round: there is another monitor");
	ok(wait_for($watcher, $names, 'app/one, app/two'), "restart $round: both are suspected");
	ok(samples($watcher, 2), "restart $round: some samples later");
	is($watcher->query($all), '2 2 0 0 0', "restart $round: neither was found twice");
}

# One comes back to life, and one ends, while there is no monitor.
foreach my $end ('COMMIT', 'close')
{
	my $client = open_transaction($node, "unseen $end");
	my $before = $watcher->query($counts);
	ok(wait_for($watcher, $names, "app/one, app/two, app/unseen $end"), "$end: a suspect");
	my $pid = monitor_pid($watcher);
	$watcher->query("SELECT pg_terminate_backend($pid)");
	ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0), "$end: the monitor is gone");
	$end eq 'close' ? $client->close : $client->query($end);
	ok(wait_for($watcher, $names, 'app/one, app/two'), "$end: it is suspected no more");
	ok(wait_for($watcher, $counts, $end eq 'close' ? '2 4 1 1 0' : '2 3 1 0 0'), "$end: the next monitor has seen it");
	$client->close if $end ne 'close';
}

# Off: nothing is known.
ok(change_setting($watcher, 'pool_exhaust.monitor' => 'off'), 'off');
ok(wait_for($watcher, 'SELECT count(*) FROM pool_exhaust_leaks', 0), 'off: no row');
is($watcher->query('SELECT count(*) FROM pool_exhaust_backends WHERE leak IS NOT NULL'), 0, 'off: no backend has leaked');
is($watcher->query('SELECT count(*), count(suspects) FROM pool_exhaust_services WHERE in_use > 0'), '3|0', 'off: suspects of services are not known');
fails_with($watcher, "SELECT * FROM pool_exhaust_heal($_)", '55000', [ qr/the monitor does not run/, qr/pool_exhaust\.monitor/ ], "off: heal($_)")
  foreach '', 'false';
is($watcher->query('SELECT count(*) FROM pool_exhaust_heals'), 0, 'off: nothing was healed');
ok(change_setting($watcher, 'pool_exhaust.monitor' => 'on'), 'on');
ok(wait_for($watcher, $names, 'app/one, app/two'), 'on: both are suspected');
is($watcher->query($counts), '2 4 1 1 0', 'on: neither was found twice');

# Counters begin anew, with the present suspects.
$watcher->query('SELECT pool_exhaust_reset_stats()');
is($watcher->query($all), '2 2 0 0 0', 'reset: the present suspects count as found');
$clients[0]->query('COMMIT');
ok(wait_for($watcher, $counts, '1 2 1 0 0'), 'reset: one comes back to life');
(pop @clients)->close;
ok(wait_for($watcher, $counts, '0 2 1 1 0'), 'reset: one ends');

# ---------- A slot and its sessions ----------

my $first = open_transaction($node, 'before');
my $old = backend_pid($first);
ok(wait_for($watcher, $names, 'app/before'), 'slot: a suspect');
$first->close;
ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE pid = $old", 0), 'slot: it is gone');
my $second = open_transaction($node, 'after');
is($watcher->query($names), 'none', 'slot: its row goes with it, and the next session there is not suspected');
is($watcher->query('SELECT leak IS NULL FROM pool_exhaust_backends WHERE pid = ' . backend_pid($second)), 't', 'slot: nor in pool_exhaust_backends');
$second->query('COMMIT; BEGIN');
is($watcher->query($names), 'none', 'slot: and is not as long as it is at work');
$second->close;
push @clients, $first = client($node, user => 'app');

# ---------- What cannot be known ----------

# A session that does not report its activity is no suspect; a later one is found meanwhile.
my $silent = client($node, user => 'app', application_name => 'silent');
$watcher->query('GRANT SET ON PARAMETER track_activities TO app');
$silent->query('SET track_activities = off');
is(sqlstate($silent), '00000', 'track_activities off') or diag $silent->message;
$silent->query('BEGIN');
my $talkative = open_transaction($node, 'talkative');
ok(wait_for($watcher, $names, 'app/talkative'), 'track_activities off: another one is found');
ok(samples($watcher, 4), 'track_activities off: some samples later');
is($watcher->query($names), 'app/talkative', 'track_activities off: no suspect');
my @all_rules = ('abandoned', 'borrowed', 'dead client', 'growth', 'idle in transaction');
notes_are(join('; ', map { "$_: cannot fire for 1 sessions: track_activities is off there" } @all_rules), 'track_activities off for one session');
$_->close foreach $silent, $talkative;
notes_are('none', 'track_activities off: its session has gone');
change_setting($watcher, track_activities => 'off');
notes_are(join('; ', map { "$_: can never fire: track_activities is off, so it is not known what sessions do" } @all_rules), 'track_activities off for the server');
change_setting($watcher, track_activities => 'DEFAULT');
notes_are('none', 'track_activities on again');
ok(wait_for($watcher, "$all", '0 4 1 3 0'), 'track_activities off: all is over');

# Timeouts that come first
foreach (
	[ 'idle_in_transaction_session_timeout', 'idle in transaction' ],
	[ 'idle_session_timeout',                'abandoned', 'growth' ],
	[ 'client_connection_check_interval',    'dead client' ],
	[ 'transaction_timeout',                 'idle in transaction' ])
{
	my ($setting, @rules) = @$_;

	next if $watcher->query("SELECT count(*) FROM pg_settings WHERE name = '$setting'") == 0;
	$watcher->query("SET $setting = 0");
	$clients[-1]->query("SET $setting = 0");
	foreach my $ms (400, 100, 401)
	{
		change_setting($watcher, $setting => "'${ms}ms'");
		notes_are($ms > 400 ? 'none'
			: join('; ', map { "$_: can never fire: $setting ($ms ms) comes before pool_exhaust.leak_threshold (400 ms)" } @rules),
			"$setting = ${ms}ms");
	}
	change_setting($watcher, $setting => 'DEFAULT');
}

# It takes two to end all sessions that are borrowed and idle.
change_setting($watcher, idle_session_timeout => "'100ms'");
change_setting($watcher, idle_in_transaction_session_timeout => "'200ms'");
ok(wait_for($watcher, q(SELECT note FROM pool_exhaust_leak_rules WHERE rule = 'borrowed'),
	'can never fire: idle_session_timeout (100 ms) comes before pool_exhaust.leak_threshold (400 ms)'), 'timeouts within transactions and without');
change_setting($watcher, idle_session_timeout => 'DEFAULT', idle_in_transaction_session_timeout => 'DEFAULT');
notes_are('none', 'no timeouts again');

# A pool that closes its sessions before; a threshold that they do not reach on a slow machine either
change_setting($watcher, 'pool_exhaust.leak_threshold' => "'20s'");
my @short = map { client($node, user => 'app', application_name => 'short') } 1 .. 5;
foreach my $use (1 .. 5)
{
	$_->query('SELECT 1') foreach @short;
	samples($watcher, 1);
}
$_->close foreach @short;
ok( wait_for($watcher, "SELECT note ~ '^cannot fire for 1 services: their pools close sessions after \\d+\\.\\d s at the most, and pool_exhaust\\.leak_threshold is 20\\.0 s\$'
		FROM pool_exhaust_leak_rules WHERE rule = 'abandoned'", 't'), 'sessions that live shorter than the threshold')
  or diag $watcher->query('SELECT rule, note FROM pool_exhaust_leak_rules');

# ---------- Another threshold ----------

ok(change_setting($watcher, 'pool_exhaust.leak_threshold' => "'1h'"), 'a threshold of an hour');
ok(samples($watcher, 2), 'the monitor knows it');
my $patient = open_transaction($node, 'patient');
my $since = $watcher->query('SELECT clock_timestamp()');
ok(wait_for($watcher, "SELECT clock_timestamp() > '$since'::timestamptz + '700 ms'", 't'), 'an hour: more than 400 ms later');
is($watcher->query($names), 'none', 'an hour: no suspect');
is($watcher->query('SELECT DISTINCT threshold_ms FROM pool_exhaust_leak_rules'), 3600000, 'an hour: the rules say so');
ok(change_setting($watcher, 'pool_exhaust.leak_threshold' => "'200ms'"), 'a threshold of 200 ms');
ok(wait_for($watcher, $names, 'app/patient'), '200 ms: it is suspected');
like($watcher->query('SELECT evidence FROM pool_exhaust_leaks'), qr/^idle in an open transaction for \d+\.\d s, longer than 0\.2 s$/, '200 ms: the evidence says so');

# ---------- Roles that may see them, and names ----------

my $others = open_transaction($node, 'of another', user => 'other');
ok(wait_for($watcher, $names, 'app/patient, other/of another'), 'two roles');
my $app = client($node, user => 'app', application_name => 'reader');
is($app->query($names), 'app/patient', 'a role sees its own suspects');
is($app->query("SELECT count(*), count(leak) FROM pool_exhaust_backends"), '4|1', 'and of others not what they are suspected of') or diag $app->query("TABLE pool_exhaust_backends");
is($app->query("SELECT string_agg(service, ', ') FROM pool_exhaust_heal()"), 'app/patient', 'a dry run lists its own');
my $observer = client($node, user => 'observer');
is($observer->query($names), 'app/patient, other/of another', 'pg_monitor sees all');
$_->close foreach $observer, $app, $others, $patient;

foreach (
	[ "quo\"te's", "it's \"mine\"" ],
	[ name_in($node, "new\nline"), 'x|y;--' ],
	[ 'r' x 63, 'a' x 63 ],
	[ '%s%n%d', '%s%n%d' ])
{
	my ($role, $application) = @$_;
	my $quoted = $role =~ s/"/""/gr;
	my $shown = $role =~ s/\n/\\n/r;

	$watcher->query(qq(CREATE ROLE "$quoted" LOGIN));
	my $client = open_transaction($node, $application, user => $role);
	ok(wait_for($watcher, "$names", "$role/$application"), "role $shown: it is suspected");
	is($watcher->query("SELECT count(*) FROM pool_exhaust_backends WHERE leak = '$rule' AND service = pg_catalog.concat(usename, '/', application_name)"), 1, "role $shown: the service");
	is($watcher->query("SELECT service || ' ' || suspects FROM pool_exhaust_services WHERE suspects > 0"), "$role/$application 1", "role $shown: its suspects");
	like($watcher->query('SELECT evidence FROM pool_exhaust_leaks'), qr/^idle in an open transaction for /, "role $shown: the evidence");
	is($watcher->query('SELECT service, action FROM pool_exhaust_heal()'), "$role/$application|would terminate", "role $shown: what the healer would do");
	$client->close;
	ok(wait_for($watcher, $names, 'none'), "role $shown: it is over");
}

$_->close foreach @clients, $watcher;
left_nothing($node);
done_testing();
