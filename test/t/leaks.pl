# Leaks of every kind, made by sessions of this test and by pool_exhaust_leak():
# each is found by its rule, in time, with true numbers; and no other
# session is named, however much it resembles one.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $threshold = 1000;
my $interval = 100;

# For a machine that is busy with something else
my $slack = 2000;

# The list of TCP connections takes a hundredth of the time at the most: after one
# that took 90 ms, on such a machine, the next is read 9 s later.
my $listing = 9000;

# 40 slots: six forgotten sessions are a growth, 1000 / 8 ms apart.
my $growth = 6;
my $apart = 0.140;

my $node = new_server('leaks', streaming => 1, conf => qq(
max_connections = 40
max_worker_processes = 20
listen_addresses = '127.0.0.1'
autovacuum = off
pool_exhaust.leak_threshold = ${threshold}ms
pool_exhaust.sample_interval = ${interval}ms
));
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN REPLICATION');
my $watcher = client($node, application_name => 'watcher');

# A session of a service.
sub session
{
	my ($service, %params) = @_;

	return client($node, user => 'app', application_name => $service, %params);
}

my $tally = q(SELECT string_agg(concat_ws(' ', rule || ':', suspects, found, unleaked, ended, healed), ', ' ORDER BY rule)
	FROM pool_exhaust_leak_rules WHERE rule <> 'borrowed');

# Reads until all of these are suspected, and for some samples more.  "busy" is
# called between two readings.  Returns what was seen first of each suspect, by
# pid, other sessions included, and how often counters did not add up.
sub read_suspects
{
	my ($pids, $busy) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	my %wanted = map { $_ => 1 } @$pids;
	my %seen;
	my %wrong;
	my $until;

	while (!$until || time < $until)
	{
		foreach (split /\n/, $watcher->query('SELECT pid, rule, held_ms, service, evidence FROM pool_exhaust_leaks') // die $watcher->message)
		{
			my ($pid, $rule, $held_ms, $service, $evidence) = split /\|/, $_, 5;

			$seen{$pid} //= { rule => $rule, first_ms => $held_ms, service => $service, evidence => $evidence };
			$seen{$pid}{last_ms} = $held_ms;
		}
		my $odd = $watcher->query("SELECT string_agg(rule, ', ') FROM pool_exhaust_leak_rules WHERE found <> suspects + unleaked + ended + healed");
		$wrong{$odd}++ if $odd ne '';
		$busy->() if $busy;
		delete @wanted{ keys %seen };
		$until //= time + 6 * $interval / 1000 if !%wanted;
		last if time > $end;
	}
	is(join(' ', map { $_ . ' ' . $watcher->query("SELECT concat_ws(' ', application_name, state) FROM pg_stat_activity WHERE pid = $_") } sort keys %wanted), '', 'each leak is found')
	  or diag "suspected: " . join('; ', map { "$_ $seen{$_}{service} $seen{$_}{rule}" } keys %seen), "\n" . $watcher->query($tally);
	is(join(', ', map { "$_ $wrong{$_} times" } keys %wrong), '', 'found is suspects, unleaked, ended and healed, at every reading');
	return %seen;
}

# ---------- Sessions of this test ----------

my %leaks;      # by pid: [what it is, rule, pattern of the evidence, found in time]
my %clients;    # by what it is

sub leak
{
	my ($what, $client, $rule, $evidence, $in_time) = @_;

	$clients{$what} = $client;
	$leaks{ ref $client ? backend_pid($client) : $client } = [ $what, $rule, $evidence, $in_time ];
}

# No leaks: sessions that listen, hold a lock, work, rest, let others use their snapshot,
# or commit in time
my %healthy = map { $_ => session($_) } 'listener', 'leader', 'report', 'short transaction';
$healthy{"reserve $_"} = session('reserve') foreach 1, 2;
$healthy{walsender} = session('walsender', replication => 'database');
$healthy{exporter} = session('exporter');
$healthy{listener}->query('LISTEN news');
$healthy{leader}->query('SELECT pg_advisory_lock(1)');
$healthy{report}->send('SELECT pg_sleep(600)');
$healthy{walsender}->query('BEGIN');
$healthy{exporter}->query('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT pg_export_snapshot()');
$healthy{$_}->query('SELECT 1') foreach 'reserve 1', 'reserve 2';

# One that will be forgotten, but is used later than soon after its start: it is of a pool.
# Another one of that pool works all the while.
my $abandoned = session('pool');
$healthy{older} = session('pool');
my $opened = time;
ok(wait_until(sub { time > $opened + 2.1 ? 'yes' : 'no' }, 'yes', 'its start is over'), 'its start is over');

# Dead clients: closed, killed, and killed with an answer that they had not read
# (then the connection is reset).  A living one beside them does the same.
my $dead = qr/^its client has closed the connection, and its statement has run for (\d+\.\d) s, longer than 1 s$/;
my @forked;
my $vanishing = 0;
foreach my $tcp (0, 1)
{
	my $way = $tcp ? 'TCP' : 'unix';

	foreach my $end ('killed', 'reset')
	{
		my ($pid, $backend) = forked_client($node,
			($end eq 'reset' ? "SELECT repeat('x', 30000); " : '') . 'SELECT pg_sleep(600)',
			user => 'app', application_name => "$way $end", tcp => $tcp);
		push @forked, $pid;
		leak("$way $end", $backend, 'dead client', $dead, 1);
	}
	my $closed = session("$way closed", tcp => $tcp);
	leak("$way closed", backend_pid($closed), 'dead client', $dead, 1);
	$closed->send('SELECT pg_sleep(600)');
	$healthy{"$way alive"} = session("$way alive", tcp => $tcp);
	$healthy{"$way alive"}->send('SELECT pg_sleep(600)');
	ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE application_name ~ '^$way (killed|reset|closed|alive)' AND wait_event = 'PgSleep'", 4),
		"$way: the server works for four clients");
	$closed->vanish;
}
kill 'KILL', @forked;
is((grep { waitpid($_, 0) == $_ } @forked), 4, 'four clients are killed');

