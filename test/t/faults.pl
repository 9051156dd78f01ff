# A scenario that cannot fail proves nothing: each deliberate fault breaks the
# verdict, and the check that fails says which claim did not hold.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

# 30 = 27 regular + 3 superuser; one of the 27 is the caller's
my $node = new_server('faults', conf => 'max_connections = 30');
my $caller = client($node);

sub broken
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($target, $fault, $verdict, $reason, @checks) = @_;
	my $name = "$fault on $target";

	my $options = qq({"fault": "$fault", "attempts": 5, "role_limit": 20});
	my ($run_id) = split /\n/,
	  $caller->query("SELECT pool_exhaust_run('saturation', '$target', '$options', 'json')::jsonb->'run_id'") // '';
	ok($run_id, "$name: it runs") or diag $caller->message;
	is( $caller->query("SELECT string_agg(name || ': ' || expected || ', not ' || observed, E'\\n' ORDER BY seq)
			FROM pool_exhaust_checks WHERE run_id = $run_id AND outcome = 'fail'"),
		join("\n", @checks), "$name: failed checks");
	is( $caller->query("SELECT count(*) FROM pool_exhaust_checks
			WHERE run_id = $run_id AND outcome = 'fail' AND coalesce(detail, '') = ''"),
		0, "$name: each failure is explained");
	$reason //= 'failed: ' . join ', ', map { s/:.*//r } @checks;
	run_ends($caller, $run_id, "$verdict: $reason", $name);
	my $tap = $caller->query("SELECT pool_exhaust_report($run_id, 'tap')");
	like($tap, qr/^not ok \d+ - verdict is pass$/m, "$name: the TAP report fails");

	# The same as an error, for scripts.
	$caller->query("SELECT pool_exhaust_run('saturation', '$target', '$options' || jsonb '{\"on_fail\": \"error\"}')");
	is(sqlstate($caller), 'P0004', "$name: as an error");
	like($caller->message, qr/run \d+ of scenario "saturation" on $target: $verdict/, "$name: the error has the verdict");
	like($caller->message, qr/\Q$_\E/, "$name: the error says '$_'")
	  foreach $verdict eq 'fail' ? map { s/:.*//r } @checks : $reason;
}

# On the server 26 connections fill up 27 slots, on a role 20 its limit; one
# slot less is critical, because 26 / 27 and 19 / 20 are >= 0.95.
my $path = 'healthy > warning > critical > exhausted';
foreach ([ 'server', 26, 27, 'reserved_slots' ], [ 'role', 20, 20, 'role_limit' ])
{
	my ($target, $room, $capacity, $cause) = @$_;

	broken($target, 'keep_slot', 'fail', undef,
		"held connections: $room, not " . ($room - 1),
		"in use by the server's count: $capacity, not " . ($capacity - 1),
		"health on the way up: $path, not healthy > warning > critical",
		'refused attempts: 5, not 4',
		"refusals by cause: 53300 $cause 5, not 53300 $cause 4");
	broken($target, 'miscount', 'fail', undef,
		'refused attempts: 5, not 6',
		"refusals by cause: 53300 $cause 5, not 53300 $cause 6",
		'refusals in the ledger: +6, not +5',
		'attempts not accounted for: 0, not -1');
	broken($target, 'leave_session', 'fail', undef, 'sessions left after the release: 0, not 1');
	broken($target, 'miss_health', 'fail', undef,
		"monitored health on the way up: $path, not healthy > critical > exhausted");
}

# Without a limit nothing is refused.  On the server the fill stops five short
# of 27, to leave room for the attempts; the role has no limit at all.
broken('server', 'no_limit', 'invalid',
	'nothing was refused: 5 attempts beyond 22 connections in use were granted; check the limit of the target, or its option capacity',
	'held connections: 26, not 21',
	"in use by the server's count: 27, not 22",
	"health on the way up: $path, not healthy > warning");
broken('role', 'no_limit', 'invalid',
	'nothing was refused: 5 attempts beyond 20 connections in use were granted; check the limit of the target, or its option capacity');

# What a failure means depends on its direction.
foreach (
	[ keep_slot => 'held connections', qr/^1 connections fewer than there was room for/ ],
	[ miscount => 'attempts not accounted for', qr/ 6 refused .*: some ends were counted twice/ ])
{
	my ($fault, $name, $detail) = @$_;

	like($caller->query("SELECT detail FROM pool_exhaust_checks AS c JOIN pool_exhaust_runs AS r ON r.id = c.run_id
			WHERE r.target = 'role' AND options->>'fault' = '$fault' AND name = '$name'"), $detail, "$fault on role: what it means for '$name'");
}

# No fault, no error.
is( $caller->query(q(SELECT count(*) > 10 FROM pool_exhaust_run('saturation', 'role', '{"fault": "none", "on_fail": "error"}'))),
	't', 'a run that passes raises no error');

is(wrong_outcomes($caller), q(), 'each outcome follows from the numbers of its check');
$caller->close;
left_nothing($node);
done_testing();
