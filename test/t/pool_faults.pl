# A pool that breaks its rules is found out: each deliberate fault fails the
# scenario whose claim it breaks, by the checks that make this claim and by no
# others. A scenario that does not try what the fault concerns does not pass
# either: it proved nothing.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use Test::More;

my $node = new_server('faults', heals => qr{^pool_exhaust_\d+/pool_exhaust$}, conf => q(
max_connections = 400
max_worker_processes = 20
autovacuum = off
));
my $watcher = client($node);
my $json = JSON::PP->new->canonical;

# Small, but with room for a busy machine: the question is whether a fault is
# found, not how fast the pool is.
my %options = (
	saturation => { role_limit => 4, attempts => 2 },
	queue => { long_ms => 200, pool_timeout_ms => 1000, tolerance_ms => 3000 },
	degradation => { pool_size => 4, max_overflow => 2, work_ms => 10, baseline_ms => 200, sustained_ms => 800,
		burst_ms => 100, burst_every_ms => 400, burst_percent => 150, pool_timeout_ms => 1500, connect_timeout_ms => 1000,
		response_limit_ms => 2000 },
	isolation => { baseline_ms => 200, exhaust_ms => 1000, pool_timeout_ms => 800, long_ms => 1000, tolerance_ms => 400 },
	latency => { levels => [50], level_ms => 500, pool_timeout_ms => 1000, latency_limit_ms => 400, tolerance_percent => 30 },
	leak => { tolerance_ms => 3000, recovery_limit_ms => 20000, pool_timeout_ms => 5000 },
	recovery => { leak_threshold_ms => 300, recovery_limit_ms => 10000 },
	accuracy => { levels => [ 0, 150 ], churn_ms => 500, rate => 400, failing_percent => 20, pool_timeout_ms => 1000, seed => 7 });

# The checks that fail: "name: expected, not observed"; # is a number that
# varies, * a word. A text is another verdict.
my %broken = (
	queue => {
		lifo => ['granted after a later request: 0, not 14'],
		ignore_timeout => ['timed out: 5, not 0'],
		early_timeout => ['earliest timeout: >= 1000, not #'],
		lost_wakeup => [ 'wrong queue lengths: 0, not #', 'requests without an end: 0, not 1', 'attempts not accounted for: 0, not 1' ],
		no_limit => [ 'peak in use: <= 5, not #', 'timed out: 5, not 0' ],
		miscount => ['connections not released: 0, not 1'] },
	degradation => {
		lost_wakeup => [ '*: requests without an end: 0, not 1', 'attempts not accounted for: 0, not 1' ],
		slow_grant => [ 'baseline: not granted: 0, not 1', 'capacity: not granted: 0, not 6' ] },
	isolation => {
		lost_wakeup => [ 'the first: requests without an end: 0, not 1', 'attempts not accounted for: 0, not #' ],
		no_limit => 'invalid: the first service was not exhausted: every request was granted; raise exhaust_ms or long_ms, or lower pool_timeout_ms',
		shared_between_services => [
			'success of the second service: >= 99, not #',
			'errors in the second service: 0, not #',
			'p99 of the second service: <= #, not #' ] },
	latency => {
		lost_wakeup => ['attempts not accounted for: 0, not 1'],
		slow_grant => ['p99 wait at 50 %: <= 10, not #'] },
	leak => {
		leak_on_error => ['connections not released: 0, not #'],
		miscount => [ 'connections not released: 0, not 1', 'sessions beside those of the pool: 0, not -1' ],
		miss_leak => ['found without a client: 1, not 0'],
		accuse => [ 'suspects that are no leaks: 0, not 1', 'sessions that the healer ended: 19, not 20', 'sessions ended that are no leaks: 0, not 1' ],
		never_heal => [ 'leaks ended by the healer: 19, not 0', 'sessions that the healer ended: 19, not 0' ] },
	recovery => {
		ignore_timeout => 'invalid: the pool could not be exhausted: 6 of 6 connections in use, 0 requests timed out; a full pool must let requests time out: check pool_timeout_ms, max_overflow and, of a pooler, its pool size',
		no_limit => 'invalid: the pool could not be exhausted: 8 of 6 connections in use, 0 requests timed out; a full pool must let requests time out: check pool_timeout_ms, max_overflow and, of a pooler, its pool size',
		leak_on_error => [ 'first success after the kill: <= 10000, not never', 'as fast as before the kill: <= 10000, not never' ],
		never_heal => [
			'first success after the leaks: <= 3000, not never',
			'as fast as before the leaks: <= 3000, not never',
			'healthy after the leaks: <= 3000, not never',
			'sessions that the healer ended: 4, not 0',
			'strategies in their order: aborted_transaction > idle_in_transaction, not none',
			'lock waits that did not end: 0, not 2' ] },
	accuracy => {
		lost_wakeup => [ 'requests without an end: 0, not 1', 'attempts not accounted for: 0, not 1' ],
		leak_on_error => [ 'connections in use on average: # +- #, not #', 'connections not released: 0, not 6' ],
		miscount => [
			'pool at 150 %: in use 6, idle 0, overflow 2, waiting 0, not in use 7, idle 0, overflow 3, waiting 0',
			'longest disagreement in motion: <= 200, not #',
			'granted in the churn: #, not #',
			'connections in use on average: # +- #, not #',
			'connections not released: 0, not 1' ] });
