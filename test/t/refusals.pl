# A server with six slots, filled by hand: each cause of refusal is counted
# exactly, and the server's own numbers agree with what clients saw.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

# 15:  6 = 5 regular + 1 superuser
# 16+: 6 = 3 regular + 2 reserved + 1 superuser
my $node = new_server('six',
	hba => [ 'local all stalled scram-sha-256', 'local all,replication all trust' ],
	conf_from => { 16 => 'reserved_connections = 2', 18 => 'autovacuum_worker_slots = 1' },
	conf => q(
max_connections = 6
superuser_reserved_connections = 1
wal_level = replica
max_wal_senders = 1
autovacuum = off
autovacuum_max_workers = 1
max_worker_processes = 8
authentication_timeout = 10min
listen_addresses = '127.0.0.1,::1'
));
my $has_reserved = $node->pg_version >= 16;
my $capacity = $has_reserved ? 3 : 5;
$node->safe_psql('postgres', q(
CREATE ROLE app LOGIN;
CREATE ROLE ops LOGIN;
CREATE ROLE one LOGIN CONNECTION LIMIT 1;
CREATE ROLE stalled LOGIN PASSWORD 'x';
CREATE ROLE copy LOGIN REPLICATION;
CREATE DATABASE small CONNECTION LIMIT 1;
));
$node->safe_psql('postgres', 'GRANT pg_use_reserved_connections TO ops') if $has_reserved;
my $log_start = -s $node->logfile;

# The watcher takes one slot and sees all.
my $watcher = client($node);

sub slots
{
	return $watcher->query('SELECT max_connections, superuser_reserved, reserved, capacity,
		in_use, free, authenticating, walsenders FROM pool_exhaust_slots');
}

# An attempt that must be refused; afterwards its slot is free again.
sub refused
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($in_use, $sqlstate, $message, $name, %params) = @_;
	my $client = login($node, %params);

	is(sqlstate($client), $sqlstate, "$name: SQLSTATE");
	like($client->message, $message, "$name: message");
	$client->vanish;
	in_use_becomes($watcher, $in_use, "$name: its slot is free again");
}

sub let_go
{
	$_->close foreach @_;
}

in_use_becomes($watcher, 1, 'one slot to begin with');
is(slots(), $has_reserved ? '6|1|2|3|1|5|0|0' : '6|1|0|5|1|5|0|0', 'slots of an empty server');
is(refusals($watcher), 'none', 'no session was refused yet');
is($watcher->query('SELECT count(*) FROM pool_exhaust_refusals'), 8, 'the ledger shows zeros too');

# The limits of a role and of a database
my $holder = client($node, user => 'one');
is($watcher->query("SELECT in_use, capacity, health FROM pool_exhaust_pools WHERE name = 'one'"),
	'1|1|exhausted', 'the role is a pool, and full');
refused(2, '53300', qr/too many connections for role "one"/, 'role limit', user => 'one')
  foreach 1 .. 3;
let_go($holder);
in_use_becomes($watcher, 1, 'the role let go');
$holder = client($node, user => 'app', database => 'small');
refused(2, '53300', qr/too many connections for database "small"/,
	'database limit', user => 'app', database => 'small')
  foreach 1 .. 2;
is(refusals($watcher), 'role_limit 3, database_limit 2', 'role and database limits are counted');
is($watcher->query("SELECT name, kind, refused FROM pool_exhaust_pools ORDER BY name"),
	"one|role|3\nserver|server|0\nsmall|database|2\nwalsenders|walsenders|0", 'each pool has its own refusals');
let_go($holder);
in_use_becomes($watcher, 1, 'the database let go');

# Replication has slots of its own.
$holder = client($node, user => 'copy', replication => 'true');
is($watcher->query('SELECT in_use, walsenders FROM pool_exhaust_slots'),
	'1|1', 'a walsender takes no slot of the others');
refused(1, '53300', qr/exceeds "?max_wal_senders"? \(currently 1\)/,
	'walsenders', user => 'copy', replication => 'true')
  foreach 1 .. 2;
is(refusals($watcher), 'role_limit 3, database_limit 2, walsender_limit 2', 'walsenders are counted');
my $walsenders = "SELECT capacity, in_use, utilization, health, granted, refused, peak_in_use FROM pool_exhaust_pools WHERE kind = 'walsenders'";
ok(wait_for($watcher, $walsenders, '1|1|1|exhausted||2|1'), 'walsenders are a pool, and exhausted');
ok(wait_for($watcher, 'SELECT pool_exhaust_health()', 'healthy'), 'the server is not');
is($watcher->query($walsenders), '1|1|1|exhausted||2|1', 'for longer than that');
ok(wait_for($watcher, "SELECT string_agg(concat_ws(' ', service, in_use, walsenders), ', ') FROM pool_exhaust_services WHERE walsenders > 0", 'copy/ 0 1'),
	'the service that holds it');
