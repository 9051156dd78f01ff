# The monitor lives: it comes back with all it knew when it was terminated, does
# what the settings say as soon as they are reloaded, and obstructs no other session.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use IO::Socket::INET;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my @ports = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 4;
my $node = new_server('monitor', conf => qq(
max_connections = 20
restart_after_crash = on
autovacuum = off
pool_exhaust.http_port = $ports[0]
pool_exhaust.sample_interval = 20ms
));
$node->safe_psql('postgres', 'CREATE ROLE one LOGIN CONNECTION LIMIT 1');
my $watcher = client($node);

sub status
{
	my ($port) = @_;

	return http($port, '/livez')->{status};
}

sub status_becomes
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($port, $status, $name) = @_;

	ok(wait_until(sub { status($port) }, $status, "status of port $port"), $name);
}

sub setting
{
	my ($name, $value) = @_;

	$watcher->query("ALTER SYSTEM SET pool_exhaust.$name = '$value'");
	die $watcher->message if $watcher->{error};
	$watcher->query('SELECT pg_reload_conf()');
}

sub reappears
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($pid, $name) = @_;

	ok( wait_for($watcher, "SELECT count(*) FROM pg_stat_activity
			WHERE backend_type = 'pool_exhaust monitor' AND pid <> $pid", 1), $name);
}

# What the monitor remembers: counters, peaks, where the timeline begins.
sub remembered
{
	return $watcher->query(q(SELECT
		(SELECT string_agg(concat_ws(' ', name, granted, refused, peak_in_use, peak_at), ', ' ORDER BY name) FROM pool_exhaust_pools),
		(SELECT string_agg(concat_ws(' ', service, peak_in_use, opened), ', ' ORDER BY service) FROM pool_exhaust_services),
		(SELECT min(at) FROM pool_exhaust_timeline)));
}

# The gaps between the last samples, in ms.
sub gaps
{
	my ($n) = @_;

	samples($watcher, $n + 2);
	return $watcher->query("SELECT round(extract(epoch FROM max(at) - min(at)) * 1000)
		FROM (SELECT at FROM pool_exhaust_timeline ORDER BY at DESC LIMIT $n + 1) t");
}

status_becomes($ports[0], 200, 'it answers');

# ---------- Its end, and its return ----------

my @clients = (client($node, user => 'one', application_name => 'shop'), map { client($node) } 1 .. 4);
login($node, user => 'one')->vanish foreach 1 .. 3;
ok(samples($watcher, 2), 'it has seen five sessions');
$_->close foreach @clients;
ok(wait_for($watcher, 'SELECT in_use FROM pool_exhaust_slots', 1), 'the sessions are gone');
ok(samples($watcher, 2), 'and it has seen that');
my $remembered = remembered();
like($remembered, qr/^one 1 3 [12] .*, server \d+ 0 [67] /, 'there is something to remember');
my $log_start = -s $node->logfile;
my $pid = monitor_pid($watcher);

is($watcher->query("SELECT pg_terminate_backend($pid)"), 't', 'it is terminated');
reappears($pid, 'it comes back');
ok($node->wait_for_log(qr/background worker "pool_exhaust monitor" \(PID $pid\) exited with exit code 1/, $log_start),
	'the log has its end');
status_becomes($ports[0], 200, 'it answers again');
ok(samples($watcher, 2), 'it samples again');
is(remembered(), $remembered, 'it remembers all of it');
is(refusals($watcher), 'role_limit 3', 'refusals are counted');

# No signal that a session can send does more.
$pid = monitor_pid($watcher);
$watcher->query("SELECT pg_cancel_backend($pid)") foreach 1 .. 50;
ok(samples($watcher, 2), 'it cannot be canceled');
is(monitor_pid($watcher), $pid, 'and is the same');

# Reloads, a storm of them
foreach my $i (1 .. 200)
{
	$watcher->query('SELECT pg_reload_conf()');
	next if $i % 20;
	is(status($ports[0]), 200, "it answers after $i reloads");
}
is(monitor_pid($watcher), $pid, 'and is the same');

# ---------- Where it answers ----------

setting('http_port', $ports[1]);
status_becomes($ports[1], 200, 'it moves to another port');
is(status($ports[0]), 599, 'and left the one before');
setting('http_port', 0);
status_becomes($ports[1], 599, 'it answers nowhere');
ok(samples($watcher, 2), 'it samples nevertheless');
setting('http_port', $ports[0]);
status_becomes($ports[0], 200, 'it answers again');
is(monitor_pid($watcher), $pid, 'all that time it was the same');

# Wherever it cannot, it says so once, and lives.
sub cannot_answer
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($why, $name, %settings) = @_;
	my $start = -s $node->logfile;

	setting($_, $settings{$_}) foreach sort keys %settings;
	ok(eval { $node->wait_for_log(qr/WARNING:  $why/, $start) }, "$name: a warning");
	foreach (1 .. 5)
	{
		$watcher->query('SELECT pg_reload_conf()');
		samples($watcher, 2);
	}
	is(monitor_pid($watcher), $pid, "$name: it lives");
	my @warnings = slurp_file($node->logfile, $start) =~ /WARNING:  (pool_exhaust .*)/g;
	is(scalar(@warnings), 1, "$name: one warning") or diag join("\n", @warnings);
}

my %taken = map { $_ => IO::Socket::INET->new(LocalAddr => '127.0.0.1', LocalPort => $_, Listen => 1) } @ports[2, 3];
cannot_answer(qr/pool_exhaust cannot answer over HTTP on address "127.0.0.1", port $_: could not listen: Address already in use/,
	"port $_ is taken", http_port => $_)
  foreach @ports[2, 3];
close $taken{ $ports[3] };
status_becomes($ports[3], 200, 'the port is free again: it answers');
cannot_answer(qr/pool_exhaust cannot answer over HTTP on address "192.0.2.1".*Cannot assign requested address/,
	'an address of another machine', http_host => '192.0.2.1');
cannot_answer(qr/pool_exhaust cannot answer over HTTP on address "no such host".*could not use the address: Name or service not known/,
	'an address that is none', http_host => 'no such host');
cannot_answer(qr/pool_exhaust cannot answer over HTTP on address "".*could not use the address/, 'no address', http_host => '');
setting('http_host', 'localhost');
status_becomes($ports[3], 200, 'a name that is known');

# The same trouble again is news again.
setting('http_port', 0);
status_becomes($ports[3], 599, 'HTTP off');
cannot_answer(qr/pool_exhaust cannot answer over HTTP on address "localhost", port $ports[2]: could not listen/,
	'the port is taken still', http_port => $ports[2]);
$log_start = -s $node->logfile;
setting('http_port', 0);
ok($node->wait_for_log(qr/parameter "pool_exhaust.http_port" changed to "0"/, $log_start) && samples($watcher, 2), 'HTTP off again');
cannot_answer(qr/pool_exhaust cannot answer over HTTP on address "localhost", port $ports[2]: could not listen/,
	'off, and the same again', http_port => $ports[2]);
setting('http_port', $ports[0]);
status_becomes($ports[0], 200, 'it answers where it did at first');

# ---------- Off, on, slower, faster ----------

setting('monitor', 'off');
status_becomes($ports[0], 599, 'off: no HTTP');
my $rows = $watcher->query('SELECT count(*) FROM pool_exhaust_timeline');
my $one = client($node, user => 'one');
login($node, user => 'one')->vanish;
ok(wait_for($watcher, "SELECT in_use, health, refused FROM pool_exhaust_pools WHERE name = 'one'", '1|exhausted|4'), 'off: pools are as they are now');
is($watcher->query("SELECT in_use, idle, opened FROM pool_exhaust_services WHERE service = 'one/'"), '1|1|1', 'off: services too');
is($watcher->query('SELECT pool_exhaust_health()'), 'healthy', 'off: health too');
my $long_after = $watcher->query("SELECT clock_timestamp() + '300 ms'");
ok(wait_for($watcher, "SELECT clock_timestamp() > '$long_after'", 't'), 'off: time passes');
is($watcher->query('SELECT count(*) FROM pool_exhaust_timeline'), $rows, 'off: no samples');
is(monitor_pid($watcher), $pid, 'off: it waits');
setting('monitor', 'on');
status_becomes($ports[0], 200, 'on: HTTP');
ok(samples($watcher, 2), 'on: samples');
is( $watcher->query("SELECT (SELECT sum(opened) FROM pool_exhaust_timeline) - granted FROM pool_exhaust_pools WHERE name = 'server'"),
	0, 'on: the timeline makes up for what was opened meanwhile');
$one->close;

setting('sample_interval', '300ms');
cmp_ok(gaps(3), '>=', 700, 'it samples slower');
setting('sample_interval', '10ms');
cmp_ok(gaps(10), '<', 2000, 'it samples faster');
is(monitor_pid($watcher), $pid, 'and is the same');

# ---------- It obstructs no other session ----------

foreach my $i (1 .. 5)
{
	$watcher->query('CREATE DATABASE dropped_db CONNECTION LIMIT 2');
	samples($watcher, 1);
	like(http($ports[0], '/pools')->{content}, qr/"dropped_db"/, "database $i is a pool") if $i == 1;
	$watcher->query('DROP DATABASE dropped_db');
	is(sqlstate($watcher), '00000', "database $i can be dropped") or diag $watcher->message;
}
ok(wait_until(sub { http($ports[0], '/pools')->{content} =~ /dropped_db/ ? 'yes' : 'no' }, 'no', 'dropped_db in /pools'), 'the pool is gone');

# ---------- With the server ----------

$watcher->close;
$node->append_conf('postgresql.conf', "max_connections = 15\npool_exhaust.timeline_length = 10");
$node->restart;
$watcher = client($node);
status_becomes($ports[0], 200, 'it answers after a restart');
is(http_metrics($ports[0])->{max_connections}, 15, 'max_connections has changed');
is($watcher->query("SELECT capacity FROM pool_exhaust_pools WHERE name = 'server'"), 12, 'and capacity with it');
ok(samples($watcher, 5), 'samples go on') foreach 1 .. 5;
is($watcher->query('SELECT count(*), array_agg(at) = array_agg(at ORDER BY at) FROM pool_exhaust_timeline'),
	'10|t', 'the timeline keeps ten, oldest first');

$log_start = -s $node->logfile;
$pid = monitor_pid($watcher);
login($node, user => 'one', database => 'nowhere')->vanish;
kill 'KILL', $pid;
ok($node->wait_for_log(qr/all server processes terminated; reinitializing/, $log_start), 'killed: the server recovers');
$watcher->vanish;
ok(server_is_back($node), 'killed: it is back');
$watcher = client($node);
reappears($pid, 'killed: so is the monitor');
status_becomes($ports[0], 200, 'killed: it answers');
ok(samples($watcher, 2), 'killed: it samples');
is($watcher->query("SELECT peak_in_use <= 2, refused FROM pool_exhaust_pools WHERE name = 'server'"), 't|0', 'killed: all begins anew');
$watcher->close;

# Clients of HTTP do not keep a server up.
my $lingering = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $ports[0]);
print $lingering "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
like(scalar <$lingering>, qr/^HTTP\/1\.1 200/, 'a client stays');
$node->stop('smart');
is(status($ports[0]), 599, 'a smart shutdown ends it');
$node->start;
status_becomes($ports[0], 200, 'it answers after a start');

left_nothing($node, killed => 1);
done_testing();
