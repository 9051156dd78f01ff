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
	[ latency => 'pool' ], [ accuracy => 'pool', 'miscount' ], [ leak => 'pool' ], [ backpressure => 'pool' ],
	[ recovery => 'pool' ], [ storm => 'role', 'miscount' ], [ saturation => 'role', 'keep_slot' ], [ all => 'role', 'miscount' ]);

my $node = new_server('busy', heals => qr{^pool_exhaust_\d+/pool_exhaust$}, conf => 'max_connections = 100');
my $watcher = client($node);

# ---------- Not too busy, but others take a large part of the processors ----------

# What others took of the processors, in percent, and whether the machine was too busy in
# a run that has had its story.
sub others_in
{
	my ($id) = @_;
	my ($others, $late, $ready) = split /\|/, $watcher->query("SELECT (f->>'others_percent')::float8, (f->>'late_max_ms')::float8, (f->>'ready_per_processor')::float8
		FROM pool_exhaust_runs, jsonb_path_query(summary, '\$.phases[*] ? (\@.phase == \"machine\").figures') AS f WHERE id = $id");

	return ($others, !defined $others || $late > 250 || $ready >= 12);
}

# It fails or is invalid, as this says; or it passes.
sub outcome_is
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($id, $expected, $name) = @_;

	return like(run_outcome($watcher, $id),
		$expected eq 'invalid' ? qr/^invalid: the machine was too busy: .*other processes took \d+ % of the processors.*; failed: / : qr/^$expected/, $name);
}

# A claim on a share, here the throughput of an application that a storm cannot but
# lower, fails on a server that has the processors, and proves nothing on another.
{
	my %seen;

	foreach my $per_core (0, 4)
	{
		my @others = $per_core ? busy_machine(60, $per_core) : ();
		my $wanted = $per_core ? 'invalid' : 'fail';

		foreach (1 .. 10)
		{
			last if $seen{$wanted};
			my $id = report_of($watcher, 'storm', 'role', clients => 200, handshakes => 50, work_ms => 0, keep_percent => 100, response_limit_ms => 60_000)->{run_id};
			my ($others, $late) = others_in($id);
			my $failed = $watcher->query("SELECT count(*) FROM pool_exhaust_checks WHERE run_id = $id AND outcome = 'fail' AND name LIKE '%throughput'");

			$seen{late}++, next if $late;
			$seen{late}++ if !$per_core && $others >= 25;
			my $expected = !$failed ? 'pass' : $others < 25 ? 'fail' : 'invalid';
			$seen{$expected}++;
			outcome_is($id, $expected, sprintf 'a throughput that is missed %d times while others take %s %%', $failed, $others);
		}
		kill 'KILL', @others;
		waitpid $_, 0 foreach @others;
	}
  SKIP: {
		skip 'the machine was too busy', 2 if $seen{late};
		ok($seen{$_}, "a throughput that is missed: $_") foreach qw(invalid fail);
	}
}

# A claim on how long something takes fails only where it would have failed with all of
# them as well. A storm that misses its limit by a little proves nothing, as that is due
# to others; one that misses it by more fails. The limit follows what the run before took.
{
	my @others = busy_machine(120, 4);
	my $cores = @others / 4;
	my %storm = (clients => 12 * $cores, role_limit => 8 * $cores, pool_size => 2, baseline_ms => 100);
	my $limit_ms = 1000;
	my %seen;

	foreach (1 .. 30)
	{
		last if $seen{fail} && $seen{invalid};
		my $id = report_of($watcher, 'storm', 'role', %storm, response_limit_ms => $limit_ms)->{run_id};
		my ($others, $late) = others_in($id);
		my ($failed, $slowest) = split /\|/, $watcher->query("SELECT count(*) FILTER (WHERE outcome = 'fail'),
			max(observed_num / expected_num) FROM pool_exhaust_checks WHERE run_id = $id AND unit = 'ms'");

		$seen{late}++, next if $late;
		my $due_to_others = 1 / (1 - $others / 100);
		my $expected = !$failed ? 'pass' : $slowest > $due_to_others ? 'fail' : 'invalid';
		note "$limit_ms ms, others $others %";
		$seen{$expected}++;
		outcome_is($id, $expected, "$slowest times a limit while others take $others %");
		# In a run as short as these others may seem to take nothing: then the limit stays.
		$limit_ms = int($limit_ms * $slowest / ($seen{invalid} ? 2 * $due_to_others : sqrt $due_to_others)) || 1 if $others >= 25;
	}
  SKIP: {
		skip 'the machine was too busy', 2 if $seen{late};
		ok($seen{$_}, "limits that are low enough: $_") foreach qw(invalid fail);
	}
	kill 'KILL', @others;
	waitpid $_, 0 foreach @others;
}

# ---------- Much too busy ----------

# Three sessions run them side by side, so that the time is not spent in waits.
my @cases = map { my ($scenario, $target, $fault) = @$_; map { [ $scenario, $target, $_ ] } undef, $fault // () } @runs;
my @clients = map { client($node) } 1 .. 3;
my @dealt;
push @{ $dealt[ $_ % @clients ] }, $cases[$_] foreach 0 .. $#cases;

my @burners = busy_machine(300);
my %count;

foreach my $n (0 .. $#clients)
{
	$clients[$n]->send(
		join ';', 'SET pool_exhaust.progress = off',
		map { my ($scenario, $target, $fault) = @$_; "SELECT pool_exhaust_run('$scenario', '$target', '" . ($fault ? qq({"fault": "$fault"}) : '{}') . "', 'json')::jsonb->'run_id'" } @{ $dealt[$n] });
}
foreach my $n (0 .. $#clients)
{
	my @ids = split /\n/, $clients[$n]->result // die $clients[$n]->message;

	is(scalar @ids, scalar @{ $dealt[$n] }, "session $n: its runs have come to their end");
	foreach (@{ $dealt[$n] })
	{
		my ($scenario, $target, $fault) = @$_;
		my $run_id = shift @ids;
		my $outcome = run_outcome($watcher, $run_id);
		my $wrong = $fault ? 'pass' : 'fail';

		unlike($outcome, qr/^$wrong/, "$scenario on $target, fault " . ($fault // 'none') . ": $outcome")
		  or diag $watcher->query("SELECT pool_exhaust_report($run_id)");
		$count{ $outcome =~ s/:.*//r }++;
		next if $scenario eq 'all' || $outcome =~ /could not log in .* processes took turns/;	# it has not begun
		is($watcher->query("SELECT count(*) FROM pool_exhaust_runs, jsonb_array_elements(summary->'phases') AS p
				WHERE id = $run_id AND (p->'figures'->'late_max_ms')::float8 > 0"),
			1, "$scenario: its lateness is in the summary");
	}
	$clients[$n]->close;
}
kill 'KILL', @burners;
waitpid $_, 0 foreach @burners;
diag join ', ', map { "$count{$_} $_" } sort keys %count;

is(wrong_outcomes($watcher), q(), 'each outcome follows from the numbers of its check');
$watcher->close;
left_nothing($node);
done_testing();
