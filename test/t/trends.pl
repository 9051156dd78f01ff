# What the results of many runs say: view pool_exhaust_trends, and the functions and
# formats that compare runs. The runs are rows that are put in here.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $python = '/usr/bin/python3';    # the system's own, which has the packages
my $node = new_server('trends');
my $client = client($node);
srand(20261127);

sub query
{
	my ($sql) = @_;

	return $client->query($sql) // die "$sql: " . $client->message;
}

# ---------- The test of Mann and Whitney ----------

sub array { return "'{" . join(',', @{ $_[0] }) . "}'" }

sub p_of
{
	my ($base, $candidate) = @_;

	return query('SELECT pool_exhaust_mann_whitney(' . array($base) . ', ' . array($candidate) . ')');
}

sub same_p
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($base, $candidate, $p) = @_;
	my $ours = p_of($base, $candidate);

	ok(abs($ours - $p) < 1e-9, "p of (@$base) and (@$candidate)") or diag "$ours, not $p";
}

# What scipy 1.10.1 says: small samples without ties, with ties, larger ones, all equal
same_p(@$_) foreach
  [ [ 1 .. 3 ], [ 4 .. 7 ], 0.05714285714285714 ],
  [ [ 1 .. 3 ], [ 2, 5, 7, 8 ], 0.15357639654998376 ],
  [ [ 19, 22, 16, 29, 24 ], [ 20, 11, 17, 12 ], 0.1111111111111111 ],
  [ [ 1 .. 20 ], [ 21 .. 25 ], 3.764351590438547e-05 ],
  [ [ 1 .. 20 ], [ 19.5, 22 .. 25 ], 7.528703180877094e-05 ],
  [ [ (1.5) x 6 ], [ (1.5) x 5 ], 1 ],
  [ [ 5, 5, 6, 6, 7, 7, 7 ], [ 7, 8, 8, 9 ], 0.019391747172285378 ],
  [ [ map { 2 * $_ } 0 .. 9 ], [ map { 1 + 3 * $_ } 0 .. 9 ], 0.17313184279928717 ],
  [ [ 1 .. 9 ], [ 3, 3, 4, 11 .. 16 ], 0.05698661120886167 ],
  [ [ 1 .. 8 ], [ map { $_ + 0.5 } 0 .. 39 ], 0.00021478790533094677 ],
  [ [7], [7], 1 ],
  [ [1], [2], 1 ];

SKIP:
{
	skip 'no scipy for ' . $python, 1 if system("$python -c 'import scipy.stats' 2>/dev/null") != 0;
	my @cases = map {
		my $steps = 2 + int rand 40;    # few: many ties
		[ map { my $n = $_; [ map { int(rand $steps) / 4 } 1 .. $n ] } 1 + int rand 30, 1 + int rand 30 ]
	} 1 .. 200;
	my $in = $node->basedir . '/samples.json';
	append_to_file($in, JSON::PP::encode_json(\@cases));
	my ($out, $err) = run_command([ $python, '-c', <<'PYTHON', $in ]);
import json, sys, warnings
from scipy.stats import mannwhitneyu
warnings.simplefilter("ignore")
print(*[repr(float(mannwhitneyu(a, b, alternative="two-sided").pvalue)) for a, b in json.load(open(sys.argv[1]))])
PYTHON
	my @p = split ' ', $out;
	is(scalar(@p), scalar(@cases), 'scipy answers') or diag $err;
	my @other = grep { abs(p_of(@{ $cases[$_] }) - $p[$_]) >= 1e-9 } 0 .. $#p;
	is("@other", '', 'p is that of scipy, in each of 200 pairs of samples');
}

# Where values are equal, exact means: of the 10 ways to draw 2 of 5, how many are as far from it
is(query(q(SELECT pool_exhaust_mann_whitney('{1,1,1}', '{1,2}', true))), 0.4, 'exact with ties: 4 of 10');
is(query(q(SELECT pool_exhaust_mann_whitney('{1,1,1}', '{2,2}', true))), 0.1, 'exact with ties: 1 of 10');
is(query(q(SELECT pool_exhaust_mann_whitney('{1,2,3}', '{4,5,6,7}', true) = pool_exhaust_mann_whitney('{1,2,3}', '{4,5,6,7}'))), 't',
	'exact without ties: the same');
