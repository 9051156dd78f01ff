# The healer by hand, pool_exhaust_heal(): it ends the suspected sessions, in the
# order of the strategies, and reports each; and no other session, neither one that
# resembles a leak nor one that was a suspect until a moment before.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

# 100 slots: sixteen forgotten sessions are a growth.
my $growth = 16;

my $node = new_server('heal', streaming => 1, heals => qr{^(app|pool_exhaust_\d+)/}, conf => q(
max_connections = 100
max_worker_processes = 20
autovacuum = off
pool_exhaust.leak_threshold = 300ms
pool_exhaust.sample_interval = 50ms
pool_exhaust.heal_certainty = possible
));
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN REPLICATION; CREATE ROLE precious LOGIN;
	CREATE ROLE reader LOGIN IN ROLE pg_monitor; CREATE ROLE plain LOGIN; CREATE ROLE signaller LOGIN IN ROLE pg_monitor, pg_signal_backend;
	GRANT EXECUTE ON FUNCTION pool_exhaust_heal(boolean) TO reader, plain, signaller');
my $watcher = client($node, application_name => 'watcher');
my $load = begin_load($watcher, $node);

sub exists_still
{
	my ($client) = @_;

	return $watcher->query('SELECT count(*) FROM pg_stat_activity WHERE pid = ' . backend_pid($client));
}

sub logged_heals
{
	return slurp_file($node->logfile) =~ /LOG:  pool_exhaust: terminated session (\d+) of /g;
}

# What heal() would do or does, "strategy action n" in the order of its rows.
sub heal
{
	my ($dry_run, $client) = @_;
	my $last = '';
	my @groups;

	$client //= $watcher;
	my $rows = $client->query("SELECT coalesce(strategy, rule), action FROM pool_exhaust_heal($dry_run)") // return $client->message;
	foreach (split /\n/, $rows)
	{
		my $row = s/\|/: /r;

		push @groups, [ $row, 0 ] if $row ne $last;
		$groups[-1][1]++;
		$last = $row;
	}
	return join '; ', map { "$_->[0] $_->[1]" } @groups;
}

my $healed = "SELECT string_agg(concat(rule, ' ', healed), ', ') FROM pool_exhaust_leak_rules WHERE healed > 0";

is(heal('true'), '', 'no suspect: a dry run returns no row');
is(heal('false'), '', 'no suspect: no session is ended');

# ---------- One of each, and which are spared ----------

my $failed = failed_transaction($node, 'failed');
my $open = open_transaction($node, 'open');
my %spared = (
	superuser => client($node, application_name => 'superuser'),
	precious => open_transaction($node, 'precious', user => 'precious'),
	walsender => open_transaction($node, 'walsender', replication => 'database'),
	working => client($node, user => 'app', application_name => 'working'));
backend_pid($spared{superuser});
$spared{superuser}->query('BEGIN');
$spared{working}->send('BEGIN; SELECT pg_sleep(600)');
$watcher->query("SELECT pool_exhaust_leak($growth, 'growth')");
$watcher->query("SELECT pool_exhaust_leak(2, 'abandoned')");
$watcher->query("SELECT pool_exhaust_leak(1, 'dead client')");
ok(change_setting($watcher, 'pool_exhaust.heal_exclude_roles' => 'role_that_is_not, precious'), 'a role is excluded');
my $all = 1 + 1 + 2 + $growth + 2 + 1;
suspects_are($watcher, $all, 'one of each is suspected');
my $held = $watcher->query("SELECT sum(connections) FROM pool_exhaust_holds");
ok(samples($watcher, 20), 'off: more than a second later');
suspects_are($watcher, $all, 'off: they are suspected still');
is($watcher->query('SELECT count(*) FROM pool_exhaust_heals'), 0, 'off: no session was ended');

my $dry = join "\n", sort split /\n/, $watcher->query("SELECT concat_ws(' ', CASE WHEN service ~ '^pool_exhaust' THEN 'held' ELSE service END, rule, strategy, action) FROM pool_exhaust_heal()");
my $superuser = getpwuid($>) . '/superuser';
is($dry, join("\n", sort 'app/failed idle in transaction aborted_transaction would terminate', 'app/open idle in transaction idle_in_transaction would terminate',
		"$superuser idle in transaction idle_in_transaction spared: a superuser",
		'precious/precious idle in transaction idle_in_transaction spared: a role of pool_exhaust.heal_exclude_roles',
		('held abandoned abandoned would terminate') x 2, ('held growth growth would terminate') x $growth,
		'held dead client spared: it runs a statement'),
	'dry run: which would be ended, and why others are spared');
like(heal('true'), qr/^aborted_transaction: would terminate 1; abandoned: would terminate 2; growth: would terminate $growth; idle_in_transaction: .*; dead client: spared: it runs a statement 1$/,
	'dry run: in the order of the strategies');
