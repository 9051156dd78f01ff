# What the documents and the comments list is what there is: each list in them is
# compared with the server's own.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('lists');
my $client = client($node);
my $top = "$FindBin::RealBin/../..";
my %documents = map { m{([^/]+)$} => [ split /\n/, slurp_file($_) ] } "$top/README.md", glob("$top/docs/*.md");

# The first columns of the tables with this header, as words, by document.
sub tables
{
	my ($header) = @_;
	my @tables;

	foreach my $name (sort keys %documents)
	{
		my $table;

		foreach my $line (@{ $documents{$name} })
		{
			my ($cell) = $line =~ /^\|\s*(.*?)\s*\|/ or undef $table, next;

			push @{ $table->{words} }, $cell =~ /`/ ? $cell =~ /`(.*?)`/g : $cell if $table && $cell !~ /^-+$/;
			push @tables, $table = { document => $name, words => [] } if !$table && $cell eq $header;
			$table //= {};
		}
	}
	return @tables;
}

# Each table with this header, of those that have a certain member, must have
# these members; in their order, unless that is of no account.
sub documented
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($header, $members, %params) = @_;
	my $order = $params{any_order} ? sub { join(', ', sort @_) } : sub { join(', ', @_) };
	my @tables = grep { my $t = $_; !$params{has} || grep { $_ eq $params{has} } @{ $t->{words} } } tables($header);

	cmp_ok(scalar(@tables), '>', 0, "there is a table of $header");
	is($order->(@{ $_->{words} }), $order->(@$members), "$_->{document}: table of $header") foreach @tables;
}

# The members in a hint or description that lists them.
sub listed
{
	my ($text, $before) = @_;

	return $text =~ /\Q$before\E(.*?)\.(?: |$)/m ? split(/, /, $1) : ();
}

sub members
{
	my ($sql) = @_;

	return split /\n/, $node->safe_psql('postgres', $sql);
}

sub hint
{
	my ($sql, $before) = @_;

	$client->query($sql);
	return listed($client->{error}{H}, $before);
}

sub comment
{
	my ($object) = @_;

	return $node->safe_psql('postgres', "SELECT $object");
}

sub column_comment
{
	my ($table, $column) = @_;

	return comment("col_description(attrelid, attnum) FROM pg_attribute WHERE attrelid = '$table'::regclass AND attname = '$column'");
}

# "a, b or c"
sub alternatives
{
	my (@words) = @_;
	my $last = pop @words;

	return join(', ', @words) . " or $last";
}

my @rules = members('SELECT rule FROM pool_exhaust_leak_rules');
documented('rule', [@rules], has => $rules[0]);
is(column_comment('pool_exhaust_leaks', 'rule'), alternatives(@rules), 'comment: leak rules');

my $strategies = $node->safe_psql('postgres',
	"SELECT extra_desc FROM pg_settings WHERE name = 'pool_exhaust.heal_strategies'");
my @strategies = listed($strategies, 'Strategies are: ');
documented('strategy', [@strategies]);
is($node->safe_psql('postgres', 'SHOW pool_exhaust.heal_strategies'),
	join(', ', @strategies), 'all strategies are in force by default');
my @certainties = members(q{SELECT unnest(enumvals) FROM pg_settings WHERE name = 'pool_exhaust.heal_certainty'});
documented('certainty', [@certainties]);
documented('`pool_exhaust.heal_certainty`', [@certainties]);
documented('`pool_exhaust.heal`', [ members(q{SELECT unnest(enumvals) FROM pg_settings WHERE name = 'pool_exhaust.heal'}) ]);

documented('cause', [ members('SELECT cause FROM pool_exhaust_refusals') ], any_order => 1);
documented('scenario', [ members('SELECT name FROM pool_exhaust_scenarios') ], has => 'all', any_order => 1);
documented('`pool_exhaust.`',
	[ members(q{SELECT substr(name, length('pool_exhaust.') + 1) FROM pg_settings WHERE name LIKE 'pool\_exhaust.%'}) ],
	any_order => 1);

my @states = hint(q{SELECT pool_exhaust_hold(1, state => 'none')}, 'States are: ');
my @kinds = hint(q{SELECT pool_exhaust_leak(1, 'none')}, 'Kinds are: ');
documented('state or kind', [@kinds], any_order => 1);
my $comment = comment(q{obj_description('pool_exhaust_hold(integer, text, text, jsonb)'::regprocedure)});
$comment =~ s/ \(takes [^)]*\)//g;
is_deeply([ listed("$comment.", 'states: ') ], \@states, 'comment: states of a hold');
$comment = comment(q{obj_description('pool_exhaust_leak(integer, text, text, jsonb)'::regprocedure)});
$comment =~ s/ \(takes [^)]*\)//g;
my %is_state = map { $_ => 1 } @states;
is_deeply([ listed("$comment.", 'kinds: the states of a hold, ') ],
	[ grep { !$is_state{$_} } @kinds ], 'comment: kinds of leaks');
documented('option', [ hint(q{SELECT pool_exhaust_hold(1, options => '{"none": 1}')}, 'Options are: ') ],
	has => 'hold_ms', any_order => 1);

# Explanations, in the order of their list
my $explain = "$top/src/advise/explain";
my $sources = join '', map { slurp_file($_) } glob("$explain/*.c");
documented('explanation', [ map { $sources =~ /explanation_$_ = \{\s*\.name = "(.*?)"/ ? $1 : $_ } slurp_file("$explain/explain.h") =~ /^\tEXPLANATION\((\w+)\)/mg ]);

documented('chart', [ hint(q{SELECT pool_exhaust_report(1, 'svg:none')}, 'Charts are: ') ]);
foreach my $function ('pool_exhaust_run(text, text, jsonb, text)', 'pool_exhaust_report(bigint, text)')
{
	my $formats = comment("obj_description('$function'::regprocedure)");

	is_deeply([ listed("$formats.", 'formats: ') ], [ hint(q{SELECT pool_exhaust_report(1, 'none')}, 'Formats are: ') ], "comment of $function: formats");
}

# The options that all scenarios have, and the words that the table names.
my @common = members(q{SELECT key FROM pool_exhaust_scenarios, jsonb_object_keys(options::jsonb) AS key
	GROUP BY key HAVING count(*) = (SELECT count(*) FROM pool_exhaust_scenarios)});
documented('option', [@common], has => 'on_fail', any_order => 1);
foreach my $option (qw(profile bystanders on_fail))
{
	my @values = split /, /, $node->safe_psql('postgres',
		"SELECT options::jsonb #>> '{$option,values}' FROM pool_exhaust_scenarios WHERE name = 'queue'");
	my ($row) = grep { /^\| `$option` \|/ } map { @$_ } values %documents;

	ok(@values > 1, "$option: has values");
	my %named = map { $_ => 1 } $row =~ /`(\w+)`/g;
	ok($named{$_}, "$option: table names $_") foreach @values;
}

my @formats = hint(q{SELECT pool_exhaust_report(0, 'none')}, 'Formats are: ');
is_deeply([ listed(comment("obj_description('pool_exhaust_$_'::regprocedure)") . '.', 'formats: ') ], \@formats, "comment: formats of $_")
  foreach 'run(text, text, jsonb, text)', map { "report($_, text)" } qw(bigint bigint[] text);

is_deeply([ listed(comment(q(obj_description('pool_exhaust_compare(bigint, bigint, text)'::regprocedure))) . '.', 'formats: ') ],
	[ hint(q{SELECT pool_exhaust_compare(0, 0, 'none')}, 'Formats are: ') ], 'comment: formats of compare');
is_deeply([ listed(comment(q(obj_description('pool_exhaust_budget(text, jsonb)'::regprocedure))) . '.', 'formats: ') ],
	[ hint(q{SELECT pool_exhaust_budget('none')}, 'Formats are: ') ], 'comment: formats of budget');
is_deeply([ listed(comment(q(obj_description('pool_exhaust_incident(timestamptz, text)'::regprocedure))) . '.', 'format: ') ],
	[ hint(q{SELECT pool_exhaust_incident(NULL, 'none')}, 'Formats are: ') ], 'comment: formats of incident');
is_deeply([ listed(comment(q(obj_description('pool_exhaust_budget_import(text, text)'::regprocedure))) . '.', 'kinds: ') ],
	[ hint(q{SELECT pool_exhaust_budget_import('', 'none')}, 'Kinds are: ') ], 'comment: kinds of documents');
documented('kind', [ hint(q{SELECT pool_exhaust_budget_import('', 'none')}, 'Kinds are: ') ], has => 'csv');

# The operators of checks, and those that have a tolerance: no view has them.
my $comparison = slurp_file("$top/src/base/comparison.c");
my @operators = $comparison =~ /^\t\[OPERATOR_\w+\] = \{"(.*?)"/mg;
my @tolerant = $comparison =~ /^\t\[OPERATOR_\w+\] = \{"(.*?)".*\bREACH_TOLERANCE\b/mg;
my $operator = column_comment('pool_exhaust_checks', 'operator');
my $tolerance = column_comment('pool_exhaust_checks', 'tolerance');
my %rows = map { /^\| `(operator|tolerance)` \| ([^;]*)/ ? ($1 => $2) : () } @{ $documents{'reference.md'} };

ok(@operators > 1 && @tolerant > 1 && @tolerant < @operators, 'there are operators with a tolerance, and without one');
$operator =~ s/ \([^)]*\)|;.*//g;
is_deeply([ listed("$operator.", 'expected_num: ') ], \@operators, 'comment: operators');
like($tolerance, qr/ unless the operator is \Q${\alternatives(@tolerant)}\E$/, 'comment: operators with a tolerance');
is_deeply([ $rows{operator} =~ /`(.*?)`/g ], \@operators, 'table names the operators');
is_deeply([ $rows{tolerance} =~ /`(.*?)`/g ], \@tolerant, 'table names those with a tolerance');

# The latencies that phases measure: no view has them.
my %metrics = map { map { $_ => 1 } slurp_file($_) =~ /\bphase_latency\(\w+, "(\w+)"/g } glob("$top/src/story/*.c $top/src/scenario/*.c");
my ($metric_row) = grep { /^\| `metric` \|/ } @{ $documents{'reference.md'} };
my @described = map { s/ \(.*//r } split /, /, column_comment('pool_exhaust_histograms', 'metric') =~ s/.*?: //r;

ok(keys %metrics > 1, 'phases measure latencies');
is_deeply([ sort @described ], [ sort keys %metrics ], 'comment: metrics');
is_deeply([ sort $metric_row =~ /`(\w+)`/g ], [ sort 'metric', keys %metrics ], 'table names the metrics');

# Where only superusers may aim
my ($restricted) = slurp_file("$top/src/base/address.c") =~ /restricted_nets\[\] = \{\n(.*?)\n\};/s;
documented('restricted address', [ map { s{/(?:32|128)$}{}r } map { s/", "/\//r } $restricted =~ /^\t\{"(.*?", "\d+)/mg ], any_order => 1);

$client->close;
left_nothing($node);
done_testing();