# The monitor has seen it by then, or it could not know the peak.
ok(wait_until(sub { join ' ', slurp_file($node->logfile, $log_start) =~ /health of pool "walsenders" is (\w+)/g }, 'exhausted', 'the log'),
	'so the log says');
let_go($holder);
ok(wait_for($watcher, 'SELECT walsenders FROM pool_exhaust_slots', 0), 'the walsender let go');
ok(wait_for($watcher, $walsenders, '1|0|0|healthy||2|1'), 'walsenders are healthy again');
ok(wait_until(sub { join ' ', slurp_file($node->logfile, $log_start) =~ /health of pool "walsenders" is (\w+)/g }, 'exhausted healthy', 'the log'),
	'the log has both changes');

# Up to the reserve: the watcher is one of those in use.
my @held = map { client($node, user => 'app') } 2 .. $capacity;
is($watcher->query('SELECT in_use, free FROM pool_exhaust_slots'),
	$capacity . '|' . (6 - $capacity), 'full but for the reserve');
refused($capacity, '53300',
	$has_reserved ? qr/reserved for roles with privileges of the "pg_use_reserved_connections" role/
	: qr/reserved for non-replication superuser connections/,
	'reserve', user => 'app', application_name => 'shop')
  foreach 1 .. 4;
my $reserved_slots = 4;
if ($has_reserved)
{
	push @held, map { client($node, user => 'ops') } 4 .. 5;
	is($watcher->query('SELECT in_use, free FROM pool_exhaust_slots'), '5|1', 'full but for the superuser');
	refused(5, '53300', qr/reserved for roles with the SUPERUSER attribute/,
		"reserve of the superuser, against $_", user => $_)
	  foreach qw(app ops);
	$reserved_slots += 2;
}
is(refusals($watcher), "reserved_slots $reserved_slots, role_limit 3, database_limit 2, walsender_limit 2",
	'reserved slots are counted');
