# What is counted is exact: sessions granted, also those that no sample can see,
# and logins that stall. What is left to a role is what it can really open.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use POSIX qw(WNOHANG _exit);
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $superuser = getpwuid($>);

# 15:  60 = 57 regular + 3 superuser
# 16+: 60 = 53 regular + 4 reserved + 3 superuser
my $node = new_server('counts',
	hba => [ 'local all stalled scram-sha-256', 'local all,replication all trust' ],
	conf_from => { 16 => 'reserved_connections = 4' },
	conf => qq(
max_connections = 60
superuser_reserved_connections = 3
wal_level = replica
max_wal_senders = 2
autovacuum = off
authentication_timeout = 10min
pool_exhaust.http_port = $port
pool_exhaust.sample_interval = 20ms
));
my $has_reserved = $node->pg_version >= 16;
my $capacity = $has_reserved ? 53 : 57;
$node->safe_psql('postgres', q(
CREATE ROLE app LOGIN;
CREATE ROLE ops LOGIN;
CREATE ROLE three LOGIN CONNECTION LIMIT 3;
CREATE ROLE zero LOGIN CONNECTION LIMIT 0;
CREATE ROLE boss LOGIN SUPERUSER CONNECTION LIMIT 3;
CREATE ROLE "Quoted ""role""" LOGIN CONNECTION LIMIT 2;
CREATE ROLE no_login CONNECTION LIMIT 9;
CREATE ROLE stalled LOGIN PASSWORD 'x';
CREATE ROLE walker LOGIN REPLICATION;
CREATE DATABASE small CONNECTION LIMIT 4;
CREATE DATABASE locked;
REVOKE CONNECT ON DATABASE locked FROM PUBLIC;
CREATE DATABASE closed ALLOW_CONNECTIONS false;
));
$node->safe_psql('postgres', 'GRANT pg_use_reserved_connections TO ops') if $has_reserved;
my $watcher = client($node);
my $opened;

# Sessions granted since the last time this was asked, everywhere the same.
sub opened_is
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($expected, $name) = @_;
	my $before = $opened;

	$opened = $watcher->query("SELECT granted FROM pool_exhaust_pools WHERE name = 'server'");
	is($opened - $before, $expected, $name);
	is(http_metrics($port)->{opened_connections_total}, $opened, "$name: /metrics");
	is($watcher->query('SELECT sum(opened) FROM pool_exhaust_services'), $opened, "$name: services");
}

# ---------- Sessions granted ----------

in_use_becomes($watcher, 1, 'one slot to begin with');
$opened = $watcher->query("SELECT granted FROM pool_exhaust_pools WHERE name = 'server'");

