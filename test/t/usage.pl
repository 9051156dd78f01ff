# How services use their sessions, in pool_exhaust_services: how long those rest, which
# were used once, the longest rest that was no leak, and patterns that need a human.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_server('usage', conf => q(
max_connections = 40
autovacuum = off
pool_exhaust.leak_threshold = 100ms
pool_exhaust.sample_interval = 20ms
));
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN; CREATE ROLE other LOGIN');
my $watcher = client($node, application_name => 'watcher');

sub session { return client($node, user => 'app', application_name => $_[0]) }

sub of
{
	my ($service, $columns) = @_;

	return "SELECT $columns FROM pool_exhaust_services WHERE service = 'app/$service'";
}

# ---------- Rests ----------

my @pool = map { session('pool') } 1 .. 3;
$_->query('SELECT 1') foreach @pool;
my $busy = session('busy');
$busy->send('SELECT pg_sleep(600)');
ok(wait_for($watcher, of('pool', 'idle, idle_1, idle_10, used_once, coalesce(longest_rest_ms, 0) < 2000'), '3|3|3|3|t'), 'three rest for ten times the threshold, none was used again');
ok(wait_for($watcher, of('pool', 'idle_60, used_once'), '3|3'), 'and for sixty times');
$pool[0]->query('SELECT 1');
ok(wait_for($watcher, of('pool', 'idle_1, idle_10, used_once, longest_rest_ms >= 6000'), '3|2|2|t'), 'one is used again: it was a rest');
my $longest = $watcher->query(of('pool', 'longest_rest_ms'));
$pool[0]->query('SELECT 1');
ok(samples($watcher, 2), 'and once more, soon');
is($watcher->query(of('pool', 'longest_rest_ms')), $longest, 'the longest rest stands');
is($watcher->query(of('pool', 'idle_60')), 2, 'two rest as before');
is($watcher->query(of('busy', 'idle_1, used_once')), '0|0', 'one that works does not rest');
is($watcher->query(q(SELECT count(*) FROM pool_exhaust_services WHERE idle_1 < idle_10 OR idle_10 < idle_60 OR idle_1 < used_once OR idle < idle_1)), 0, 'the figures hang together');
ok(change_setting($watcher, 'pool_exhaust.monitor' => 'off'), 'the monitor is off');
ok(wait_for($watcher, of('pool', 'idle_1, used_once'), '3|'), 'what it would have to see is not known');
ok(change_setting($watcher, 'pool_exhaust.monitor' => 'on'), 'the monitor is on');

# ---------- Patterns ----------

is($watcher->query('SELECT count(note) FROM pool_exhaust_services'), 0, 'no pattern');
my @listeners = map { session('listeners') } 1 .. 5;
$_->query('LISTEN news') foreach @listeners[ 0 .. 3 ];
is($watcher->query(of('listeners', 'note')), '', 'four listeners');
$listeners[4]->query('LISTEN news');
ok(wait_for($watcher, of('listeners', 'note'), '5 sessions wait for notifications: one for each process is enough'), 'five listeners');

# Sessions that worked and were all left before the next were opened: once, as by a host that
# vanished, and then again, as by reloads. A reserve that was never used is none of that.
my @generations;
sub generation_works
{
	my $until = time + 2.1;

	push @generations, my $generation = [ map { session('generations') } 1 .. 2 ];
	while (time < $until) { $_->query('SELECT 1') foreach @$generation; samples($watcher, 1) }
	return;
}
my $note = of('generations', "regexp_replace(note, '[0-9]+ s( ago|,)', 'N s\\1')");
my @reserve = map { session('reserve') } 1 .. 2;
$_->query('SELECT 1') foreach @reserve;
generation_works();
push @reserve, session('reserve');
is($watcher->query($note), '', 'one generation');
generation_works();
is($watcher->query($note), '2 sessions have been silent for N s, and their client host has opened others since: it vanished and is up again, or keeps an instance in reserve', 'a generation was left');
generation_works();
is($watcher->query($note), '2 generations of sessions, 4 in all, each left before the next was opened, the first N s ago: a reload that does not close its pool leaves one', 'two were');
$generations[0][0]->query('SELECT 1');
is($watcher->query($note), '', 'one is used again');
is($watcher->query(of('reserve', 'note')), '', 'a reserve that was never used');
push @pool, @reserve, map { @$_ } @generations;

my $remote = session('postgres_fdw');
ok(wait_for($watcher, of('postgres_fdw', 'note'), 'sessions of postgres_fdw: each is held by a session of the server that it comes from, for as long as that lives; postgres_fdw.application_name = \'postgres_fdw %p\' there gives its pid'), 'postgres_fdw');
push @pool, session('postgres_fdw 4711');
like($watcher->query(of('postgres_fdw 4711', 'note')), qr/^sessions of postgres_fdw: /, 'with a pid');

# ---------- Opened and closed ----------

{
	my $recent = of('comes and goes', 'opened_5m, closed_5m, in_use');
	my @there = map { session('comes and goes') } 1 .. 5;

	ok(wait_for($watcher, $recent, '5|0|5'), 'five were opened');
	$_->close foreach splice @there, 0, 3;
	ok(wait_for($watcher, $recent, '5|3|2'), 'three were closed');
	$_->close foreach @there;
	ok(wait_for($watcher, $recent, '5|5|0'), 'all were');
	$watcher->query('SELECT pool_exhaust_reset_stats()');
	ok(samples($watcher, 2), 'the monitor has seen the reset');
	push @pool, session('comes and goes');
	ok(wait_for($watcher, of('comes and goes', 'opened_5m, closed_5m'), '1|0'), 'after a reset');
}

my @processes = map { client($node, user => 'other', application_name => "worker-$_") } 1 .. 4;
is($watcher->query(q(SELECT count(note) FROM pool_exhaust_services WHERE usename = 'other')), 0, 'four names');
push @processes, client($node, user => 'other', application_name => 'worker-5');
push @processes, client($node, user => 'other', application_name => 'worker-5', database => 'template1');
is($watcher->query(q(SELECT count(*), min(note) FROM pool_exhaust_services WHERE usename = 'other' AND note IS NOT NULL)),
	'5|one of 5 services of its role with one or two sessions, 6 together, 6 of them idle, in 2 databases and from 1 client host: if they are processes of one application, one application_name lets them be compared', 'five names');

$busy->vanish;
$watcher->query(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'busy'));
$_->close foreach @pool, @listeners, $remote, @processes;
ok(wait_for($watcher, of('pool', 'in_use, idle_1, used_once, longest_rest_ms, note'), '0|0|0||'), 'a service without sessions has none of that');
$watcher->close;
left_nothing($node);
done_testing();
