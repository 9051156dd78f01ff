# Chaos: each act is seen from outside, the seed decides the sequence, and the
# verdicts stay true: a pool that is right passes, one with a fault does not.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('chaos', heals => qr{^pool_exhaust_\d+/pool_exhaust$}, conf => q(
max_connections = 300
max_worker_processes = 20
autovacuum = off
log_min_messages = debug1
));
my $watcher = client($node);
my $json = JSON::PP->new->canonical;

$watcher->query('SET pool_exhaust.progress = off');

# Runs a scenario to its end; the JSON report.
sub report
{
	my ($scenario, %options) = @_;
	my $target = $scenario eq 'saturation' ? 'role' : 'pool';
	my $report = $watcher->query("SELECT pool_exhaust_run('$scenario', '$target', '" . $json->encode(\%options) . "', 'json')");

	die $watcher->message if !defined $report;
	return $json->decode($report);
}

# How often the server log has it, from there on.
sub logged
{
	my ($pattern, $from) = @_;
	my @found = slurp_file($node->logfile, $from) =~ /$pattern/g;

	return scalar @found;
}

# What the seed decides of the acts, a line each.
sub sequence
{
	my ($report) = @_;

	return map { join ' ', @{$_}{qw(at_ms kind pick extent)} } @{ $report->{summary}{chaos}{acts} };
}

my $terminated = qr/terminating connection due to administrator command/;
my $dropped = qr/unexpected EOF on client connection|connection to client lost/;

# ---------- Terminated and dropped: the server log has them ----------

# Without a statement of their own, so that a dropped socket is noticed at once.
my %churn = (levels => [0], rate => 400, churn_ms => 1500);
my $from = -s $node->logfile;
my $calm = report('accuracy', %churn, seed => 42);
is($calm->{verdict}, 'pass', 'without chaos: the verdict');
ok(!exists $calm->{summary}{chaos}, 'without chaos: there is nothing to report');
is(logged($terminated, $from) + logged($dropped, $from), 0, 'without chaos: no session is ended');

$from = -s $node->logfile;
my $run = report('accuracy', %churn, seed => 42, chaos => 40);
my $chaos = $run->{summary}{chaos};
is($run->{verdict}, 'pass', 'chaos: the verdict') or diag $watcher->query('SELECT pool_exhaust_report()');
foreach my $kind (qw(terminate drop stall delay))
{
	cmp_ok($chaos->{$kind}, '>', 0, "chaos: $kind");
	is(scalar(grep { $_->{kind} eq $kind && $_->{end} eq 'done' } @{ $chaos->{acts} }), $chaos->{$kind}, "chaos: $kind: the list has as many");
}
# A backend may end by itself before it gets the signal, or hears of its socket.
foreach ([ terminate => $terminated ], [ drop => $dropped ])
{
	my ($kind, $pattern) = @$_;
	my $n = logged($pattern, $from);

	cmp_ok($n, '>=', $chaos->{$kind} * 0.7, "$kind: the server log has them");
	cmp_ok($n, '<=', $chaos->{$kind}, "$kind: and no more than those");
}
my ($line) = grep { /^chaos / } split /\n/, $watcher->query('SELECT pool_exhaust_report()');
is($line, "chaos     $chaos->{terminate} terminated, $chaos->{drop} dropped, $chaos->{stall} stalled, $chaos->{delay} delayed   seed 42", 'one line of the report');

# ---------- Delayed: a login does not wait for that ----------

# Delays are up to 200 ms, and the timeout of a connect counts from the begin.
$run = report('accuracy', %churn, seed => 42, chaos => 100, connect_timeout_ms => 60, pool_timeout_ms => 5000);
is($run->{summary}{pools}[0]{last_failure}, 'no answer in time', 'delay: a connect that was to be quick is late');
cmp_ok($run->{summary}{pools}[0]{failed}, '<=', $run->{summary}{chaos}{delay}, 'delay: and no other');

# ---------- The seed is the sequence ----------

my @first = sequence($run);
my @again = sequence(report('accuracy', %churn, seed => 42, chaos => 100));
my @other = sequence(report('accuracy', %churn, seed => 43, chaos => 100));
my @elsewhere = sequence(report('queue', seed => 42, chaos => 100));
foreach ([ 'the same seed', \@again ], [ 'the same seed, another scenario', \@elsewhere ])
{
	my ($name, $sequence) = @$_;
	my $n = @first < @$sequence ? @first : @$sequence;

	cmp_ok($n, '>=', 30, "$name: there were acts");
	is_deeply([ @{$sequence}[ 0 .. $n - 1 ] ], [ @first[ 0 .. $n - 1 ] ], "$name: the same sequence");
}
isnt($other[$_], $first[$_], "another seed: act $_ is another") foreach 0 .. 9;

# Its first act would come after 8.5 s.
report('saturation', seed => 2641, chaos => 1, role_limit => 2, attempts => 1);
like($watcher->query('SELECT pool_exhaust_report()'), qr/^chaos +disturbed no session: .* seed 2641$/m, 'a run that was too short for any act says so');
is($watcher->query('SELECT verdict FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1'), 'pass', 'and is not invalid for that');

# ---------- Stalled, and stopped in the middle ----------

# One connection that is always in use: the server waits for its client only
# while that does not read.
my $id = $watcher->query(q[SELECT pool_exhaust_start('latency', 'pool',
	'{"chaos": 8, "seed": 5, "pool_size": 1, "max_overflow": 0, "levels": [100], "level_ms": 50000}')]) // die $watcher->message;
in_progress($watcher, '100 %', 'stall: a run is under way');
ok(wait_for($watcher, q[SELECT count(*) > 0 FROM pg_stat_activity WHERE usename ~ '^pool_exhaust_'
	AND state = 'idle' AND clock_timestamp() - state_change > '150 ms'], 't'), 'stall: the server waits for its client');