# They come and go between two samples.
foreach (1 .. 20)
{
	client($node, user => 'app', application_name => 'quick')->close;
}
opened_is(20, 'twenty quick ones');
is($watcher->query("SELECT opened FROM pool_exhaust_services WHERE service = 'app/quick'"), 20, 'their service');
in_use_becomes($watcher, 1, 'they are gone');
is( $watcher->query("SELECT in_use, active, idle, idle_in_transaction, share, peak_in_use <= 20, opened
		FROM pool_exhaust_services WHERE service = 'app/quick'"),
	'0|0|0|0|0|t|20', 'it holds nothing any more');

# A refused session, for whatever reason, is not counted as granted.
my @three = map { client($node, user => 'three') } 1 .. 3;
my @small = map { client($node, user => 'app', database => 'small') } 1 .. 4;
opened_is(7, 'two limits are reached');
my @refused = (
	[ '53300', user => 'three', application_name => 'never' ],
	[ '53300', user => 'zero' ],
	[ '53300', user => 'app', database => 'small' ],
	[ '3D000', user => 'app', database => 'no_such_database' ],
	[ '42501', user => 'app', database => 'locked' ],
	[ '55000', user => 'app', database => 'closed' ],
	[ '28000', user => 'no_such_role' ],
	[ '28000', user => 'no_login' ],
	[ '42704', user => 'app', no_such_setting => 1 ],
);
foreach (@refused)
{
	my ($sqlstate, %params) = @$_;
	my $client = login($node, %params);
	is(sqlstate($client), $sqlstate, "refused: @$_[1 .. $#$_]");
	$client->vanish;
}
my $stalled = login($node, user => 'stalled');
ok($stalled->{stalled}, 'one does not get further than the password');
$stalled->vanish;
my @walkers = map { client($node, user => 'walker', replication => 'true') } 1 .. 2;
is($watcher->query('SELECT walsenders FROM pool_exhaust_slots'), 2, 'walsenders take no slot');
sub walsenders { my $now = http_metrics($port); return join ' ', map { $now->{qq(pool_${_}{kind="walsenders",pool="walsenders"})} } qw(capacity_connections in_use_connections utilization_ratio health) }
ok(wait_until(\&walsenders, '2 2 1 3', 'the walsenders'), 'walsenders are full');
is(http($port, '/readyz')->{status} . ' ' . http_json($port, '/readyz')->{health}, '200 healthy', 'the server is ready all the same');
$_->close foreach @walkers;
opened_is(0, 'none of these was granted');
is($watcher->query("SELECT count(*) FROM pool_exhaust_services WHERE application_name = 'never'"), 0, 'nor is a service');
is( $watcher->query("SELECT string_agg(name || ' ' || coalesce(granted::text, '-') || ' ' || refused, ', ' ORDER BY name)
		FROM pool_exhaust_pools WHERE kind IN ('role', 'database') AND name !~ 'Quoted|pool_exhaust'"),
	'small - 1, three 3 1, zero 0 1', 'the pools of roles and databases');
is($watcher->query("SELECT capacity, utilization, health FROM pool_exhaust_pools WHERE name = 'zero'"), '0||', 'a role with limit 0 is closed: it has no health');
my $closed = http_metrics($port);
is(join(' ', map { $closed->{qq(pool_${_}{kind="role",pool="zero"})} // '-' } 'capacity_connections', 'utilization_ratio', 'health'),
	'0 - -', 'a role with limit 0 is closed: /metrics');
is((grep { $_->{name} eq 'zero' } @{ http_json($port, '/pools') })[0]{health}, undef, 'a role with limit 0 is closed: /pools');
in_use_becomes($watcher, 8, 'the refused are gone');

# Not even for the moment that it takes to refuse them: a counter never goes back.
my @children = map {
	my $pid = fork // die "could not fork: $!";
	if (!$pid)
	{
		login($node, user => 'three')->vanish foreach 1 .. 150;
		_exit(0);
	}
	$pid;
} 1 .. 2;
my ($reads, @wrong) = 0;
while (@children)
{
	my $now = http_metrics($port)->{opened_connections_total};
	push @wrong, $now if $now != $opened;
	$reads++;
	@children = grep { waitpid($_, WNOHANG) == 0 } @children;
}
cmp_ok($reads, '>=', 20, 'the counter is read during a storm of refusals');
is("@wrong", '', 'none of them was granted at any time');
is($watcher->query("SELECT refused FROM pool_exhaust_pools WHERE name = 'three'"), 301, 'all of them were refused');
ok(samples($watcher, 2), 'the monitor has seen the end of it');
opened_is(0, 'after the storm');
is($watcher->query('SELECT sum(opened) FROM pool_exhaust_timeline'), $opened, 'after the storm: the timeline');
$_->close foreach @three, @small;
in_use_becomes($watcher, 1, 'all are gone');

# ---------- What is left to a role ----------

# Predicts, then opens connections until one is refused.
sub headroom_is
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($expected, $sqlstate, $name, $user, $database) = @_;
	$database //= 'postgres';
	my $in_use = $watcher->query('SELECT in_use FROM pool_exhaust_slots');
	my $sql = "SELECT pool_exhaust_headroom(quote_ident(\$\$$user\$\$)::regrole, '$database')";
	my @opened;

	is($watcher->query($sql), $expected, "$name: predicted");
	for (;;)
	{
		my $client = login($node, user => $user, database => $database);
		if ($client->{error})
		{
			is(sqlstate($client), $sqlstate, "$name: then it is refused");
			$client->vanish;
			last;
		}
		push @opened, $client;
	}
	is(scalar(@opened), $expected, "$name: opened");
	in_use_becomes($watcher, $in_use + @opened, "$name: the refused one is gone");
	is($watcher->query($sql), 0, "$name: nothing is left");
	$_->close foreach @opened;
	in_use_becomes($watcher, $in_use, "$name: all gone");
}

is($watcher->query('SELECT pool_exhaust_headroom()'), 59, 'by default of the caller, here');
is($watcher->query("SELECT pool_exhaust_headroom('app')"), $capacity - 1, 'here');
is($watcher->query("SET ROLE three; SELECT 1; RESET ROLE; SELECT pool_exhaust_headroom('three', 'postgres')"), "1\n3", 'a limit');
headroom_is($capacity - 1, '53300', 'a role', 'app');
headroom_is($has_reserved ? 56 : $capacity - 1, '53300', 'a role with reserved slots', 'ops');
headroom_is(59, '53300', 'a superuser', $superuser);
headroom_is(3, '53300', 'a role limit', 'three');
headroom_is(0, '53300', 'a role limit of 0', 'zero');
headroom_is(2, '53300', 'a role with a name', 'Quoted "role"');
headroom_is(0, '28000', 'no login', 'no_login');
headroom_is(4, '53300', 'a database limit', 'app', 'small');
headroom_is(0, '42501', 'no right to connect', 'app', 'locked');
headroom_is(0, '55000', 'a closed database', 'app', 'closed');
headroom_is(0, '55000', 'a closed database, superuser', $superuser, 'closed');
headroom_is(59, '53300', 'a superuser and limits', 'boss', 'small');

# The narrowest of several limits, some of it taken already
@small = (client($node, user => 'three', database => 'small'), client($node, user => 'app', database => 'small'));
headroom_is(2, '53300', 'limits of role and database', 'three', 'small');
my @held = map { client($node, user => 'app') } 1 .. $capacity - 4;
headroom_is(1, '53300', 'limits and slots', 'three', 'small');
push @held, client($node);
headroom_is(0, '53300', 'only the reserve', 'three', 'small');
headroom_is($has_reserved ? 4 : 0, '53300', 'only the reserve, for its role', 'ops');
headroom_is($has_reserved ? 7 : 3, '53300', 'only the reserve, superuser', $superuser);
$_->close foreach @held, @small;
in_use_becomes($watcher, 1, 'all gone again');

fails_with($watcher, "SELECT pool_exhaust_headroom('app', 'no_such')", '3D000',
	[qr/database "no_such" does not exist/], 'headroom in an unknown database');
fails_with($watcher, "SELECT pool_exhaust_headroom('no_such', 'postgres')", '42704',
	[qr/role "no_such" does not exist/], 'headroom of an unknown role');
fails_with($watcher, "SELECT pool_exhaust_headroom(4294967295::oid::regrole, 'postgres')", '42704',
	[qr/role with OID 4294967295 does not exist/], 'headroom of an unknown OID');
is($watcher->query("SELECT pool_exhaust_headroom(NULL, 'postgres') IS NULL"), 't', 'headroom of NULL');

# ---------- Logins that stall ----------

my @stalled = map { login($node, user => 'stalled') } 1 .. 50;
is((grep { $_->{stalled} } @stalled), 50, 'fifty logins wait for a password');
is($watcher->query('SELECT in_use, authenticating FROM pool_exhaust_slots'), '51|50', 'slots shows them');
sub authenticating { return http_metrics($port)->{'slots{state="authenticating"}'} }
ok(wait_until(\&authenticating, 50, 'authenticating'), '/metrics shows them');
is(http_json($port, '/readyz')->{in_use}, 51, '/readyz counts them');
$_->vanish foreach @stalled;
in_use_becomes($watcher, 1, 'they are gone');
ok(wait_until(\&authenticating, 0, 'authenticating'), '/metrics shows none');

# ---------- All begins anew ----------

ok(samples($watcher, 2), 'the monitor has seen all of it');
my $holder = client($node, user => 'three', application_name => 'keeps');
ok(samples($watcher, 2), 'and one session that stays');
is( $watcher->query("SELECT count(*) FROM pool_exhaust_pools WHERE granted > 0 AND refused > 0 AND peak_in_use > in_use
		AND (kind, name) IN (('server', 'server'), ('role', 'three'))"),
	2, 'there is something to forget');
$watcher->query('SELECT pool_exhaust_reset_stats()');
is(sqlstate($watcher), '00000', 'reset');
is( $watcher->query('SELECT (SELECT sum(refusals) FROM pool_exhaust_refusals),
		(SELECT count(*) FROM pool_exhaust_refusals WHERE first_at IS NOT NULL OR last_at IS NOT NULL),
		(SELECT count(*) FROM pool_exhaust_refused_services),
		(SELECT coalesce(sum(opened), 0) FROM pool_exhaust_services),
		(SELECT coalesce(sum(in_use + opened), 0) FROM pool_exhaust_timeline WHERE in_use > 2)'),
	'0|0|0|0|0', 'no session was refused, none granted');
is( $watcher->query("SELECT string_agg(concat_ws(' ', name, in_use, granted, refused, peak_in_use, retry_after_s), ', ' ORDER BY name)
		FROM pool_exhaust_pools WHERE name IN ('server', 'three', 'small')"),
	'server 2 0 0 2, small 0 0 0, three 1 0 0 1', 'the pools know what is there, and no more');
is( $watcher->query("SELECT string_agg(service, ', ' ORDER BY service) FROM pool_exhaust_services"),
	"$superuser/, three/keeps", 'and so do services');
like(http_metrics($port)->{start_time_seconds} - $watcher->query('SELECT extract(epoch FROM now())'),
	qr/^-\d\.|^-\d(?:\.\d+)?e-/, '/metrics says since when it counts');
$opened = 0;
client($node, user => 'app')->close;
opened_is(1, 'counts go on');
login($node, user => 'zero')->vanish foreach 1 .. 2;
is(refusals($watcher), 'role_limit 2', 'refusals too');
is( $watcher->query('SELECT cause, usename, refusals FROM pool_exhaust_refused_services'),
	'role_limit|zero|2', 'and of which role');
is(http_metrics($port)->{'refusals_total{cause="role_limit"}'}, 2, '/metrics too');
ok(samples($watcher, 2), 'and the timeline');
is($watcher->query('SELECT sum(opened), sum(refused) FROM pool_exhaust_timeline'), '1|0', 'the timeline counts from here');

$_->close foreach $holder, $watcher;
left_nothing($node);
done_testing();
