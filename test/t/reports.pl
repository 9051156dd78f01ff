# Reports of one run and of several, in the formats that machines read: as they are
# read by their readers, and with texts that want to be more than text.
use strict;
use warnings FATAL => 'all';

use Encode qw(decode encode);
use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use JSON::PP ();
use PoolExhaust;
use PostgreSQL::Test::Utils;
use TAP::Parser;
use Test::More;

my $python = '/usr/bin/python3';    # the system's own, which has the packages
my $node = new_server('reports', conf => 'max_connections = 20');
my $directory = PostgreSQL::Test::Utils::tempdir();
my $owner = client($node);
$owner->query("CREATE DATABASE $_->[0] ENCODING '$_->[1]' LOCALE 'C' TEMPLATE template0")
  foreach [ 'utf8', 'UTF8' ], [ 'ascii', 'SQL_ASCII' ], [ 'latin', 'LATIN1' ];
$owner->close;
my %in = map { $_ => client($node, database => $_) } qw(utf8 ascii latin);
foreach (values %in)
{
	$_->query('CREATE EXTENSION pool_exhaust');
	$_->query('SET pool_exhaust.progress = off');
}
my $client = $in{utf8};

# What a program says, both ways; its status is in $?.
sub output
{
	my ($input, @command) = @_;
	my $output = '';

	eval { IPC::Run::run(\@command, '<', \$input, '>&', \$output, IPC::Run::timeout(60)) } // ($? = -1);
	return $output;
}

