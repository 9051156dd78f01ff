# However pg_hba.conf lets clients in, a run finds a way, or says which line
# would let it in; and its password is seen nowhere.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('hba');
my $user = getpwuid($>);
my @preload = ('pool_exhaust');
my ($sharedir) = run_command([ 'pg_config', '--sharedir' ]);
push @preload, 'pg_stat_statements' if -e "$sharedir/extension/pg_stat_statements.control";

$node->init;
$node->append_conf('postgresql.conf', sprintf q(
shared_preload_libraries = '%s'
max_connections = 20
listen_addresses = '127.0.0.1'
log_connections = on
log_disconnections = on
log_statement = all
log_duration = on
log_min_duration_statement = 0
log_error_verbosity = verbose
), join(',', @preload));
$node->start;
$node->safe_psql('postgres', "CREATE EXTENSION pool_exhaust; ALTER ROLE \"$user\" PASSWORD 'of the superuser'");
$node->safe_psql('postgres', 'CREATE EXTENSION pg_stat_statements') if @preload > 1;
my $log_start = -s $node->logfile;
$ENV{PGPASSWORD} = 'of the superuser';

sub hba
{
	rewrite_hba($node, @_);
	$node->reload;
}

sub setting
{
	my ($name, $value) = @_;

	# What the server has read shows in a new session.
	$node->safe_psql('postgres', "ALTER SYSTEM SET $name = '$value'");
	$node->reload;
	$node->poll_query_until('postgres', "SELECT current_setting('$name')", $value)
	  or die "$name is not in force";
}

# Runs on both targets; returns "verdict|way in" of each.
sub run
{
	return join ' and ', map {
		$node->safe_psql('postgres', "SET client_min_messages = warning; SELECT count(*) FROM pool_exhaust_run('saturation', '$_')");
		$node->safe_psql('postgres', "SELECT concat_ws('|', verdict, nullif(summary->>'way_in', '')) FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1");
	} 'server', 'role';
}

sub both
{
	my ($result) = @_;

	return "$result and $result";
}

sub reason
{
	return $node->safe_psql('postgres', 'SELECT reason FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1');
}

my $socket = 'unix socket ' . $node->host;

