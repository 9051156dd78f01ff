# Leak rule "borrowed": a session that is idle while it is borrowed is a leak, named by
# its borrower; and where a service names borrowers, none of its other sessions is
# suspected for what the service does.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Explain;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $threshold = 600;
my $interval = 50;
my $port = PostgreSQL::Test::Cluster::get_free_port();

# 30 slots: five forgotten sessions are a growth, 600 / 8 ms apart.
my $growth = 5;
my $apart = 0.1;

my $node = new_server('borrowed', conf => qq(
max_connections = 30
max_worker_processes = 20
autovacuum = off
pool_exhaust.leak_threshold = ${threshold}ms
pool_exhaust.sample_interval = ${interval}ms
pool_exhaust.http_port = $port
));
$node->safe_psql('postgres', q(CREATE ROLE app LOGIN; CREATE ROLE plain LOGIN; GRANT EXECUTE ON FUNCTION pool_exhaust_explain(timestamptz) TO plain));
my $watcher = client($node, application_name => 'watcher');
my $explain = Explain->new(watcher => $watcher, port => $port);

sub session
{
	my ($service, %params) = @_;

	return client($node, user => 'app', application_name => $service, %params);
}

# A session that does these statements, and then nothing.
sub idle_after
{
	my ($service, @statements) = @_;
	my $session = session($service);

	backend_pid($session);
	$session->query($_) foreach @statements;
	return $session;
}

sub suspects { return $watcher->query(q(SELECT coalesce(string_agg(concat_ws(': ', service, rule), ', ' ORDER BY service COLLATE "C"), 'none') FROM pool_exhaust_leaks)) }

my $lend = q(SET pool_exhaust.borrower = 'orders.py:57 request 8f2');

# ---------- Which are suspected ----------

my %leaks = (
	idle   => idle_after('leak/idle', $lend, 'SELECT 1'),
	open   => idle_after('leak/open', $lend, 'BEGIN; SELECT 1'),
	failed => idle_after('leak/failed', $lend, 'BEGIN', 'SELECT 1/0'),
	local  => idle_after('leak/local', q(BEGIN; SET LOCAL pool_exhaust.borrower = 'orders.py:57 request 8f2'; SELECT 1)),
	login  => session('leak/login', options => '-c pool_exhaust.borrower=orders.py:57'));
my %healthy = (
	released => idle_after('released', $lend, 'SELECT 1', 'RESET pool_exhaust.borrower'),
	listener => idle_after('listener', $lend, 'LISTEN news'),
	leader   => idle_after('leader', $lend, 'SELECT pg_advisory_lock(1)'),
	never    => idle_after('never', 'SELECT 1'));