my $broke_nothing = 'invalid: the deliberate fault broke nothing: this scenario does not try what it concerns';

# Tried by faults.pl
my %of_saturation = map { $_ => 1 } qw(keep_slot miscount no_limit leave_session miss_health);

# It may be a client in the background whose turn is lost, or one that is
# measured.
my %either = ('latency lost_wakeup' => [ '100 %: requests without an end: 0, not 1', 'attempts not accounted for: 0, not 1' ]);

# At 50 % a request need not wait, and then there is no wakeup to lose. And a grant that
# is late by little proves nothing while others take the processors. Without a limit a
# request times out only where a login takes as long.
my %certain = ('latency lost_wakeup' => { levels => [100] }, 'latency slow_grant' => { latency_limit_ms => 10, fault_ms => 400 },
	'isolation no_limit' => { long_ms => 6000, pool_timeout_ms => 5000 });

# Which client these forget is a matter of luck, and so is what that breaks.
my %luck = map { $_ => 1 } 'leak lost_wakeup', 'recovery lost_wakeup';

# These wait in vain for the last client, for the first limit, or to be healed:
# about so many seconds.
my %slow = ('isolation ignore_timeout' => 12, 'isolation lost_wakeup' => 12, 'isolation no_limit' => 12,
	'latency lost_wakeup' => 12, 'accuracy lost_wakeup' => 12,
	'leak miss_leak' => 20, 'leak never_heal' => 18,
	map { ("recovery $_" => 12) } qw(ignore_timeout no_limit leak_on_error));

# A client that is not healed, or not woken, waits as long as this.
sub patience
{
	my ($scenario, $fault) = @_;

	return (timeout_ms => 120000) if $fault eq 'lost_wakeup';
	return (recovery_limit_ms => 3000) if $fault eq 'never_heal' && $scenario =~ /^(leak|recovery)$/;
	return;
}

# The reference API is served by backpressure alone: backpressure.pl has its faults.
my @faults = grep { !/^(none|http_\w+|liveness_down)$/ } split /, /,
  $watcher->query("SELECT options->'fault'->>'values' FROM pool_exhaust_scenarios WHERE name = 'queue'");
foreach my $fault (@faults)
{
	ok($of_saturation{$fault} || grep({ ref($broken{$_}{$fault}) eq 'ARRAY' } keys %broken),
		"$fault: there is a scenario that it fails");
}

