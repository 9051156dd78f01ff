# Each change of health is reported once: in the log, and by NOTIFY to sessions
# that listen, with the numbers of that moment and in the order in which they came.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('transitions', conf => q(
max_connections = 60
autovacuum = off
pool_exhaust.sample_interval = 10ms
pool_exhaust.notify_database = 'alarms'
));
$node->safe_psql('postgres', q(
CREATE ROLE app LOGIN;
CREATE ROLE twenty LOGIN CONNECTION LIMIT 20;
CREATE ROLE three LOGIN CONNECTION LIMIT 3;
CREATE ROLE pool_exhaust_7 LOGIN CONNECTION LIMIT 1;
CREATE ROLE "pool_exhaust_7x" LOGIN CONNECTION LIMIT 1;
CREATE DATABASE small CONNECTION LIMIT 2;
CREATE DATABASE alarms;
CREATE DATABASE elsewhere;
));
my @row = map { "row$_" } 1 .. 6;
$node->safe_psql('postgres', join '', map { "CREATE ROLE $_ LOGIN CONNECTION LIMIT 1;" } @row);

my $watcher = client($node);
my $listener = client($node, database => 'alarms');
$listener->query('LISTEN pool_exhaust');
my $elsewhere = client($node, database => 'elsewhere');
$elsewhere->query('LISTEN pool_exhaust');
my $log_start = -s $node->logfile;
my $before = $watcher->query('SELECT clock_timestamp()');
my (@held, @expected_log);

# Waits until all is reported, also what had to wait for a messenger to return.
sub all_reported
{
	foreach (1 .. 2)
	{
		samples($watcher, 2)
		  && wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pool_exhaust messenger'", 0)
		  or return 0;
	}
	return 1;
}

# Waits for this many notifications, and takes them and all that have come beside.
sub notifications
{
	my ($n) = @_;
	my @awaited = $listener->notifications($n);

	$listener->query('SELECT 1');
	return (@awaited, $listener->notifications(scalar @{ $listener->{notified} }));
}

# The next notification is this one.
sub notified
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($pool, $kind, $health, $was, $in_use, $capacity, $refused) = @_;
	my ($payload) = $listener->notifications(1);
	my $json = eval { JSON::PP::decode_json($payload) };
	my $name = "$pool is $health, was $was";
	my $at = delete $json->{at} // '';

	is_deeply(
		$json,
		{
			pool => $pool,
			kind => $kind,
			health => $health,
			was => $was,
			in_use => $in_use,
			capacity => $capacity,
			utilization => sprintf('%.4g', $in_use / $capacity),
			refused => $refused
		},
		$name) or diag $payload;
	is($watcher->query("SELECT '$at'::timestamptz BETWEEN '$before' AND clock_timestamp()"), 't', "$name: at $at");
	push @expected_log, qq(health of $kind "$pool" is $health, was $was) . ": $in_use of $capacity connections are in use, $refused were refused";
}

# Takes, or lets go of, connections of role twenty until it holds this many.
sub hold
{
	my ($n) = @_;

	push @held, client($node, user => 'twenty') while @held < $n;
	(pop @held)->close while @held > $n;
}

# ---------- One by one ----------

# 0.80 and 0.95 of 20 are 16 and 19; better again is 0.05 below.
hold(15);
samples($watcher, 3);
hold(16);
notified('twenty', 'role', 'warning', 'healthy', 16, 20, 0);
hold(18);
samples($watcher, 3);
hold(19);
notified('twenty', 'role', 'critical', 'warning', 19, 20, 0);
hold(20);
notified('twenty', 'role', 'exhausted', 'critical', 20, 20, 0);
hold(19);
notified('twenty', 'role', 'critical', 'exhausted', 19, 20, 0);
hold(18);
samples($watcher, 3);
hold(17);
notified('twenty', 'role', 'warning', 'critical', 17, 20, 0);
hold(15);
samples($watcher, 3);
hold(14);
notified('twenty', 'role', 'healthy', 'warning', 14, 20, 0);

# A pool of three is never just warning; a role of a run is not reported.
my @three = map { client($node, user => 'three') } 1 .. 3;
notified('three', 'role', 'exhausted', 'healthy', 3, 3, 0);
my $of_a_run = client($node, user => 'pool_exhaust_7');
is($watcher->query("SELECT health FROM pool_exhaust_pools WHERE name = 'pool_exhaust_7'"), 'exhausted', 'a role of a run is a pool');
samples($watcher, 2);
my $like_one = client($node, user => 'pool_exhaust_7x');
notified('pool_exhaust_7x', 'role', 'exhausted', 'healthy', 1, 1, 0);
(pop @three)->close;
notified('three', 'role', 'healthy', 'exhausted', 2, 3, 0);
my @small = map { client($node, user => 'app', database => 'small') } 1 .. 2;
notified('small', 'database', 'exhausted', 'healthy', 2, 2, 0);

