# On a machine that is much too busy no verdict is false: a scenario passes or is
# invalid, with the reason, and one with a deliberate fault never passes.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use Test::More;

# With a fault only those that do not wait for a deadline then.
my @runs = (
	[ queue => 'pool', 'lifo' ], [ degradation => 'pool' ], [ isolation => 'pool', 'shared_between_services' ],
	[ latency => 'pool' ], [ accuracy => 'pool', 'miscount' ], [ leak => 'pool' ],
	[ recovery => 'pool' ], [ storm => 'role', 'miscount' ], [ saturation => 'role', 'keep_slot' ], [ all => 'role', 'miscount' ]);

my $node = new_server('busy', heals => qr{^pool_exhaust_\d+/pool_exhaust$}, conf => 'max_connections = 100');
my $watcher = client($node);
my @burners = busy_machine(300);
my %count;

foreach (@runs)
{
	my ($scenario, $target, $fault, %faulty) = @$_;

	foreach my $options ({}, $fault ? { fault => $fault, %faulty } : ())
	{
		my $run_id = report_of($watcher, $scenario, $target, %$options)->{run_id};
		my $outcome = run_outcome($watcher, $run_id);
		my $wrong = $options->{fault} ? 'pass' : 'fail';

		unlike($outcome, qr/^$wrong/, "$scenario on $target, fault " . ($options->{fault} // 'none') . ": $outcome")
		  or diag $watcher->query("SELECT pool_exhaust_report($run_id)");
		$count{ $outcome =~ s/:.*//r }++;
		next if $scenario eq 'all';
		is($watcher->query("SELECT count(*) FROM pool_exhaust_runs, jsonb_array_elements(summary->'phases') AS p
				WHERE id = $run_id AND (p->'figures'->'late_max_ms')::float8 > 0"),
			1, "$scenario: its lateness is in the summary");
	}
}
kill 'KILL', @burners;
waitpid $_, 0 foreach @burners;
diag join ', ', map { "$count{$_} $_" } sort keys %count;

is(wrong_outcomes($watcher), q(), 'each outcome follows from the numbers of its check');
$watcher->close;
left_nothing($node);
done_testing();
