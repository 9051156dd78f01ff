# All scenarios in one run: each as a run of its own, with its own report. It
# passes on a clean server; it fails, and names the child, if one of them does, or
# cannot be; and however it ends, its children end with it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use Test::More;
use Time::HiRes qw(time);

my $node = new_server('all', heals => qr{^pool_exhaust_\d+/pool_exhaust$}, conf => q(
autovacuum = off
));
my $watcher = client($node);

# Runs it; the id.
sub all_of { return run_scenario($watcher, 'all', @_) }

# The scenarios that a run of it has checks for, with what they came to.
sub children
{
	my ($run_id, $condition) = @_;

	return $watcher->query("SELECT string_agg(name || ' ' || observed, ', ' ORDER BY name COLLATE \"C\") FROM pool_exhaust_checks
		WHERE run_id = $run_id AND " . ($condition // 'true'));
}

# The detail of a check that failed.
sub detail
{
	my ($run_id, $name) = @_;

	return $watcher->query("SELECT detail FROM pool_exhaust_checks WHERE run_id = $run_id AND name = '$name' AND outcome = 'fail'");
}

# No run is under way, and no session is left.
sub nothing_left
{
	my ($name) = @_;

	is( $watcher->query("SELECT (SELECT count(*) FROM pool_exhaust_progress) || ' runs, '
			|| (SELECT count(*) FROM pg_stat_activity WHERE usename ~ '^pool_exhaust_[0-9]+\$') || ' sessions, '
			|| (SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_[0-9]+\$') || ' roles'"),
		'0 runs, 0 sessions, 0 roles', "$name: nothing is left");
}

# ---------- It passes on a clean server ----------

my $expected = $watcher->query("SELECT string_agg(name || ' on ' || default_target || ' pass', ', ' ORDER BY name COLLATE \"C\")
	FROM pool_exhaust_scenarios WHERE name <> 'all'");
my $begun = time;
my $run_id = all_of(undef, seed => 7);
my $elapsed = time - $begun;

is(run_outcome($watcher, $run_id), 'pass', 'all scenarios pass') or diag $watcher->query("SELECT pool_exhaust_report($run_id)");
diag sprintf 'all scenarios took %.1f s', $elapsed;
is(children($run_id), $expected, 'each scenario that there is was run, on its default target');
is( $watcher->query("SELECT count(*) FROM pool_exhaust_runs AS r JOIN pool_exhaust_checks AS c
		ON c.detail LIKE '% run ' || r.id AND c.name = r.scenario || ' on ' || r.target
		WHERE c.run_id = $run_id AND r.id <> $run_id AND r.verdict = 'pass' AND r.seed = 7"),
	scalar(split /, /, $expected), 'as a run of its own, with a record of its own and the same seed');
is( $watcher->query("SELECT target || ' ' || (summary->>'peak_in_use') || ' ' || jsonb_array_length(summary->'pools')
		FROM pool_exhaust_runs WHERE id = $run_id"),
	'each 0 0', 'and holds nothing itself');
is($watcher->query("SELECT count(*) FROM pool_exhaust_samples WHERE run_id = $run_id"), 0, 'so it has no samples');
is( $watcher->query("SELECT string_agg(DISTINCT scenario, ', ') FROM pool_exhaust_runs WHERE NOT (environment->>'sub_run')::boolean"),
	'all', 'the environment of the others says that they are parts of it');

my @report = split /\n/, $watcher->query("SELECT pool_exhaust_report($run_id)");
like($report[0], qr/^PASS    all on each .*\b(\d+) of \1 checks .* run $run_id$/, 'the report begins with the verdict');
is(scalar(grep { /^ok    \w+ on \w+ +pass +\d+ of +\d+ checks +[\d.]+ s   run \d+$/ } @report), scalar(@report) - 1,
	'then come the scenarios, a line each')
  or diag join "\n", @report;
like($watcher->query("SELECT pool_exhaust_report($run_id, 'tap')"), qr/^ok \d+ - saturation on server\n.*^ok \d+ - verdict is pass$/ms, 'TAP');
my $page = $watcher->query("SELECT string_agg(l, E'\n') FROM pool_exhaust_report($run_id, 'html') AS l");
cmp_ok(length $page, '<=', 600 * 1024, 'as one page it is small');
is(scalar(() = $page =~ /<article /g), scalar(split /, /, $expected) + 1, 'which has every scenario');
nothing_left('at the end');

is( $watcher->query("SELECT string_agg(DISTINCT operator, ' ' ORDER BY operator) FROM (SELECT operator COLLATE \"C\" FROM pool_exhaust_checks) AS o(operator)"),
	'+- += <= = >=', 'their checks compare numbers in every way but the one of chaos');

# ---------- On a target ----------

$run_id = all_of('role');
is(run_outcome($watcher, $run_id), 'pass', 'all that can aim at a role');
is(children($run_id), 'saturation on role pass, storm on role pass', 'are these');

# ---------- It fails, and says what did ----------

$run_id = all_of('role', fault => 'miscount');
is(run_outcome($watcher, $run_id), 'fail: failed: saturation on role, storm on role', 'a fault in each of them');
my ($child) = $watcher->query("SELECT max(id) FROM pool_exhaust_runs WHERE scenario = 'storm'");
is(detail($run_id, 'storm on role') =~ s/, [\d.]+ s:/:/r,
	"run $child: failed: storm: refusals in the ledger, attempts not accounted for; SELECT pool_exhaust_report($child)", 'with the run to read, and why');
$run_id = all_of('role', fault => 'keep_slot');
like(detail($run_id, 'saturation on role'), qr/^run \d+, [\d.]+ s: failed: held connections/, 'another fault');
$watcher->query('SET pool_exhaust.progress = on');
$watcher->notices;
fails_with($watcher, q(SELECT pool_exhaust_run('all', 'role', '{"fault": "no_limit", "on_fail": "error"}')), 'P0004',
	[qr/scenario "all" on role: fail/], 'as an error');
like($watcher->{error}{D}, qr/saturation on role: expected pass, observed invalid; storm on role: expected pass, observed invalid/, 'that names them');
like((grep { /^saturation on role/ } $watcher->notices)[0], qr/^saturation on role +invalid +run \d+, .*: nothing was refused: .*[^ ]…$/,
	'a notice that is cut says so');

# ---------- One that cannot begin ----------

$watcher->query('CREATE ROLE bystander LOGIN');
my $bystander = client($node, user => 'bystander');
$run_id = all_of('server');
is(run_outcome($watcher, $run_id), 'fail: failed: saturation on server, storm on server, endtoend on server', 'beside a bystander no scenario may fill the server');
is(detail($run_id, 'saturation on server'), '1 client sessions of other roles are connected, and filling the server would refuse their next logins', 'and it says so');
is($watcher->query("SELECT count(*) FROM pool_exhaust_runs WHERE id > $run_id"), 0, 'without a run');
is(run_outcome($watcher, all_of('server', bystanders => 'ignore')), 'pass', 'unless they do not matter');
$bystander->close;
ok(wait_for($watcher, 'SELECT in_use FROM pool_exhaust_slots', 1), 'they have gone');

# ---------- Another run is under way ----------

my $other = $watcher->query(q(SELECT pool_exhaust_start('saturation', 'server', '{"attempts": 10000, "timeout_ms": 50000}')))
  // die $watcher->message;
ok(wait_for($watcher, "SELECT count(*) FROM pool_exhaust_progress WHERE run_id = $other AND phase = 'attempt'", 1), 'a run on the server is under way');
$run_id = $watcher->query("SELECT pool_exhaust_start('all', 'role')") // die $watcher->message;
ok(wait_for($watcher, "SELECT done || ' of ' || total FROM pool_exhaust_progress WHERE run_id = $run_id", '0 of 2'), 'the others wait');
is($watcher->query("SELECT pool_exhaust_stop($other)"), 1, 'it is stopped');
is($watcher->query("SELECT pool_exhaust_wait($run_id)"), 'pass', 'and they go on')
  or diag $watcher->query("SELECT pool_exhaust_report($run_id)");

# Two of them take turns.
my @both = map { $watcher->query("SELECT pool_exhaust_start('all', 'role')") // die $watcher->message } 1 .. 2;
is($watcher->query("SELECT pool_exhaust_wait($_)"), 'pass', 'two at the same time') foreach @both;

# No worker is free, as the other scenarios have them.
my @holds = map { $watcher->query('SELECT pool_exhaust_hold(1)') // die $watcher->message } 1 .. 4;
$run_id = $watcher->query("SELECT pool_exhaust_start('all', 'role')") // die $watcher->message;
$watcher->query('SELECT pool_exhaust_release()');
is($watcher->query("SELECT pool_exhaust_wait($run_id)"), 'pass', 'workers that are missing come free');

# ---------- It is cut off ----------

my $children = "SELECT count(*) FROM pool_exhaust_progress WHERE scenario <> 'all'";

$run_id = $watcher->query("SELECT pool_exhaust_start('all', 'pool', '{\"profile\": \"standard\"}')") // die $watcher->message;
ok(wait_for($watcher, $children, 2), 'two children are there');
is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'it is stopped');
run_ends($watcher, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'stopped');
nothing_left('stopped');
is($watcher->query("SELECT string_agg(DISTINCT concat_ws(': ', verdict, reason), '; ') FROM pool_exhaust_runs WHERE id > $run_id"),
	'aborted: the run that it is a part of has ended', 'its children know why');

my $caller = client($node);
$caller->query('SET pool_exhaust.progress = off');
my $pid = $caller->query('SELECT pg_backend_pid()');
$caller->send("SELECT pool_exhaust_run('all', 'pool', '{\"profile\": \"standard\"}')");
ok(wait_for($watcher, $children, 2), 'two children are there');
$watcher->query("SELECT pg_cancel_backend($pid)");
$caller->result;
is(sqlstate($caller), '57014', 'its caller is canceled');
nothing_left('canceled');
$caller->close;

# The children of a runner that is gone see to it by themselves.
$run_id = $watcher->query("SELECT pool_exhaust_start('all', 'pool', '{\"profile\": \"standard\"}')") // die $watcher->message;
ok(wait_for($watcher, $children, 2), 'two children are there');
is($watcher->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pool_exhaust runner' ORDER BY backend_start LIMIT 1"),
	't', 'its runner is ended');
ok(wait_for($watcher, 'SELECT count(*) FROM pool_exhaust_progress', 0), 'and all of it does');
run_ends($watcher, $run_id, 'aborted: the runner was asked to terminate', 'terminated');
nothing_left('terminated');

# One child alone.
$run_id = $watcher->query("SELECT pool_exhaust_start('all', 'role', '{\"profile\": \"standard\"}')") // die $watcher->message;
ok(wait_for($watcher, "SELECT count(run_id) FROM pool_exhaust_progress WHERE scenario = 'storm' AND phase = 'calm'", 1), 'a child is there');
$child = $watcher->query("SELECT run_id FROM pool_exhaust_progress WHERE scenario = 'storm'");
is($watcher->query("SELECT pool_exhaust_stop($child)"), 1, 'it is stopped, and its parent is not');
is($watcher->query("SELECT pool_exhaust_wait($run_id)"), 'fail', 'which goes on to its end');
like(detail($run_id, 'storm on role'), qr/^run $child, [\d.]+ s: stopped by pool_exhaust_stop/, 'and reports');
is(children($run_id), 'saturation on role pass, storm on role aborted', 'of each');

# No time.
$run_id = all_of('pool', timeout_ms => 3000);
is(run_outcome($watcher, $run_id), 'aborted: not over within 3000 ms (option timeout_ms)', 'no time');
nothing_left('no time');

# ---------- A role that may run it ----------

$watcher->query($_) foreach 'GRANT EXECUTE ON FUNCTION pool_exhaust_run(text, text, jsonb, text), pool_exhaust_stop(bigint) TO bystander',
  'CREATE DATABASE secret', 'REVOKE CONNECT ON DATABASE secret FROM PUBLIC';
my $grantee = client($node, user => 'bystander');
$grantee->query('SET pool_exhaust.progress = off');
like($grantee->query("SELECT pool_exhaust_run('all', 'role')") // $grantee->message, qr/^PASS    all on role/, 'a role with EXECUTE on it');
fails_with($grantee, q(SELECT pool_exhaust_run('all', 'role', '{"database": "secret"}')), '42501', [qr/permission denied for database secret/],
	'a database that it may not connect to');
fails_with($watcher, q(SELECT pool_exhaust_run('all', 'role', '{"attempts": 3}')), '22023',
	[qr/scenario "all" has no option "attempts"/, qr/Options are: .*timeout_ms.*profile/s], 'options of others');
fails_with($watcher, q(SELECT pool_exhaust_run('saturation', 'each')), '22023', [qr/cannot aim at target "each"/], 'a target for it alone');

is(wrong_outcomes($watcher), q(), 'each outcome follows from the numbers of its check');
$_->close foreach $grantee, $watcher;
left_nothing($node);
done_testing();
