# Reports as pages and pictures: they are well-formed, need nothing from outside, say what
# the tables say, and stand whatever is in the tables.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Page;
use PoolExhaust;
use POSIX ();
use PostgreSQL::Test::Utils;
use Test::More;

my $node   = new_server('html_report', conf => 'max_connections = 20');
my $client = client($node);
my @charts = split /, /, charts_hint();

sub charts_hint
{
	$client->query(q{SELECT pool_exhaust_report(1, 'svg:none')});
	return $client->{error}{H} =~ /^Charts are: (.*)\.$/ ? $1 : '';
}

sub page
{
	my ($run_id, $format, $database) = @_;

	return $node->safe_psql($database // 'postgres', "SELECT pool_exhaust_report($run_id, '" . ($format // 'html') . "')");
}

sub chart
{
	my ($page, $run_id, $name) = @_;

	return $page =~ m{(<svg [^>]*"run$run_id-$name-t .*?</svg>)}s ? $1 : '';
}

# The table below a chart: rows of its cells.
sub table_of
{
	my ($page, $run_id, $name) = @_;
	my ($body) = $page =~ m{"run$run_id-$name-t .*?<tbody>(.*?)</tbody>}s;

	return map { [ m{<t[hd][^>]*>(.*?)</t[hd]>}g ] } ($body // '') =~ /<tr>.*/g;
}

# The values that the path of a series stands for, by the scale of its chart.
sub drawn
{
	my ($chart, $series) = @_;
	my ($kind, $from, $to, $low, $high) = $chart =~ /data-kind="(\w+)".* data-y="(\S+) (\S+) (\S+) (\S+)"/;
	my ($path) = $chart =~ /data-series="\Q$series\E" d="(.*?)"/;
	my @shares = map { ($_ - $low) / ($high - $low) } $path =~ /(?:[ML]\S+? |V)([\d.]+)/g;

	return map { $kind eq 'log' ? $from * ($to / $from)**$_ : $from + $_ * ($to - $from) } @shares;
}

sub same_numbers
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($got, $expected, $name) = @_;
	my @off = grep { abs($got->[$_] - $expected->[$_]) > 0.005 * abs($expected->[$_]) + 0.01 } 0 .. $#$expected;

	is(scalar(@$got), scalar(@$expected), "$name: as many");
	is(scalar(@off), 0, $name) or diag join "\n", map { "$got->[$_] and $expected->[$_]" } @off[0 .. ($#off > 9 ? 9 : $#off)];
}

# A run with these checks and samples, by hand; returns its id.
sub insert_run
{
	my ($run, @more) = @_;

	$client->query("INSERT INTO pool_exhaust_runs (scenario, target, options, verdict, reason, started_at, finished_at, seed, server_version, extension_version, summary) VALUES ($run) RETURNING id") // die $client->message;
	my $id = $client->query('SELECT max(id) FROM pool_exhaust_runs');
	foreach (@more)
	{
		$client->query(s/\$ID/$id/gr);
		die $client->message if $client->{error};
	}
	return $id;
}

# ---------- Real runs ----------

my $saturation = run_scenario($client, 'saturation', 'role', role_limit => 5, seed => 7);
my $page = page($saturation);
my @drawn = is_sound($page, 'saturation');
cmp_ok(scalar(@drawn), '>=', 3, 'saturation: there are charts');
cmp_ok(length $page, '<=', 150 * 1024, 'saturation: it is small');
like($page, qr{<h1>saturation on role</h1>\n<p><span class="badge pass">pass</span>.*<h2>Checks</h2>.*<h2>Charts</h2>.*<h2>Options</h2>.*<h2>Environment</h2>.*<h2>To repeat it</h2>}s,
	'saturation: what a page has, in this order');
my ($repeat) = $page =~ m{<pre>(.*?)</pre>};
$repeat =~ s/&#(\d+);/chr $1/ge;
is($repeat, q(SELECT pool_exhaust_run('saturation', 'role', '{"seed": 7, "role_limit": 5}');), 'saturation: the line that repeats it');
is(join(' ', $page =~ m{<tr><th scope="row">(\w+)</th><td>[^<]*</td><td><strong>changed</strong></td>}g), 'role_limit', 'saturation: what was changed is marked');
my $peak = $client->query("SELECT summary->>'peak_in_use' FROM pool_exhaust_runs WHERE id = $saturation");
my @in_use = drawn(chart($page, $saturation, 'in_use'), 'in use');
is((sort { $b <=> $a } map { sprintf '%.0f', $_ } @in_use)[0], $peak, 'saturation: the peak that is drawn is peak_in_use');
my $samples = $client->query("SELECT count(*) FROM pool_exhaust_samples WHERE run_id = $saturation");
is(scalar(@in_use), $samples, 'saturation: and each sample is') if $samples <= 100;
is_deeply([ table_of($page, $saturation, 'refusals') ], [ [ 'role_limit', 10 ] ], 'saturation: refusals by cause');

my $latency = run_scenario($client, 'latency', undef, level_ms => 100, levels => [ 50, 100 ], seed => 7, tolerance_percent => 100);
$page = page($latency);
is_sound($page, 'latency');
is(scalar(grep { chart($page, $latency, $_) } qw(in_use percentiles distribution split)), 4, 'latency: its charts are there');
like(chart($page, $latency, 'percentiles'), qr/<path class="dash sl" data-value="2000"/, 'latency: percentiles have the limit');
like(chart($page, $latency, 'distribution'), qr/data-row="50 %: wait".*?data-mark="limit" data-value="2000"/s, 'latency: distributions have it, too');
my @levels = table_of($page, $latency, 'split');
is(join(' ', map { $_->[0] } @levels), '50 % 100 %', 'latency: a split for each level');
my @rows = table_of($page, $latency, 'distribution');
my $distribution = chart($page, $latency, 'distribution');
same_numbers([ $distribution =~ /data-mark="p99" data-value="(.*?)"/g ], [ map { $_->[4] } @rows ], 'latency: p99 drawn and in the table');
is( join(' ', sort { $a <=> $b } map { $_->[1] } @rows),
	$client->query("SELECT string_agg((SELECT sum(c) FROM unnest(buckets) WITH ORDINALITY AS u(c, n) WHERE n % 2 = 0)::text, ' '
		ORDER BY (SELECT sum(c) FROM unnest(buckets) WITH ORDINALITY AS u(c, n) WHERE n % 2 = 0))
		FROM pool_exhaust_histograms WHERE run_id = $latency"), 'latency: as many values as the histograms have');

# ---------- Pictures ----------

is($charts[0], 'in_use', 'the first chart is that of connections in use');
my $svg = page($latency, 'svg');
is($svg, page($latency, 'svg:in_use'), 'svg is the first chart');
foreach my $chart (@charts)
{
	my $picture = page($latency, "svg:$chart");

	well_formed($picture, "svg:$chart");
	like($picture, qr{\A<svg class="plot" xmlns="http://www.w3.org/2000/svg" width="600" height="\d+" }, "svg:$chart: it stands alone");
	unlike($picture =~ s{http://www.w3.org/2000/svg}{}r, qr/<script|https?:|url\(/, "svg:$chart: and loads nothing");
	like($picture, chart($page, $latency, $chart) ? qr/<path|<rect class="f/ : qr/run $latency has nothing to draw/, "svg:$chart: it has what the page has");
}
fails_with($client, "SELECT pool_exhaust_report($latency, 'svg:none')", '22023',
	[ qr/chart "none" does not exist/, qr/Charts are: in_use, .*recovery\./ ], 'an unknown chart');
fails_with($client, q{SELECT pool_exhaust_run('saturation', 'role', format => 'svg:')}, '22023', [qr/chart "" does not exist/], 'a chart without a name');
fails_with($client, q{SELECT pool_exhaust_report(999, 'html')}, '42704', [qr/run 999 does not exist/], 'an unknown run');

# ---------- Bad input ----------

my $hostile = q{<script>alert(1)</script> ]]> | ` "'&lt; } . "\x01\x1b[31m \x{202e}";
utf8::encode($hostile);
my $quoted = q{E'} . ($hostile =~ s/(['\\])/\\$1/gr) . q{'};
my $hostile_run = my $run = insert_run(
	"$quoted, $quoted, jsonb_build_object('workload', $quoted, 'seed', 1), 'fail', $quoted, now(), now(), 1, $quoted, $quoted,
	jsonb_build_object('capacity', 3, 'elapsed_ms', 100, 'phases', jsonb_build_array(jsonb_build_object('phase', $quoted, 'note', $quoted, 'began_ms', 0, 'elapsed_ms', 100)),
	'pools', jsonb_build_array(jsonb_build_object('refused_logins', jsonb_build_object($quoted, 3))))",
	"INSERT INTO pool_exhaust_checks VALUES (\$ID, 1, $quoted, $quoted, 'fail', $quoted, $quoted, $quoted, $quoted, NULL, NULL, NULL, NULL), (\$ID, 2, $quoted, 'a', 'fail', '1', '2', 'ms', $quoted, '<=', 1, NULL, 2)",
	"INSERT INTO pool_exhaust_histograms VALUES (\$ID, $quoted, $quoted, 'us', '{{1000,2}}')",
	q(INSERT INTO pool_exhaust_samples VALUES ($ID, now(), 3, 1, 1, 1, 1, 1, 2, 'healthy')));
$page = page($run);
is_sound($page, 'hostile text');
is(scalar(() = $page =~ /&#60;script&#62;alert\(1\)&#60;\/script&#62; ]]&#62; \| ` &#34;&#39;&#38;lt; \?\?\[31m \?/g) >= 12, 1, 'hostile text: it is there as text');
well_formed(page($run, "svg:$_"), "hostile text in svg:$_") foreach @charts;

$run = insert_run(q('all', 'server', '{}', NULL, NULL, now(), NULL, 1, '15', '1.0', NULL));
$page = page($run);
is_sound($page, 'a run of which nothing is stored yet');
like($page, qr/There are none.*Nothing of the run was measured over time/s, 'a run of which nothing is stored yet: the page says so');
$run = insert_run(q('storm', 'server', '{}', 'aborted', 'stopped', now(), now(), 3, '15', '1.1',
	'{"capacity": 0, "elapsed_ms": 0, "phases": [{"phase": "calm", "began_ms": 0, "elapsed_ms": 0, "figures": {"peak_per_s": 5}}]}'),
	q(INSERT INTO pool_exhaust_samples VALUES ($ID, now(), 0, 0, 0, 0, 0, NULL, NULL, 'healthy')));
like(page($run), qr{badge aborted">aborted.*<p class="reason aborted">stopped}s, 'an aborted run');
is_sound(page($run), 'an aborted run with one sample');
my $under_way = $client->query(q{SELECT pool_exhaust_start('queue', 'pool', '{"long_ms": 20000, "pool_timeout_ms": 30000}')});
like(page($under_way), qr/badge running">running/, 'a run under way');
$client->query("SELECT pool_exhaust_stop($under_way)");

# ---------- Two runs side by side ----------

sub compare_page
{
	my ($base, $candidate) = @_;

	return $node->safe_psql('postgres', "SELECT pool_exhaust_compare($base, $candidate, 'html')");
}

# A run of the scenario with these histograms ("phase metric" => buckets), and more statements.
sub insert_measured
{
	my ($latencies, $environment, @more) = @_;
	my @rows = map { my ($phase, $metric) = split / /; "INSERT INTO pool_exhaust_histograms VALUES (\$ID, '$phase', '$metric', 'us', '$latencies->{$_}')" } sort keys %$latencies;

	return insert_run(q('queue', 'pool', '{}', 'pass', NULL, now(), now(), 1, '15', '1.1', '{"elapsed_ms": 100}'),
		"UPDATE pool_exhaust_runs SET environment = $environment WHERE id = \$ID", @rows, @more);
}

# The shares of its values that a series has on its bars, the most first.
sub shares
{
	my ($chart, $series) = @_;
	my ($most, $path) = $chart =~ /data-series="$series" data-most="(\S+)" d="(.*?)"/;
	my ($bottom) = $path =~ /^M\S+ (\d+)/;
	my @heights = $path =~ /v-/ ? $path =~ /v-([\d.]+)/g : grep { $_ > 0 } map { $bottom - $_ } $path =~ /V([\d.]+)/g;

	my @shares = sort { $b <=> $a } map { $_ / 120 * $most } @heights;
	return @shares;
}

my %slow = ('fill grant' => '{{1000,10},{2000,50},{5000,30},{90000,10}}', 'fill gone' => '{{7,1}}', 'hold wait' => '{{20,3}}');
my %fast = ('fill grant' => '{{1000,150},{1600,40},{7000,10}}', 'fill new' => '{{7,1}}', 'hold wait' => '{}');
my $base = insert_measured(\%slow, q('{"cores": 2}'), q(INSERT INTO pool_exhaust_checks VALUES
	($ID, 1, 'fill', 'slowest', 'fail', '', '', 'ms', NULL, '<=', 50, NULL, 90), ($ID, 2, 'fill', 'same', 'pass', '', '', NULL, NULL, '=', 1, NULL, 1)));
my $candidate = insert_measured(\%fast, q('{"cores": 2}'), q(INSERT INTO pool_exhaust_checks VALUES
	($ID, 1, 'fill', 'slowest', 'pass', '', '', 'ms', NULL, '<=', 60, NULL, 7), ($ID, 2, 'fill', 'same', 'pass', '', '', NULL, NULL, '=', 1, NULL, 1)));
$page = compare_page($base, $candidate);
my @both = is_sound($page, 'two runs');
cmp_ok(length $page, '<=', 150 * 1024, 'two runs: the page is small');
like($page, qr{<h1>queue: run $base and run $candidate</h1>\n<p class="reason pass"><strong>Comparable:</strong>}, 'two runs: that they can be compared comes first');
like($page, qr{<h2>Runs</h2>.*<h2>Checks whose.*<h2>Metrics</h2>.*<h2>Distributions</h2>}s, 'two runs: what the page has, in this order');
is(scalar(@both), 1, 'two runs: a chart of each latency of which both have values');
like($both[0], qr{&#9632;</tspan> base, run $base.*&#9633;</tspan> candidate, run $candidate.*limit of a check}s, 'two runs: a legend without colors');
like($page, qr{<tr><th scope="row">fill: slowest</th><td data-name="base"><span class="badge fail">fail</span> observed 90 ms, expected [^<]*50 ms</td><td data-name="candidate"><span class="badge pass">}, 'two runs: a check whose outcome has changed');
is(scalar(() = $page =~ /fill: same/g), 0, 'two runs: but not one whose outcome has not');
like($page, qr{<th scope="row">fill: grant p50</th><td data-name="base">2000 us</td><td data-name="candidate">1000 us</td><td data-name="change">.*?-50 %}, 'two runs: a metric');
same_numbers([ shares($both[0], "base, run $base") ], [ 0.5, 0.3, 0.1, 0.1 ], 'two runs: the distribution of the base');
same_numbers([ shares($both[0], "candidate, run $candidate") ], [ 0.75, 0.2, 0.05 ], 'two runs: that of the candidate');
is($both[0] =~ s/.*?data-mark="limit" data-value="(\d+)"[^>]*><title>(.*?):.*?(?=data-mark="limit"|\z)/$1 $2; /sgr, '50 slowest; 60 slowest, in the candidate; ', 'two runs: the limit of each');
foreach my $fraction ([ 'p50', 0.5, 2 ], [ 'p99', 0.99, 4 ])
{
	my ($name, $value, $column) = @$fraction;
	my @percentiles = map { $client->query("SELECT pool_exhaust_percentile(buckets, $value) / 1000 FROM pool_exhaust_histograms WHERE run_id = $_ AND metric = 'grant'") } $base, $candidate;
	my ($from, $to, $low, $high) = $both[0] =~ /data-x="(\S+) (\S+) (\S+) (\S+)"/;
	my @places = $name eq 'p50' ? map { $_ + 4 } $both[0] =~ /data-mark="p50" data-value="[^"]*" x="(.*?)"/g : $both[0] =~ /data-mark="p99" data-value="[^"]*" d="M(\S+) /g;

	same_numbers([ $both[0] =~ /data-mark="$name" data-value="(.*?)"/g ], \@percentiles, "two runs: $name of each");
	same_numbers([ map { $from * ($to / $from)**(($_ - $low) / ($high - $low)) } @places ], \@percentiles, "two runs: $name of each is where it belongs");
	same_numbers([ map { $_->[$column] } map { [ m{<t[hd][^>]*>(.*?)</t[hd]>}g ] } $page =~ m{<tr><th scope="row">fill: grant, .*}g ], \@percentiles, "two runs: $name of each in the table");
}

# Runs that differ, have nothing, or are of version 1.0
my $elsewhere = insert_measured(\%slow, q('{"cores": 4, "options": {"pool_size": 3}}'));
$page = compare_page($base, $elsewhere);
is_sound($page, 'runs that differ');
like($page, qr{<p class="reason invalid"><strong>Not comparable:.*?<th scope="row">cores</th><td data-name="base">2</td><td data-name="candidate">4</td>.*?<th scope="row">option pool_size</th><td data-name="base">none</td>}s,
	'runs that differ: it says so first, and in what');
my $without = insert_measured({}, 'NULL');
$page = compare_page($without, $without);
is_sound($page, 'runs that have nothing');
like($page, qr{Not comparable:.*<p>There are none.</p>.*<p>Neither run has one.</p>.*<p>There is no latency that both runs have.</p>}s, 'runs that have nothing: it says so');
is_sound(compare_page($under_way, $base), 'a run that was stopped, beside another');
is_sound(compare_page($hostile_run, $hostile_run), 'hostile text, twice');
is(scalar(() = compare_page($hostile_run, $hostile_run) =~ /&#60;script&#62;alert/g) >= 5, 1, 'hostile text, twice: it is there as text');
my $large = insert_measured({ map { ("phase$_ grant" => '{' . join(',', map { '{' . 7**$_ . ',' . (1 + $_ % 5) . '},{' . (1 + 7**$_) . ',3}' } 1 .. 12) . '}') } 1 .. 60 }, q('{"cores": 2}'));
$page = compare_page($large, $large);
is_sound($page, 'more latencies than fit');
cmp_ok(length $page, '<=', 150 * 1024, 'more latencies than fit: the page is small');
like($page, qr/<p>\d+ more are left out/, 'more latencies than fit: it says so');

# ---------- The history of a run's metrics ----------

# 27 runs with 12 latencies, of which one is slower in the last 5; returns the id of the first.
sub insert_history
{
	my ($target, $environment) = @_;

	return $client->query("WITH runs AS (INSERT INTO pool_exhaust_runs (scenario, target, options, verdict, started_at, finished_at, seed, server_version, extension_version, summary, environment)
			SELECT 'latency', '$target', '{}', CASE WHEN i % 9 = 0 THEN 'fail' ELSE 'pass' END, now(), now(), 1, '15', '1.1',
				jsonb_build_object('elapsed_ms', 100, 'phases', (SELECT jsonb_agg(jsonb_build_object('phase', m || '0 %')) FROM generate_series(1, 12) AS m)), $environment
			FROM generate_series(1, 27) AS i RETURNING id),
		numbered AS (SELECT id, row_number() OVER (ORDER BY id) AS i FROM runs),
		measured AS (INSERT INTO pool_exhaust_histograms SELECT id, m || '0 %', 'wait', 'us', ARRAY[
				ARRAY[(m * 1000 + i * 7919 % 97) * CASE WHEN m = 11 AND i > 22 THEN 2 ELSE 1 END, 90], ARRAY[m * 3000 + i * 7919 % 89, 10]]
			FROM numbered, generate_series(1, 12) AS m)
		SELECT min(id) FROM runs") // die $client->message;
}

# The ids of the charts of a history
sub histories
{
	my ($of) = @_;
	my @charts = $of =~ m{<svg [^>]*aria-labelledby="(run\d+-history-\d+)-t}g;

	return @charts;
}

my $oldest = insert_history('steady_target', q('{"cores": 2}'));
my $latest = $oldest + 26;
$page = page($latest);
is_sound($page, 'history');
cmp_ok(length $page, '<=', 150 * 1024, 'history: the page is small');
is(scalar(histories($page)), 8, 'history: 8 charts');
is(join(', ', map { $page =~ m{<title id="$_-t">(.*?)</title>} } histories($page)),
	'110 %: wait p50, ' . join(', ', map { "${_}0 %: wait p99" } 1 .. 7), 'history: what is suspect comes first, then p99 in the order of phases');
foreach my $chart (histories($page))
{
	my ($picture, $metric, $phase, $name) = $page =~ m{(<svg [^>]*"$chart-t .*?<title id="$chart-t">((\d+ %): wait (p\d+))</title>.*?</svg>)}s;
	my ($runs, $values, $median, $noise) = split /\|/, $client->query("SELECT string_agg(h.run_id::text, ' ' ORDER BY h.run_id),
		string_agg((pool_exhaust_percentile(buckets, 0." . substr($name, 1) . ") / 1000)::text, ' ' ORDER BY h.run_id), max(median) / 1000, max(noise) / 1000
		FROM pool_exhaust_trends, unnest(run_ids) AS id JOIN pool_exhaust_histograms AS h ON run_id = id
		WHERE scenario = 'latency' AND target = 'steady_target' AND pool_exhaust_trends.metric = '$metric' AND phase = '$phase'");
	my @values = split / /, $values;
	my ($table) = $page =~ m{"$chart-t .*?<tbody>(.*?)</tbody>}s;

	is(scalar(@values), 25, "history of $metric: 25 runs");
	same_numbers([ drawn($picture, $metric) ], \@values, "history of $metric: drawn");
	same_numbers([ $table =~ m{<td>(.*?)</td>}g ], \@values, "history of $metric: in the table");
	is(join(' ', $table =~ m{<th scope="row">run (\d+)}g), $runs, "history of $metric: the runs");
	same_numbers([ $picture =~ /class="(?:area|dash) .*?data-value="(.*?)"/g, $picture =~ /data-mark="this" data-value="(.*?)"/ ],
		[ $noise, $median, $values[-1] ], "history of $metric: the base and its noise, as the view has them, and this run");
	like($table, qr{<th scope="row">run $latest \(this one\)</th>}, "history of $metric: this run is marked in the table");
}
like($page, qr{110 %: wait p50</b> 25 runs; the base is [\d.]+ ms, with a noise of [\d.]+: suspect\.}, 'history: the verdict');
my $middle = page($oldest + 3);
is(scalar(histories($middle)), 8, 'history of an older one of the 25');
like($middle, qr{data-mark="this".*?<title>run ${\ ($oldest + 3)}: }, 'which is marked');
is(scalar(histories(page($_))), 0, 'no history without an earlier run, or of one beyond the 25') foreach $oldest, $oldest + 2;
is(scalar(histories($node->safe_psql('postgres', "SELECT pool_exhaust_report(ARRAY[$latest, $latest - 1], 'html')"))), 0, 'no history in a page of several runs');
my $unknown = insert_history('unknown_target', 'NULL');
is(scalar(histories(page($unknown + 26))), 0, 'no history of runs of 1.0, whose environment is not known');
$client->query("UPDATE pool_exhaust_runs SET environment = '{}' WHERE id = $hostile_run");
my $hostile_again = $client->query("INSERT INTO pool_exhaust_runs (scenario, target, options, verdict, started_at, seed, server_version, extension_version, summary, environment)
	SELECT scenario, target, options, verdict, started_at, seed, server_version, extension_version, summary, environment FROM pool_exhaust_runs WHERE id = $hostile_run RETURNING id");
$client->query("INSERT INTO pool_exhaust_histograms SELECT $hostile_again, phase, metric, unit, buckets FROM pool_exhaust_histograms WHERE run_id = $hostile_run");
$page = page($hostile_again);
is_sound($page, 'history of hostile text');
is(scalar(histories($page)), 2, 'history of hostile text: it is there');
like($page, qr/2 runs, too few for a base line\./, 'and says that there is no base line yet');
$client->query("CREATE ROLE historian LOGIN; GRANT EXECUTE ON FUNCTION pool_exhaust_report(bigint, text) TO historian;
	UPDATE pool_exhaust_runs SET role = 'historian' WHERE id IN ($latest, $latest - 7, $latest - 9)");
my $historian = client($node, user => 'historian');
my $own = $historian->query("SELECT string_agg(l, E'\\n') FROM pool_exhaust_report(${latest}::bigint, 'html') AS l") // die $historian->message;
is(join(' ', sort { $a <=> $b } keys %{ { map { $_ => 1 } $own =~ m{<th scope="row">run (\d+)}g } }), join(' ', $latest - 9, $latest - 7, $latest),
	'history: a role sees the values of runs that it may read');
$historian->close;

# In a database of any encoding
foreach my $encoding ([ 'LATIN1', '\xe9', '&#233;' ], [ 'SQL_ASCII', '\xff', '\?' ], [ 'EUC_JP', '\xa4a2', '&#12354;' ])
{
	my ($name, $bytes, $reads) = @$encoding;
	my $database = lc $name;

	$node->safe_psql('postgres', "CREATE DATABASE $database ENCODING '$name' LOCALE 'C' TEMPLATE template0");
	$node->safe_psql($database, 'CREATE EXTENSION pool_exhaust');
	$node->safe_psql($database, "INSERT INTO pool_exhaust_runs (scenario, target, options, verdict, reason, started_at, seed, server_version, extension_version)
		VALUES ('queue', 'pool', '{}', 'fail', convert_from('$bytes'::bytea, '$name'), now(), 1, '15', '1.1')");
	my $of_encoding = page(1, 'html', $database);
	well_formed($of_encoding, $name);
	like($of_encoding, qr/<p class="reason fail">$reads<\/p>/, "$name: text beyond ASCII");
}

# ---------- Many samples ----------

my $bursts = '(i % 4001 = 17)::int * (i / 1000)';
my $big = insert_run(q('degradation', 'pool', '{}', 'pass', NULL, now(), now(), 1, '15', '1.1',
	'{"capacity": 40, "peak_in_use": 39, "elapsed_ms": 200000, "phases": [{"phase": "load", "began_ms": 0, "elapsed_ms": 100000}, {"phase": "calm", "began_ms": 100000, "elapsed_ms": 100000}]}'),
	"INSERT INTO pool_exhaust_samples SELECT \$ID, started_at + i * interval '10 ms', CASE WHEN i = 12345 THEN 39 ELSE i % 17 END, i % 5, i,
		sum($bursts) OVER (ORDER BY i), 0, 1 + i % 7, 10 + i % 90, 'healthy' FROM generate_series(1, 20000) AS i, pool_exhaust_runs WHERE id = \$ID");
$page = page($big);
is_sound($page, '20,000 samples');
cmp_ok(length $page, '<=', 150 * 1024, '20,000 samples: the page is small');
is(scalar(grep { abs($_ - 39) < 0.5 } drawn(chart($page, $big, 'in_use'), 'in use')), 1, '20,000 samples: the peak is drawn');
my @bursts = map { sprintf '%.0f', $_ } grep { $_ > 0.5 } drawn(chart($page, $big, 'pressure'), 'refused since the sample before');
is("@bursts", '4 8 12 16', '20,000 samples: and each burst of refusals');
foreach my $series ([ 'in_use', 'in use', 1 ], [ 'percentiles', 'p99, ms', 2 ])
{
	my ($chart, $name, $column) = @$series;
	my @listed = map { split / to /, $_->[$column] } table_of($page, $big, $chart);

	same_numbers([ sort { $a <=> $b } drawn(chart($page, $big, $chart), $name) ], [ sort { $a <=> $b } @listed ], "20,000 samples: $name drawn and in the table");
}

# The time that the processor needs for it: others may use the machine, too.
my $session = client($node);
my $pid = backend_pid($session);
my $least_ms = 9e9;
sub peak_kb { return slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+)/m ? $1 : 0 }
sub cpu_ms { my @stat = split / /, slurp_file("/proc/$pid/stat") =~ s/^.*\) //r; return 1000 * ($stat[11] + $stat[12]) / POSIX::sysconf(POSIX::_SC_CLK_TCK()) }
$session->query("SELECT count(*) FROM pool_exhaust_report($saturation, 'html')");
my $before_kb = peak_kb();
foreach (1 .. 5)
{
	my $before_ms = cpu_ms();

	$session->query("SELECT count(*) FROM pool_exhaust_report($big, 'html')");
	$least_ms = cpu_ms() - $before_ms if cpu_ms() - $before_ms < $least_ms;
}
note sprintf '20,000 samples: %.0f ms, %d KiB, %d bytes', $least_ms, peak_kb() - $before_kb, length $page;
cmp_ok($least_ms, '<=', 300, '20,000 samples: the page takes no longer than 300 ms');
cmp_ok(peak_kb() - $before_kb, '<=', 32 * 1024, '20,000 samples: and no more than 32 MiB');

$_->close foreach $session, $client;
left_nothing($node);
done_testing();