# Only the superuser is granted, as the operating system's user.
# The line that the reason names lets the run in.
foreach my $listen (1, 0)
{
	my $name = $listen ? 'peer only' : 'peer only, no TCP';
	my @hba = ("local all $user peer");

	if (!$listen)
	{
		$node->append_conf('postgresql.conf', "listen_addresses = ''");
		$node->restart;
	}
	hba(@hba);
	is(run(), both('invalid'), "$name: no way in");
	my $reason = reason();
	my ($line) = $reason =~ /pg_hba\.conf and reload: (.*?) \(tried /;
	like($line, $listen ? qr/^host "?postgres"? "?pool_exhaust_\d+"? 127\.0\.0\.1\/32 scram-sha-256$/
		: qr/^local "?postgres"? "?pool_exhaust_\d+"? scram-sha-256$/, "$name: the reason has the line that is missing");
	like($reason, qr/\Q$socket\E: 28000 .*no pg_hba\.conf entry/, "$name: the reason says what was tried");
	hba($line // '', @hba);
	is(run(), both($listen ? 'pass|tcp 127.0.0.1' : "pass|$socket"), "$name: with that line the run gets in");

	# The usual line behind it
	hba("local all all peer", "host all all 127.0.0.1/32 scram-sha-256");
	is(run(), both($listen ? 'pass|tcp 127.0.0.1' : 'invalid'), "$name: as Debian has it");
}
like(reason(), qr/28000 Peer authentication failed for user "pool_exhaust_\d"/i, 'peer only: the reason says so');

# Passwords everywhere: the superuser cannot be tried then.  That is known at
# once, not when the 5 s of a login that hangs are over.
foreach my $method ('scram-sha-256', 'md5', 'password')
{
	hba("local all all $method");
	is(run(), both("pass|$socket"), "$method: the run gets in");
	is( $node->safe_psql('postgres', "SELECT outcome, detail FROM pool_exhaust_checks
			WHERE name = 'superuser granted' AND run_id = (SELECT max(id) FROM pool_exhaust_runs WHERE target = 'server')"),
		"skip|no superuser login without a password, last tried over $socket", "$method: the superuser is not tried");
	is( $node->safe_psql('postgres', "SELECT (p->>'elapsed_ms')::float8 < 4000
			FROM pool_exhaust_runs, jsonb_array_elements(summary->'phases') p
			WHERE p->>'phase' = 'reserve' ORDER BY id DESC LIMIT 1"), 't', "$method: and no phase waits for that");
}
hba('local all all trust');
is(run(), both("pass|$socket"), 'trust: the run gets in');

# One way is closed, another open.
$node->append_conf('postgresql.conf', "listen_addresses = '127.0.0.1'");
$node->restart;
hba("local all $user trust", 'local all all reject', 'host all all all scram-sha-256');
is(run(), both('pass|tcp 127.0.0.1'), 'socket rejected: TCP');
hba("local all $user trust", 'local all all scram-sha-256', 'host all all all reject');
is(run(), both("pass|$socket"), 'TCP rejected: socket');
hba("local all $user trust", 'local all all reject', 'host all all all reject');
is(run(), both('invalid'), 'all rejected: no way in');
like(reason(), qr/28000 pg_hba\.conf rejects connection/, 'all rejected: the reason says so');

# pool_exhaust.conninfo
hba('local all all trust', 'host all all 127.0.0.1/32 scram-sha-256');
my $port = $node->port;
setting('pool_exhaust.conninfo', "host=127.0.0.1 port=$port");
is(run(), both('pass|pool_exhaust.conninfo'), 'conninfo: host and port');
setting('pool_exhaust.conninfo', 'host=127.0.0.1');
is(run(), both('pass|pool_exhaust.conninfo'), 'conninfo: the port is that of the server');
setting('pool_exhaust.conninfo', 'host=localhost connect_timeout=5');
is(run(), both('pass|pool_exhaust.conninfo'), 'conninfo: a name, and another parameter');
setting('pool_exhaust.conninfo', 'host=127.0.0.1 port=1');
is(run(), both("pass|$socket"), 'conninfo: that port is closed, so the next way');
$node->safe_psql('postgres', 'ALTER SYSTEM RESET ALL');
$node->reload;

foreach my $bad ('user=postgres', 'password=sesame', 'passfile=/x', 'service=x', 'dbname=x',
	'sslmode=prefer', 'host=127.0.0.1,127.0.0.2', 'postgresql://u:sesame@h/d', 'no such keyword=1')
{
	my $client = client($node);
	fails_with($client, "ALTER SYSTEM SET pool_exhaust.conninfo = '$bad'", '22023', [qr/^pool_exhaust\.conninfo /], "conninfo $bad");
	unlike($client->message, qr/sesame/, "conninfo $bad: the message does not repeat it");
	$client->close;
}
my $offset = -s $node->logfile;
$node->append_conf('postgresql.conf', "pool_exhaust.conninfo = 'password=sesame'");
$node->reload;
ok($node->wait_for_log(qr/pool_exhaust\.conninfo must not set "password"/, $offset), 'conninfo: a bad line in the file is reported');
is($node->safe_psql('postgres', 'SHOW pool_exhaust.conninfo'), '', 'conninfo: a bad line in the file changes nothing');
$node->append_conf('postgresql.conf', "pool_exhaust.conninfo = ''");
$node->reload;

# TLS only
SKIP:
{
	skip 'this server has no TLS', 3 if $node->safe_psql('postgres', 'SHOW ssl_library') eq '';
	my $data = $node->data_dir;
	skip 'openssl cannot make a certificate here', 3
	  if system_log('openssl', 'req', '-new', '-x509', '-days', '2', '-nodes', '-subj', '/CN=localhost',
		'-keyout', "$data/server.key", '-out', "$data/server.crt");
	chmod 0600, "$data/server.key";
	$node->append_conf('postgresql.conf', 'ssl = on');
	hba("local all $user trust", 'hostssl all all 127.0.0.1/32 scram-sha-256');
	ok($node->poll_query_until('postgres', "SELECT current_setting('ssl')", 'on'), 'TLS is on');
	is(run(), both('pass|tcp with TLS 127.0.0.1'), 'TLS only: the run gets in');
	hba("local all $user trust", 'hostssl all all 127.0.0.1/32 trust');
	is(run(), both('pass|tcp with TLS 127.0.0.1'), 'TLS only, and no password: the run gets in');
}

# While a run is under way, and after all that: no password and no verifier.
hba('local all all scram-sha-256', "host all all 127.0.0.1/32 scram-sha-256");
$node->safe_psql('postgres', q(SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 10000, "timeout_ms": 300000}')));
ok($node->poll_query_until('postgres', "SELECT count(*) FROM pool_exhaust_progress WHERE phase = 'attempt'", 1), 'a run is there');
my $secret = q('SCRAM-SHA-256\$|[0-9a-f]{64}|[A-Za-z0-9+/]{43}=');
foreach my $table ('pg_stat_activity', 'pool_exhaust_backends', 'pool_exhaust_progress', 'pool_exhaust_refused_services')
{
	is($node->safe_psql('postgres', "SELECT count(*) FROM $table t WHERE replace(t::text, \$\$$secret\$\$, '') ~ $secret"), 0,
		"no secret in $table");
}
is( $node->safe_psql('postgres', q(SELECT rolpassword ~ '^SCRAM-SHA-256\$', rolvaliduntil > now(), rolsuper OR rolcreaterole OR rolcreatedb OR rolreplication OR rolbypassrls
		FROM pg_authid WHERE rolname ~ '^pool_exhaust_')),
	't|t|f', 'the role of the run has a verifier, an end and no privilege');
is($node->safe_psql('postgres', 'SELECT pool_exhaust_stop()'), 1, 'the run is stopped');
foreach my $table (qw(runs checks samples))
{
	is($node->safe_psql('postgres', "SELECT count(*) FROM pool_exhaust_$table t WHERE t::text ~ $secret"), 0, "no secret in pool_exhaust_$table");
}
is($node->safe_psql('postgres', "SELECT count(*) FROM pool_exhaust_runs, pool_exhaust_report(id, 'json') r WHERE r ~ $secret"), 0, 'no secret in a report');
SKIP:
{
	skip 'pg_stat_statements is not there', 1 if @preload == 1;
	is($node->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_statements WHERE query ~ 'SCRAM-SHA-256\$[0-9]|[0-9a-f]{64}')), 0, 'no secret in pg_stat_statements');
}
my @secrets = grep { /SCRAM-SHA-256\$\d|\b[0-9a-f]{64}\b/ } split /\n/, slurp_file($node->logfile, $log_start);
is(scalar(@secrets), 0, 'no secret in the log') or diag join("\n", @secrets);

left_nothing($node);
done_testing();
