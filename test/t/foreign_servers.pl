# Foreign servers that are not what they should be, and users that may not aim
# at them: each ends in an error or a verdict that names the cause, in bounded
# time, with nothing left open.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use IO::Socket::INET;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Target;
use Test::More;

my $node = new_server('runs');
my $behind = Target::server_behind('behind');
my $watcher = client($node);
my @strangers;
my $secret = 'Secret-that-is-never-shown';

# ---------- Strangers ----------

# A listener that does this to each that comes; returns its port.
sub stranger
{
	my ($act) = @_;
	my $listener = IO::Socket::INET->new(Proto => 'tcp', LocalAddr => '127.0.0.1', Listen => 50) or die "could not listen: $!";
	my $pid = fork // die "could not fork: $!";

	if (!$pid)
	{
		my @kept;
		$SIG{PIPE} = 'IGNORE';
		while (1)
		{
			my $client = $listener->accept or next;
			push @kept, $client if $act->($client);
		}
	}
	push @strangers, $pid;
	return $listener->sockport;
}

# What it has read so far does not matter.
sub greeted
{
	my ($client) = @_;

	return sysread $client, my $startup, 8192;
}

my $flood = "HTTP/1.1 200 OK\r\n" . ("X-Header: " . 'y' x 1000 . "\r\n") x 10_000;
my %ports = (
	hangs  => stranger(sub { 1 }),
	closes => stranger(sub { close $_[0]; 0 }),
	cuts   => stranger(sub { greeted($_[0]); close $_[0]; 0 }),
	# A login that is asked for a password, and then nothing
	stalls => stranger(sub { greeted($_[0]); syswrite $_[0], 'R' . pack 'NN', 8, 3; 1 }),
	http   => stranger(sub { greeted($_[0]); syswrite $_[0], "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"; close $_[0]; 0 }),
	floods => stranger(sub { greeted($_[0]); syswrite $_[0], $flood; 1 }),
	refuses => stranger(sub { greeted($_[0]); my $error = "SFATAL\0C53300\0Mno room here\0\0"; syswrite $_[0], 'E' . pack('N', 4 + length $error) . $error; close $_[0]; 0 }),
	closed_port => PostgreSQL::Test::Cluster::get_free_port());

my %reasons = (
	hangs  => qr/could not log in to stranger: .*(?:no answer|time|did not)/i,
	closes => qr/could not log in to stranger: .*closed|reset/i,
	cuts   => qr/could not log in to stranger: .*closed/,
	stalls => qr/could not log in to stranger: .*(?:no answer|time|did not)/i,
	http   => qr/could not log in to stranger: .*(?:expected authentication request|closed|protocol|error)/i,
	floods => qr/could not log in to stranger: .*(?:expected authentication request|protocol|error)/i,
	refuses => qr/could not log in to stranger: 53300 other_limit, no room here/,
	closed_port => qr/could not log in to stranger: .*Connection refused/);

foreach my $kind (qw(postgres pgbouncer))
{
	foreach my $what (sort keys %ports)
	{
		Target::make($watcher, 'stranger',
			{ kind => $kind, host => '127.0.0.1', port => $ports{$what}, dbname => 'postgres', $kind eq 'postgres' ? (capacity => 5) : () },
			{ user => 'app', password => $secret });
		my $start = time;
		Target::run_is($watcher, "$kind, $what", 'invalid', $reasons{$what}, 'saturation', 'stranger');
		cmp_ok(time - $start, '<', 60, "$kind, $what: in bounded time");
		$watcher->query(q(SELECT pool_exhaust_hold(2, 'stranger')));
		ok($watcher->{error}, "$kind, $what: no hold, but an error");
		unlike($watcher->message, qr/\Q$secret/, "$kind, $what: it keeps the secret");
	}
}

Target::make($watcher, 'stranger', { kind => 'postgres', host => 'no-such-host.invalid', capacity => 5 }, { user => 'app', password => $secret });
Target::run_is($watcher, 'a host that is not known', 'invalid', qr/could not find stranger: host name "no-such-host\.invalid": /, 'saturation', 'stranger');
Target::make($watcher, 'stranger', { kind => 'postgres', host => '127.0.0.1', port => $behind->port, dbname => 'postgres', sslmode => 'require', capacity => 5 }, { user => 'app', password => $secret });
Target::run_is($watcher, 'no TLS where it is required', 'invalid', qr/could not log in to stranger: .*does not support SSL/, 'saturation', 'stranger');
Target::make($watcher, 'stranger', { kind => 'pgbouncer', host => '127.0.0.1', port => $behind->port, dbname => 'postgres' }, { user => 'app', password => $secret });
Target::run_is($watcher, 'a server for a PgBouncer', 'invalid', qr/could not ask the console of stranger: 3D000 database "pgbouncer" does not exist/, 'saturation', 'stranger');
kill 'KILL', @strangers;

