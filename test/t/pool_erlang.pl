# The embedded pool against the theory of queues.  Requests that come at random
# (Poisson), keep their connection for a random time (exponential), never give
# up and are served in the order of asking make an M/M/c queue; c is the pool's
# capacity.  How many of them must wait, and for how long, A. K. Erlang computed
# in 1917.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use List::Util qw(max);
use PoolExhaust;
use Test::More;

# With two connections the formula differs most for one more or less: at half
# the load one more shortens the wait to an eighth, one less makes it endless.
my $servers = 2;
my $hold_ms = 10;

# The wait at 85 % moves in waves of seconds, so it takes some to average them.
# The loads run side by side, each with a pool of its own.
my $churn_ms = 15_000;

# The seed fixes when each operation comes and how long it holds, so the error of the
# sample is the same each time, and what differs is the machine's doing.  Played
# through an ideal queue, this one is 0.2, 0.1 and 0.5 errors away from the
# formula.
my $seed = 7;

# Of the mean wait, as the run itself estimates it from 20 batches.  By Student's
# distribution one sample of 400 is further away than that.
my $errors = 3.5;

# The same for the share of those that must wait.  Its error is 0.016 at 50 %
# load and less above, by 200 simulated samples as long as this one.
my $share_errors = 3.5 * 0.016;

# The probability that all servers are busy (Erlang's C formula), by way of the
# B formula, whose recursion stays exact.
sub erlang_c
{
	my ($servers, $load) = @_;
	my $b = 1;

	return 1 if $load >= $servers;
	$b = $load * $b / ($_ + $load * $b) foreach 1 .. $servers;
	return $b / (1 - $load / $servers * (1 - $b));
}

sub erlang_wait_ms
{
	my ($servers, $load, $hold_ms) = @_;

	return 9**9**9 if $load >= $servers;
	return erlang_c($servers, $load) * $hold_ms / ($servers - $load);
}

# By hand: one server makes M/M/1, where all is simple; two at half load, 1/3.
is(sprintf('%.6f', erlang_c(1, 0.7)), '0.700000', 'the formula for one server');
is(sprintf('%.6f', erlang_c(2, 1.0)), '0.333333', 'the formula for two');
is(sprintf('%.6f', erlang_wait_ms(1, 0.5, 10)), '10.000000', 'the wait for one server');

my $node = new_server('erlang', conf => "max_connections = 30\nautovacuum = off\n");
my $watcher = client($node);
my @percents = (50, 70, 85);

# One run for each load, side by side: their figures, and how late the machine was.
sub churn
{
	my (%runs, %figures);
	my $late_ms = 0;

	foreach my $percent (@percents)
	{
		my $options = JSON::PP->new->canonical->encode(
			{
				seed => $seed,
				pool_size => $servers,
				max_overflow => 0,
				pool_timeout_ms => 10_000,
				failing_percent => 0,
				rate => $percent / 100 * $servers * 1000 / $hold_ms,
				work_ms => $hold_ms,
				churn_ms => $churn_ms
			});
		$runs{$percent} = $watcher->query("SELECT pool_exhaust_start('accuracy', 'pool', '$options')")
		  or BAIL_OUT($watcher->message);
	}
	foreach my $percent (@percents)
	{
		$watcher->send("SELECT pool_exhaust_wait($runs{$percent}, '60 s')");
		my ($verdict, $late) = $watcher->result_and_lateness;

		is($verdict, 'pass', "$percent %: verdict")
		  or diag $watcher->query("SELECT pool_exhaust_report($runs{$percent})");
		$late_ms = max($late_ms, $late);
		$figures{$percent} = JSON::PP::decode_json(
			$watcher->query("SELECT phase->'figures' FROM pool_exhaust_runs, jsonb_array_elements(summary->'phases') phase
				WHERE id = $runs{$percent} AND phase->>'phase' = 'churn'"));
	}
	return ($late_ms, \%figures);
}

# What the formula says of these figures, and what it would with one connection
# more or less.
sub theory
{
	my ($percent, $of) = @_;
	my $name = "$percent %";
	my $load = $of->{arrivals} * $of->{mean_hold_ms} / $churn_ms;
	cmp_ok(abs($load / $servers - $percent / 100), '<', 0.04, "$name: the load is what it was to be");

	# An operation that finds a connection free waits for the event loop alone, so
	# the first decile, all of that kind, is how late that is on this machine.  Its
	# average is longer than that, but not twice as long and half a millisecond.
	my $late_ms = 2 * $of->{wait_p10_ms} + 0.5;
	cmp_ok($of->{wait_p10_ms}, '<', 2, "$name: the event loop is in time");

	my $tolerance = $errors * $of->{wait_error_ms} + $late_ms;
	my ($fewer, $expected, $more) = map { erlang_wait_ms($_, $load, $of->{mean_hold_ms}) } $servers - 1 .. $servers + 1;
	my $seen = sprintf 'mean wait %.2f ms, +- %.2f', $of->{mean_wait_ms}, $tolerance;
	cmp_ok(abs($of->{mean_wait_ms} - $expected), '<=', $tolerance, "$name: $seen: as expected, " . sprintf('%.2f', $expected));
	cmp_ok($of->{mean_wait_ms} - $more, '>', $tolerance, "$name: not as with one connection more, " . sprintf('%.2f', $more));
	cmp_ok($fewer - $of->{mean_wait_ms}, '>', $tolerance, "$name: not as with one less, " . sprintf('%.2f', $fewer));

	my $share = $of->{queued} / $of->{arrivals};
	($fewer, $expected, $more) = map { erlang_c($_, $load) } $servers - 1 .. $servers + 1;
	$seen = sprintf '%.3f had to wait, +- %.3f', $share, $share_errors;
	cmp_ok(abs($share - $expected), '<=', $share_errors, "$name: $seen: as expected, " . sprintf('%.3f', $expected));
	cmp_ok($share - $more, '>', $share_errors, "$name: not as with one connection more, " . sprintf('%.3f', $more));
	cmp_ok($fewer - $share, '>', $share_errors, "$name: not as with one less, " . sprintf('%.3f', $fewer));
}

my $figures;
my ($calm, $busy) = calm_machine(sub { (my $late_ms, $figures) = churn(); return $late_ms; });

foreach my $percent (@percents)
{
	my $name = "$percent %";
	my $of = $figures->{$percent};

	note "$name: " . JSON::PP->new->canonical->encode($of);
	is($of->{granted}, $of->{arrivals}, "$name: all were granted");

  SKIP:
	{
		skip $busy, 8 if !$calm;
		theory($percent, $of);
	}
}

$watcher->close;
left_nothing($node);
done_testing();
