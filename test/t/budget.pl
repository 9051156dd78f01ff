# pool_exhaust_budget() adds up what is declared; and where it says that a limit is
# hit, the server refuses: that many connections are granted, and the next is not.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('budget', streaming => 1, conf => q(
max_connections = 60
superuser_reserved_connections = 3
max_wal_senders = 4
autovacuum = off
));
my $client = client($node, application_name => 'dba');

sub budget
{
	my $json = $client->query("SELECT pool_exhaust_budget('json')");

	return defined $json ? JSON::PP::decode_json($json) : die $client->message;
}

# Declares services, a hash of columns each, in the place of all others.
sub declare
{
	$client->query('DELETE FROM pool_exhaust_declared') // die $client->message;
	foreach my $service (@_)
	{
		my @columns = sort keys %$service;

		$client->query(sprintf 'INSERT INTO pool_exhaust_declared (%s) VALUES (%s)', join(', ', @columns),
			join(', ', map { defined $service->{$_} ? "'$service->{$_}'" : 'NULL' } @columns)) // die $client->message;
	}
}

# Peaks begin anew: nothing but this session runs beside what is declared.  A sample
# that was under way may bring back one of before.
sub reset_peaks
{
	foreach (1 .. 50)
	{
		wait_for($client, 'SELECT in_use FROM pool_exhaust_slots', 1) || die 'others are connected';
		$client->query('SELECT pool_exhaust_reset_stats()');
		wait_for($client, 'SELECT count(*) > 0 FROM pool_exhaust_timeline', 't') || die 'no sample';
		return if $client->query('SELECT count(*) FROM pool_exhaust_services') == 1;
	}
	die 'peaks of before come back';
}

# ---------- Nothing declared, and the rules of the table ----------

my $none = budget();
is($none->{verdict}, 'invalid', 'nothing is declared: invalid');
like($none->{reason}, qr/^nothing is declared: insert rows into pool_exhaust_declared/, 'nothing is declared: what to do');

$client->query($_) // die $client->message
  foreach 'CREATE ROLE app LOGIN CONNECTION LIMIT 20', 'CREATE ROLE web LOGIN', 'CREATE ROLE nologin', 'CREATE DATABASE shop CONNECTION LIMIT 30',
  'CREATE DATABASE closed ALLOW_CONNECTIONS false';
declare({ service => 'shop', pool_size => 1 });
fails_with($client, q(INSERT INTO pool_exhaust_declared (service, pool_size) VALUES ('shop', 2)), '23505', [qr/pool_exhaust_declared_pkey/], 'declared twice');
foreach my $case (
	[ replicas => -1 ], [ replicas => 10001 ], [ replicas_max => 0 ], [ surge => -1 ], [ processes => 0 ], [ pool_size => -5, 'min_idle' ],
	[ pool_size => 2_000_000_000 ], [ max_overflow => -1 ], [ min_idle => 6 ], [ service => '' ])
{
	my ($column, $value, $check) = (@$case, $case->[0]);
	my %row = (service => 'other', pool_size => 5, $column => $value);

	fails_with($client, sprintf(q(INSERT INTO pool_exhaust_declared (%s) VALUES (%s)), join(', ', sort keys %row), join(', ', map { "'$row{$_}'" } sort keys %row)),
		'23514', [qr/pool_exhaust_declared_${check}_check/], "$column $value");
}

# ---------- Contradictions ----------

foreach my $case (
	[ { role => 'nobody' }, 'role "nobody" does not exist' ],
	[ { role => 'nologin' }, 'role "nologin" has no LOGIN' ],
	[ { database => 'nowhere' }, 'database "nowhere" does not exist' ],
	[ { database => 'closed' }, 'database "closed" allows no connections' ],
	[ { via => 'nothing' }, 'pooler "nothing" is not declared' ])
{
	my ($columns, $reason) = @$case;

	declare({ service => 'shop', pool_size => 1, %$columns });
	my $budget = budget();
	is($budget->{verdict}, 'invalid', "$reason: invalid");
	is($budget->{reason}, qq(1 contradictions: service "shop": $reason), "$reason: it says so");
}