# ---------- Users ----------

# The server behind, for two users that need their passwords there
rewrite_hba($behind, 'local all all trust', 'host all app 127.0.0.1/32 md5', 'host all other 127.0.0.1/32 trust', 'host all postgres 127.0.0.1/32 trust');
$behind->reload;
ok(wait_until(sub { login($behind, tcp => 1, user => 'app')->{stalled} ? 'asked' : 'granted' }, 'asked', 'the new pg_hba.conf'), 'passwords are asked for');
$behind->safe_psql('postgres', 'GRANT pg_read_all_stats TO app');
my $me = getpwuid $>;
$watcher->query($_) // die $watcher->message
  foreach 'CREATE ROLE tester LOGIN; GRANT EXECUTE ON FUNCTION pool_exhaust_run(text, text, jsonb, text), pool_exhaust_start(text, text, jsonb), pool_exhaust_hold(integer, text, text, jsonb), pool_exhaust_wait(bigint, interval), pool_exhaust_report(bigint, text) TO tester';
my $tester = client($node, user => 'tester');
my $run = q(SELECT pool_exhaust_run('saturation', 'theirs'));
my $hold = q(SELECT pool_exhaust_hold(1, 'theirs'));

# What the superuser can do, and the tester's error
sub mapped
{
	my (%options) = @_;

	$watcher->query('DROP USER MAPPING IF EXISTS FOR tester SERVER theirs');
	$watcher->query('CREATE USER MAPPING FOR tester SERVER theirs OPTIONS (' . join(', ', map { "$_ '$options{$_}'" } sort keys %options) . ')') // die $watcher->message;
}

Target::make($watcher, 'theirs', { kind => 'postgres', host => '127.0.0.1', port => $behind->port, dbname => 'postgres' }, { user => 'app', password => 'secret' });
like($watcher->query($run), qr/^ ?PASS /m, 'a superuser with a password') or diag $watcher->message;

fails_with($tester, $_, '42501', [qr/permission denied for foreign server theirs/], 'no USAGE') foreach $run, $hold;
$watcher->query('GRANT USAGE ON FOREIGN SERVER theirs TO tester');
fails_with($tester, $_, '42704', [qr/there is no user mapping for you on foreign server "theirs"/, qr/CREATE USER MAPPING FOR CURRENT_USER/], 'no mapping') foreach $run, $hold;
mapped(user => 'app');
fails_with($tester, $_, '2F003', [ qr/password is required/, qr/Non-superusers must provide a password in the user mapping/ ], 'no password') foreach $run, $hold;
mapped(user => 'app', password => 'secret');
like($tester->query($run), qr/^ ?PASS /m, 'USAGE, a mapping, a password: it runs') or diag $tester->message;

# A password that is not asked for is none: the server's own account opens the door.
mapped(user => 'other', password => $secret);
like($tester->query($run), qr/^ ?INVALID .*\n.*theirs does not ask for a password, and non-superusers may only aim where theirs is asked for/m, 'a password that is not asked for')
  or diag $tester->message;
fails_with($tester, $hold, '2F003', [qr/does not ask for a password/], 'a password that is not asked for, for a hold');
mapped(user => 'app', password => $secret);
like($tester->query($run), qr/^ ?INVALID .*\n.*could not log in to theirs: 28P01 password authentication failed for user "app"/m, 'a wrong password');
fails_with($tester, $hold, '28P01', [qr/password authentication failed/], 'a wrong password, for a hold');

# A superuser there would take the reserved slots.
mapped(user => $me, password => $secret, password_required => 'false');
like($tester->query($run), qr/^ ?INVALID .*\n.*the user of the mapping is a superuser on theirs/m, 'a superuser there') or diag $tester->message;
mapped(user => 'other', password_required => 'false');
like($tester->query($run), qr/^ ?INVALID .*\n.*cannot see the other sessions on theirs: grant it pg_read_all_stats there/m, 'a user that cannot see the others there');

