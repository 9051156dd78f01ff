# What pool_exhaust_plan() says of a run is what pool_exhaust_run() does then; and the
# plan itself opens nothing and writes nothing.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use Test::More;
use Time::HiRes qw(time);

my $node = new_server('plan', conf => q(
max_connections = 40
superuser_reserved_connections = 3
autovacuum = off
));
my $watcher = client($node);
$watcher->query('SET pool_exhaust.progress = off');
$watcher->query($_) // die $watcher->message foreach 'CREATE ROLE app LOGIN CONNECTION LIMIT 6', 'CREATE ROLE tester LOGIN',
  'GRANT EXECUTE ON FUNCTION pool_exhaust_plan(text, text, jsonb) TO tester', 'CREATE DATABASE closed ALLOW_CONNECTIONS false';

# The plan of a run, "value" or "detail" by item
sub planned
{
	my ($arguments, $column, $session) = @_;
	my $rows = ($session // $watcher)->query("SELECT item, $column FROM pool_exhaust_plan($arguments)");

	return { map { split /\|/, $_, 2 } split /\n/, $rows // '' };
}

# ---------- A run that starts ----------

my $before = $watcher->query(my $footprint = q(SELECT concat_ws(' ', (SELECT count(*) FROM pool_exhaust_runs), (SELECT sum(opened) FROM pool_exhaust_services),
	(SELECT count(*) FROM pg_roles), (SELECT last_value FROM pool_exhaust_runs_id_seq))));
foreach my $run ("'saturation', 'server'", "'saturation', 'role'", "'queue'", "'isolation'", "'leak'")
{
	my $plan = planned($run, 'value');
	my $free = $watcher->query('SELECT capacity - in_use FROM pool_exhaust_slots');

	is($plan->{'would start'}, 'yes', "$run: it would start");
	is($plan->{'slots left'}, $free - $plan->{connections}, "$run: slots that it leaves");
	is($plan->{'slots left to superusers'}, $plan->{'slots left'} + 3, "$run: and to superusers");
	is($watcher->query($footprint), $before, "$run: the plan has opened and written nothing");
}

my $plan = planned(q('saturation', 'server'), 'value');
is($plan->{connections}, $watcher->query('SELECT capacity - in_use FROM pool_exhaust_slots'), 'server: all that is left');
is($watcher->query(q(SELECT pool_exhaust_wait(pool_exhaust_start('saturation', 'server')))), 'pass', 'server: it passes')
  or diag $watcher->query('SELECT pool_exhaust_report()');
is($watcher->query(q(SELECT observed_num FROM pool_exhaust_checks WHERE name = 'held connections')), $plan->{connections}, 'server: and held as many');
like(planned(q('saturation', 'server'), 'detail')->{'time of earlier runs'}, qr/^the median of 1 that passed on this target with profile quick; the longest took [\d.]+ s$/,
	'the time of earlier runs');

# A run under way holds as many at the most.
{
	my $connections = planned(q('queue'), 'value')->{connections};
	my $id = $watcher->query(q(SELECT pool_exhaust_start('queue', options => '{"pool_timeout_ms": 3000}')));

	ok(wait_for($watcher, "SELECT bool_or(connections = $connections) FROM pool_exhaust_progress", 't'), 'queue: it holds as many as planned');
	is(verdict_of($watcher, $id), 'pass', 'queue: it passes');
}

# ---------- Services ----------

{
	my @apps = map { client($node, user => 'app', application_name => 'web') } 1 .. 2;

	is(planned(q('queue'), 'value')->{'service app/web'}, '2 sessions', 'a service');
	is(planned(q('queue'), 'detail')->{'service app/web'}, 'could open 4 more to this database at its peak', 'its limit is what it has left');
	is(planned(q('saturation', 'role', '{"role_limit": 32}'), 'detail')->{'service app/web'}, 'could open 2 more to this database at its peak',
		'or the slots that the run leaves');

	# Their names are for roles that may read all statistics.
	my $tester = client($node, user => 'tester');
	is(planned(q('queue'), 'value', $tester)->{'service (others)'}, '3 sessions', 'sessions of others have no names');
	ok(!grep({ /app/ } keys %{ planned(q('queue'), 'value', $tester) }), 'nor has any row');
	$_->close foreach @apps, $tester;
	ok(wait_for($watcher, q(SELECT count(*) FROM pg_stat_activity WHERE usename IN ('app', 'tester')), 0), 'they have gone');
}

# ---------- A run that does not ----------

# What the plan says, and the ERROR of the run, as the plan would word it
sub refused_alike
{
	my ($run, $name) = @_;
	my $said = $watcher->query("SELECT value || ' ' || detail FROM pool_exhaust_plan($run) WHERE item = 'would start'") // $watcher->message;

	$watcher->query("SELECT pool_exhaust_start($run)");
	my $error = sqlstate($watcher) . ': ' . ($watcher->message =~ s/^\w+: +//r =~ s/\n.*//sr);
	like($said, qr/^no \Q$error\E/, "$name: the very error") or diag $watcher->message;
}

refused_alike(q('saturation', 'role', '{"role_limit": 500}'), 'no room');
refused_alike(q('queue', options => '{"pool_size": 100}'), 'no room for a pool');
refused_alike(q('queue', options => '{"long_operations": 1, "quick_operations": 1}'), 'options that contradict each other');
refused_alike(q('queue', options => '{"workload": "LISTEN c"}'), 'a workload that cannot be');
refused_alike(q('queue', options => '{"database": "nowhere"}'), 'a database that does not exist');
{
	my $bystander = client($node, user => 'app');
	refused_alike(q('saturation', 'server'), 'bystanders');
	is(planned(q('saturation', 'server', '{"bystanders": "abort"}'), 'value')->{bystanders}, 'abort', 'bystanders that are allowed');
	is(planned(q('saturation', 'server', '{"bystanders": "abort"}'), 'value')->{'would start'}, 'yes', 'then it would start');
	$bystander->close;
	ok(wait_for($watcher, q(SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'), 0), 'the bystander has gone');
}
{
	my $id = $watcher->query(q(SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 10000, "role_limit": 1, "timeout_ms": 300000}')));
	in_progress($watcher, 'attempt', 'a run is under way');
	my $said = planned(q('saturation', 'server', '{"bystanders": "ignore"}'), 'detail')->{'would start'};
	$watcher->query(q(SELECT pool_exhaust_start('saturation', 'server', '{"bystanders": "ignore"}')));
	like($said, qr/^55006: run $id on role is under way/, 'a run under way: the plan says so');
	like($watcher->message, qr/run $id on role is under way/, 'a run under way: as does the run');
	$watcher->query("SELECT pool_exhaust_stop($id)");
}
$watcher->query('SET pool_exhaust.max_connections_per_run = 3');
refused_alike(q('queue'), 'more than a run may hold');
$watcher->query('RESET pool_exhaust.max_connections_per_run');

ok(change_setting($watcher, 'pool_exhaust.monitor' => 'off'), 'the monitor is off');
is(planned(q('leak'), 'value')->{'would start'}, 'yes, and be invalid', 'without a monitor leaks prove nothing');
$watcher->query(q(SELECT pool_exhaust_run('leak')));
is($watcher->query(q(SELECT reason FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1)), planned(q('leak'), 'detail')->{'would start'}, 'for the reason that the run has');
is(planned(q('queue'), 'value')->{'would start'}, 'yes', 'other runs need none');
ok(change_setting($watcher, 'pool_exhaust.monitor' => 'on'), 'the monitor is on');

# ---------- Wrong arguments, rights, speed ----------

foreach ([ q('nothing'), '42704' ], [ q('queue', 'nowhere'), '42704' ], [ q('queue', options => '{"pool_sizes": 1}'), '22023' ], [ q(NULL), '22004' ])
{
	my ($arguments, $state) = @$_;
	$watcher->query("SELECT * FROM pool_exhaust_plan($arguments)");
	is(sqlstate($watcher), $state, "$arguments is an error, as for a run");
}
my $app = client($node, user => 'app');
$app->query(q(SELECT * FROM pool_exhaust_plan('queue')));
is(sqlstate($app), '42501', 'it is for roles with EXECUTE');
$app->close;

my $took_ms = 1000;
for (1 .. 10)
{
	my $begun = time;
	planned(q('all'), 'value');
	my $ms = 1000 * (time - $begun);
	$took_ms = $ms if $ms < $took_ms;
}
cmp_ok($took_ms, '<', 50, 'it takes less than 50 ms');

$watcher->close;
left_nothing($node);
done_testing();