is(query(q(SELECT pool_exhaust_mann_whitney('{}', '{1}') IS NULL, pool_exhaust_mann_whitney(NULL, '{1}') IS NULL)), 't|t', 'no values, no p');
fails_with($client, q(SELECT pool_exhaust_mann_whitney('{1,NULL}', '{1}')), '22023', [qr/NULL or NaN/], 'a NULL');
fails_with($client, q(SELECT pool_exhaust_mad('{1,NaN}')), '22023', [qr/NULL or NaN/, qr/Leave such values out/], 'a NaN');
is(query(q(SELECT pool_exhaust_median('{3,1,2}'), pool_exhaust_median('{4,1,2,3}'), pool_exhaust_median('{}') IS NULL)), '2|2.5|t', 'median');
is(query(q(SELECT pool_exhaust_mad('{1,2,3,4,100}'), pool_exhaust_mad('{1,1,2,2}'), pool_exhaust_mad('{}') IS NULL)), '1|0.5|t', 'MAD');

# ---------- Trends ----------

my $ids = 0;

# Puts a run in: of target, with these latencies in us ("fill grant" => p50), whose p99
# is that of "p99" or twice as long, and these columns.
sub put_run
{
	my ($target, $latencies, %run) = @_;
	my $id = ++$ids;
	my @columns = ("'" . ($run{scenario} // 'queue') . "'", "'$target'", "'{}'", "'" . ($run{verdict} // 'pass') . "'",
		'now()', 0, "'15'", "'1.1'", "'" . ($run{environment} // '{"cores": 2}') . "'", $run{calibration} ? "'$run{calibration}'" : 'NULL');
	my @rows = map {
		my ($phase, $metric) = split / /;
		my $p50 = int $latencies->{$_};
		"($id, '$phase', '$metric', 'us', '{{$p50,99},{" . (2 * $p50) . ",1}}')"
	} sort keys %$latencies;

	return 'INSERT INTO pool_exhaust_runs (id, scenario, target, options, verdict, started_at, seed, server_version,'
	  . " extension_version, environment, calibration) OVERRIDING SYSTEM VALUE VALUES ($id, " . join(', ', @columns) . ');'
	  . 'INSERT INTO pool_exhaust_histograms VALUES ' . join(', ', @rows) . ';';
}

# A value around 1, with that deviation
sub noisy
{
	my ($deviation) = @_;

	return exp($deviation * sqrt(-2 * log(1 - rand)) * cos(6.283185307179586 * rand));
}

# Puts the history of a target in: n runs of 4 metrics, of which the last 5 are slower by "factor".
sub put_history
{
	my ($target, $n, %params) = @_;
	my $sql = '';

	foreach my $run (1 .. $n)
	{
		my $factor = $run > $n - 5 ? $params{factor} // 1 : 1;
		my $machine = $run > $n - 5 ? $params{machine} // 1 : 1;
		my $calibration = sprintf '{"logins_per_s": %.0f, "loops_per_s": %.0f}',
		  400 / $machine * noisy(0.03), 30000 / $machine * noisy(0.01);
		my %latencies = map { ("fill m$_" => 1000 * $_ * ($_ == 1 ? $factor : 1) * $machine * noisy($params{noise} // 0.1)) } 1 .. 4;

		$sql .= put_run($target, \%latencies, calibration => $calibration, %{ $params{run} // {} });
	}
	query($sql);
}

sub verdicts
{
	my ($like) = @_;

	return query("SELECT verdict, count(*) FROM pool_exhaust_trends WHERE target LIKE '$like' GROUP BY 1 ORDER BY 1");
}

# The verdicts of a target by metric
sub trend
{
	my ($target) = @_;

	return query("SELECT string_agg(metric || ': ' || verdict, ', ' ORDER BY metric) FROM pool_exhaust_trends WHERE target = '$target'");
}

put_history("steady$_", 25) foreach 1 .. 60;
is(verdicts('steady%'), 'steady|480', 'noise alone: no metric is suspect, in 60 histories of 8');
put_history("worse$_", 25, factor => 1.5) foreach 1 .. 20;
my $found = query(q(SELECT count(DISTINCT target) FROM pool_exhaust_trends WHERE target LIKE 'worse%' AND verdict = 'suspect'));
cmp_ok($found, '>=', 18, '50 % more in the last 5 runs: suspect in 18 of 20 histories at least');
is(query(q(SELECT count(*) FROM pool_exhaust_trends WHERE target LIKE 'worse%' AND verdict <> 'steady' AND metric !~ 'm1 ')), 0, 'and no other metric is');
put_history('better', 25, factor => 0.5);
is(trend('better'), 'fill: m1 p50: improved, fill: m1 p99: improved, '
	  . join(', ', map { ("fill: m$_ p50: steady", "fill: m$_ p99: steady") } 2 .. 4), 'half of it: improved');
put_history('slow_machine', 25, machine => 2);
is(verdicts('slow_machine'), 'steady|8', 'a machine that is half as fast is no regression');
my $moved = q(SELECT count(*) FILTER (WHERE moved = 1 AND p < 0.01) || ' of ' || count(*) FROM (SELECT DISTINCT run_ids FROM pool_exhaust_trends
	WHERE target = 'slow_machine') AS t, pool_exhaust_shifts(run_ids[6:25], run_ids[1:5], %s));
is(query(sprintf $moved, 'true'), '0 of 8', 'nor are its latencies longer, scaled by the calibrations');
is(query(sprintf $moved, 'false'), '8 of 8', 'as they are all of them are');
put_history('slow_and_worse', 25, machine => 2, factor => 1.6);
like(trend('slow_and_worse'), qr/m1 p50: suspect, fill: m1 p99: suspect, fill: m2 p50: steady/, 'a regression on a machine that is half as fast');

query('TRUNCATE pool_exhaust_runs CASCADE');

# Runs by hand: one metric, as so many values as there are runs
sub put_values
{
	my ($target, $values, %run) = @_;

	query(join('', map { put_run($target, { 'fill grant' => $_ }, %run) } @$values));
}

sub verdict_of_p50
{
	my ($target) = @_;

	return query("SELECT verdict FROM pool_exhaust_trends WHERE target = '$target' AND metric = 'fill: grant p50'");
}

my @base = map { 1000 + 10 * $_ } 1 .. 20;
put_values('few', [ (1000) x 2, (2000) x 5 ]);
is(verdict_of_p50('few'), 'not enough runs', '7 runs');
put_values('few', [2000]);
is(verdict_of_p50('few'), 'steady', '8 runs prove nothing yet');
put_values('values', [ @base, map { 1500 + $_ } 1 .. 5 ]);
is(query(q(SELECT scenario, unit, better, environment = left(md5('{"cores": 2}'), 8), runs, median, noise, latest, round(change::numeric, 3), round(p::numeric, 6), verdict
		FROM pool_exhaust_trends WHERE target = 'values' AND metric = 'fill: grant p50')),
	'queue|us|lower|t|25|1105|50|1503|0.360|0.000075|suspect', 'all columns: 2 of 53130 ways, and 2 metrics');
is(query(q(SELECT bool_and(run_ids = ARRAY(SELECT id FROM pool_exhaust_runs WHERE target = 'values' ORDER BY id DESC LIMIT 25)) FROM pool_exhaust_trends WHERE target = 'values')),
	't', 'and the runs that are compared');
put_values('ties', [ (1000) x 20, (1500) x 5 ]);
is(verdict_of_p50('ties'), 'suspect', 'equal values');
put_values('equal', [ (1000) x 25 ]);
is(query(q(SELECT p, noise, change, verdict FROM pool_exhaust_trends WHERE target = 'equal' AND metric ~ 'p50')), '1|0|0|steady', 'nothing but equal values');
put_values('outlier', [ @base, 1100, 1090, 1110, 1105, 9000 ]);
is(verdict_of_p50('outlier'), 'steady', 'one run beyond all others');
put_values('tenth', [ (1000 .. 1019), (1090) x 5 ]);
is(verdict_of_p50('tenth'), 'steady', 'less than a tenth');
put_values('within_noise', [ (map { 1000 + 40 * $_ } -10 .. 9), (1370) x 5 ]);
is(verdict_of_p50('within_noise'), 'steady', 'less than twice the noise');
put_values('us', [ (3) x 20, (4) x 5 ]);
is(verdict_of_p50('us'), 'steady', 'the least that can be measured');

# What cannot be compared is not
put_values('mixed', [ (1000) x 20 ]);
put_values('mixed', [ (1500) x 5 ], environment => '{"cores": 4}');
put_values('mixed', [ (1500) x 5 ], verdict => $_) foreach qw(invalid aborted);
put_values('mixed', [ (1500) x 5 ], scenario => 'latency');
is(query(q(SELECT scenario, runs, verdict, count(*) FROM pool_exhaust_trends WHERE target = 'mixed' GROUP BY 1, 2, 3 ORDER BY 1, 2)),
	"latency|5|not enough runs|2\nqueue|5|not enough runs|2\nqueue|20|steady|2", 'other environments, scenarios and verdicts are apart');
put_values('mixed', [ (1500) x 5 ], verdict => 'fail');
is(query(q(SELECT DISTINCT verdict FROM pool_exhaust_trends WHERE target = 'mixed' AND runs = 25)), 'suspect', 'runs that failed can be compared');

# ---------- Two runs ----------

my $base = $ids + 1;
query(put_run('pair', { 'fill grant' => 1000, 'fill gone' => 7 }, environment => '{"cores": 2, "options": {"pool_size": 3}}')
	  . put_run('pair', { 'fill grant' => 1500 }, verdict => 'fail', environment => '{"cores": 4, "options": {}, "kind": "pool"}')
	  . put_run('pair', { 'fill grant' => 1 }, scenario => 'latency'));
my $candidate = $base + 1;
query(qq(INSERT INTO pool_exhaust_checks VALUES ($base, 1, 'fill', 'slowest', 'pass', '', '', 'ms', NULL, '<=', 5, NULL, 2),
	($candidate, 1, 'fill', 'slowest', 'pass', '', '', 'ms', NULL, '<=', 5, NULL, 3), ($candidate, 2, 'fill', 'count', 'pass', '', '', NULL, NULL, '=', 5, NULL, 5)));

sub rows { return [ map { s/ +/ /gr } split /\n/, query($_[0]) ] }

my @started = map { query("SELECT started_at FROM pool_exhaust_runs WHERE id = $_") } $base, $candidate;
is_deeply(rows("SELECT pool_exhaust_compare($base, $candidate)"), [
	"base run $base, queue on pair, $started[0]: pass", "candidate run $candidate, queue on pair, $started[1]: fail",
	'not comparable: cores: 2 in the base, 4 in the candidate',
	'not comparable: kind: none in the base, "pool" in the candidate',
	'not comparable: option pool_size: 3 in the base, none in the candidate',
	' base candidate change times noise',
	'fill: gone p50 (us) 7 - -', 'fill: gone p99 (us) 14 - -',
	'fill: grant p50 (us) 1000 1500 +50 %', 'fill: grant p99 (us) 2000 3000 +50 % 1.1 x 901.4 (histograms)',
	'fill: check slowest (ms) 2 3 +50 %', 'check fill: count: none in the base, pass in the candidate' ], 'two runs as text');
my ($first, $last) = split /\|/, query(q(SELECT min(id), max(id) FROM pool_exhaust_runs WHERE target = 'values'));
like(query("SELECT pool_exhaust_compare($first, $last)"), qr/fill: grant p50 \(us\) +1010 +1505 +\+49 % +9.9 x 50 \(trend\)/, 'with the noise of the trend');
unlike(query("SELECT pool_exhaust_compare($first, $last)"), qr/not comparable/, 'which can be compared');
my $json = JSON::PP::decode_json(query("SELECT pool_exhaust_compare($base, $candidate, 'json')"));
is_deeply([ @$json{qw(scenario comparable)}, scalar(@{ $json->{differences} }), $json->{differences}[2] ],
	[ 'queue', JSON::PP::false, 3, { name => 'option pool_size', base => '3', candidate => '' } ], 'as JSON');
is_deeply($json->{candidate}, { run_id => $candidate, target => 'pair', verdict => 'fail', reason => '' }, 'as JSON: a run');
is_deeply($json->{metrics}[2], { name => 'fill: grant p50', unit => 'us', base => 1000, candidate => 1500, change_percent => 50,
	noise => 0, times_noise => undef, noise_of => 'histograms' }, 'as JSON: a metric');
is_deeply($json->{checks}, [ { name => 'fill: count', base => 'none', candidate => 'pass' } ], 'as JSON: checks whose outcome has changed');
is($json->{metrics}[0]{candidate}, undef, 'as JSON: what a run does not have');
is_deeply(rows("SELECT pool_exhaust_compare($base, $candidate, 'markdown')"), [
	'| | base | candidate |', '|---|---|---|', "| queue | run $base on pair: pass | run $candidate on pair: fail | ",
	'| not comparable: cores | 2 | 4 | ', '| not comparable: kind | none | &#34;pool&#34; | ',
	'| not comparable: option pool_size | 3 | none | ', '| check fill: count | none | pass | ', '',
	'| metric | base | candidate | change | times noise |', '|---|--:|--:|--:|--:|',
	'| fill: gone p50 | 7 us | | | | ', '| fill: gone p99 | 14 us | | | | ',
	'| fill: grant p50 | 1000 us | 1500 us | +50 % | | ',
	'| fill: grant p99 | 2000 us | 3000 us | +50 % | 1.1 x 901.4 (histograms) | ',
	'| fill: check slowest | 2 ms | 3 ms | +50 % | | ' ], 'two runs as markdown');
my $repeated = $ids + 1;
query(join '', map { put_run('pair', { 'fill grant' => 1000 }, environment => qq({"cores": 2, "repeat": "$_"})) } qw(base candidate));
unlike(query("SELECT pool_exhaust_compare($repeated, $repeated + 1)"), qr/not comparable/, 'base and candidate of a run with option repeat');
my $old = $ids + 1;
query(put_run('pair', { 'fill grant' => 1000 }) . put_run('pair', { 'fill grant' => 1000 })
	  . "UPDATE pool_exhaust_runs SET environment = NULL, extension_version = '1.0' WHERE id IN ($old, $old + 1)");
like(query("SELECT pool_exhaust_compare($old, $old + 1)"), qr/^not comparable: environment: none in the base, none in the candidate$/m, 'two runs of 1.0');
like(query("SELECT pool_exhaust_compare($old, $old + 1, 'json')"), qr/"comparable": false/, 'two runs of 1.0 as JSON');
fails_with($client, "SELECT pool_exhaust_compare($base, $candidate + 1)", '22023',
	[ qr/run $base is of scenario "queue" and run ${\ ($candidate + 1)} of "latency"/, qr/Compare runs of one scenario/ ], 'another scenario');
fails_with($client, "SELECT pool_exhaust_compare($base, 1000000)", '42704', [qr/run 1000000 does not exist/], 'a run that there is not');
fails_with($client, "SELECT pool_exhaust_compare($base, $base, 'tap')", '22023',
	[ qr/there is no format "tap" for comparisons/, qr/Formats are: text, json, markdown, html\./ ], 'a format that compares nothing');
fails_with($client, "SELECT pool_exhaust_compare($base, NULL)", '22004', [qr/candidate/], 'no candidate');

# A role compares the runs that it may read.
query(q(CREATE ROLE reader LOGIN; GRANT EXECUTE ON FUNCTION pool_exhaust_compare(bigint, bigint, text) TO reader));
query("UPDATE pool_exhaust_runs SET role = 'reader' WHERE id = $base");
my $reader = client($node, user => 'reader');
fails_with($reader, "SELECT pool_exhaust_compare($base, $candidate)", '42501', [qr/permission denied for the report of run $candidate/], 'the run of another role');
query("UPDATE pool_exhaust_runs SET role = 'reader' WHERE id = $candidate");
like($reader->query("SELECT pool_exhaust_compare($base, $candidate)") // $reader->message, qr/^base +run $base/, 'both are its own');
$reader->close;

# ---------- For dashboards ----------

is_deeply(JSON::PP::decode_json(query("SELECT string_agg(l, '') FROM pool_exhaust_report($candidate, 'benchmark-json') AS l")),
	[ { name => 'queue on pair: fill: grant p50', unit => 'us', value => 1500, range => '+- 0' },
	  { name => 'queue on pair: fill: grant p99', unit => 'us', value => 3000, range => '+- 750' } ], 'benchmark-json');
is(query("UPDATE pool_exhaust_runs SET verdict = NULL WHERE id = $candidate; DELETE FROM pool_exhaust_histograms WHERE run_id = $candidate;"
	  . "SELECT string_agg(l, '') FROM pool_exhaust_report($candidate, 'benchmark-json') AS l"), '[]', 'of a run without latencies');

# A real run has them all.
query("SELECT setval('pool_exhaust_runs_id_seq', $ids)");
my $id = run_scenario($client, 'queue', 'pool', long_ms => 20, pool_timeout_ms => 100);
my @metrics = map { $_->{name} } @{ JSON::PP::decode_json(query("SELECT string_agg(l, '') FROM pool_exhaust_report($id, 'benchmark-json') AS l")) };
cmp_ok(scalar(@metrics), '>=', 4, 'a real run has metrics');
is(query(q(SELECT count(*) FROM pool_exhaust_trends WHERE target = 'pool' AND verdict = 'not enough runs')), scalar(@metrics), 'and a trend of each');
is(query("SELECT count(*) FROM pool_exhaust_compare($id, $id) AS l WHERE l ~ '(us)'"), scalar(@metrics), 'and can be compared');

$client->close;
left_nothing($node);
done_testing();