# ---------- Each limit, its arithmetic, and its repair ----------

my %shop = (service => 'shop', role => 'app', database => 'postgres', replicas => 2, replicas_max => 3, surge => 1, processes => 2, pool_size => 2, max_overflow => 1);
reset_peaks();
declare(\%shop);
my $budget = budget();
is($budget->{verdict}, 'fail', 'role limit: fail');
is_deeply($budget->{first}, { limit => 'role app', cause => 'role_limit', situation => 'deploy', connections => 20, asked => 24, of => 'service shop', replica => 4 },
	'role limit: hit first, during a deploy, in replica 4');
is_deeply({ map { $_->{name} => "$_->{observed_num} of $_->{expected_num}" } @{ $budget->{checks} } },
	{   'server, at rest' => '12 of 56', 'server, deploy' => '24 of 56', 'server, half open' => '24 of 56',
		'role app, at rest' => '12 of 20', 'role app, deploy' => '24 of 20', 'role app, half open' => '24 of 20' },
	'role limit: every sum, and this session beside it');
is_deeply($budget->{proposals}, ['ALTER ROLE app CONNECTION LIMIT 24;'], 'role limit: what is proposed');
like($budget->{isolation}, qr/^with these limits each role has its worst case whatever the others do: together 24 of the 56 connections/, 'and what that guarantees');
$client->query($budget->{proposals}[0]);
is(budget()->{verdict}, 'pass', 'role limit: the proposal repairs it');
$client->query('ALTER ROLE app CONNECTION LIMIT 20');
declare({ %shop, surge => 0, replicas_max => 2 });
is(budget()->{verdict}, 'pass', 'role limit: fewer replicas repair it');

declare({ %shop, role => 'web', database => 'shop', replicas_max => 4, pool_size => 3, surge => 0 });
is_deeply(budget()->{first}, { limit => 'database shop', cause => 'database_limit', situation => 'deploy', connections => 30, asked => 32, of => 'service shop', replica => 4 },
	'database limit: hit first');
declare({ %shop, role => 'web', replicas_max => 9, surge => 0 }, { service => 'cron', role => 'app', pool_size => 3 });
is_deeply(budget()->{first}, { limit => 'server', cause => 'reserved_slots', situation => 'deploy', connections => 56, asked => 57, of => 'service shop', replica => 9 },
	'server: hit first, after the smaller service has all it wants');
like(budget()->{isolation}, qr/^with these limits each role keeps that many whatever the others do, and has fewer than its worst case: together those are 66, and the server has 56;/, 'limits that fit are proposed');
is_deeply(budget()->{proposals}, [ 'ALTER ROLE app CONNECTION LIMIT 5;', 'ALTER ROLE web CONNECTION LIMIT 50;' ], 'and are the parts of the server');
declare({ service => 'replica', via => 'replication', pool_size => 5 });
is_deeply(budget()->{first}, { limit => 'walsenders', cause => 'walsender_limit', situation => 'at rest', connections => 4, asked => 5, of => 'service replica', replica => 1 },
	'walsenders: hit first, at rest');
declare({ %shop, role => $client->{user}, replicas_max => 2, surge => 0 });
is(budget()->{verdict}, 'pass', 'a superuser is exempt from limits');
is((grep { $_->{outcome} eq 'skip' } @{ budget()->{checks} })[0]{detail}, '1 services log in as superusers: no CONNECTION LIMIT holds for them', 'and that is said');

# What runs beside: peaks, also of sessions that have gone, but not of what is declared.
{
	my @beside = map { client($node, user => 'app', application_name => 'batch') } 1 .. 7;
	my @own = map { client($node, user => 'app', application_name => 'shop') } 1 .. 3;

	declare({ %shop, application_name => 'shop' });
	wait_for($client, 'SELECT max(in_use) FROM pool_exhaust_timeline', 11);
	$_->close foreach @beside, @own;
	my %expected = map { $_->{name} => $_->{expected_num} } @{ budget()->{checks} };
	is($expected{'role app, at rest'}, 13, 'beside it: the peak of another service of the role');
	is($expected{'server, at rest'}, 49, 'beside it: the same for the server');
	is_deeply(budget()->{proposals}, ['ALTER ROLE app CONNECTION LIMIT 31;'], 'beside it: the limit that is proposed has room for it');
	declare(\%shop);
	is((map { $_->{expected_num} } grep { $_->{name} eq 'role app, at rest' } @{ budget()->{checks} })[0], 20, 'without an application_name all of the role is declared');
}