is( $watcher->query("SELECT usename, datname, application_name, refusals
		FROM pool_exhaust_refused_services WHERE application_name <> ''"),
	'app|postgres|shop|4', 'the refused service has a name');

# To the brim: not even a name is checked.
push @held, client($node);
is($watcher->query('SELECT in_use, free, authenticating FROM pool_exhaust_slots'), '6|0|0', 'every slot is taken');
refused(6, '53300', qr/sorry, too many clients already/, "full, against $_", user => $_)
  foreach 'app', 'missing', scalar getpwuid($>);
my $too_many_clients = 3;
is( refusals($watcher),
	"too_many_clients $too_many_clients, reserved_slots $reserved_slots, role_limit 3, database_limit 2, walsender_limit 2",
	'too many clients are counted');
my ($server_in_use, $server_refused) = (6, $too_many_clients + $reserved_slots);
is( $watcher->query("SELECT in_use, capacity, health, refused FROM pool_exhaust_pools WHERE name = 'server'"),
	"$server_in_use|$capacity|exhausted|$server_refused", 'the server is a pool, and exhausted');

# Names that are not checked yet: every byte that is not printable ASCII becomes
# '?' (16+: PostgreSQL itself writes \xNN for those of application_name).
refused(6, '53300', qr/too many clients/, 'hostile names',
	user => "ev\x1bil\xc3\xa9", database => "d\n\x07b", application_name => "a\tb\x{7f}c");
is( $watcher->query("SELECT usename, datname, application_name, refusals
		FROM pool_exhaust_refused_services WHERE usename LIKE 'ev%'"),
	'ev?il??|d??b|' . ($node->pg_version >= 16 ? 'a\x09b\x7fc' : 'a?b?c') . '|1',
	'hostile names are made harmless');
refused(6, '53300', qr/too many clients/, 'a long name', user => 'app', application_name => 'n' x 200);
is( $watcher->query("SELECT max(length(application_name)) FROM pool_exhaust_refused_services"),
	63, 'a long name is cut');
$too_many_clients += 2;

# More names than the table has places (256): the rest is counted as one.
foreach my $i (1 .. 400)
{
	my $client = login($node, user => "user$i", database => "db$i");
	$client->vanish;
}
$too_many_clients += 400;
is( $watcher->query("SELECT refusals FROM pool_exhaust_refusals WHERE cause = 'too_many_clients'"),
	$too_many_clients, 'each of many names is counted');
is( $watcher->query("SELECT usename, datname, application_name, refusals > 0
		FROM pool_exhaust_refused_services WHERE cause = '(others)'"),
	'(others)|(others)|(others)|t', 'what does not fit is counted in one row');
is( $watcher->query("SELECT (SELECT sum(refusals) FROM pool_exhaust_refused_services)
		- (SELECT sum(refusals) FROM pool_exhaust_refusals)"),
	0, 'services and causes add up to the same');
cmp_ok($watcher->query('SELECT count(*) FROM pool_exhaust_refused_services'), '<=', 257, 'the table is bounded');

# The log has one FATAL for each.
my $log = slurp_file($node->logfile, $log_start);
my %fatals;
$fatals{$1}++ while $log =~ /FATAL:  (sorry, too many|remaining connection slots|too many connections for|number of requested standby)/g;
is_deeply(
	\%fatals,
	{
		'sorry, too many' => $too_many_clients,
		'remaining connection slots' => $reserved_slots,
		'too many connections for' => 5,
		'number of requested standby' => 2
	},
	'the log agrees with the ledger');
let_go(@held);
in_use_becomes($watcher, 1, 'all let go');

# Logins that stall at the password take slots, also those of the superuser.
@held = map { login($node, user => 'stalled') } 1 .. 5;
is((grep { $_->{stalled} } @held), 5, 'five logins wait for a password');
is($watcher->query('SELECT in_use, free, authenticating FROM pool_exhaust_slots'),
	'6|0|5', 'stalled logins are seen');
refused(6, '53300', qr/too many clients/, 'a superuser behind stalled logins');
$too_many_clients++;
is($watcher->query("SELECT refusals FROM pool_exhaust_refusals WHERE cause = 'too_many_clients'"),
	$too_many_clients, 'the refused superuser is counted');
$_->vanish foreach @held;
in_use_becomes($watcher, 1, 'the stalled logins are gone');

# The postmaster counts a child process until it has taken note of its end, which is
# later than the end of the slot.
my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
ok( wait_until(
		sub {
			scalar grep { (eval { slurp_file("/proc/$_/cmdline") } // '') =~ /^$|stalled/ } split ' ', slurp_file("/proc/$postmaster/task/$postmaster/children");
		},
		0,
		'the child processes of the stalled logins'),
	'and their child processes are');

# Sockets that say nothing take no slot, but a child process each.
# 15, 17: 2 x (6 + 1 + 1 + 1 + 8), connections, autovacuum workers and launcher,
#         walsenders, workers
# 18:     2 x (6 + 1), connections and walsenders
my $children = $node->pg_version >= 18 ? 14 : 34;
my @silent = map { PoolExhaust::Client->new($node, silent => 1) } 1 .. $children;
foreach my $user ('app', 'missing', scalar getpwuid($>))
{
	my $client = login($node, user => $user);
	is(sqlstate($client), '53300', "no child process for $user");
	$client->vanish;
}
is($watcher->query('SELECT in_use, free, authenticating FROM pool_exhaust_slots'),
	'1|5|0', 'and yet five slots are free');
is($watcher->query("SELECT refusals FROM pool_exhaust_refusals WHERE cause = 'child_processes'"),
	3, 'refusals for want of child processes are counted');
is($watcher->query("SELECT refusals FROM pool_exhaust_refusals WHERE cause = 'too_many_clients'"),
	$too_many_clients, 'and not taken for another cause');
$_->vanish foreach @silent;

# A server that is about to go
system_log('pg_ctl', '--pgdata', $node->data_dir, '--mode', 'smart', '--no-wait', 'stop');
ok($node->wait_for_log(qr/received smart shutdown request/, $log_start), 'the server shuts down');
foreach (1 .. 2)
{
	my $client = login($node, user => 'app');
	is(sqlstate($client), '57P03', 'a new session is refused');
	$client->vanish;
}
is( $watcher->query("SELECT refusals, first_at <= last_at, http_status FROM pool_exhaust_refusals
		WHERE cause = 'not_accepting'"),
	'2|t|503', 'refusals of a server that shuts down are counted');
$watcher->close;
$node->stop('smart', fail_ok => 1);
$node->start;
is($node->safe_psql('postgres', 'SELECT sum(refusals) FROM pool_exhaust_refusals'),
	0, 'the ledger begins with the server');

# Which host is refused: of a full server, which knows nothing else of it
$watcher = client($node);
@held = map { client($node) } 2 .. 6;
in_use_becomes($watcher, 6, 'every slot is taken again');

sub refused_from
{
	my ($name, @addresses) = @_;

	foreach my $address (@addresses)
	{
		my $client = login($node, user => 'app', application_name => $name, from => $address);
		die "not refused: $address" if sqlstate($client) ne '53300';
		$client->vanish;
	}
}

sub hosts_of
{
	my ($name, $columns) = @_;

	return $watcher->query("SELECT $columns FROM pool_exhaust_refused_services WHERE application_name = '$name'");
}

refused(6, '53300', qr/too many clients/, 'a client over a unix socket', user => 'app', application_name => 'unix');
is(hosts_of('unix', 'client_addr IS NULL, refusals'), 't|1', 'a unix socket has no address');
my $v6 = -e '/proc/net/if_inet6' && slurp_file('/proc/net/if_inet6') =~ /^0{31}1 /m;
refused_from('few', ('127.1.2.3') x 3, '127.0.0.1', $v6 ? '::1' : ());
is(hosts_of('few', "string_agg(client_addr || ' ' || refusals, ', ' ORDER BY client_addr)"),
	'127.0.0.1/32 1, 127.1.2.3/32 3' . ($v6 ? ', ::1/128 1' : ''), 'each host is counted');

# More hosts than there is room for, in as many networks; then one in each table
refused_from('many', map { ("127.$_.1.1", "127.$_.2.2", "127.$_.3.3") } 1 .. 200);
is(hosts_of('many', 'sum(refusals)'), 600, 'many hosts: each refusal is counted');
is(hosts_of('many', "string_agg(DISTINCT masklen(client_addr)::text, ' ')"), '0 24 32', 'many hosts: by address, by network, or as any');
is(hosts_of('many', "count(*) FILTER (WHERE masklen(client_addr) = 0)"), 1, 'many hosts: any is one row');
is(hosts_of('many', "count(*) FILTER (WHERE host(network(client_addr)) <> host(client_addr))"), 0, 'many hosts: networks are such');
refused_from('many', ('127.200.3.250', '127.200.3.251') x 2, ('127.1.1.1') x 2, $v6 ? ('::1') x 2 : ());
is(hosts_of('many', "sum(refusals) FILTER (WHERE client_addr = '127.1.1.1')"), 3, 'many hosts: one that has a place keeps it');
cmp_ok(hosts_of('many', "count(*)"), '<=', 513, 'many hosts: the table is bounded');
is(hosts_of('many', 'sum(refusals)'), $v6 ? 608 : 606, 'many hosts: no refusal is lost');
is( $watcher->query("SELECT (SELECT sum(refusals) FROM pool_exhaust_refused_services)
		- (SELECT sum(refusals) FROM pool_exhaust_refusals)"),
	0, 'many hosts: services and causes add up to the same');
let_go(@held, $watcher);
ok($node->poll_query_until('postgres', 'SELECT in_use FROM pool_exhaust_slots', 1), 'all let go once more');

# The scenario on the same server, with the numbers above.
sub checks_of
{
	my ($target, $options) = @_;

	$node->safe_psql('postgres', "SET client_min_messages = warning;
		SELECT count(*) FROM pool_exhaust_run('saturation', '$target', '$options')");
	return $node->safe_psql('postgres', "SELECT name, outcome, expected, observed FROM pool_exhaust_checks
		WHERE run_id = (SELECT max(id) FROM pool_exhaust_runs) AND name <> 'slowest refusal' ORDER BY seq");
}

# One slot is the caller's.
my $room = $capacity - 1;
my $path = $has_reserved ? 'healthy > exhausted' : 'healthy > warning > exhausted';
is(checks_of('server', '{}'), <<"CHECKS" =~ s/\n\z//r, 'saturation of the server');
held connections|pass|$room|$room
in use by the server's count|pass|$capacity|$capacity
sessions in pg_stat_activity|pass|$room|$room
health on the way up|pass|$path|$path
refused attempts|pass|10|10
refusals by cause|pass|53300 reserved_slots 10|53300 reserved_slots 10
refusals in the ledger|pass|+10|+10
superuser granted|pass|yes|yes
sessions left after the release|pass|0|0
connections lost|pass|0|0
health after the release|pass|healthy|healthy
monitored health on the way up|pass|$path|$path
monitored health after release|pass|healthy|healthy
granted after the release|pass|1|1
attempts not accounted for|pass|0|0
sessions left at the end|pass|0|0
CHECKS

is(checks_of('role', '{"role_limit": 2, "attempts": 7}'), <<"CHECKS" =~ s/\n\z//r, 'saturation of a role');
held connections|pass|2|2
in use by the server's count|pass|2|2
sessions in pg_stat_activity|pass|2|2
health on the way up|pass|healthy > exhausted|healthy > exhausted
refused attempts|pass|7|7
refusals by cause|pass|53300 role_limit 7|53300 role_limit 7
refusals in the ledger|pass|+7|+7
superuser granted|skip||
sessions left after the release|pass|0|0
connections lost|pass|0|0
health after the release|pass|healthy|healthy
monitored health on the way up|pass|healthy > exhausted|healthy > exhausted
monitored health after release|pass|healthy|healthy
granted after the release|pass|1|1
attempts not accounted for|pass|0|0
sessions left at the end|pass|0|0
CHECKS
is($node->safe_psql('postgres', "SELECT string_agg(verdict, ' ' ORDER BY id) FROM pool_exhaust_runs"),
	'pass pass', 'both pass');

left_nothing($node);
done_testing();