is($watcher->query("SELECT string_agg(DISTINCT (h.evidence ~ '^(idle|its client) ')::text, ' ') FROM pool_exhaust_heal() h"), 'true', 'dry run: with the evidence');
suspects_are($watcher, $all, 'dry run: the suspects are the same');
is($watcher->query('SELECT count(*) FROM pool_exhaust_heals'), 0, 'dry run: no session was ended');

# Others may end what they may end by hand.
my $plain = client($node, user => 'plain');
is(heal('false', $plain), '', 'a plain role: sees no session, ends none');
$plain->query('BEGIN');
suspects_are($watcher, $all + 1, 'a plain role: is suspected itself');
is($plain->query("SELECT action FROM pool_exhaust_heal(false)"), 'spared: it runs a statement', 'a plain role: does not end itself');
$plain->close;
my $reader = client($node, user => 'reader');
is($reader->query("SELECT string_agg(action, ', ') FROM pool_exhaust_heal(false) WHERE service ~ '^app/'"), join(', ', ('spared: permission denied') x 2), 'a role that sees all may not end all');
$reader->close;
suspects_are($watcher, $all, 'all are there');

# ---------- It ends them ----------

# Two strategies, in another order; the others are not used.
ok(change_setting($watcher, 'pool_exhaust.heal_strategies' => 'growth, aborted_transaction'), 'two strategies');
ok(samples($watcher, 2), 'two strategies: some samples later');
like(heal('true'), qr/^growth: would terminate $growth; aborted_transaction: would terminate 1; /, 'two strategies: their order');
is($watcher->query("SELECT count(*) FROM pool_exhaust_heal() WHERE strategy IS NULL AND action = 'spared: no strategy in pool_exhaust.heal_strategies'"), 5,
	'two strategies: others are let alone');
like(heal('false'), qr/^growth: terminated $growth; aborted_transaction: terminated 1; /, 'two strategies: those are ended');
suspects_are($watcher, 6, 'two strategies: the others are suspected still');
is(exists_still($failed), 0, 'two strategies: the failed transaction is gone');
is(exists_still($open), 1, 'two strategies: the open one is not');
ok(wait_for($watcher, $healed, "idle in transaction 1, growth $growth"), 'two strategies: they are counted');
ok(wait_for($watcher, 'SELECT sum(connections) FROM pool_exhaust_holds', $held - $growth), 'two strategies: the hold of the growth has noticed');
is($watcher->query("SELECT string_agg(strategy || ' ' || n, ', ' ORDER BY first) FROM (SELECT strategy, count(*) AS n, min(at) AS first FROM pool_exhaust_heals GROUP BY strategy) s"),
	"growth $growth, aborted_transaction 1", 'two strategies: pool_exhaust_heals has them');
is($watcher->query("SELECT pid, service, rule, strategy, at > now() - interval '1 min', evidence ~ '^idle in a failed transaction for [0-9.]+ s, longer than 0.3 s\$' FROM pool_exhaust_heals WHERE strategy = 'aborted_transaction'"),
	backend_pid($failed) . '|app/failed|idle in transaction|aborted_transaction|t|t', 'two strategies: with all there is to know');
ok(wait_until(sub { scalar(my @logged = logged_heals()) }, $growth + 1, 'the log'), 'two strategies: so has the log');
like(slurp_file($node->logfile), qr{terminated session \Q@{[backend_pid($failed)]}\E of "app/failed", by strategy aborted_transaction\n.*DETAIL:  Rule "idle in transaction": idle in a failed transaction for }, 'two strategies: with the evidence');

# All that are left, by a role that may signal; superusers stay.
ok(change_setting($watcher, 'pool_exhaust.heal_strategies' => 'DEFAULT'), 'all strategies');
my $signaller = client($node, user => 'signaller');
ok(wait_for($signaller, 'SHOW pool_exhaust.heal_strategies', 'aborted_transaction, borrowed, abandoned, growth, idle_in_transaction'), 'all strategies are in force');
like(heal('false', $signaller), qr/^abandoned: terminated 2; idle_in_transaction: /, 'pg_signal_backend ends the rest');
ok(wait_for($watcher, $healed, "idle in transaction 2, abandoned 2, growth $growth"), 'the rest is counted');
suspects_are($watcher, 3, 'three are left');
is($watcher->query("SELECT string_agg(action, ', ' ORDER BY action) FROM pool_exhaust_heal(false)"),
	'spared: a role of pool_exhaust.heal_exclude_roles, spared: a superuser, spared: it runs a statement', 'spared sessions are spared again and again');