# ---------- Formats, on_fail, rights ----------

$client->query('SET client_min_messages = warning');
declare(\%shop);
my @text = split /\n/, $client->query('SELECT pool_exhaust_budget()');
like($text[0], qr/^FAIL    budget on server           4 of 6 checks      \d+\.\d\d s$/, 'text: the verdict, and no run');
like($text[1], qr/^ {8}role app is hit first, during a deploy, .*: 20 connections fit, the next is refused \(role_limit\), in replica 4 of 4 of service shop; 24 are asked for$/,
	'text: the reason');
is(scalar(grep { /^propose +ALTER ROLE app CONNECTION LIMIT/ } @text), 1, 'text: a proposal');
is(scalar(grep { /^FAIL  role app, (?:deploy|half open) +expected <= \d+ connections, observed 24 connections$/ } @text), 2, 'text: the checks that fail');
my %starts = (
	tap => qr/^1\.\.7\n# budget on server\nok 1 - server, at rest\n/,
	junit => qr/^<\?xml.*\n<testsuites name="pool_exhaust" tests="6" failures="2" errors="0"/,
	markdown => qr/^\| scenario .*\n.*\n\| budget \| server \| \*\*fail\*\* \| 4 of 6 \|/,
	html => qr/^<!DOCTYPE html>/i);
like($client->query("SELECT pool_exhaust_budget('$_')"), $starts{$_}, "format $_") foreach sort keys %starts;
unlike($client->query("SELECT pool_exhaust_budget('$_')"), qr/run 0|run 7|seed \d|pool_exhaust_report/, "format $_: speaks of no run") foreach sort keys %starts;
fails_with($client, "SELECT pool_exhaust_budget('$_')", '22023', [qr/there is no format "$_"/, qr/Formats are: text, json, tap, junit, markdown, html\./], "format $_")
  foreach 'svg', 'benchmark-json', 'none';
fails_with($client, q(SELECT pool_exhaust_budget(options => '{"on_fail": "error"}')), 'P0004',
	[ qr/the budget: fail/, qr/role app, deploy: expected <= \d+ connections, observed 24 connections/ ], 'on_fail');
fails_with($client, q(SELECT pool_exhaust_budget(options => '{"on_fail": "no"}')), '22023', [qr/must be one of: report, error/], 'on_fail: another word');
fails_with($client, q(SELECT pool_exhaust_budget(options => '{"seed": 1}')), '22023', [ qr/no option "seed"/, qr/one option, on_fail/ ], 'another option');
fails_with($client, q(SELECT pool_exhaust_budget(options => '[]')), '22023', [qr/one JSON object/], 'options that are none');
my $status = system_log('psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-h', $node->host, '-p', $node->port, '-c', q(SELECT pool_exhaust_budget(options => '{"on_fail": "error"}')), 'postgres');
isnt($status, 0, 'on_fail: psql has an exit status');
{
	$client->query('CREATE ROLE watcher LOGIN IN ROLE pg_monitor');
	my $watcher = client($node, user => 'watcher');

	like($watcher->query('SELECT pool_exhaust_budget()'), qr/^FAIL/, 'pg_monitor may read it');
	fails_with($watcher, q(DELETE FROM pool_exhaust_declared), '42501', [qr/permission denied/], 'and not declare');
	$watcher->close;
	fails_with(my $web = client($node, user => 'web'), 'SELECT pool_exhaust_budget()', '42501', [qr/permission denied/], 'others may not');
	$web->close;
}

# ---------- The predicted limit is hit at exactly that number ----------

