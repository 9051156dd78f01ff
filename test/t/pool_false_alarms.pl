# No false alarms: fourteen runs of each scenario over a pool, seven of those that take
# longer, seven at a time, while two processes keep two cores busy.  Nothing is
# wrong with any of these pools, so every verdict is pass.  "make check-busy" is more of it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use POSIX qw(_exit);
use PoolExhaust;
use Test::More;
use Time::HiRes qw(time);

my $busy = 2;
my $sessions = 7;
my %runs = (queue => 14, degradation => 14, isolation => 14, latency => 14, accuracy => 14, leak => 7, recovery => 7);
my @scenarios = sort keys %runs;

my $node = new_server('runs', heals => qr{^pool_exhaust_\d+/pool_exhaust$}, conf => q(
max_connections = 200
max_worker_processes = 20
));
my $watcher = client($node);

# They end by themselves, if nothing else ends them.
my $deadline = time + 600;
my @burning = map {
	my $pid = fork // die "could not fork: $!";
	if (!$pid)
	{
		$SIG{TERM} = 'DEFAULT';
		1 while time < $deadline;
		_exit(0);
	}
	$pid;
} 1 .. $busy;

# The runs are dealt out to the sessions, each of which has some of all scenarios.
my @dealt;
my $next = 0;
foreach my $scenario (reverse @scenarios)
{
	push @{ $dealt[ $next++ % $sessions ] }, $scenario foreach 1 .. $runs{$scenario};
}
my @clients = map { client($node) } @dealt;
my $begun = time;
foreach my $n (keys @clients)
{
	$clients[$n]->send(
		join ';', 'SET pool_exhaust.progress = off',
		map { "SELECT pool_exhaust_run('$_', format => 'json')::jsonb->'run_id'" } @{ $dealt[$n] });
}
foreach my $n (keys @clients)
{
	my @ids = split /\n/, $clients[$n]->result // '';

	is(scalar(@ids), scalar @{ $dealt[$n] }, "session $n: its runs have come to their end")
	  or diag $clients[$n]->message;
	$clients[$n]->close;
}
foreach my $scenario (@scenarios)
{
	my $runs = $runs{$scenario};

	is( $watcher->query("SELECT string_agg(DISTINCT verdict, ', ') || ' ' || count(*)
			FROM pool_exhaust_runs WHERE scenario = '$scenario'"),
		"pass $runs", "$scenario: all of them passed");
	diag $watcher->query("SELECT pool_exhaust_report($_)")
	  foreach split /\n/, $watcher->query("SELECT id FROM pool_exhaust_runs
			WHERE scenario = '$scenario' AND verdict IS DISTINCT FROM 'pass' ORDER BY id");
	note "$scenario: " . $watcher->query("SELECT round(sum(extract(epoch FROM finished_at - started_at))::numeric, 1)
			FROM pool_exhaust_runs WHERE scenario = '$scenario'") . ' s';
}
note sprintf 'all: %.1f s', time - $begun;

kill 'TERM', @burning;
is((grep { waitpid($_, 0) == $_ && ($? & 127) == 15 } @burning), $busy, 'the cores were busy to the end');
is( $watcher->query("SELECT count(*) FROM pool_exhaust_checks WHERE outcome <> 'pass'"),
	0, 'no check failed, none was skipped');

$watcher->close;
left_nothing($node);
done_testing();
