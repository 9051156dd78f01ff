# Where a password goes, and what a login is granted for: fakes that answer for a
# foreign server or for this one get neither a password that is not theirs nor a
# session of the account that the server runs as.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use IO::Socket::INET;
use IO::Socket::UNIX;
use POSIX ();
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Socket qw(SOCK_STREAM);
use Target;
use Test::More;
use Time::HiRes ();

my $me = getpwuid $>;
my $node = new_server('passwords', conf => "listen_addresses = '127.0.0.2'\nlog_connections = on\nlog_statement = all\nlog_line_prefix = '%u %a '",
	hba => [ "local all $me peer", 'local all watcher,tester trust', 'local all all reject' ]);
my $port = $node->port;
my $watcher = client($node);
my $dir = PostgreSQL::Test::Utils::tempdir_short();

# ---------- Fakes ----------

sub request { my ($kind, $more) = @_; $more //= ''; return 'R' . pack('NN', 8 + length $more, $kind) . $more }

my $welcome = request(0) . 'Z' . pack('N', 5) . 'I';
my $scram = request(10, "SCRAM-SHA-256\0\0");
my ($clear_text, $md5, $gss) = (request(3), request(5, 'salt'), request(7));
my $fake;

# It is gone before the test waits for anything else, which its end would interrupt.
sub end_fake { waitpid $fake, 0 if defined $fake && kill 'KILL', $fake; undef $fake }
END { my $status = $?; end_fake(); $? = $status }

# A process that answers: to the startup packet and to each message that follows
# it sends the next of these, each a list of pieces.  What it reads is in the file
# "heard".  Before it grants its first login it puts "swap" in the place of its socket.
sub fake
{
	my ($listener, $swap, @answers) = @_;
	my $heard = "$dir/heard";

	end_fake();
	unlink $heard;
	$fake = fork // die "could not fork: $!";
	return $heard if $fake;
	undef $fake;
	local $SIG{PIPE} = 'IGNORE';
	while (my $socket = $listener->accept)
	{
		foreach my $answer (@answers)
		{
			sysread $socket, my $packet, 65536 or last;
			append_to_file($heard, $packet);
			rename $swap, "$dir/.s.PGSQL.$port" if defined $swap && $answer->[0] eq $welcome;
			# Small packets, one after the other
			foreach (@$answer) { syswrite $socket, $_; Time::HiRes::sleep(0.02) if @$answer > 1 }
		}
		append_to_file($heard, $_) while sysread $socket, $_, 65536;
	}
	POSIX::_exit(0);
}

sub on_socket
{
	unlink "$dir/.s.PGSQL.$port", "$dir/swap";
	symlink $node->host . "/.s.PGSQL.$port", "$dir/swap" or die "could not make a link: $!";
	return IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => "$dir/.s.PGSQL.$port", Listen => 100) // die "could not listen: $!";
}

# ---------- The account of the server is for no others ----------

# The sessions that its owner has got by peer, and what they have done.
sub taken { my ($log) = @_; return grep { /^\Q$me\E pool_exhaust .*statement/ } split /\n/, slurp_file($node->logfile, $log) }

$watcher->query($_) // die $watcher->message
  foreach 'CREATE ROLE tester LOGIN', 'GRANT EXECUTE ON FUNCTION pool_exhaust_run(text, text, jsonb, text), pool_exhaust_hold(integer, text, text, jsonb), pool_exhaust_release(bigint) TO tester';
my $tester = client($node, user => 'tester');

sub theirs
{
	my (%options) = @_;

	Target::make($watcher, 'theirs', { host => $dir, port => $port, dbname => 'postgres', %options }, { user => $me, password => 'mine' });
	$watcher->query($_) // die $watcher->message
	  foreach "CREATE USER MAPPING FOR tester SERVER theirs OPTIONS (user '$me', password 'mine')", 'GRANT USAGE ON FOREIGN SERVER theirs TO tester';
}

my @asks = ([$clear_text], [$welcome]);
my $denied = qr/theirs does not ask for a password, and non-superusers may only aim where theirs is asked for/;
my $hold = q(SELECT pool_exhaust_hold(2, 'theirs', 'idle in transaction'));
my $log = -s $node->logfile;