$healthy{report} = session('report');
$healthy{report}->query($lend);
$healthy{report}->send('SELECT pg_sleep(600)');
ok(wait_until(\&suspects, join(', ', map { "app/leak/$_: borrowed" } sort keys %leaks), 'the suspects'), 'those are suspected that are idle while they are borrowed');
ok(samples($watcher, 10), 'some samples later');
is(suspects(), join(', ', map { "app/leak/$_: borrowed" } sort keys %leaks), 'and no others are');
foreach ([ idle => '' ], [ open => ' in an open transaction' ], [ failed => ' in a failed transaction' ], [ local => ' in an open transaction' ])
{
	my ($which, $state) = @$_;
	my $evidence = $watcher->query("SELECT evidence FROM pool_exhaust_leaks WHERE service = 'app/leak/$which'");

	like($evidence, qr/^idle$state for (\d+\.\d) s, longer than 0\.6 s; borrowed (\d+\.\d) s ago by "orders\.py:57 request 8f2"$/, "$which: the evidence");
	my ($idle, $borrowed) = $evidence =~ /(\d+\.\d) s/g;
	$borrowed = $1 if $evidence =~ /borrowed (\d+\.\d) s/;
	cmp_ok($borrowed, '>=', $idle, "$which: borrowed before it was idle");
}
is($watcher->query(q(SELECT string_agg(DISTINCT leak || ' ' || borrower, ', ') FROM pool_exhaust_backends WHERE leak IS NOT NULL AND service <> 'app/leak/login')), 'borrowed orders.py:57 request 8f2', 'the sessions have both');
is($watcher->query(q(SELECT suspects, found FROM pool_exhaust_leak_rules WHERE rule = 'borrowed')), '5|5', 'the rule counts them');
like(http($port, '/report')->{content}, qr/borrowed [\d.]+ s ago by &(?:quot|#34);orders\.py:57 request 8f2&/, '/report names the borrower');

# ---------- What is said of them ----------

$explain->incident('borrowed', cause => 'borrowed', confidence => 'sure',
	sentence => qr{: 1 session of app/leak/\w+ and 4 others are idle and still borrowed, the longest for [\d.]+ s, 4 of them by "orders\.py:57 request 8f2"\.$},
	evidence => qr{^pid \d+: idle.* for .* s, longer than 0\.6 s; borrowed .* s ago by "orders\.py:57});
my $plain = client($node, user => 'plain');
my ($shown) = grep { $_->{cause} eq 'borrowed' } @{ $explain->rows($plain) };
unlike("$shown->{sentence} $shown->{evidence}", qr/orders/, 'a role that may not see sessions of others: no borrower is named');
like($shown->{evidence}, qr/^pid \d+, of a borrower that is not shown\./, 'a role that may not see: it says so');
$plain->close;

# ---------- Until they are released ----------

$leaks{idle}->query('RESET pool_exhaust.borrower');
$leaks{open}->query('SELECT 1');
$leaks{failed}->query('ROLLBACK');
$leaks{local}->query('COMMIT');
$leaks{login}->close;
ok(wait_for($watcher, q(SELECT unleaked, ended FROM pool_exhaust_leak_rules WHERE rule = 'borrowed'), '4|1'), 'one is released, some are used again, one ends');
ok(wait_until(\&suspects, 'app/leak/failed: borrowed, app/leak/open: borrowed', 'the suspects'), 'those that are borrowed still are suspected again');
$_->close foreach @leaks{qw(idle open failed local)}, @healthy{qw(released listener leader never)};
$healthy{report}->vanish;
$watcher->query(q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'report'));
suspects_are($watcher, 0, 'all is over');

# ---------- A service that names borrowers ----------

# One session is lost by its pool, which opens others and goes on using those; others are
# opened one after the other and forgotten. A service that has named a borrower, once,
# is not judged by that; one that has not is.
sub lose_and_grow
{
	my ($name, $before) = @_;
	my %service = (lost => session("$name pool"), older => session("$name pool"), grown => []);
	my $opened = time;

	foreach my $sql (@$before, 'SELECT 1') { $service{$_}->query($sql) foreach 'lost', 'older' }
	ok(wait_until(sub { time > $opened + 2.1 ? 'yes' : 'no' }, 'yes', 'its start is over'), "$name: its start is over");
	$service{lost}->query('SELECT 1');
	my $apart_from = time;
	ok(wait_until(sub { time > $apart_from + $apart ? 'yes' : 'no' }, 'yes', 'a moment'), "$name: a moment later");
	$service{older}->send('SELECT pg_sleep(0.6)');
	$service{newer} = [ map { my $newer = session("$name pool"); $newer->send('SELECT pg_sleep(0.2)'); $newer } 1 .. 3 ];
	$_->result foreach $service{older}, @{ $service{newer} };
	my $due = 0;
	$service{work} = sub {
		$_->query('SELECT 1') foreach $service{older}, @{ $service{newer} };
		return if @{ $service{grown} } == $growth || time < $due;
		push @{ $service{grown} }, session("$name growth");
		$service{grown}[-1]->query($_) foreach @$before, 'SELECT 1';
		$due = time + $apart;
	};
	return \%service;
}
my @names = ([ quiet => [] ], [ telling => [ $lend, 'RESET pool_exhaust.borrower' ] ]);
my @services = map { lose_and_grow(@$_) } @names;
my $expected = join(', ', ('app/quiet growth: growth') x $growth, 'app/quiet pool: abandoned');
ok(wait_until(sub { $_->{work}->() foreach @services; suspects() }, $expected, 'the suspects'), 'services: the one that names no borrower is judged by what it does');
foreach (1 .. 20)
{
	$_->{work}->() foreach @services;
	ok(samples($watcher, 1), "services: sample $_");
}
is(suspects(), $expected, 'services: the one that names them is not, later either');

# When it begins to name them, what was suspected of it is not any more.
$services[0]{newer}[0]->query($_) foreach $lend, 'RESET pool_exhaust.borrower';
ok(wait_until(sub { $services[0]{work}->(); suspects() }, join(', ', ('app/quiet growth: growth') x $growth), 'the suspects'), 'services: a suspicion ends when the service begins to name borrowers');
is($watcher->query(q(SELECT unleaked FROM pool_exhaust_leak_rules WHERE rule = 'abandoned')), 1, 'services: it is counted');
foreach my $service (@services)
{
	$_->close foreach $service->{lost}, $service->{older}, @{ $service->{newer} }, @{ $service->{grown} };
}
suspects_are($watcher, 0, 'services: all is over');
is($watcher->query('SELECT count(*) FROM pool_exhaust_leak_rules WHERE found <> suspects + unleaked + ended + healed'), 0, 'the counters add up');

# ---------- A full server does not wait for the threshold ----------

# 27 slots for roles without a reserve, one of them the watcher's
ok(change_setting($watcher, 'pool_exhaust.leak_threshold' => "'1h'"), 'a threshold of an hour');
my @full = map { idle_after('web', "SET pool_exhaust.borrower = '" . ($_ <= 20 ? 'orders.py:57' : "request $_") . q(')) } 1 .. 26;
$explain->incident('full of borrowed sessions', cause => 'borrowed', confidence => 'likely',
	sentence => qr{^Full, 27 of 27 slots in use: 26 sessions of app/web are idle and still borrowed, the longest for [\d.]+ s, 20 of them by "orders\.py:57"\.$},
	evidence => qr{^None of them for as long as pool_exhaust\.leak_threshold yet\. Slots: app/web 26});
$_->close foreach @full;
$watcher->close;
left_nothing($node);
done_testing();
