# Scenarios leak and recovery end as they should wherever they are cut off, and
# say why where they cannot prove anything.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use Test::More;

my $node = new_server('leak_runs', heals => qr{^pool_exhaust_\d+/pool_exhaust$}, conf => q(
max_connections = 120
max_worker_processes = 20
autovacuum = off
));
my $watcher = client($node);
my $json = JSON::PP->new->canonical;

# Each phase lasts until the run is cut off, or nearly so.
my %options = (
	operate => { operations => 2000, work_ms => 20 },
	leak => { leak_threshold_ms => 3000 },
	rest => { leak_threshold_ms => 1000 },
	heal => { fault => 'never_heal', leak_threshold_ms => 400, recovery_limit_ms => 30000 },
	baseline => { operations => 2000 },
	exhaust => { pool_timeout_ms => 5000 },
	'heal of recovery' => { fault => 'never_heal', leak_threshold_ms => 400, recovery_limit_ms => 30000 },
	vanish => { vanish_ms => 5000, leak_threshold_ms => 400 });

# Three runs side by side: one is stopped, the caller of one is canceled, and the
# worker of one is terminated.
foreach (
	[ leak => 'operate' ], [ leak => 'leak' ], [ leak => 'rest' ], [ leak => 'heal' ],
	[ recovery => 'baseline' ], [ recovery => 'exhaust' ], [ recovery => 'heal', 'heal of recovery' ], [ recovery => 'vanish' ])
{
	my ($scenario, $phase, $key) = @$_;
	my $name = "$scenario, $phase";
	my $run = "('$scenario', options => '" . $json->encode($options{ $key // $phase }) . "')";
	my ($stopped, $terminated) = map { $watcher->query("SELECT pool_exhaust_start$run") // die $watcher->message } 1 .. 2;
	my $caller = client($node);
	my $pid = $caller->query('SELECT pg_backend_pid()');

	$caller->query('SET pool_exhaust.progress = off');
	$caller->send("SELECT pool_exhaust_run$run");
	ok(wait_for($watcher, "SELECT count(*) FROM pool_exhaust_progress WHERE phase = '$phase'", 3), "$name: three runs are there");
	my $canceled = $watcher->query('SELECT max(run_id) FROM pool_exhaust_progress');
	is($watcher->query("SELECT pool_exhaust_stop($stopped)"), 1, "$name: one is stopped");
	$watcher->query("SELECT pg_cancel_backend($pid)");
	$caller->result;
	is(sqlstate($caller), '57014', "$name: the caller of one is canceled");
	is($watcher->query("SELECT bool_or(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'pool_exhaust runner'"), 't', "$name: one is terminated");
	ok(wait_for($watcher, 'SELECT count(*) FROM pool_exhaust_progress', 0), "$name: it ends");
	ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE usename ~ '^pool_exhaust_'", 0), "$name: no session is left");
	run_ends($watcher, $stopped, 'aborted: stopped by pool_exhaust_stop()', "$name, stopped");
	run_ends($watcher, $canceled, 'aborted: canceled by the caller', "$name, canceled");
	run_ends($watcher, $terminated, 'aborted: the runner was asked to terminate', "$name, terminated");
	$caller->close;
}
ok(wait_for($watcher, 'SELECT sum(suspects) FROM pool_exhaust_leak_rules', 0), 'no suspect is left');

# ---------- What cannot be proved ----------

ok(change_setting($watcher, 'pool_exhaust.monitor' => 'off'), 'the monitor is off');
foreach my $scenario ('leak', 'recovery')
{
	$watcher->query("SELECT pool_exhaust_run('$scenario')");
	is($watcher->query("SELECT concat_ws(': ', verdict, reason) FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1"),
		'invalid: the monitor does not run, so no leak can be found: see pool_exhaust.monitor', "$scenario: without a monitor nothing can be proved");
}
my $unwatched = run_scenario($watcher, 'saturation', 'role');
is(run_outcome($watcher, $unwatched), 'pass', 'saturation: without a monitor the rest is proved');
is($watcher->query("SELECT outcome || ': ' || detail FROM pool_exhaust_checks WHERE run_id = $unwatched AND name ~ '^monitored'"),
	'skip: the monitor is off: pool_exhaust.monitor', 'saturation: and what it would have noticed is not claimed');
ok(change_setting($watcher, 'pool_exhaust.monitor' => 'on'), 'the monitor is on');
ok(samples($watcher, 2), 'and takes samples');

# Nor is it proved that the monitor is slow where the machine gives it no time, or that its
# rules miss a leak where it has not looked for so long that it starts again.
foreach ([ '2.3 s', 'slowest to be found' ], [ '3.5 s', 'found abandoned' ])
{
	my ($late, $failed) = @$_;
	my $pid = monitor_pid($watcher);
	my $run_id = $watcher->query(q(SELECT pool_exhaust_start('leak', options => '{"leak_threshold_ms": 1500, "tolerance_ms": 100}')));

	in_progress($watcher, 'leak', 'a late monitor: leaks are there');
	kill 'STOP', $pid;
	my $until = $watcher->query("SELECT elapsed + '$late' FROM pool_exhaust_progress");
	ok(wait_for($watcher, "SELECT elapsed > '$until' FROM pool_exhaust_progress", 't'), 'a late monitor: it gets no time for longer than the claim allows');
	kill 'CONT', $pid;
	verdict_of($watcher, $run_id);
	like(run_outcome($watcher, $run_id),
		qr/^invalid: the machine was too busy: .* a sample of the monitor was \d{4} ms late.*; failed: .*$failed/, "a monitor that is $late late: it proves nothing");
}

# It heals its own sessions, and no others.
ok(change_setting($watcher, 'pool_exhaust.leak_threshold' => "'300ms'"), 'a low threshold for others');
my $bystander = client($node, application_name => 'bystander');
$bystander->query('BEGIN');
foreach my $scenario ('leak', 'recovery')
{
	is($watcher->query("SELECT pool_exhaust_wait(pool_exhaust_start('$scenario'))"), 'pass', "$scenario: passes beside a leak of another session")
	  or diag $watcher->query('SELECT pool_exhaust_report()');
}
is($watcher->query("SELECT service ~ '/bystander' FROM pool_exhaust_leaks"), 't', 'that is suspected');
is($bystander->query('SELECT 1'), 1, 'and was not ended');
$_->close foreach $bystander, $watcher;
left_nothing($node);

# ---------- A small server ----------

$node = new_server('small', heals => qr{^pool_exhaust_\d+/pool_exhaust$}, conf => q(
max_connections = 30
autovacuum = off
));
$watcher = client($node);
foreach my $scenario ('leak', 'recovery')
{
	is($watcher->query("SELECT pool_exhaust_wait(pool_exhaust_start('$scenario'))") // $watcher->message, 'pass', "$scenario on a small server")
	  or diag $watcher->query('SELECT pool_exhaust_report()');
}
$watcher->close;
left_nothing($node);
done_testing();
