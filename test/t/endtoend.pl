# The life of an application and its pool in one run: it passes on a clean server,
# each phase finds the fault that concerns it, and whatever cuts it off leaves
# nothing behind.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use Test::More;

my $node = new_server('endtoend', heals => qr{^pool_exhaust_\d+/pool_exhaust$}, conf => q(
max_connections = 60
max_worker_processes = 20
autovacuum = off
));
my $watcher = client($node);
my $json = JSON::PP->new->canonical;

# Runs it; the id.
sub endtoend { return run_scenario($watcher, 'endtoend', @_) }

# ---------- It passes ----------

my @phases = ('calm', 'ramp', 'saturated', 'queue', 'degraded', 'leak', 'heal', 'calm again', 'clean up', 'machine');

foreach (
	[ server => {}, 0 ], [ pool => {}, 1 ],
	[ server => { pool_size => 6, max_overflow => 3, operations => 40 }, 0 ], [ server => { chaos => 20, pool_timeout_ms => 1500, tolerance_ms => 3000 }, 0 ])
{
	my ($target, $options, $skipped) = @$_;
	my $name = "endtoend on $target " . $json->encode($options);
	my $run_id = endtoend($target, %$options);

	is(run_outcome($watcher, $run_id), 'pass', $name) or diag $watcher->query("SELECT pool_exhaust_report($run_id)");
	is($watcher->query("SELECT string_agg(p->>'phase', ', ' ORDER BY n) FROM pool_exhaust_runs,
			jsonb_array_elements(summary->'phases') WITH ORDINALITY AS e(p, n) WHERE id = $run_id AND p->>'phase' <> 'chaos'"),
		join(', ', @phases), "$name: all phases");
	is($watcher->query("SELECT string_agg(DISTINCT split_part(name, ':', 1), ', ') FROM pool_exhaust_checks
			WHERE run_id = $run_id AND name LIKE '%:%'"),
		'calm, calm again, degraded, heal, leak, queue, ramp, saturated', "$name: each makes its claims");
	is($watcher->query("SELECT count(*) FROM pool_exhaust_checks WHERE run_id = $run_id AND outcome = 'skip'"), $skipped,
		"$name: nothing is skipped that can be tried");
}

# ---------- It fails ----------

my %broken = (
	'server keep_slot' => qr/^fail: failed: saturated: slots in use/,
	'server miscount' => qr/^fail: failed: saturated: refusals in the ledger/,
	'pool miscount' => qr/^fail: failed: calm again: connections not released/,
	'server leave_session' => qr/^fail: failed: saturated: sessions left/,
	'pool slow_grant' => qr/^fail: failed: calm: operations$/,
	# On a slow server a request may wait for so long that it is not granted.
	'pool lifo' => qr/^fail: failed: (?:ramp: not granted|queue: granted after a later request)/,
	'pool ignore_timeout' => qr/^fail: failed: queue: timed out/,
	'pool early_timeout' => qr/^fail: failed: queue: earliest timeout/,
	# Where requests wait before that, because the server is slow, it shows there.
	'pool lost_wakeup' => qr/^fail: failed: (?:calm: operations, attempts not accounted for$|(?:ramp|queue): requests without an end)/,
	'pool no_limit' => qr/^fail: failed: (?:ramp|queue): peak in use/,
	'pool never_heal' => qr/^fail: failed: heal: sessions ended, heal: leaks that are left, heal: health of the pool$/,
	'pool accuse' => qr/^invalid: the deliberate fault broke nothing/);

foreach (sort keys %broken)
{
	my ($target, $fault) = split / /;
	my $run_id = endtoend($target, fault => $fault, tolerance_ms => 3000, $fault eq 'never_heal' ? (recovery_limit_ms => 2000) : ());

	like(run_outcome($watcher, $run_id), $broken{$_}, "$fault on $target") or diag $watcher->query("SELECT pool_exhaust_report($run_id)");
}

# A failure has the reason of its own phase: before, in the queue, requests timed out.
{
	my $run_id = $watcher->query(q(SELECT pool_exhaust_start('endtoend', 'pool', '{"operations": 100}'))) // die $watcher->message;

	in_progress($watcher, 'calm again', 'an operation that breaks: the run is there');
	ok(wait_for($watcher, "SELECT count(*) FROM (SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE usename LIKE 'pool\\_exhaust%' AND state = 'active' AND query LIKE '%pg_sleep%' LIMIT 1) AS t", 1), 'an operation that breaks: its session is terminated');
	is(verdict_of($watcher, $run_id), 'fail', 'an operation that breaks: verdict');
	like($watcher->query("SELECT detail FROM pool_exhaust_checks WHERE run_id = $run_id AND name = 'calm again: operations'"),
		qr/^the (?:last connection that was lost: 57P01|server log says why)/, 'an operation that breaks: why');
}

# ---------- What cannot be, and what cannot be proved ----------

fails_with($watcher, qq(SELECT pool_exhaust_run('endtoend', options => '{"max_overflow": 0}')), '22023',
	[qr/options contradict each other/, qr/Raise max_overflow/], 'a pool that never grows');
fails_with($watcher, qq(SELECT pool_exhaust_run('endtoend', options => '{"long_ms": 1000}')), '22023',
	[qr/options contradict each other/, qr/Lower long_ms/], 'a queue that no client has the patience for');
fails_with($watcher, q(SELECT pool_exhaust_run('endtoend', 'role')), '22023', [qr/cannot aim at target "role"/], 'another target');
ok(change_setting($watcher, 'pool_exhaust.monitor' => 'off'), 'the monitor is off');
is(run_outcome($watcher, endtoend('pool')), 'invalid: the monitor does not run, so no leak can be found: see pool_exhaust.monitor', 'without a monitor');
ok(change_setting($watcher, 'pool_exhaust.monitor' => 'on'), 'the monitor is on');
ok(samples($watcher, 2), 'and takes samples');

# ---------- It is cut off ----------

foreach (
	[ ramp => { level_ms => 30000 } ],
	[ queue => { long_ms => 5000, pool_timeout_ms => 30000 } ],
	[ degraded => { sustained_ms => 30000 } ],
	[ leak => { leak_threshold_ms => 30000 } ],
	[ heal => { fault => 'never_heal' } ])
{
	my ($phase, $options) = @$_;
	my $run_id = $watcher->query("SELECT pool_exhaust_start('endtoend', options => '" . $json->encode($options) . "')")
	  // die $watcher->message;

	in_progress($watcher, $phase, "$phase: the run is there");
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, "$phase: it is stopped");
	run_ends($watcher, $run_id, 'aborted: stopped by pool_exhaust_stop()', $phase);
}

# ---------- Others come first ----------

$watcher->query('CREATE ROLE bystander LOGIN');
my $bystander = client($node, user => 'bystander');
fails_with($watcher, "SELECT pool_exhaust_run('endtoend')", '55006', [qr/1 client sessions of other roles/], 'beside a bystander');
is(run_outcome($watcher, endtoend('pool')), 'pass', 'on target pool it leaves them alone');

# One login at a time keeps the server full for longer; a bystander refused then
# ends it.  It is full for a moment, which may be missed.
my $run_id;
my $end = '';
foreach (1 .. 10)
{
	$run_id = $watcher->query(q(SELECT pool_exhaust_start('endtoend', options => '{"bystanders": "abort", "handshakes": 1, "max_overflow": 20}')))
	  // die $watcher->message;
	my $over = wait_until(
		sub {
			login($node, user => 'bystander')->close;
			$end = $watcher->query("SELECT verdict FROM pool_exhaust_runs WHERE id = $run_id");
			$end ne '' ? 'over' : 'on';
		},
		'over', 'a run beside a bystander that attempts');
	last if !$over || $end eq 'aborted';
}
is($end, 'aborted', 'a bystander that is refused ends it');
run_ends($watcher, $run_id, 'aborted: another client was refused a slot (option bystanders = abort)', 'refused');

$_->close foreach $bystander, $watcher;
left_nothing($node);
done_testing();
