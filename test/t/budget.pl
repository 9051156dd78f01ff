# pool_exhaust_budget() adds up what is declared; and where it says that a limit is
# hit, the server refuses: that many connections are granted, and the next is not.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use Pooler;
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
	[ { role => 'absent' }, 'role "absent" does not exist' ],
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
is_deeply({ map { $_->{name} => "$_->{observed_num} of $_->{expected_num}" } grep { $_->{phase} eq 'limits' } @{ $budget->{checks} } },
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

# A name that a terminal obeys is not shown, so there is no statement either.
my $odd = name_in($node, "odd\e[31m\nrole");
$client->query(qq(CREATE ROLE "$odd" LOGIN CONNECTION LIMIT 1)) // die $client->message;
declare({ service => 'odd', role => $odd, pool_size => 2 });
is(budget()->{first}{limit}, 'role odd?[31m role', 'an odd name: its limit counts');
is_deeply(budget()->{proposals}, [], 'an odd name: nothing is proposed');
unlike($client->query("SELECT string_agg(l, '') FROM pool_exhaust_budget() AS l"), qr/[\e\n\x0b]/, 'an odd name: a line is one, and harmless');

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

# "Raise max_connections" is said where the memory that it takes is there.
{
	reset_peaks();
	declare({ %shop, role => 'web', replicas_max => 9, surge => 0 });
	my ($failure) = grep { $_->{name} eq 'server, half open' } @{ budget()->{checks} };
	my ($number, $more, $available) = $failure->{detail} =~ /, or max_connections = (\d+), which takes up to (\d+) MB more, and (\d+) MB are available$/;
	is($number, 60 + 3 + 1, 'max_connections: what is asked for, what is reserved, what runs beside it') or diag $failure->{detail};
	cmp_ok($more, '<=', $available, 'max_connections: it fits');
	declare({ %shop, role => 'web', replicas => 10000, pool_size => 10000, replicas_max => 10000 });
	like((grep { $_->{name} eq 'server, at rest' } @{ budget()->{checks} })[0]{detail}, qr/; max_connections = \d+ does not fit, for it takes \d+ MB more, and \d+ MB are available$/,
		'max_connections: it does not fit');

	# What is said of a session is what its process has.
	my @idle = map { my $idle = client($node, user => 'web'); $idle->query('SELECT count(*) FROM pg_class'); $idle } 1 .. 5;
	wait_for($client, q(SELECT count(*) FROM pg_stat_activity WHERE usename = 'web' AND state = 'idle'), 5);
	wait_for($client, 'SELECT in_use FROM pool_exhaust_slots', 6);
	my $kib = 0;
	foreach my $idle (@idle)
	{
		my $pid = backend_pid($idle);
		$kib += $_ foreach 150, slurp_file("/proc/$pid/smaps_rollup") =~ /^Pss_(?:Anon|File): +(\d+)/mg, slurp_file("/proc/$pid/status") =~ /^VmPTE:\s+(\d+)/m;
	}
	my ($mb, $n) = $client->query('SELECT pool_exhaust_budget()') =~ /^memory +([\d.]+) MB of its own has an idle session, [\d.]+ MB an active one, by (\d+) and \d+ of them; \d+ MB are available$/m;
	is($n, 5, 'memory: of the idle sessions');
	cmp_ok(abs($mb - $kib / 1024 / 5), '<=', 0.1 * $kib / 1024 / 5 + 0.05, "memory: $mb MB each, and their processes have $kib KiB together");
	$_->close foreach @idle;
}

# ---------- Formats, on_fail, rights ----------

$client->query('SET client_min_messages = warning');
declare(\%shop);
my @text = split /\n/, $client->query('SELECT pool_exhaust_budget()');
like($text[0], qr/^FAIL    budget on server           5 of 7 checks      \d+\.\d\d s$/, 'text: the verdict, and no run');
like($text[1], qr/^ {8}role app is hit first, during a deploy, .*: 20 connections fit, the next is refused \(role_limit\), in replica 4 of 4 of service shop; 24 are asked for$/,
	'text: the reason');
is(scalar(grep { /^propose +ALTER ROLE app CONNECTION LIMIT/ } @text), 1, 'text: a proposal');
is(scalar(grep { /^FAIL  role app, (?:deploy|half open) +expected <= \d+ connections, observed 24 connections$/ } @text), 2, 'text: the checks that fail');
my %starts = (
	tap => qr/^1\.\.8\n# budget on server\nok 1 - server, at rest\n/,
	junit => qr/^<\?xml.*\n<testsuites name="pool_exhaust" tests="7" failures="2" errors="0"/,
	markdown => qr/^\| scenario .*\n.*\n\| budget \| server \| \*\*fail\*\* \| 5 of 7 \|/,
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

# ---------- Documents ----------

sub import
{
	my ($document, $kind) = @_;

	return $client->query(sprintf q(SELECT pool_exhaust_budget_import($doc$%s$doc$, '%s')), $document, $kind);
}

sub refuses
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($document, $kind, $sqlstate, $patterns, $name) = @_;

	fails_with($client, sprintf(q(SELECT pool_exhaust_budget_import($doc$%s$doc$, '%s')), $document, $kind), $sqlstate, $patterns, $name);
	unlike($client->message, qr/s3cret/, "$name: no password in it");
}

sub declared
{
	return $client->query("SELECT concat_ws(' ', service, role, database, application_name, via, replicas, replicas_max, surge, processes, pool_size, max_overflow, min_idle, source)
		FROM pool_exhaust_declared ORDER BY service COLLATE \"C\"");
}

declare();
is(import(qq(service,role,pool_size,replicas\r\n"a ""b""",app,5,2\n\nc,,3,\n), 'csv'), 2, 'csv: two services');
is(declared(), qq(a "b" app 2 0 1 5 0 0 csv\nc 1 0 1 3 0 0 csv), 'csv: quotes, empty fields, an empty line, line ends of both kinds');
is(import("service,pool_size\nd,1", 'csv'), 1, 'csv: again');
is(import("service,pool_size\ne,1", 'csv:other'), 1, 'csv: under another name');
is(declared(), "d 1 0 1 1 0 0 csv\ne 1 0 1 1 0 0 csv:other", 'csv: what was imported is replaced, and nothing else');
refuses("service,nothing\n", 'csv', '22P02', [ qr/line 1 of the document: there is no column "nothing"/, qr/Columns are: service, role, / ], 'csv: another column');
refuses("service,pool_size,service\n", 'csv', '22P02', [qr/column "service" is there twice/], 'csv: a column twice');
refuses("service,pool_size\na,1\nb,-1\n", 'csv', '22P02', [ qr/line 3 of the document: pool_size is "-1"/, qr/a number from 0 to 10000/ ], 'csv: a negative number');
refuses("service,pool_size\na,1e9\n", 'csv', '22P02', [qr/line 2 .*pool_size is "1e9"/], 'csv: an absurd number');
refuses("service,pool_size\na\n", 'csv', '22P02', [qr/line 2 of the document: it has fewer fields than line 1/], 'csv: fewer fields');
refuses("service,pool_size\na,1,2\n", 'csv', '22P02', [qr/line 2 of the document: it has more fields/], 'csv: more fields');
refuses("service,pool_size\n\"a,1\n\n", 'csv', '22P02', [qr/line 2 of the document: a quote begins there and does not end/], 'csv: an open quote');
refuses("service,pool_size\n,1\n", 'csv', '22P02', [qr/line 2 of the document: there is no service/], 'csv: no service');
refuses("service,pool_size\na,\n", 'csv', '22P02', [qr/line 2 of the document: service "a" has no pool_size/], 'csv: no pool_size');
refuses("service,pool_size\na,1\na,2\n", 'csv', '23505', [qr/declared_pkey/], 'csv: a service twice');
refuses("service,pool_size\ne,1\n", 'csv', '23505', [qr/declared_pkey/], 'csv: a service that another document has');
$client->query(q(INSERT INTO pool_exhaust_declared (service, pool_size) VALUES ('a', 7), ('z', 8)));
$client->query('RESET client_min_messages');
is(import("service,pool_size\na,1\nb,2\n", 'csv'), 1, 'csv: a service that is declared by hand');
is(join("\n", $client->notices), '1 rows of the document are declared by hand as well, and those of source sql are kept', 'csv: which a notice counts');
$client->query('SET client_min_messages = warning');
is(declared(), "a 1 0 1 7 0 0 sql\nb 1 0 1 2 0 0 csv\ne 1 0 1 1 0 0 csv:other\nz 1 0 1 8 0 0 sql", 'csv: and which stays');
refuses("service,pool_size\n" . join('', map { "s$_,1\n" } 1 .. 10001), 'csv', '54000', [qr/more than 10000/], 'csv: too many rows');
fails_with($client, q(SELECT pool_exhaust_budget_import(repeat('x', 17000000), 'csv')), '54000', [ qr/has 17000000 bytes, and may have 16777216/ ], 'a huge document');
refuses('', 'xml', '22023', [qr/Kinds are: csv, kubernetes, pgbouncer, console\./], 'another kind');

# Kubernetes: what it knows, what annotations and variables say, and what is no client
sub workload
{
	my ($kind, $name, $spec, $annotations, $env, $namespace) = @_;

	return { kind => $kind, metadata => { name => $name, annotations => $annotations, $namespace ? (namespace => $namespace) : () },
		spec => { %$spec, template => { spec => { containers => [ { name => 'main', env => $env } ] } } } };
}

my $list = { kind => 'List', items => [
	workload('Deployment', 'shop', { replicas => 3, strategy => { type => 'RollingUpdate', rollingUpdate => { maxSurge => '30%' } } },
		{ 'pool-exhaust/pool-size' => '5', 'pool-exhaust/max-overflow' => '2', 'pool-exhaust/min-idle' => '1', 'pool-exhaust/via' => 'pb' },
		[ { name => 'PGUSER', value => 'app' }, { name => 'PGDATABASE', value => 'shop' }, { name => 'PGPASSWORD', value => 's3cret' }, { name => 'WEB_CONCURRENCY', value => '4' }, { name => 'PGAPPNAME', value => 'shop' } ]),
	workload('StatefulSet', 'queue', { replicas => 2 }, {}, [ { name => 'POOL_SIZE', value => '9' }, { name => 'DB_POOL_SIZE', value => '7' }, { name => 'X', valueFrom => {} } ], 'jobs'),
	workload('Deployment', 'once', { strategy => { type => 'Recreate' } }, { 'pool-exhaust/pool-size' => '1', 'pool-exhaust/service' => 'one' }, []),
	workload('Deployment', 'static', { replicas => 2 }, undef, undef),
	{ kind => 'HorizontalPodAutoscaler', metadata => { name => 'x' }, spec => { minReplicas => 2, maxReplicas => 10, scaleTargetRef => { kind => 'Deployment', name => 'shop' } } } ] };
my $json = JSON::PP->new->canonical->pretty;
$client->query('DELETE FROM pool_exhaust_declared');
is(import($json->encode($list), 'kubernetes'), 3, 'kubernetes: three services');
is(declared(), "jobs/queue 2 0 1 7 0 0 kubernetes\none 1 0 1 1 0 0 kubernetes\nshop app shop shop pb 3 10 3 4 5 2 1 kubernetes",
	'kubernetes: replicas, autoscaler, surge rounded up, annotations, variables');
refuses("{\n \"a\": s3cret }", 'kubernetes', '22P02', [qr/line 2 of the document: it is no JSON/], 'kubernetes: no JSON');
refuses('{"items": []}', 'kubernetes', '22P02', [ qr/none of the 0 workloads/, qr/kubectl annotate/ ], 'kubernetes: nothing in it');
refuses('[' x 100000, 'kubernetes', '54001', [qr/stack depth/], 'kubernetes: too deep');
refuses($json->encode({ items => [ workload('Deployment', 'a', { replicas => -1 }, { 'pool-exhaust/pool-size' => '5' }, []) ] }), 'kubernetes', '22P02',
	[qr{Deployment default/a of the document: replicas is "-1"}], 'kubernetes: negative replicas');

# PgBouncer: settings, and nothing else
my $ini = <<'INI';
; pool-exhaust: processes = 2
[databases]
shop = host=127.0.0.1 port=5432 dbname=shop pool_size=8 password='s3cret ''x'
"odd ""db" = dbname=postgres user=app password=s3cret
* = host=/tmp
[users]
app = pool_mode=session max_user_connections=50
[pgbouncer]
auth_file = s3cret
max_client_conn = 200
pool_mode = transaction
reserve_pool_size = 2
default_pool_size=10
default_pool_size=12
INI
is(import($ini, 'pgbouncer:pb'), 12, 'pgbouncer: its settings');
is($client->query(q(SELECT string_agg(concat_ws(' ', pooler, section, name, setting || '=' || value), E'\n' ORDER BY section, name COLLATE "C", setting COLLATE "C") FROM pool_exhaust_declared_poolers)),
	join("\n", map { "pb $_" } 'databases * dbname=', 'databases odd "db dbname=postgres', 'databases odd "db user=app', 'databases shop dbname=shop', 'databases shop pool_size=8',
		(map { "pgbouncer  $_" } qw(default_pool_size=12 max_client_conn=200 pool_mode=transaction processes=2 reserve_pool_size=2)),
		'users app max_user_connections=50', 'users app pool_mode=session'), 'pgbouncer: the last of several values holds, and no password is kept');
refuses("[pgbouncer]\nx = s3cret\n%include s3cret\n", 'pgbouncer', '22P02', [qr/line 3 of the document: %include is not followed/], 'pgbouncer: %include');
refuses("[pgbouncer]\nmax_client_conn = -5\n", 'pgbouncer', '22P02', [ qr/line 2 of the document: max_client_conn is "-5"/, qr/a number from 0 to 1000000/ ], 'pgbouncer: a negative number');
refuses("[pgbouncer]\npool_mode = s\n", 'pgbouncer', '22P02', [ qr/line 2 .*pool_mode is another word/, qr/one of: session, transaction, statement/ ], 'pgbouncer: another word');
refuses("[databases]\na = password=s3cret s3cret\n", 'pgbouncer', '22P02', [qr/line 2 of the document: there is a key without "="/], 'pgbouncer: a broken line');
refuses("[databases]\na = password='s3cret\n", 'pgbouncer', '22P02', [qr/line 2 of the document: a quote does not end/], 'pgbouncer: an open quote');
refuses("s3cret\n", 'pgbouncer', '22P02', [qr/line 1 of the document: it is neither/], 'pgbouncer: another file');
refuses("[x]\na = b\n", 'pgbouncer', '22P02', [qr/nothing of it limits connections/], 'pgbouncer: nothing in it');

refuses($ini, 'pgbouncer:' . 'x' x 64, '23514', [qr/poolers_pooler_check/], 'pgbouncer: a long name');

# ---------- What poolers make of it ----------

sub pooled
{
	my ($ini, @services) = @_;

	declare(map { { role => 'app', database => 'shop', via => 'pb', %$_ } } @services);
	import($ini, 'pgbouncer:pb') // die $client->message;
	return budget();
}

sub sums
{
	my ($budget) = @_;

	return { map { $_->{name} =~ /^(.*), at rest$/ ? ($1 => "$_->{observed_num} of $_->{expected_num}") : () } @{ $budget->{checks} } };
}

$client->query("ALTER ROLE app CONNECTION LIMIT 20");
$client->query("ALTER DATABASE shop CONNECTION LIMIT 30");
reset_peaks();
my $transaction = "[databases]\n* =\n[pgbouncer]\npool_mode = transaction\nmax_client_conn = 100\ndefault_pool_size = 10\n";
is_deeply(sums(pooled($transaction, { service => 'a', pool_size => 15 }, { service => 'b', role => 'web', pool_size => 4 })),
	{ 'pooler pb, clients' => '19 of 100', 'role app' => '10 of 20', 'database shop' => '14 of 30', server => '14 of 56' },
	'transaction: clients share a pool, which has no more connections than clients');
is_deeply(sums(pooled("$transaction; pool-exhaust: processes = 3\nreserve_pool_size = 2\n", { service => 'a', pool_size => 99 })),
	{ 'pooler pb, clients' => '99 of 300', 'role app' => '36 of 20', 'database shop' => '36 of 30', server => '36 of 56' },
	'transaction: pool_size and the reserve of each process');
is_deeply(sums(pooled("$transaction\nmax_db_connections = 6\n", { service => 'a', pool_size => 99 }, { service => 'b', role => 'web', pool_size => 99 })),
	{ 'pooler pb, clients' => '198 of 100', 'role app' => '6 of 20', 'database shop' => '6 of 30', server => '6 of 56' },
	'transaction: max_db_connections');
is_deeply(sums(pooled("[databases]\nfront = dbname=shop user=app\n[pgbouncer]\nmax_client_conn = 100\ndefault_pool_size = 3\nmax_db_client_connections = 50\n",
		{ service => 'a', role => 'web', database => 'front', pool_size => 9 })),
	{ 'pooler pb, clients' => '9 of 100', 'pooler pb, pool front/app' => '9 of 3', 'pooler pb, clients of database front' => '9 of 50',
		'role app' => '3 of 20', 'database shop' => '3 of 30', server => '3 of 56' },
	'session: a client keeps a connection; names of the pooler are not those of the server');
is(budget()->{first}{cause}, 'pooler_queue_timeout', 'session: the cause of what waits in vain');
is(pooled($transaction, { service => 'a', database => 'shop', via => 'pc', pool_size => 1 })->{reason}, '1 contradictions: service "a": pooler "pc" is not declared', 'another pooler');
is(pooled("[databases]\nx =\n[pgbouncer]\nmax_client_conn = 5\n", { service => 'a', pool_size => 1 })->{reason}, '1 contradictions: service "a": pooler "pb" has no database "shop"', 'a database that it does not have');
$client->query(q(UPDATE pool_exhaust_declared_poolers SET value = 'many' WHERE setting = 'max_client_conn'));
like(budget()->{reason}, qr/pooler "pb": max_client_conn is "many", and must be a number from 0 to 1000000/, 'a value that was written by hand');

sub lints
{
	my %checks = map { ($_->{name} =~ s/^pooler pb, //r) => $_->{outcome} . ($_->{detail} =~ /^warning/ ? ' with a warning' : '') }
	  grep { $_->{phase} eq 'poolers' } @{ pooled(@_)->{checks} };

	return \%checks;
}

is_deeply(lints("[databases]\nshop = pool_size=20 min_pool_size=15\n[pgbouncer]\nmax_db_connections = 10\nreserve_pool_size = 5\nreserve_pool_timeout = 0\n", { service => 'a', pool_size => 1 }),
	{ query_wait_timeout => 'pass with a warning', reserve_pool_timeout => 'pass with a warning', 'pool_size of shop' => 'pass with a warning', 'min_pool_size of shop' => 'fail' },
	'lint: what is odd');
is_deeply(lints("[databases]\nshop = pool_size=10 min_pool_size=5\n[pgbouncer]\nquery_wait_timeout = 10\nmax_db_connections = 10\nreserve_pool_size = 5\n", { service => 'a', pool_size => 1 }),
	{ query_wait_timeout => 'pass', reserve_pool_timeout => 'pass', 'pool_size of shop' => 'pass', 'min_pool_size of shop' => 'pass' },
	'lint: what is not');
{
	my $listener = client($node, user => 'app', database => 'shop');
	$listener->query('LISTEN orders');
	is(lints($transaction, { service => 'a', pool_size => 1 })->{'session features of shop/app'}, 'pass with a warning', 'lint: LISTEN in a transaction pool');
	$listener->query('UNLISTEN orders; SELECT 1');
	$listener->close;
}

# A real PgBouncer with that pgbouncer.ini: the number that is said is the number that it has.
SKIP:
{
	skip 'no PgBouncer', 1 if !Pooler::version('pgbouncer');

	foreach my $case (
		[ { max_client_conn => 6, default_pool_size => 20, pool_mode => 'session' }, 8, 'pooler pb, clients', 'pooler_clients', qr/max_client_conn|no more connections/ ],
		[ { max_client_conn => 20, default_pool_size => 3, pool_mode => 'session', query_wait_timeout => 1 }, 5, 'pooler pb, pool shop/app', 'pooler_queue_timeout', qr/query_wait_timeout/ ],
		[ { max_client_conn => 20, default_pool_size => 9, pool_mode => 'session', query_wait_timeout => 1 }, 6, 'role app', 'role_limit', qr/query_wait_timeout|too many connections for role/ ])
	{
		my ($settings, $clients, $limit, $cause, $message) = @$case;

		$client->query('ALTER ROLE app CONNECTION LIMIT ' . ($cause eq 'role_limit' ? 4 : 20));
		my $pooler = Pooler->new('pgbouncer', node => $node, settings => $settings, users => { app => '' });
		reset_peaks();
		my $first = pooled(slurp_file($pooler->host . '/pgbouncer.ini'), { service => 'a', pool_size => $clients })->{first};
		is("$first->{limit} $first->{cause}", "$limit $cause", "PgBouncer: $limit is hit first");
		my (@open, $refused);
		while (@open < $clients)
		{
			my $login = login($pooler, user => 'app', database => 'shop');
			$login->query('SELECT 1') if !$login->{error};
			$refused = $login->{error} and last;
			push @open, $login;
		}
		is(scalar(@open), $first->{connections}, "PgBouncer: $first->{connections} clients have connections");
		like($refused->{M} // '', $message, 'PgBouncer: and the next has not');
		is($client->query("SELECT refusals > 0 FROM pool_exhaust_refusals WHERE cause = 'role_limit'"), $cause eq 'role_limit' ? 't' : 'f', 'PgBouncer: the cause in the server');
		$_->close foreach @open;
		$pooler->stop;
	}
	$client->query('ALTER ROLE app CONNECTION LIMIT 20');
}

# ---------- Hostile documents ----------

# Mutations of each kind: a byte changed, taken out, doubled; a piece moved.  Each is
# taken or refused with a message, and nothing else happens.  BUDGET_MUTATIONS=100000 in
# the environment makes more of them.
my $mutations = $ENV{BUDGET_MUTATIONS} // 900;
my %seeds = (csv => qq(service,role,pool_size,replicas\n"a ""b""",app,5,2\nc,,3,\n), kubernetes => $json->encode($list), "pgbouncer:pb" => $ini);
my %ends;
srand(7);
for (my $n = 0; $n < $mutations; $n++)
{
	my $kind = (sort keys %seeds)[ $n % 3 ];
	my $document = $seeds{$kind};

	foreach (1 .. 1 + int rand 4)
	{
		my ($at, $length) = (int rand length $document, int rand 20);
		my $what = int rand 4;

		substr($document, $at, 1) = chr(1 + int rand 126) if $what == 0;
		substr($document, $at, $length) = '' if $what == 1;
		substr($document, $at, 0) = substr $document, int rand length $document, $length if $what == 2;
		substr($document, $at, 0) = ('"', "'", '%', '[', '=', "\n", '9' x 30, '\\u0000', "\xc3\xa9")[ int rand 9 ] if $what == 3;
	}
	import($document, $kind);
	my $state = sqlstate($client);
	$ends{$state}++;
	like($client->message, qr/^(?!.*s3cret)/s, 'no password') if $client->{error} && $client->message =~ /s3cret/;
}
is($client->query(q(SELECT count(*) FROM pool_exhaust_declared d, pool_exhaust_declared_poolers p WHERE d::text || p::text LIKE '%s3cret%')), 0, 'no password is kept');
is(join(' ', grep { !/^(?:00000|22021|22P02|22P05|22023|23505|23514|54000)$/ } sort keys %ends), '', "$mutations mutations: " . join(', ', map { "$_ $ends{$_}" } sort keys %ends));
cmp_ok($ends{'00000'}, '>', 0, 'some are taken');
$client->query('DELETE FROM pool_exhaust_declared_poolers');

# ---------- The predicted limit is hit at exactly that number ----------

# Opens connections of the services in proportion to what they ask for in this
# situation, until one is refused; returns how many each had, and which was refused.
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

# ---------- Many services ----------

# bench/budget measures how long that takes.
$client->query('DELETE FROM pool_exhaust_declared');
$client->query(q(INSERT INTO pool_exhaust_declared (service, role, database, application_name, replicas, pool_size)
	SELECT 's' || n, 'app', 'shop', 's' || n, 2, 5 FROM generate_series(1, 200) n)) // die $client->message;
is((grep { $_->{name} eq 'server, at rest' } @{ budget()->{checks} })[0]{observed_num}, 2000, '200 services are added up');

$client->close;
left_nothing($node);
done_testing();