foreach my $how ('open', 'failed')
{
	my $client = session("$how transaction");
	leak("$how transaction", $client, 'idle in transaction', qr/^idle in an? $how transaction for (\d+\.\d) s, longer than 1 s$/, 1);
	$client->query($how eq 'open' ? 'BEGIN; SELECT 1' : 'BEGIN; SELECT 1/0');
}

# One is forgotten; others come, each while all others are busy, and stay at work.
leak('abandoned', $abandoned, 'abandoned',
	qr/^idle for (\d+\.\d) s; its service had 2 sessions when it was used last and has 5 now, and keeps 3 newer ones in use$/, 1);
my $apart_from = time;
$_->query('SELECT 1') foreach $healthy{older}, $abandoned;
ok(wait_until(sub { time > $apart_from + 0.1 ? 'yes' : 'no' }, 'yes', 'a moment'), 'a moment later');
my @newer = map { "newer $_" } 1 .. 3;
$healthy{older}->send('SELECT pg_sleep(0.6)');
foreach (@newer)
{
	$healthy{$_} = session('pool');
	$healthy{$_}->send('SELECT pg_sleep(0.2)');
}
$healthy{$_}->result foreach 'older', @newer;

# Others are opened one after the other, used once, and forgotten. Connections that
# postgres_fdw keeps look the same.
my @grown;
my $due = time;
my $began = time;
my $busy = sub {
	$healthy{$_}->query('SELECT 1') foreach 'older', @newer, 'reserve 1';
	if (time > $began + 0.3)
	{
		$healthy{'short transaction'}->query('COMMIT');
		$healthy{'short transaction'}->query('BEGIN');
		$began = time;
	}
	return if @grown == $growth || time < $due;
	push @grown, session('growing');
	backend_pid($grown[-1]);
	my $cached = $healthy{"cached " . @grown} = session('postgres_fdw');
	backend_pid($cached);
	$due = time + $apart;
};
$healthy{'short transaction'}->query('BEGIN');
ok(wait_until(sub { $busy->(); scalar @grown }, $growth, 'growth'), 'sessions are opened one after the other');
leak("grown $_", $grown[ $_ - 1 ], 'growth',
	qr/^idle for (\d+\.\d) s; one of $growth that its service opened one after another in (\d+\.\d) s, came back to none of them$/)
  foreach 1 .. $growth;