# All runs, on eight lanes: one after the other on each, the slow ones first.
# Those that are to be healed have five of them, for the healer takes its time.
my @jobs;
foreach my $scenario (sort keys %options)
{
	foreach my $fault (@faults)
	{
		next if $scenario eq 'saturation' && $of_saturation{$fault};
		next if $luck{"$scenario $fault"};
		push @jobs,
		  { scenario => $scenario, fault => $fault, name => "$scenario with $fault",
			cost => $slow{"$scenario $fault"} // ($scenario eq 'leak' ? 7 : $scenario eq 'recovery' ? 4 : 2) };
	}
}
my @lanes = map { { cost => 0, client => client($node), jobs => [] } } 1 .. 8;
foreach my $job (sort { $b->{cost} <=> $a->{cost} } @jobs)
{
	my ($lane) = sort { $a->{cost} <=> $b->{cost} } $job->{scenario} =~ /^(leak|recovery)$/ ? @lanes[0 .. 4] : @lanes;

	push @{ $lane->{jobs} }, $job;
	$lane->{cost} += $job->{cost};
}
foreach my $lane (@lanes)
{
	$lane->{client}->send(
		join ';',
		'SET pool_exhaust.progress = off',
		map {
			my $target = $_->{scenario} eq 'saturation' ? 'role' : 'pool';
			my $options = $json->encode({ %{ $options{ $_->{scenario} } }, %{ $certain{"$_->{scenario} $_->{fault}"} // {} }, patience(@{$_}{qw(scenario fault)}), fault => $_->{fault} });
			"SELECT pool_exhaust_run('$_->{scenario}', '$target', '$options', 'json')::jsonb->'run_id'"
		} @{ $lane->{jobs} });
}
foreach my $lane (@lanes)
{
	my @ids = split /\n/, $lane->{client}->result // '';

	is(scalar(@ids), scalar(@{ $lane->{jobs} }), 'all runs of a lane have come to their end')
	  or diag $lane->{client}->message;
	$_->{run_id} = shift @ids foreach @{ $lane->{jobs} };
	$lane->{client}->close;
}

note 'the slowest: ' . $watcher->query("SELECT string_agg(concat_ws(' ', scenario, options->>'fault', s), ', ')
	FROM (SELECT *, round(extract(epoch FROM finished_at - started_at)::numeric, 1) AS s FROM pool_exhaust_runs ORDER BY s DESC LIMIT 25) AS r");

# "name: expected, not observed" with its placeholders, as a pattern.
sub pattern
{
	my ($line) = @_;

	return join '', map { $_ eq '#' ? '[0-9.]+' : $_ eq '*' ? '\w+' : quotemeta } split /([#*])/, $line;
}

foreach my $job (sort { $a->{name} cmp $b->{name} } grep { $_->{run_id} } @jobs)
{
	my ($name, $run_id) = @{$job}{qw(name run_id)};
	my $expected = $broken{ $job->{scenario} }{ $job->{fault} } // $broke_nothing;
	my $verdict = run_outcome($watcher, $run_id);
	my $failed = $watcher->query("SELECT coalesce(string_agg(name || ': ' || expected || ', not ' || observed, E'\\n' ORDER BY seq), '')
		FROM pool_exhaust_checks WHERE run_id = $run_id AND outcome = 'fail'");

	$expected = $either{"$job->{scenario} $job->{fault}"} // $expected if $failed =~ /without an end/;
	my @checks = ref $expected ? @$expected : ();
	my $checks = join "\n", map { pattern($_) } @checks;
	my $good = like($failed, qr/\A$checks\z/, "$name: failed checks");
	my $names = $watcher->query("SELECT string_agg(name, ', ' ORDER BY seq) FROM pool_exhaust_checks
		WHERE run_id = $run_id AND outcome = 'fail'");
	# A fault fails the same claims on a machine that is too busy to prove them.
	my $end = ref $expected ? "(?:fail: |invalid: the machine was too busy: .*; )failed: \Q$names\E" : pattern($expected);
	$good &= like($verdict, qr/\A$end\z/, "$name: verdict and reason");
	$good &= is( $watcher->query("SELECT count(*) FROM pool_exhaust_checks
			WHERE run_id = $run_id AND outcome = 'fail' AND coalesce(detail, '') = ''"),
		0, "$name: each failure is explained");
	diag $watcher->query("SELECT pool_exhaust_report($run_id)") if !$good;
}

$watcher->close;
left_nothing($node);
done_testing();