# What only superusers may say
$watcher->query('GRANT USAGE ON FOREIGN DATA WRAPPER pool_exhaust TO tester');
$tester->query("CREATE SERVER mine FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'postgres', host '127.0.0.1')");
fails_with($tester, $_->[0], '42501', [ $_->[1] ], $_->[0])
  foreach [ q(CREATE USER MAPPING FOR tester SERVER mine OPTIONS (user 'app', password_required 'false')), qr/password_required=false is superuser-only/ ],
  [ q(ALTER SERVER mine OPTIONS (ADD sslcert '/etc/passwd')), qr/permission denied to set option "sslcert"/ ],
  [ q(ALTER SERVER mine OPTIONS (ADD sslkey '/etc/passwd')), qr/permission denied to set option "sslkey"/ ];

# Its own server and mapping are its own; those of others it does not see.
$tester->query(q(CREATE USER MAPPING FOR tester SERVER mine OPTIONS (user 'app', password 'secret')));
$tester->query("ALTER SERVER mine OPTIONS (ADD port '" . $behind->port . "', ADD dbname 'postgres')");
like($tester->query(q(SELECT pool_exhaust_run('saturation', 'mine'))), qr/^ ?PASS /m, 'a server of its own') or diag $tester->message;

# ---------- What does not fit ----------

fails_with($watcher, q(SELECT pool_exhaust_run('leak', 'theirs')), '22023', [qr/theirs|postgres/], 'a scenario that cannot aim there');
fails_with($watcher, q(SELECT pool_exhaust_run('saturation', 'theres')), '42704', [qr/theres/], 'no such target');
fails_with($watcher, q(SELECT pool_exhaust_run('isolation', 'theirs', '{"second": "nowhere"}')), '22023', [qr/second|scenario|target/], 'no such second server');

# A server that others cannot see yet
$watcher->query('BEGIN');
$watcher->query("CREATE SERVER fresh FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'postgres', host '127.0.0.1', capacity '3')");
$watcher->query(q(CREATE USER MAPPING FOR CURRENT_USER SERVER fresh OPTIONS (user 'app', password 'secret')));
{
	my $answer = $watcher->query(q(SELECT pool_exhaust_run('saturation', 'fresh'))) // $watcher->message;
	like($answer, qr/not been committed/, 'a server that is not committed');
}
$watcher->query('ROLLBACK');

# Bystanders there
{
	my $bystander = client($behind, user => 'other');
	Target::run_is($watcher, 'a bystander', 'invalid', qr/1 connections of others are open on theirs/, 'saturation', 'theirs');
	is($bystander->query('SELECT 42'), 42, 'a bystander: it goes on');
	Target::run_is($watcher, 'a bystander, ignored', 'pass', '', 'saturation', 'theirs', bystanders => 'ignore');
	is($bystander->query('SELECT 42'), 42, 'a bystander, ignored: it goes on');
	$bystander->close;
}

# A setting there ends idle sessions: no claim fails for that, and the reason has it.
{
	my $ended = qr/57P05 terminating connection due to idle-session timeout/;

	$behind->safe_psql('postgres', q(ALTER ROLE app SET idle_session_timeout = '50ms'));
	Target::run_is($watcher, 'idle sessions are ended', 'invalid', $ended, 'saturation', 'theirs');
	my $log_start = -s $node->logfile;
	$watcher->query(q(SELECT pool_exhaust_hold(2, 'theirs')));
	ok($watcher->{error} ? $watcher->message =~ $ended : $node->wait_for_log(qr/hold \d+ has ended: none of its connections is left: $ended/, $log_start),
		'idle sessions are ended: a hold says why it has ended')
	  or diag $watcher->message;
	$behind->safe_psql('postgres', 'ALTER ROLE app RESET idle_session_timeout');
}

# ---------- Nothing is left ----------

# No secret in any report, table or log, the statements aside that had it
is($watcher->query("SELECT count(*) FROM pool_exhaust_runs WHERE pool_exhaust_runs::text LIKE '%$secret%'"), 0, 'no secret in the results');
unlike(slurp_file($node->logfile) =~ s/^.* LOG:  statement: .*\n//mgr, qr/\Q$secret/, 'no secret in the log');
ok( $behind->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name LIKE 'pool_exhaust%'"),
	'no session is left at the target');

$tester->query('DROP SERVER mine CASCADE');
$_->close foreach $watcher, $tester;
left_nothing($node);
$behind->stop;
done_testing();

# However it ends
END { my $status = $?; kill 'KILL', @strangers if @strangers; $? = $status }