# Opens connections of the services in proportion to what they ask for in this
# situation, until one is refused; returns how many each had, and who was refused.
sub fill
{
	my ($asked, @services) = @_;
	my (@open, %open);

	$open{ $_->{service} } = 0 foreach @services;
	for (;;)
	{
		my ($next) = sort { ($open{ $a->{service} } + 1) / $asked->{ $a->{service} } <=> ($open{ $b->{service} } + 1) / $asked->{ $b->{service} } } @services;
		my $login = login($node, user => $next->{role}, database => $next->{database}, application_name => $next->{service});

		if ($login->{error})
		{
			is($login->{error}{C}, '53300', 'refused for lack of connections');
			$_->close foreach @open;
			return (\%open, $next);
		}
		push @open, $login;
		$open{ $next->{service} }++;
		die 'nothing is refused' if @open > 60;
	}
}

sub asked
{
	my ($service) = @_;

	return ($service->{replicas_max} + $service->{surge}) * $service->{processes} * ($service->{pool_size} + $service->{max_overflow});
}

my %of = (
	server   => sub { 1 },
	role     => sub { $_[0]{role} eq $_[1] },
	database => sub { $_[0]{database} eq $_[1] });
my %causes;
srand($ENV{BUDGET_SEED} // 42);
for (my $setup = 1; $setup <= 12;)
{
	my %limit = (app => 5 + int rand 20, web => 5 + int rand 40, postgres => 10 + int rand 40, shop => 10 + int rand 40);
	my @services = map { {
			service      => "service$_",
			role         => (qw(app web))[ int rand 2 ],
			database     => (qw(postgres shop))[ int rand 2 ],
			replicas     => 0,
			replicas_max => 1 + int rand 4,
			surge        => int rand 2,
			processes    => 1 + int rand 2,
			pool_size    => 1 + int rand 4,
			max_overflow => int rand 3 } } 1 .. 3;
	my %asked = map { $_->{service} => asked($_) } @services;

	$client->query("ALTER ROLE $_ CONNECTION LIMIT $limit{$_}") foreach qw(app web);
	$client->query("ALTER DATABASE $_ CONNECTION LIMIT $limit{$_}") foreach qw(postgres shop);
	declare(map { { %$_, application_name => $_->{service} } } @services);
	reset_peaks();
	my $predicted = budget();
	next if $predicted->{verdict} ne 'fail' || $predicted->{first}{situation} ne 'deploy';

	# Two limits that are hit at nearly the same time are both first.
	my ($most, $second) = sort { $b <=> $a } map { $_->{observed_num} / ($_->{expected_num} || 1e-9) } grep { $_->{name} =~ /, deploy$/ } @{ $predicted->{checks} };
	next if $second / $most > 0.8;

	my $first = $predicted->{first};
	my ($kind, $name) = split / /, $first->{limit};
	my ($open, $refused) = fill(\%asked, @services);
	my $n = 0;
	$n += $open->{ $_->{service} } foreach grep { $of{$kind}->($_, $name) } @services;
	is($n, $first->{connections}, "setup $setup: $first->{limit} is hit at $first->{connections}");
	ok($of{$kind}->($refused, $name), "setup $setup: by a service that it is on the way of");
	is($client->query("SELECT string_agg(cause, ' ') FROM pool_exhaust_refusals WHERE refusals > 0"), $first->{cause}, "setup $setup: $first->{cause} is the cause");
	$causes{ $first->{cause} }++;
	$setup++;
}
cmp_ok(scalar(keys %causes), '>=', 2, 'limits of different kinds were hit: ' . join(', ', map { "$_ $causes{$_}" } sort keys %causes));

# ---------- Speed ----------

$client->query('DELETE FROM pool_exhaust_declared');
$client->query(q(INSERT INTO pool_exhaust_declared (service, role, database, application_name, replicas, pool_size)
	SELECT 's' || n, 'app', 'shop', 's' || n, 2, 5 FROM generate_series(1, 200) n)) // die $client->message;
my ($best) = sort { $a <=> $b } map { budget() && $client->query("SELECT pool_exhaust_budget('text') LIMIT 1") =~ /([\d.]+) s/ ? $1 : 9 } 1 .. 5;
cmp_ok($best, '<=', 0.05, "200 services take $best s");

$client->close;
left_nothing($node);
done_testing();