theirs(kind => 'postgres', capacity => 5);
fake(on_socket(), "$dir/swap", @asks);
fails_with($tester, $hold, '2F003', [qr/not asked for its password/], 'a hold on a socket that is swapped');
fake(on_socket(), "$dir/swap", @asks);
my $report = $tester->query(q(SELECT pool_exhaust_run('saturation', 'theirs'))) // $tester->message;
like($report, qr/^ ?(?:INVALID|FAIL) /m, 'a run on a socket that is swapped') or diag $report;
like($report, qr/2F003/, 'a run on a socket that is swapped: the reason') or diag $report;
fake(on_socket(), "$dir/swap", @asks);
like($tester->query(q(SELECT pool_exhaust_run('storm', 'theirs', '{"timeout_ms": 60000}'))) // $tester->message, qr/^ ?(?:INVALID|FAIL) /m, 'a storm on a socket that is swapped');
theirs(kind => 'pgbouncer', console => 'postgres');
fake(on_socket(), "$dir/swap", @asks);
$report = $tester->query(q(SELECT pool_exhaust_run('queue', 'theirs'))) // $tester->message;
like($report, qr/the console of $denied/, 'a console on a socket that is swapped');
is(join("\n", taken($log)), '', 'no session by peer has run a statement');

# The socket from the start, and requests for anything but a password
theirs(kind => 'postgres', capacity => 5);
rename "$dir/swap", "$dir/.s.PGSQL.$port";
my @others = ([ 'peer' ], [ 'Kerberos', [$gss] ], [ 'Kerberos behind SCRAM', [ $scram . $gss ] ], [ 'Kerberos in pieces', [ split //, $gss ] ]);
foreach (@others)
{
	my ($name, @answers) = @$_;

	fake(on_socket(), undef, @answers) if @answers;
	fails_with($tester, $hold, '2F003', [$denied], "$name in the place of a password");
}

# A password in any way is what was given for it.
foreach ([ 'clear text' => [$clear_text] ], [ md5 => [$md5] ], [ 'in pieces' => [ split //, $clear_text ] ])
{
	my ($name, $asks) = @$_;

	fake(on_socket(), undef, $asks, [$welcome]);
	like($tester->query(q(SELECT pool_exhaust_hold(1, 'theirs'))) // $tester->message, qr/^\d+$/, "a password: $name");
	$tester->query('SELECT pool_exhaust_release()');
}

# ---------- The password of a run is for this server ----------

# Runs as its role, and returns the reason; what the fake has heard has no password.
sub run_reason
{
	my ($heard, $name) = @_;

	$watcher->query(q(SELECT pool_exhaust_run('saturation', 'role')));
	my $said = -e $heard ? slurp_file($heard) : '';
	unlike($said, qr/[0-9a-f]{64}|p\0\0\0\x28md5/, "$name: no password is sent");
	return ($said, $watcher->query('SELECT reason FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1'));
}

sub on_loopback { return IO::Socket::INET->new(Proto => 'tcp', LocalAddr => '127.0.0.1', LocalPort => $_[0], Listen => 100, ReuseAddr => 1) // die "could not listen: $!" }

# The server listens elsewhere.
my $listener = on_loopback($port);
my ($said, $reason) = run_reason(fake($listener, undef, [$clear_text]), 'a stranger on 127.0.0.1');
is($said, '', 'a stranger on 127.0.0.1 is not asked');
like($reason, qr/could not log in; put this line above the others in pg_hba\.conf and reload: local /, 'a stranger on 127.0.0.1: the line is one for the socket');
unlike($reason, qr/tcp/, 'a stranger on 127.0.0.1: not tried');

# It is where the setting leads.
change_setting($watcher, 'pool_exhaust.conninfo' => "'host=127.0.0.1'");
foreach ([ 'clear text' => [$clear_text] ], [ md5 => [$md5] ], [ 'clear text behind SCRAM' => [ $scram . $clear_text ] ],
	[ 'clear text in pieces' => [ split //, $clear_text ] ],
	[ 'clear text in pieces behind SCRAM' => [ $scram . substr($clear_text, 0, 1), substr($clear_text, 1) ] ],
	[ 'clear text in the place of the second step' => [$scram], [$clear_text] ])
{
	my ($name, @answers) = @$_;

	($said, $reason) = run_reason(fake($listener, undef, @answers), $name);
	like($said, qr/user\0pool_exhaust_\d/, "$name: a login was tried");
	like($reason, qr/pool_exhaust\.conninfo: 28000 the password was asked for in another way than SCRAM/, "$name: the reason");
}

# A socket of another user, if there is one to be had.
my ($socket) = grep { -S && (lstat)[4] != $> && IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => $_) } glob '/run/* /run/*/* /tmp/* /tmp/*/*';
SKIP:
{
	skip 'there is no socket of another user', 2 if !defined $socket;
	unlink "$dir/.s.PGSQL.$port";
	symlink $socket, "$dir/.s.PGSQL.$port" or die "could not make a link: $!";
	change_setting($watcher, 'pool_exhaust.conninfo' => "'host=$dir'");
	($said, $reason) = run_reason('', 'a socket of another user');
	like($reason, qr/pool_exhaust\.conninfo: the socket is that of another operating system user/, 'a socket of another user: the reason');
}
end_fake();

# ---------- The server itself ----------

$watcher->query('ALTER SYSTEM RESET ALL');
foreach my $listen ('127.0.0.1', 'localhost', '0.0.0.0', '*')
{
	undef $listener;
	$watcher->close;
	$node->append_conf('postgresql.conf', "listen_addresses = '$listen'");
	rewrite_hba($node, "local all $me,watcher peer", 'local all all reject', 'host all all all scram-sha-256');
	$node->restart;
	$watcher = client($node);
	$watcher->query(q(SELECT pool_exhaust_run('saturation', 'role')));
	is($watcher->query(q(SELECT concat_ws(' ', verdict, summary->>'way_in') FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1)), 'pass tcp 127.0.0.1', "listen_addresses = $listen");
}

$watcher->close;
left_nothing($node);
done_testing;