sub exists_program
{
	my ($program) = @_;

	return scalar grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

# The report of runs; what is said instead if there is none.
sub report
{
	my ($database, $runs, $format) = @_;

	return $in{$database}->query("SELECT pool_exhaust_report($runs, '$format')") // die $in{$database}->message;
}

# Writes the results of a run by hand; columns of runs beside those, and rows of
# checks: phase, name, outcome, expected, observed, detail.  Its id.
sub write_run
{
	my ($database, $columns, @checks) = @_;
	my %values = (scenario => 'queue', target => 'pool', options => '{}', started_at => '2026-01-02 03:04:05.678+01', seed => 7,
		server_version => '15.1', extension_version => '1.1', role => 'postgres', summary => '{"elapsed_ms": 1500, "phases": [{"phase": "fill", "elapsed_ms": 250}]}', %$columns);
	my $quoted = sub { join ', ', map { defined $_ ? "\$q\$$_\$q\$" : 'NULL' } @_ };
	my @names = sort keys %values;
	my $id = $in{$database}->query('INSERT INTO pool_exhaust_runs (' . join(', ', @names) . ') VALUES ('
		  . $quoted->(@values{@names}) . ') RETURNING id') // die $in{$database}->message;

	foreach my $seq (1 .. @checks)
	{
		$in{$database}->query('INSERT INTO pool_exhaust_checks (run_id, seq, phase, name, outcome, expected, observed, detail)
			VALUES (' . $quoted->($id, $seq, @{ $checks[ $seq - 1 ] }) . ')') // die $in{$database}->message;
	}
	return $id;
}

my @pass = ('fill', 'held connections', 'pass', '5', '5', undef);
my @fail = ('fill', 'refusals', 'fail', '3', '4', 'one too many: look at the log');
my @skip = ('reserve', 'superuser granted', 'skip', '', '', 'no reserve');

# ---------- JUnit ----------

my $have_xmllint = exists_program('xmllint');

# A document that keeps the rules of Jenkins; asserts so if there is xmllint.
sub junit
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($database, $runs, $name) = @_;
	my $xml = report($database, $runs, 'junit');

	unlike($xml, qr/[^\n -~]/, "$name: printable ASCII alone");
  SKIP:
	{
		skip 'no xmllint', 1 if !$have_xmllint;
		my $complaint = output($xml, 'xmllint', '--noout', '--nonet', '--schema', "$FindBin::RealBin/../junit.xsd", '-');
		is($?, 0, "$name: keeps the rules of JUnit's XML") or diag $complaint, $xml;
	}
	return $xml;
}

# What an XPath expression says of a document; what a reader of XML would.
sub xpath
{
	my ($xml, $expression) = @_;

	return output($xml, 'xmllint', '--nonet', '--xpath', $expression, '-') =~ s/\n\z//r;
}

# tests, failures, errors and skipped of all suites, as their attributes say
sub counts
{
	my ($xml) = @_;
	my %sums;

	while ($xml =~ /^  <testsuite (.*)>$/mg)
	{
		my $suite = $1;
		$sums{$_} += $suite =~ /\b$_="(\d+)"/ ? $1 : die $suite foreach qw(tests failures errors skipped);
	}
	return join ' ', map { $sums{$_} // 0 } qw(tests failures errors skipped);
}

# The same by the elements
sub counts_of_elements
{
	my ($xml) = @_;
	my %elements;

	$elements{$_}++ foreach $xml =~ /<(testcase|failure|error|skipped)\b/g;
	return join ' ', map { $elements{$_} // 0 } qw(testcase failure error skipped);
}

my %runs = (
	pass    => write_run('utf8', { verdict => 'pass' }, \@pass, \@skip),
	fail    => write_run('utf8', { verdict => 'fail', reason => 'failed: refusals' }, \@pass, \@fail, \@skip),
	invalid => write_run('utf8', { verdict => 'invalid', reason => 'nothing was refused' }, \@pass, \@fail, \@skip),
	aborted => write_run('utf8', { verdict => 'aborted', reason => 'stopped', summary => undef }),
	lost    => write_run('utf8', { summary => undef }),
	unproved => write_run('utf8', { verdict => 'fail', reason => 'a session is left' }, \@pass));
my %expected = (pass => '2 0 0 1', fail => '3 1 0 1', invalid => '4 0 1 3', aborted => '1 0 1 0', lost => '1 0 1 0', unproved => '2 1 0 0');
foreach my $name (sort keys %runs)
{
	my $xml = junit('utf8', $runs{$name}, $name);
	is(counts($xml), $expected{$name}, "$name: tests, failures, errors, skipped");
	is(counts_of_elements($xml), $expected{$name}, "$name: and there they are");
}
like(report('utf8', $runs{fail}, 'junit'), qr{<testcase classname="pool_exhaust.queue.pool" name="fill: refusals" time="0.000">
      <failure message="expected 3, observed 4">expected: 3&#10;observed: 4&#10;meaning: one too many: look at the log&#10;</failure>
    </testcase>}, 'a failure says what it means');
like(report('utf8', $runs{fail}, 'junit'), qr{name="fill: held connections" time="0.250"/>}, 'the time of the phase');
like(report('utf8', $runs{fail}, 'junit'), qr{<testsuite name="queue on pool, run $runs{fail}" .* time="1.500" timestamp="2026-01-02T02:04:05">}, 'time and timestamp, in UTC');
like(report('utf8', $runs{invalid}, 'junit'), qr{<error message="invalid: nothing was refused"/>}, 'an error says why');
like(report('utf8', $runs{lost}, 'junit'), qr{<error message="aborted: the run is not under way, and its results were not written"/>}, 'a lost run is aborted');
my @ids = map { $runs{$_} } sort keys %runs;
my $several = 'ARRAY[' . join(', ', @ids) . ']';
is(counts(junit('utf8', $several, 'several runs')), '13 2 3 5', 'several runs: the sums, with names that are unique');

# ---------- Hostile texts ----------

# What is more than text in XML, in HTML or in markdown, and what is no text at all
my $hostile = q{<script>alert("1")</script> ]]> | `code` ``x`` **bold** _it_ __b__ ~~s~~ [a](http://x.yz) ![i](//x.yz) <http://x.yz>}
  . q{ &amp; &#60; 'q' @user a@b.cd www.x.yz http://x.yz \| \x41 $x$ <!-- --> <?x?> <![CDATA[ # - --- };
my $unprintable = "a\nb\tc\e[31md\x7f";
my $printable = 'a b c?[31md?';

# In these databases: what is written there, and what it reads as, in characters
my %texts = (
	utf8 => [ encode('UTF-8', "\x{e9}\x{20ac}\x{1f600}\x{85}\x{202e}\x{fffe}"), "\x{e9}\x{20ac}\x{1f600}??\x{fffd}" ],
	ascii => [ "\xff\xfe\xe9\xc3", '????' ],
	latin => [ "\xe9\x85", "\x{e9}?" ]);
foreach my $database (sort keys %texts)
{
	my $text = "$hostile$unprintable$texts{$database}[0]";
	my $reads = "$hostile$printable$texts{$database}[1]";
	my $id = write_run($database, { verdict => 'fail', reason => $text, scenario => $text, target => $text },
		[ $text, $text, 'fail', $text, $text, $text ], [ $text, "1 $text", 'skip', '', '', $text ], [ $text, "2 $text", 'pass', $text, $text, undef ]);
	my $xml = junit($database, $id, "$database, hostile");

  SKIP:
	{
		skip 'no xmllint', 3 if !$have_xmllint;
		my $says = sub { decode('UTF-8', xpath($xml, "string($_[0])")) };
		is($says->('//failure/@message'), "expected $reads, observed $reads", "$database: nothing of a message is lost");
		is($says->('//failure'), "expected: $reads\nobserved: $reads\nmeaning: $reads\n", "$database: nor of a text");
		is($says->('//testcase[1]/@name'), "$reads: $reads", "$database: nor of a name");
	}
	is(counts($xml), '3 1 0 1', "$database: counts");
	my $other = client($node, database => $database, client_encoding => $database eq 'latin' ? 'UTF8' : 'LATIN1');
	is($other->query("SELECT pool_exhaust_report($id, '$_')") // $other->message, report($database, $id, $_),
		"$database: the encoding of the client does not matter to $_") foreach qw(junit markdown);
	$other->close;
	check_markdown($database, $id, $reads);
	my $tap = TAP::Parser->new({ tap => report($database, $id, 'tap') });
	$tap->run;
	is(join(' ', scalar($tap->passed), scalar($tap->failed), scalar($tap->skipped), scalar($tap->parse_errors)), '2 2 1 0', "$database: in TAP");
}

# ---------- Markdown ----------

# What GitHub makes of it, as HTML
sub rendered
{
	my ($markdown) = @_;

	return output($markdown, 'cmark-gfm', '--unsafe', map { ('-e', $_) } qw(table autolink strikethrough tagfilter));
}

# The text of HTML
sub text_of
{
	my ($html) = @_;
	my %named = (lt => '<', gt => '>', amp => '&', quot => '"');

	return decode('UTF-8', $html) =~ s/<!--.*?-->|<[^>]*>//gsr =~ s/&(?:#(\d+)|(\w+));/$1 ? chr $1 : $named{$2}/ger;
}

# The rows of the tables of HTML, as lists of texts
sub rows_of
{
	my ($html) = @_;

	return map { [ map { text_of($_) } m{<t[dh][^>]*>(.*?)</t[dh]>}gs ] } $html =~ m{<tr>(.*?)</tr>}gs;
}

# A report with that text everywhere
sub check_markdown
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($database, $id, $reads) = @_;
	my $markdown = report($database, $id, 'markdown');

	unlike($markdown, qr/[^\n -~]/, "$database: markdown of printable ASCII alone");
  SKIP:
	{
		skip 'no cmark-gfm', 6 if !exists_program('cmark-gfm');
		my $html = rendered($markdown);
		my $trimmed = $reads =~ s/ +$//r;
		my @rows = rows_of($html);
		is_deeply($rows[1], [ $trimmed, $trimmed, 'fail', '1 of 2', '1.50 s', $id ], "$database: the row of the run");
		is_deeply($rows[3], [ "$reads: $trimmed", $trimmed, $trimmed, $trimmed ], "$database: the row of the failure");
		is(scalar(grep { @$_ == 6 && $_->[2] =~ /^(pass|fail|skip)$/ } @rows), 4, "$database: and of each check");
		is(join(' ', sort keys %{ { map { $_ => 1 } $html =~ /<(\w+)/g } }), 'details h3 p strong summary table tbody td th thead tr',
			"$database: no markup but its own") or diag $html;
		is(text_of($html =~ m{<summary>(.*?)</summary>}s ? $1 : ''), "$reads on $reads, run $id", "$database: the text of the summary");
		unlike(text_of($html) =~ s/\Q$trimmed\E//gr, qr/[|&*`<>~]/, "$database: no leftovers");
	}
}

like(report('utf8', $runs{invalid}, 'markdown'), qr/^\| queue \| pool \| \*\*invalid\*\* \| 1 of 2 \| 1\.50 s \| $runs{invalid} \|$/m, 'the verdict comes first');
like(report('utf8', $runs{invalid}, 'markdown'), qr/^### queue on pool, run $runs{invalid}: invalid\n\nReason: nothing was refused\n/m, 'then the reason');
unlike(report('utf8', $runs{pass}, 'markdown'), qr/^###/m, 'of those that have not passed');
like(report('utf8', $runs{pass}, 'markdown'), qr/^Started 2026-01-02T02:04:05 UTC, seed 7, PostgreSQL 15\.1, pool_exhaust 1\.1$/m, 'then the rest');

# However much there is of it
my @many = map { write_run('utf8', { verdict => 'fail', scenario => "scenario_$_", reason => $hostile x 20 }, map { [ 'fill', "check $_", 'fail', '1', '2', $hostile x 10 ] } 1 .. 5) } 1 .. 50;
my $long = report('utf8', "ARRAY[$many[0], " . join(', ', @many) . ']', 'markdown');
cmp_ok(length $long, '<=', 65536, 'at most 64 KiB');
cmp_ok(length $long, '>', 60000, 'and not much less');
my ($rows, $failures, $details) = $long =~ /\nLeft out, as this is at most 64 KiB: (\d+) rows of runs, (\d+) of failures, the details of (\d+) runs\. `SELECT pool_exhaust_report\(\d+\)` .*\n?\z/;
is($rows, 0, 'the rows of all runs are there');
is(scalar(() = $long =~ /^\| scenario_\d+ /mg), 50, 'each once');
is(scalar(() = $long =~ /^<details>/mg) + $details, 50, 'the details that are left out are counted');
cmp_ok(scalar(() = $long =~ /^\| fill: check /mg), '>', 10, 'as many failures as fit');
like($long, qr/\.\.\. \(\d+ more bytes\)/, 'a long text is cut, and says so');
SKIP:
{
	skip 'no cmark-gfm', 2 if !exists_program('cmark-gfm');
	my @rows = rows_of(rendered($long));
	is(scalar(grep { @$_ == 6 && $_->[0] =~ /^scenario_/ } @rows), 50, 'rendered: the rows of the runs');
	is(scalar(grep { @$_ == 4 && $_->[0] =~ /^fill: check/ } @rows) + $failures, 50 * 5, 'and of the failures, but those left out');
}

# ---------- A run of others ----------

$client->query("SELECT pool_exhaust_run('all', 'role')") // die $client->message;
my $all = $client->query("SELECT max(id) FROM pool_exhaust_runs WHERE scenario = 'all'");
my @parts = split /\n/, $client->query("SELECT jsonb_array_elements(summary->'sub_runs') FROM pool_exhaust_runs WHERE id = $all");
is($client->query("SELECT string_agg(scenario || ' ' || verdict, ', ') FROM pool_exhaust_runs WHERE id IN (" . join(', ', @parts) . ')'),
	'saturation pass, storm pass', 'it knows its parts');
my $xml = junit('utf8', $all, 'all');
is(join(' ', $xml =~ /<testsuite name="(\w+) on role, run \d+"/g), 'all saturation storm', 'a suite each');
is(counts($xml), $client->query("SELECT concat_ws(' ', count(*), 0, 0, count(*) FILTER (WHERE outcome = 'skip')) FROM pool_exhaust_checks WHERE run_id IN ("
			. join(', ', $all, @parts) . ')'), 'as many cases as checks');
is(join(' ', report('utf8', $all, 'markdown') =~ /^\| (\w+) \| role \| pass \|/mg), 'all saturation storm', 'a row each');
unlike(report('utf8', $all, 'text'), qr/^PASS +storm/m, 'text has the run alone');
is(report('utf8', "ARRAY[$parts[0], $all, $parts[1]]", $_), report('utf8', $all, $_), "$_: a part is there once") foreach 'junit', 'markdown';

# What stands there instead of ids is no part, nor is a run of itself without an end.
my $odd = write_run('utf8', { verdict => 'pass', scenario => 'all', summary => '{}' }, \@pass);
foreach my $sub_runs ('7', '"x"', 'null', '[[1], {"a": 1}, "2", null, 987654321, 1.5]', "[$odd]")
{
	$client->query("UPDATE pool_exhaust_runs SET summary = '{\"sub_runs\": $sub_runs}' WHERE id = $odd");
	my $suites = () = junit('utf8', $odd, "sub_runs $sub_runs") =~ /<testsuite /g;
	cmp_ok($suites, '<=', 2, "sub_runs $sub_runs: no more than there is");
}

# ---------- A run under way, and one whose workload is hostile ----------

my $under_way = $client->query(q(SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 10000, "role_limit": 1, "timeout_ms": 300000}')));
in_progress($client, 'attempt', 'a run is under way', 'done > 0');
my $xml_under_way = junit('utf8', $under_way, 'under way');
is(counts($xml_under_way), '1 0 1 0', 'under way: it has not passed');
like($xml_under_way, qr{<error message="the run is under way"/>}, 'and says so');
like(report('utf8', $under_way, 'markdown'), qr/^\| saturation \| role \| \*\*running\*\* \| 0 of 0 \|/m, 'under way, in markdown');
is($client->query("SELECT pool_exhaust_stop($under_way)"), 1, 'it is stopped');
like(junit('utf8', $under_way, 'stopped'), qr{<error message="aborted: stopped by pool_exhaust_stop\(\)"/>}, 'and is aborted');

my $workload = q(SELECT CAST('<script>alert(1)</script> ]]> | `x`' AS integer));
my $broken = $client->query("SELECT pool_exhaust_start('queue', options => jsonb_build_object('workload', \$w\$$workload\$w\$::text))") // die $client->message;
is(verdict_of($client, $broken), 'invalid', 'a workload that fails');
foreach my $document (junit('utf8', $broken, 'its error'), report('utf8', $broken, 'markdown'))
{
	like($document, qr/script&(?:gt|#62);alert/, 'is there, as text');
	unlike($document, qr/<script/, 'and not as markup');
}

# ---------- Several runs in TAP ----------

my $tap = TAP::Parser->new({ tap => report('utf8', $several, 'tap') });
$tap->run;
is($tap->plan, '1..6', 'TAP: a test a run');
is(join(' ', scalar($tap->passed), scalar($tap->failed), scalar($tap->parse_errors)), '1 5 0', 'TAP: its verdict');
like(report('utf8', $several, 'tap'), qr/^# Subtest: queue on pool, run \d+\n    1\.\.\d+\n/m, 'TAP: and its checks as a subtest');

# ---------- The readers of others ----------

my $document = report('utf8', $several, 'junit');
append_to_file("$directory/junit.xml", $document);
SKIP:
{
	output('', $python, '-c', 'import junitparser');
	skip "$python has no junitparser", 1 if $? != 0;
	is( output('', $python, '-c', 'import sys, junitparser
suites = [s for s in junitparser.JUnitXml.fromfile(sys.argv[1])]
results = [type(r).__name__ for s in suites for c in s for r in c.result]
print(sum(len(list(s)) for s in suites), *[results.count(k) for k in ("Failure", "Error", "Skipped")], end="")', "$directory/junit.xml"),
		counts($document), 'junitparser counts the same');
}
SKIP:
{
	skip 'no npm', 1 if !exists_program('npm');
	output('', 'npm', 'install', '--silent', '--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', $directory, 'junit2json@4');
	skip 'junit2json cannot be had', 1 if $? != 0;
	local $ENV{NODE_PATH} = "$directory/node_modules";
	is( output('', 'node', '-e', 'const { parse } = require("junit2json");
parse(require("fs").readFileSync(process.argv[1], "utf8")).then(({ testsuite }) => {
	const cases = testsuite.flatMap((s) => s.testcase);
	const having = (key) => cases.filter((c) => c[key]).length;
	process.stdout.write([cases.length, having("failure"), having("error"), having("skipped")].join(" "));
});', "$directory/junit.xml"), counts($document), 'junit2json counts the same');
}

# ---------- What there is not ----------

fails_with($client, "SELECT pool_exhaust_report($runs{pass}, 'xml')", '22023', [ qr/format "xml" does not exist/, qr/junit, markdown/ ], 'no such format');
fails_with($client, "SELECT pool_exhaust_report(987654321, 'junit')", '42704', [qr/run 987654321 does not exist/], 'no such run');
fails_with($client, "SELECT pool_exhaust_report(ARRAY[$runs{pass}, 987654321], 'markdown')", '42704', [qr/run 987654321 does not exist/], 'among several');

$_->close foreach values %in;
left_nothing($node);
done_testing();
