# How certain a leak must be for the healer to end it, pool_exhaust.heal_certainty: by
# hand and by the monitor; what is only possible is spared unless that says so.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# 40 slots: six forgotten sessions are a growth.
my $growth = 6;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = new_server('certainty', heals => qr{^(app|pool_exhaust_\d+)/}, conf => qq(
max_connections = 40
max_worker_processes = 20
autovacuum = off
pool_exhaust.leak_threshold = 300ms
pool_exhaust.sample_interval = 50ms
pool_exhaust.http_port = $port
));
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
my $watcher = client($node, application_name => 'watcher');

my %leaks = (
	failed => failed_transaction($node, 'failed'),
	open   => open_transaction($node, 'open'),
	lent   => client($node, user => 'app', application_name => 'lent'),
	within => open_transaction($node, 'within'));
$_->query(q(SET pool_exhaust.borrower = 'orders.py:57')) foreach @leaks{qw(lent within)};
backend_pid($leaks{lent});
$watcher->query("SELECT pool_exhaust_leak(2, 'abandoned')");
$watcher->query("SELECT pool_exhaust_leak($growth, 'growth')");
$watcher->query("SELECT pool_exhaust_leak(1, 'dead client')");
suspects_are($watcher, 4 + 2 + $growth + 1, 'one of each is suspected');

my $by_rule = q(SELECT string_agg(concat_ws(' ', rule, certainty, n), ', ' ORDER BY rule, certainty) FROM (SELECT rule, certainty, count(*) AS n FROM %s GROUP BY 1, 2) s);
my $all = "abandoned possible 2, borrowed certain 2, dead client certain 1, growth possible $growth, idle in transaction certain 1, idle in transaction likely 1";
is($watcher->query(sprintf $by_rule, 'pool_exhaust_leaks'), $all, 'how certain each is');
is($watcher->query(sprintf $by_rule, 'pool_exhaust_heal()'), $all, 'pool_exhaust_heal() says so, too');
my %metrics = %{ http_metrics($port) };
is(join(', ', map { "$_ $metrics{$_}" } sort grep { /^leak_suspects/ } keys %metrics), join(', ', map { sprintf 'leak_suspects{rule="%s",certainty="%s"} %d', @$_ }
		[ 'abandoned', 'possible', 2 ], [ 'borrowed', 'certain', 2 ], [ 'dead client', 'certain', 1 ], [ 'growth', 'possible', $growth ],
		[ 'idle in transaction', 'certain', 1 ], [ 'idle in transaction', 'likely', 1 ]), '/metrics says so, too');

# ---------- By hand ----------

# What pool_exhaust_heal() would do, by strategy.
sub heal
{
	return $watcher->query(q(SELECT string_agg(concat_ws(': ', strategy, action, n), '; ' ORDER BY strategy, action) FROM
		(SELECT coalesce(strategy, rule) AS strategy, action, count(*) AS n FROM pool_exhaust_heal() GROUP BY 1, 2) s));
}

my $less = 'spared: less certain than pool_exhaust.heal_certainty';
my $end = 'would terminate';
is($watcher->query('SHOW pool_exhaust.heal_certainty'), 'likely', 'likely is the default');
foreach ([ certain => $less, $less ], [ likely => $end, $less ], [ possible => $end, $end ])
{
	my ($certainty, $likely, $possible) = @$_;

	ok(change_setting($watcher, 'pool_exhaust.heal_certainty' => $certainty), $certainty);
	is(heal(), "abandoned: $possible: 2; aborted_transaction: $end: 1; borrowed: $end: 2; dead client: spared: it runs a statement: 1; growth: $possible: $growth; idle_in_transaction: $likely: 1",
		"$certainty: what would be ended");
}

# ---------- By the monitor ----------

my $healed = q(SELECT string_agg(concat_ws(' ', strategy, certainty, n), ', ' ORDER BY strategy) FROM (SELECT strategy, certainty, count(*) AS n FROM pool_exhaust_heals GROUP BY 1, 2) s);
ok(change_setting($watcher, 'pool_exhaust.heal_certainty' => 'certain', 'pool_exhaust.heal' => 'always'), 'the monitor, certain');
ok(wait_for($watcher, $healed, 'aborted_transaction certain 1, borrowed certain 2'), 'certain: those are ended');
ok(samples($watcher, 20), 'certain: a second later');
is($watcher->query($healed), 'aborted_transaction certain 1, borrowed certain 2', 'certain: and no others');
ok(change_setting($watcher, 'pool_exhaust.heal_certainty' => 'DEFAULT'), 'the monitor, likely');
ok(wait_for($watcher, $healed, 'aborted_transaction certain 1, borrowed certain 2, idle_in_transaction likely 1'), 'likely: the open transaction is ended');
ok(samples($watcher, 20), 'likely: a second later');
is($watcher->query(sprintf $by_rule, 'pool_exhaust_leaks'), "abandoned possible 2, dead client certain 1, growth possible $growth", 'likely: what is possible is spared');
is($watcher->query(q(SELECT string_agg(DISTINCT evidence ~ 'borrowed .* ago by "orders.py:57"$' || ' ' || service, ', ') FROM pool_exhaust_heals WHERE strategy = 'borrowed')), 'true app/lent, true app/within', 'the healer has the borrower');
ok(wait_until(sub { scalar(() = slurp_file($node->logfile) =~ /by strategy borrowed\n.*DETAIL:  Rule "borrowed": idle.* by "orders\.py:57"\./g) }, 2, 'the log'), 'so has the log');

# A run leaks on purpose, and says what is to be ended of it.
ok(change_setting($watcher, 'pool_exhaust.heal_certainty' => 'certain', 'pool_exhaust.heal' => 'off'), 'certain, and off');
is(until_proved(sub { report_of($watcher, 'leak') })->{verdict}, 'pass', 'a run with leaks passes, whatever the settings are');
ok(change_setting($watcher, 'pool_exhaust.heal_certainty' => 'possible', 'pool_exhaust.heal' => 'always'), 'the monitor, possible');
ok(wait_for($watcher, sprintf($by_rule, 'pool_exhaust_leaks'), 'dead client certain 1'), 'possible: all are ended that run no statement');

$watcher->query('SELECT pool_exhaust_release()');
$_->vanish foreach values %leaks;
suspects_are($watcher, 0, 'all is over');
is($watcher->query('SELECT count(*) FROM pool_exhaust_leak_rules WHERE found <> suspects + unleaked + ended + healed'), 0, 'the counters add up');
$watcher->close;
left_nothing($node);
done_testing();
