# All clients connect at once, and again when all are cut off: as many as fit are
# granted, the others are refused, and the ledger, the application that was connected
# before and the clean-up agree; each claim can be broken.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use Test::More;

my $node = new_server('storm', conf => q(
max_connections = 60
autovacuum = off
));
my $watcher = client($node);
my $json = JSON::PP->new->canonical;

# Runs it; the id.
sub storm { return run_scenario($watcher, 'storm', @_) }

# What a check of the run has seen.
sub observed
{
	my ($run_id, $name) = @_;

	return $watcher->query("SELECT observed FROM pool_exhaust_checks WHERE run_id = $run_id AND name = '$name'");
}

# ---------- It passes, and its figures are those of the server ----------

my $refused = "SELECT sum(refusals) FROM pool_exhaust_refusals";

foreach ([ server => {} ], [ role => {} ], [ server => { handshakes => 1 } ], [ server => { clients => 400 } ], [ server => { chaos => 20 } ])
{
	my ($target, $options) = @$_;
	my $name = "storm on $target " . $json->encode($options);
	my $before = $watcher->query($refused);
	my $run_id = storm($target, %$options);

	is(run_outcome($watcher, $run_id), 'pass', $name) or diag $watcher->query("SELECT pool_exhaust_report($run_id)");
	# A session of the application that chaos has ended is refused like others.
	cmp_ok($watcher->query($refused) - $before, $options->{chaos} ? '>=' : '==',
		observed($run_id, 'storm: refusals in the ledger') + observed($run_id, 'again: refusals in the ledger'),
		"$name: no other session was refused, and the ledger of the server knows of all");
	is( $watcher->query("SELECT count(*) FROM pool_exhaust_runs, jsonb_array_elements(summary->'phases') AS p
			WHERE id = $run_id AND (p->'figures'->'peak_per_s')::float8 > 0 AND (p->'figures'->'in_ms')::float8 > 0"),
		2, "$name: both waves have their figures");
	is($watcher->query('SELECT in_use FROM pool_exhaust_slots'), 1, "$name: nothing is left");
}
is($watcher->query('SELECT pool_exhaust_health()'), 'healthy', 'and the server is healthy') if samples($watcher, 3);

# ---------- It fails ----------

my %broken = (
	'server keep_slot' => 'fail: failed: storm: granted',
	'server miscount' => 'fail: failed: storm: refusals in the ledger, attempts not accounted for',
	'role miscount' => 'fail: failed: storm: refusals in the ledger, attempts not accounted for',
	'server leave_session' => 'fail: failed: sessions left after the storm',
	'role leave_session' => 'fail: failed: sessions left after the storm',
	'server lifo' => 'invalid: the deliberate fault broke nothing: this scenario does not try what it concerns');

foreach (sort keys %broken)
{
	my ($target, $fault) = split / /;

	is(run_outcome($watcher, storm($target, fault => $fault)), $broken{$_}, "$fault on $target");
}
like(run_outcome($watcher, storm($_, fault => 'no_limit')), qr/^invalid: no client was refused: \d+ clients, and all of them fit/, "no_limit on $_") foreach 'server', 'role';
is(run_outcome($watcher, storm('server', clients => 5)), 'pass', 'all find room');
# Another test beside this one may have a part of the processors, before the storm as well as in it: busy.pl has it fail alone.
my $suffers;
foreach (1 .. 5)
{
	$suffers = run_outcome($watcher, report_of($watcher, 'storm', 'role', keep_percent => 100, work_ms => 0, clients => 200)->{run_id});
	last if $suffers ne 'pass';
}
like($suffers, qr/^(?:fail: |invalid: the machine was too busy: .*; )failed: storm: application, throughput/, 'the application suffers');
like(run_outcome($watcher, storm('role', response_limit_ms => 1)), qr/^fail: failed: storm: slowest attempt, storm: application, slowest/, 'answers take too long');
like(run_outcome($watcher, storm('server', recovery_limit_ms => 1)), qr/^fail: failed: .*storm: time until all granted/, 'it takes too long until all are in');

# ---------- It is cut off ----------

my $run = $watcher->query("SELECT pool_exhaust_start('storm', options => '{\"baseline_ms\": 50000}')") // die $watcher->message;
in_progress($watcher, 'calm', 'before the storm');
is($watcher->query("SELECT pool_exhaust_stop($run)"), 1, 'it is stopped');
run_ends($watcher, $run, 'aborted: stopped by pool_exhaust_stop()', 'stopped before the storm');

# The more clients, the longer they come again.
$run = $watcher->query("SELECT pool_exhaust_start('storm', 'role', '{\"clients\": 20000}')") // die $watcher->message;
in_progress($watcher, 'storm', 'in the storm');
is($watcher->query("SELECT pool_exhaust_stop($run)"), 1, 'it is stopped');
run_ends($watcher, $run, 'aborted: stopped by pool_exhaust_stop()', 'stopped in the storm');

# ---------- Others come first ----------

$watcher->query('CREATE ROLE bystander LOGIN');
my $bystander = client($node, user => 'bystander');
fails_with($watcher, "SELECT pool_exhaust_run('storm')", '55006', [qr/1 client sessions of other roles/], 'beside a bystander');
is(run_outcome($watcher, storm('role')), 'pass', 'on target role it leaves them alone');
is($bystander->query('SELECT 1'), 1, 'which goes on');

$_->close foreach $bystander, $watcher;
left_nothing($node);
done_testing();