my %seen = read_suspects([ keys %leaks ], $busy);
$healthy{'short transaction'}->query('COMMIT');

foreach my $pid (sort { $leaks{$a}[0] cmp $leaks{$b}[0] } keys %leaks)
{
	my ($what, $rule, $evidence, $in_time) = @{ $leaks{$pid} };
	my $suspect = delete $seen{$pid} or next;

	is($suspect->{rule}, $rule, "$what: the rule");
	is($suspect->{service}, 'app/' . ($what =~ /^grown/ ? 'growing' : $what eq 'abandoned' ? 'pool' : $what), "$what: the service");
	like($suspect->{evidence}, $evidence, "$what: the evidence");
	my ($held_s, $span_s) = $suspect->{evidence} =~ $evidence;
	cmp_ok(abs(($held_s // -9) * 1000 - $suspect->{first_ms}), '<=', 60, "$what: the evidence says how long");
	# Whole milliseconds: 1000.4 reads 1000.
	cmp_ok($suspect->{first_ms}, '>=', $threshold, "$what: not before the threshold");
	cmp_ok($suspect->{first_ms}, '<=', $threshold + 2 * $interval + ($what =~ /^TCP/ ? $listing : $slack), "$what: found in time") if $in_time;
	cmp_ok($suspect->{last_ms}, '>=', $suspect->{first_ms} + 3 * $interval, "$what: it is held longer and longer");
	is($watcher->query("SELECT leak FROM pool_exhaust_backends WHERE pid = $pid"), $rule, "$what: pool_exhaust_backends has it");
	next if !$span_s;
	my $span = $watcher->query("SELECT extract(epoch FROM max(backend_start) - min(backend_start)) FROM pg_stat_activity WHERE application_name = 'growing'");
	cmp_ok(abs($span_s - $span), '<', 0.3, "$what: the evidence says in how long they were opened");
}
is(join(', ', map { "$_ $seen{$_}{service}: $seen{$_}{rule}, $seen{$_}{evidence}" } keys %seen), '', 'no other session is named');
is($watcher->query("SELECT string_agg(concat_ws(' ', application_name, suspects), ', ' ORDER BY application_name COLLATE \"C\")
		FROM pool_exhaust_services WHERE suspects > 0"),
	'TCP closed 1, TCP killed 1, TCP reset 1, failed transaction 1, growing 6, open transaction 1, pool 1, unix closed 1, unix killed 1, unix reset 1',
	'suspects by service');
is($watcher->query("SELECT count(*) FROM pool_exhaust_services WHERE suspects IS NULL"), 0, 'suspects are known of every service');
is($watcher->query($tally), 'abandoned: 1 1 0 0 0, dead client: 6 6 0 0 0, growth: 6 6 0 0 0, idle in transaction: 2 2 0 0 0', 'the counters');
is($watcher->query("SELECT count(*) FROM pool_exhaust_heals"), 0, 'no session was ended');

# ---------- They come back to life, or end ----------

$clients{'open transaction'}->query('COMMIT');
ok(wait_for($watcher, $tally, 'abandoned: 1 1 0 0 0, dead client: 6 6 0 0 0, growth: 6 6 0 0 0, idle in transaction: 1 2 1 0 0'), 'a session that commits is suspected no more');
$clients{'failed transaction'}->close;
ok(wait_for($watcher, $tally, 'abandoned: 1 1 0 0 0, dead client: 6 6 0 0 0, growth: 6 6 0 0 0, idle in transaction: 0 2 1 1 0'), 'nor is one that ends');
$abandoned->query('SELECT 1');
ok(wait_for($watcher, $tally, 'abandoned: 0 1 1 0 0, dead client: 6 6 0 0 0, growth: 6 6 0 0 0, idle in transaction: 0 2 1 1 0'), 'nor is one that is used again');
$grown[-1]->query('SELECT 1');
ok(wait_for($watcher, $tally, 'abandoned: 0 1 1 0 0, dead client: 6 6 0 0 0, growth: 5 6 1 0 0, idle in transaction: 0 2 1 1 0'), 'of a growth, the latest is used again');
$grown[0]->query('SELECT 1');
ok(wait_for($watcher, $tally, 'abandoned: 0 1 1 0 0, dead client: 6 6 0 0 0, growth: 0 6 6 0 0, idle in transaction: 0 2 1 1 0'),
	'of a growth, the first is used again: its service comes back, so all are cleared');
$watcher->query("SELECT pg_terminate_backend(pid) FROM pool_exhaust_leaks WHERE rule = 'dead client'");
ok(wait_for($watcher, $tally, 'abandoned: 0 1 1 0 0, dead client: 0 6 0 6 0, growth: 0 6 6 0 0, idle in transaction: 0 2 1 1 0'), 'dead clients are ended by hand');
is($watcher->query('SELECT count(*) FROM pool_exhaust_leaks'), 0, 'no suspect is left');

$healthy{$_}->vanish foreach keys %healthy;
$_->close foreach @grown, $abandoned, $clients{'open transaction'};
$watcher->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'", 0), 'all sessions are gone');
ok(samples($watcher, 2), 'and the monitor knows');

# ---------- Sessions of pool_exhaust_leak() ----------

$watcher->query('SELECT pool_exhaust_reset_stats()');
my %holds = (growth => 6, abandoned => 2, 'idle in transaction' => 2, 'idle in transaction (aborted)' => 2, 'dead client' => 2,
	idle => 2, active => 2, 'lock wait' => 2);
foreach my $kind ('growth', sort grep { $_ ne 'growth' } keys %holds)
{
	ok($watcher->query("SELECT pool_exhaust_leak($holds{$kind}, '$kind', 'role')"), "a leak of kind $kind") or BAIL_OUT($watcher->message);
}
my $leaking = join ',', map { "'$_'" } 'growth', 'abandoned', 'idle in transaction', 'idle in transaction (aborted)', 'dead client';
my $by_kind = "SELECT string_agg(concat(state, ': ', leak, ' ', n), ', ' ORDER BY state, leak) FROM (SELECT h.state, leak, count(*) AS n
	FROM pool_exhaust_backends JOIN pool_exhaust_holds h USING (hold_id) WHERE h.state IN ($leaking) GROUP BY h.state, leak) AS s";
my $expected = 'abandoned:  4, abandoned: abandoned 2, dead client: dead client 2, growth:  1, growth: growth 6, '
  . 'idle in transaction: idle in transaction 2, idle in transaction (aborted): idle in transaction 2';
ok( wait_for(
		$watcher,
		$by_kind =~ s/ORDER BY state, leak/ORDER BY state, leak NULLS FIRST/r, $expected),
	'each kind of leak is found by its rule, its companions are not');
ok(samples($watcher, 3), 'some samples later');
is($watcher->query('SELECT count(*) FROM pool_exhaust_leaks'), 14, 'nor is any other session');
is($watcher->query($tally), 'abandoned: 2 2 0 0 0, dead client: 2 2 0 0 0, growth: 6 6 0 0 0, idle in transaction: 4 4 0 0 0', 'the counters began anew');
is($watcher->query('SELECT pool_exhaust_release()'), 20, 'they are released');

# While it is closed, the client of a session at work has gone, and that may be
# seen; so there may be more of them, but each comes to an end.
ok(wait_for($watcher, 'SELECT concat_ws($$ $$, sum(suspects), sum(found) = sum(unleaked + ended), sum(found) >= 14, sum(healed)) FROM pool_exhaust_leak_rules', '0 t t 0'),
	'each suspicion has come to an end');

$watcher->close;
left_nothing($node);
done_testing();