ok(all_reported(), 'nothing else changes');
is_deeply([ notifications(0) ], [], 'each was notified once');
is_deeply($elsewhere->query('SELECT 1') && $elsewhere->{notified}, [], 'and in one database only');
my $log = slurp_file($node->logfile, $log_start);
my @logged;
push @logged, "$1: $2" while $log =~ /LOG:  pool_exhaust: (health of .*)\n.*DETAIL:  (.*) since the last sample\./g;
is_deeply(\@logged, \@expected_log, 'the log has each of them once');
$_->close foreach @three, @small, $of_a_run, $like_one;
hold(0);
ok(wait_for($watcher, "SELECT count(*) FROM pool_exhaust_pools WHERE health <> 'healthy'", 0), 'all is well');
is(scalar(my @better = notifications(2)), 2, 'and that is reported');

# ---------- In order ----------

# A messenger on its way reads what this locks; logins would, too.
foreach my $round (1, 2)
{
	my @sessions = map { client($node, user => $_) } @row;
	ok(all_reported(), "round $round: all is reported");
	is_deeply([ sort map { JSON::PP::decode_json($_)->{pool} } notifications(6) ], \@row, "round $round: six are exhausted");
	$watcher->query('BEGIN; LOCK pg_catalog.pg_db_role_setting');
	foreach (@row)
	{
		(shift @sessions)->close;
		wait_for($watcher, "SELECT health FROM pool_exhaust_pools WHERE name = '$_'", 'healthy');
	}
	$watcher->query('COMMIT');
	ok(all_reported(), "round $round: messengers were kept waiting, and come");
	is(join(' ', map { JSON::PP::decode_json($_)->{pool} } notifications(6)), "@row", "round $round: in order");
}

# ---------- Without a database to notify ----------

sub notify_database
{
	my ($value) = @_;
	my $start = -s $node->logfile;

	$watcher->query("ALTER SYSTEM SET pool_exhaust.notify_database = '$value'");
	$watcher->query('SELECT pg_reload_conf()');
	$node->wait_for_log(qr/parameter "pool_exhaust.notify_database" changed to "\Q$value\E"/, $start);
	samples($watcher, 3);
}

sub exhaust
{
	my $client = client($node, user => 'pool_exhaust_7x');

	samples($watcher, 2);
	$client->close;
	wait_for($watcher, "SELECT health FROM pool_exhaust_pools WHERE name = 'pool_exhaust_7x'", 'healthy');
	all_reported();
}

notify_database('nowhere');
my $start = -s $node->logfile;
exhaust();
ok($node->wait_for_log(qr/FATAL:  database "nowhere" does not exist/, $start), 'a database that is not there: the log says so');
like(slurp_file($node->logfile, $start), qr/LOG:  pool_exhaust: health of role "pool_exhaust_7x" is exhausted, was healthy/,
	'a database that is not there: the change is logged');
ok(samples($watcher, 2), 'a database that is not there: samples go on');
is(refusals($watcher), 'none', 'a messenger that cannot log in is no refusal');
my $lost = () = slurp_file($node->logfile) =~ /"pool_exhaust messenger" \(PID \d+\) exited with exit code 1/g;

notify_database('');
$start = -s $node->logfile;
exhaust();
like(slurp_file($node->logfile, $start), qr/LOG:  pool_exhaust: health of role "pool_exhaust_7x" is exhausted, was healthy/,
	'no database: the change is logged');
is_deeply([ notifications(0) ], [], 'no database: no notification');

notify_database('alarms');
exhaust();
is_deeply(
	[ map { JSON::PP::decode_json($_)->{health} } notifications(2) ],
	[ 'exhausted', 'healthy' ],
	'the database is back: so are notifications');
$_->close foreach $listener, $elsewhere;
samples($watcher, 1);
$watcher->query('DROP DATABASE alarms');
is(sqlstate($watcher), '00000', 'the database can be dropped') or diag $watcher->message;
$watcher->close;

# ---------- Without a worker to send ----------

$node->append_conf('postgresql.conf', 'max_worker_processes = 2');    # the monitor, and that of logical replication
$node->restart;
$watcher = client($node);
ok(samples($watcher, 2), 'few workers: the monitor is there');
exhaust();
like(slurp_file($node->logfile), qr/LOG:  pool_exhaust cannot notify of a change of health: no background worker is free/,
	'few workers: the log says what is missing');
ok(samples($watcher, 2), 'few workers: samples go on');
$watcher->query('DROP ROLE pool_exhaust_7; DROP ROLE pool_exhaust_7x');
$watcher->close;

left_nothing($node, killed => $lost);
done_testing();
