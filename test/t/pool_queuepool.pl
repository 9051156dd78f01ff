# The embedded pool beside one that the world uses: SQLAlchemy's QueuePool gets
# the same load at the same time, arrival by arrival from the same seed, and
# the same must become of it.  test/queuepool.py says what QueuePool does
# differently.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use JSON::PP ();
use List::Util qw(max);
use PoolExhaust;
use Test::More;

# The system's own, which has the packages, whatever comes first in PATH.
my $python = '/usr/bin/python3';
my $queuepool = "$FindBin::RealBin/../queuepool.py";

plan skip_all => "there is no $python" if !-x $python;
foreach my $module ('sqlalchemy', 'psycopg')
{
	IPC::Run::run([ $python, '-c', "import $module" ], '>&', \my $output)
	  or plan skip_all => "$python has no module $module";
}

my $node = new_server('queuepool', conf => "max_connections = 60\nautovacuum = off\n");
my $watcher = client($node);

# Two settings, side by side.  Five connections each, two of them overflow.
my %settings = (

	# 120 % of what they can do: every sixth request times out.
	overload => { rate => 75, work_ms => 80, pool_timeout_ms => 300, failing_percent => 0 },

	# 55 %: none times out, a quarter must wait, a tenth of the operations fail.
	calm => { rate => 50, work_ms => 60, pool_timeout_ms => 2000, failing_percent => 10 });
my %figures;

# Both pools under both loads, side by side; returns how late the machine was, in ms.
sub churn
{
	my (%runs, %programs);
	my $late_ms = 0;

	%figures = ();
	foreach my $name (sort keys %settings)
	{
		my $options = JSON::PP->new->canonical->encode(
			{ seed => 7, churn_ms => 8000, pool_size => 3, max_overflow => 2, %{ $settings{$name} } });

		$runs{$name} = $watcher->query("SELECT pool_exhaust_start('accuracy', 'pool', '$options')")
		  or BAIL_OUT($watcher->message);
		local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres');
		$programs{$name} = IPC::Run::start([ $python, $queuepool, $options ],
			'<', \undef, '>', \$figures{$name}[1], '2>', \$figures{$name}[2]);
	}
	foreach my $name (sort keys %settings)
	{
		$watcher->send("SELECT pool_exhaust_wait($runs{$name}, '60 s')");
		my ($verdict, $late) = $watcher->result_and_lateness;

		is($verdict, 'pass', "$name: verdict") or diag $watcher->query("SELECT pool_exhaust_report($runs{$name})");
		ok($programs{$name}->finish, "$name: QueuePool came to its end") or BAIL_OUT($figures{$name}[2]);
		$late_ms = max($late_ms, $late);
		$figures{$name}[0] =
		  $watcher->query("SELECT phase->'figures' FROM pool_exhaust_runs, jsonb_array_elements(summary->'phases') phase
			WHERE id = $runs{$name} AND phase->>'phase' = 'churn'");
		note "$name, embedded:  $figures{$name}[0]";
		note "$name, QueuePool: $figures{$name}[1]";
	}
	return $late_ms;
}

my ($calm, $busy) = calm_machine(\&churn);

# The figure of both pools differs by no more than that.
sub alike
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $tolerances) = @_;
	my ($embedded, $queuepool) = map { JSON::PP::decode_json($_) } @{ $figures{$name} }[ 0, 1 ];

  SKIP:
	foreach (sort keys %$tolerances)
	{
		skip "$name: $busy", scalar keys %$tolerances if !$calm;
		my $difference = abs($embedded->{$_} - $queuepool->{$_});
		cmp_ok($difference, '<=', $tolerances->{$_}, sprintf '%s: %s %.6g and %.6g', $name, $_, $embedded->{$_}, $queuepool->{$_});
	}
	foreach ($embedded, $queuepool)
	{
		is($_->{granted} + $_->{timed_out}, $_->{arrivals}, "$name: every request was granted or timed out");
	}
}

# The schedule is the same and leaves nothing to chance, so what differs is
# latency, and what follows from it.  The numbers are those of an ideal queue that
# plays the same schedule, with such latencies at each step and without.
#
# In overload the pool is always full, so 1 ms at each handover costs 1 of 81
# grants; and whether the granted ones hold long or short hangs on latencies
# too, which makes another 1.2 %.  The ideal queue grants 502, with 2 ms 475 to
# 490, with 4 ms 443 to 462; with one connection more or less 592 or 416.  The
# waits pile up below the timeout: 4 ms move their median by 18 ms and their ninth
# decile by 6; a queue that serves the newest first moves them by 235 and 202, a
# timeout that comes a tenth too early by 23 and 28.  The embedded pool's
# histograms add up to 3.2 %, 9 ms.
alike(
	'overload',
	{
		arrivals => 0,
		granted => 60,
		timed_out => 60,
		peak_overflow => 0,
		mean_hold_ms => 10,
		wait_p50_ms => 30,
		wait_p75_ms => 22,
		wait_p90_ms => 18,
		wait_p99_ms => 20
	});

# With room to spare all are granted.  Of 105 that must wait, 2 ms make 115 and 4
# ms 135; one connection less makes 191, one more 44.  The ninth decile of the
# waits is 34 ms, with 2 ms 42, with 4 ms 54; with one connection less 84, one
# more 2, and with the newest first 18, and 102 instead of 58 at the last
# percentile.
alike(
	'calm',
	{
		arrivals => 0,
		granted => 0,
		timed_out => 0,
		failed => 0,
		peak_overflow => 0,
		queued => 35,
		mean_hold_ms => 4,
		mean_wait_ms => 7,
		wait_p25_ms => 3,
		wait_p50_ms => 6,
		wait_p75_ms => 14,
		wait_p90_ms => 16,
		wait_p99_ms => 28
	});

$watcher->close;
left_nothing($node);
done_testing();
