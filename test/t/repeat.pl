# Options repeat and against: a run is repeated, in turns with the one that it is
# compared with, and what is a suspect in view pool_exhaust_trends is confirmed or not.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use Test::More;

my $node = new_server('repeat');
my $client = client($node);
my @fault = (fault => 'slow_grant', fault_ms => 60);

sub repeated { return run_scenario($client, 'queue', undef, long_ms => 30, pool_timeout_ms => 150, seed => 7, @_) }

# Its checks but that of failures, "name outcome expected observed" each.
sub shifts
{
	my ($run_id) = @_;

	return $client->query("SELECT string_agg(concat_ws(' ', name, outcome, expected, observed), ', ' ORDER BY seq)
		FROM pool_exhaust_checks WHERE run_id = $run_id AND name ~ ' p50'");
}

# The runs that it has started, "part seed target" each, in their order.
sub parts
{
	my ($run_id) = @_;

	return $client->query("SELECT string_agg(concat_ws(' ', p.environment->>'repeat', p.seed, p.options->>'fault', p.options->>'repeat'), ', ' ORDER BY p.id)
		FROM pool_exhaust_runs AS r, jsonb_array_elements_text(r.summary->'sub_runs') AS part JOIN pool_exhaust_runs AS p ON p.id = part::bigint
		WHERE r.id = $run_id");
}

sub trend
{
	my ($metric) = @_;

	return $client->query("SELECT string_agg(runs || ' ' || verdict, ', ') FROM pool_exhaust_trends WHERE metric = '$metric'");
}

# ---------- What cannot be asked for ----------

sub cannot
{
	my ($scenario, $options, $message) = @_;

	fails_with($client, "SELECT pool_exhaust_run('$scenario', NULL, '$options')", '22023', [$message], "$scenario $options");
}

cannot('queue', '{"against": 1}', qr/option "against" needs option "repeat"/);
cannot('all', '{"repeat": 2}', qr/scenario "all" cannot be repeated/);
cannot('queue', '{"repeat": 101}', qr/repeat/);
fails_with($client, q(SELECT pool_exhaust_run('queue', NULL, '{"repeat": 2, "against": 999}')), '42704', [qr/run 999/], 'no such run');

# ---------- Nothing to compare it with ----------

my $run_id = repeated(repeat => 3);
like(run_outcome($client, $run_id), qr/^invalid: there is no run of this environment before these/, 'without a base');
is(parts($run_id), 'candidate 7 none 0', 'it ends as soon as that is known');
cannot('leak', qq({"repeat": 2, "against": $run_id}), qr/run $run_id is a repetition of "queue"/);

# ---------- A suspect, and what confirms it ----------

# Four runs, and what is like them
repeated() foreach 1 .. 4;
my $base = 0 + ($client->query(q(
	WITH originals AS (SELECT *, nextval('pool_exhaust_runs_id_seq') AS copy FROM pool_exhaust_runs, generate_series(1, 4)
		WHERE environment->>'repeat' IS NULL),
	runs AS (INSERT INTO pool_exhaust_runs (id, scenario, target, options, verdict, started_at, finished_at, seed, server_version,
			extension_version, role, summary, environment, calibration) OVERRIDING SYSTEM VALUE
		SELECT copy, scenario, target, options, verdict, started_at, finished_at, seed, server_version,
			extension_version, role, summary, environment, calibration FROM originals RETURNING id),
	histograms AS (INSERT INTO pool_exhaust_histograms SELECT copy, phase, metric, unit, buckets
		FROM originals JOIN pool_exhaust_histograms ON run_id = id)
	SELECT max(id) FROM runs)) // die $client->message);
$run_id = repeated(@fault) foreach 1 .. 5;
is(trend('release: grant p50'), '25 suspect', 'slow grants are a suspect');
cannot('leak', qq({"repeat": 2, "against": $base}), qr/run $base is of scenario "queue", and cannot be compared with a run of "leak"/);

$run_id = repeated(@fault, repeat => 5, against => $base);
like(run_outcome($client, $run_id), qr/^fail: failed: .*release: grant p50/, 'repeated: it regressed');
like(shifts($run_id), qr/release: grant p50 fail steady regressed/, 'and its check says so');
is(parts($run_id), 'base 7 none 0, candidate 7 slow_grant 0, candidate 8 slow_grant 0, base 8 none 0, base 9 none 0, candidate 9 slow_grant 0, '
	  . 'candidate 10 slow_grant 0, base 10 none 0, base 11 none 0, candidate 11 slow_grant 0', 'in turns: the run as it was, and as it is');
is(trend('release: grant p50'), '25 regressed', 'the trend knows, and has no more runs than before');
is($client->query('SELECT count(*) FROM pool_exhaust_trends WHERE runs < 25'), 0, 'and no other series');
like($client->query("SELECT pool_exhaust_report($run_id)"), qr/^repeat    runs \{\d+(,\d+){4}\} against \{\d+(,\d+){4}\}$/m, 'the report has the runs');

my $page = $client->query("SELECT string_agg(l, E'\n') FROM pool_exhaust_report($run_id, 'html') AS l");
is(scalar(() = $page =~ /<article /g), 1, 'its page has the comparison alone');
is(join(' ', $page =~ /queue on pool, run \d+, (\w+)/g), 'whole base candidate candidate base base candidate candidate base base candidate', 'and names the runs');
cmp_ok(length $page, '<', 30 * 1024, 'so it is small');

$run_id = repeated(repeat => 5, against => $base);
like(shifts($run_id), qr/release: grant p50 pass steady steady/, 'without the fault it is not confirmed');
like($client->query("SELECT detail FROM pool_exhaust_checks WHERE run_id = $run_id AND name = 'release: grant p50'"),
	qr/^[\d.]+ us, [\d.]+ us in the base, with a noise of [\d.]+ us, p [\d.]+$/, 'but what it found');
is(parts($run_id), join(', ', map { 'candidate ' . (7 + $_) . ' none 0' } 0 .. 4), 'asked for the same: only the candidates are run, against those before');

my ($slow) = $client->query("SELECT max(id) FROM pool_exhaust_runs WHERE options->>'fault' = 'slow_grant' AND environment->>'repeat' IS NULL");
$run_id = repeated(repeat => 5, against => 0 + $slow);
like(shifts($run_id), qr/release: grant p50 pass improved improved/, 'beside runs with the fault it is better, which is no failure');

# ---------- Too few runs ----------

$run_id = repeated(repeat => 1, @fault);
is(run_outcome($client, $run_id), 'invalid: 1 runs against 20 cannot show whether one of 1 latencies is slower: raise option repeat to 2', 'too few');

# Of one run before it no number of these can: both it takes then.
report_of($client, 'queue', undef, pool_size => 2, max_overflow => 1);
$run_id = run_scenario($client, 'queue', undef, pool_size => 2, max_overflow => 1, repeat => 1);
like(run_outcome($client, $run_id), qr/^invalid: 1 runs against 1 cannot show whether one of 8 latencies is slower: the runs before these must be 20, and option repeat 3$/,
	'too few on both sides');

# ---------- It ends early ----------

my $other = client($node);
$run_id = $client->query(qq(SELECT pool_exhaust_start('queue', NULL, '{"repeat": 100, "against": $base, "timeout_ms": 600000}'))) // die $client->message;
ok(wait_for($client, "SELECT count(*) > 1 FROM pool_exhaust_progress", 't'), 'a part is under way');
is($other->query("SELECT pool_exhaust_stop($run_id)"), 1, 'it is stopped');
run_ends($client, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'stopped');
is($client->query('SELECT count(*) FROM pool_exhaust_progress'), 0, 'and so is the part');
like(run_outcome($client, repeated(repeat => 3, timeout_ms => 190)), qr/^(aborted|invalid: run \d+, candidate: aborted): not over within \d+ ms \(option timeout_ms\)$|^invalid: a run could not be started: .* may take \d+$/,
	'all of them together have so many times that time');
$client->query("DELETE FROM pool_exhaust_runs WHERE id = $base");
is($client->query(qq(SELECT pool_exhaust_start('queue', NULL, '{"repeat": 2, "against": $base}'))), undef, 'the base is gone');
$other->close;

done_testing;