is(exists_still($open), 0, 'the open transaction is gone');
is(exists_still($spared{$_}), 1, "$_: is there still") foreach sort grep { $_ ne 'walsender' && $_ ne 'working' } keys %spared;
is($spared{walsender}->query('SELECT 1'), 1, 'walsender: is there still');
is($watcher->query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'working' AND state = 'active'"), 1, 'working: works still');
$watcher->query('SELECT pool_exhaust_release()');
$spared{working}->vanish;
$watcher->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'working'");
$_->close foreach $signaller, @spared{qw(superuser precious walsender)};
suspects_are($watcher, 0, 'all is over');
is($watcher->query("SELECT count(*) FROM pool_exhaust_leak_rules WHERE found <> suspects + unleaked + ended + healed"), 0, 'the counters add up');

# ---------- Used in the last moment ----------

# Those that are used, and what the healer says of them; again if they may be old enough by then to be suspected anew.
sub used
{
	my ($round) = @_;

	for (1 .. 10)
	{
		my @used = map { open_transaction($node, "used $_") } 1 .. 8;

		suspects_are($watcher, 8, "used, round $round: eight are suspected");
		my $begun = time;
		$_->query('SELECT 1') foreach @used;
		my $actions = heal('false');
		return ($actions, @used) if time < $begun + 0.3;
		diag sprintf 'to use eight sessions took %.2f s', time - $begun;
		$_->vanish foreach @used;
		suspects_are($watcher, 0, "used, round $round: once more");
	}
	die "the machine is too slow\n";
}

foreach my $round (1 .. 3)
{
	my ($actions, @used) = used($round);

	unlike($actions, qr/terminated/, "used, round $round: no session is ended");
	is(join(' ', map { $_->query('COMMIT') // $_->message } @used), ' ' x 7, "used, round $round: all of them commit");
	$_->close foreach @used;
}
my ($lost, $kept) = (0, 0);
foreach my $round (1 .. 4)
{
	my @racing = map { open_transaction($node, "racing $_") } 1 .. 8;
	my $healer = client($node, application_name => 'healer');

	suspects_are($watcher, 8, "racing, round $round: eight are suspected");
	$healer->send('SELECT pid, action FROM pool_exhaust_heal(false)') if $round % 2;
	$_->send('SELECT pg_sleep(0.05)') foreach @racing;
	$healer->send('SELECT pid, action FROM pool_exhaust_heal(false)') if $round % 2 == 0;
	my %action = map { split /\|/ } split /\n/, $healer->result // '';
	my @wrong;
	foreach (@racing)
	{
		my $ended = ($action{ backend_pid($_) } // 'no row') eq 'terminated';
		my $failed = !defined $_->result;

		$ended ? $lost++ : $kept++;
		push @wrong, ($action{ backend_pid($_) } // 'no row') . ', and ' . sqlstate($_) if $ended != $failed;
	}
	is(join('; ', @wrong), '', "racing, round $round: the sessions that ended are those of the rows");
	$_->{error} ? $_->vanish : $_->close foreach @racing;
	$healer->close;
}
note "racing: $lost ended, $kept not";

# ---------- Of which run ----------

is($watcher->query('SELECT count(*) FROM pool_exhaust_heals WHERE run_id IS NOT NULL'), 0, 'run: sessions of holds and of others are of none');
my $since = $watcher->query('SELECT clock_timestamp()');
my $run_id = $watcher->query("SELECT pool_exhaust_start('leak')") // diag $watcher->message;
is($watcher->query("SELECT pool_exhaust_wait($run_id)"), 'pass', 'run: one with leaks passes');
is( $watcher->query("SELECT count(*) > 0, bool_and(run_id = $run_id), bool_and(service ~ '^pool_exhaust_') FROM pool_exhaust_heals WHERE at > '$since'"),
	't|t|t', 'run: the sessions that were ended are its own');

# ---------- Many at once ----------

suspects_are($watcher, 0, 'many: no suspect');
my $before = $watcher->query('SELECT count(*) FROM pool_exhaust_heals');
ok(wait_until(sub { scalar(my @logged = logged_heals()) }, $before, 'the log'), 'many: the log has all before them');
$watcher->query("SELECT pool_exhaust_leak(70, 'idle in transaction (aborted)')");
suspects_are($watcher, 70, 'many: seventy are suspected');
is(heal('false'), 'aborted_transaction: terminated 70', 'many: all are ended');
suspects_are($watcher, 0, 'many: they are gone');
is($watcher->query('SELECT (SELECT count(*) FROM pool_exhaust_heals) - (SELECT sum(healed) FROM pool_exhaust_leak_rules)'), 0, 'many: each is in pool_exhaust_heals');
ok(wait_until(sub { (my @logged = logged_heals()) - $before }, 70, 'the log'), 'many: each is in the log');
ok(wait_for($watcher, 'SELECT count(*) FROM pool_exhaust_holds', 0), 'many: the hold is over');
is($watcher->query("SELECT count(*) FROM pool_exhaust_leak_rules WHERE found <> suspects + unleaked + ended + healed"), 0, 'the counters add up at the end');

$_->vanish foreach $failed, $open;
end_load($load);
$watcher->close;
left_nothing($node);
done_testing();