is($watcher->query("SELECT pool_exhaust_stop($id)"), 1, 'it is stopped');
run_ends($watcher, $id, 'aborted: stopped by pool_exhaust_stop()', 'stopped');
like($watcher->query("SELECT pool_exhaust_report($id)"), qr/^chaos +\d+ terminated, \d+ dropped, \d+ stalled, \d+ delayed   seed 5$/m, 'stopped: it reports what was done');

# ---------- True verdicts ----------

# Small, but with room for a busy machine.
my %options = (
	saturation => { role_limit => 10, attempts => 5 },
	queue => { long_ms => 200, pool_timeout_ms => 1000, tolerance_ms => 3000 },
	degradation => { pool_size => 4, max_overflow => 2, work_ms => 10, baseline_ms => 200, sustained_ms => 800,
		burst_ms => 100, burst_every_ms => 400, burst_percent => 150, pool_timeout_ms => 1500, response_limit_ms => 5000 },
	isolation => { baseline_ms => 300, exhaust_ms => 1000, pool_timeout_ms => 800, long_ms => 1000, tolerance_ms => 400 },
	latency => { levels => [50], level_ms => 500, latency_limit_ms => 400, tolerance_percent => 30 },
	accuracy => { levels => [ 0, 150 ], churn_ms => 800, failing_percent => 20, pool_timeout_ms => 5000 },
	leak => { tolerance_ms => 3000 },
	recovery => { leak_threshold_ms => 300 },
	backpressure => { clients => 16, tolerance_ms => 3000 });
my %faults = (
	saturation => [ 'keep_slot', 'held connections' ],
	queue => [ 'lifo', 'granted after a later request' ],
	degradation => [ 'lost_wakeup', 'requests without an end' ],
	isolation => [ 'shared_between_services', 'the second service' ],
	latency => [ 'slow_grant', 'p99 wait at 50 %' ],
	accuracy => [ 'leak_on_error', 'connections not released' ],
	leak => [ 'leak_on_error', 'connections not released' ],
	recovery => [ 'never_heal', 'sessions that the healer ended' ],
	backpressure => [ 'http_no_retry_after', 'refusals without Retry-After' ]);
my @seeds = (1 .. 3);

# Where a scenario is run, and its runs: one with a fault comes last.
sub runs
{
	my ($scenario) = @_;
	my $target = $scenario eq 'saturation' ? 'role' : 'pool';
	my @runs = map { { chaos => 10, seed => $_, %{ $options{$scenario} } } } $scenario eq 'leak' ? @seeds[ 0, 1 ] : @seeds;

	push @runs, { %{ $runs[0] }, fault => $faults{$scenario}[0], $scenario eq 'recovery' ? (recovery_limit_ms => 3000) : () };
	return ($target, @runs);
}

# They begin, one after the other.
sub begin
{
	my ($scenario) = @_;
	my ($target, @runs) = runs($scenario);
	my $client = client($node);

	$client->send(
		join ';', 'SET pool_exhaust.progress = off',
		map { "SELECT pool_exhaust_run('$scenario', '$target', '" . $json->encode($_) . "', 'json')" } @runs);
	return $client;
}

# What came of them; those that proved nothing are run again, now that nothing else is under way.
sub judge
{
	my ($scenario, $result) = @_;
	my @reports = map { $json->decode($_) } grep { length } split /\n/, $result;
	my $faulty = pop @reports;
	my ($fault, $claim) = @{ $faults{$scenario} };
	my ($target, @runs) = runs($scenario);
	my $acts = 0;

	foreach my $report (@reports)
	{
		my $run = shift @runs;
		$report = until_proved(sub { report_of($watcher, $scenario, $target, %$run) }) if proved_nothing($report);
		is($report->{verdict}, 'pass', "$scenario, seed $report->{seed}: passes")
		  or diag $watcher->query("SELECT pool_exhaust_report($report->{run_id})");
		$acts += $report->{summary}{chaos}{$_} foreach qw(terminate drop stall delay);
	}
	cmp_ok($acts, '>', 0, "$scenario: was disturbed");
	$faulty = until_proved(sub { report_of($watcher, $scenario, $target, %{ $runs[0] }) }) if proved_nothing($faulty);
	is($faulty->{verdict}, 'fail', "$scenario with $fault: fails");
	like($faulty->{reason}, qr/\Q$claim\E/, "$scenario with $fault: for its reason")
	  or diag $watcher->query("SELECT pool_exhaust_report($faulty->{run_id})");
}

# Five at a time: as one ends, another begins.  Those of leak take longest.
my @waiting = qw(leak recovery degradation isolation latency saturation queue accuracy backpressure);
my (%clients, %results);
foreach my $scenario (qw(latency isolation degradation recovery saturation queue accuracy backpressure leak))
{
	$clients{$_} = begin($_) foreach splice @waiting, 0, 5 - keys %clients;
	my $client = delete $clients{$scenario};
	$results{$scenario} = $client->result // die $client->message;
	$client->close;
}
judge($_, $results{$_}) foreach sort keys %results;

# ---------- Not of holds ----------

fails_with($watcher, q[SELECT pool_exhaust_hold(1, options => '{"chaos": 1}')], '22023',
	[qr/a hold has no option "chaos"/], 'a hold knows no chaos');
isnt($watcher->query(q(SELECT count(*) FROM pool_exhaust_checks WHERE operator = 'up to')), 0, 'chaos is excused up to what it did');
is(wrong_outcomes($watcher), q(), 'each outcome follows from the numbers of its check');
$watcher->close;
left_nothing($node);
done_testing();
