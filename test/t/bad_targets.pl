# Targets that do not do what they should: each ends in a verdict that names the
# cause, and the server and its runners outlive them all.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use IO::Socket::INET;
use PoolExhaust;
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('runs');
my $watcher = client($node);

# ---------- A server that can do nothing right ----------

sub message { my ($type, $body) = @_; return $type . pack('N', 4 + length $body) . $body }
sub trouble { my (%fields) = @_; return message('E', join('', map { "$_$fields{$_}\0" } sort keys %fields) . "\0") }

my $ready = message('Z', 'I');
my $welcome = message('R', pack('N', 0)) . $ready;

sub rows
{
	my ($columns, @rows) = @_;

	return message('T', pack('n', scalar @$columns) . join('', map { "$_\0" . pack('NnNnNn', 0, 0, 25, 65535, 4294967295, 0) } @$columns))
	  . join('', map { message('D', pack('n', scalar @$_) . join('', map { pack('N', length) . $_ } @$_)) } @rows)
	  . message('C', "SELECT\0") . $ready;
}

sub settings
{
	my ($number, $mode) = @_;

	return rows([ 'key', 'value' ], [ 'pool_mode', $mode ],
		map { [ $_, $number ] } qw(max_client_conn default_pool_size reserve_pool_size query_wait_timeout));
}

# By the name of the database: its answer to a login, and to a query.
my $flood = message('N', "SNOTICE\0C00000\0M" . 'x' x 1000 . "\0\0") x 1000;
my %answers = (
	good       => [ $welcome, rows(['x'], [1]) ],
	quiet      => [''],
	closes     => [],
	web        => ["HTTP/1.1 400 Bad Request\r\n\r\n"],
	bytes      => [ $welcome, "\x01" x 1000 ],
	dies       => [ $welcome, trouble(S => 'FATAL', C => '57P01') ],
	noisy      => [ $welcome . $flood, $flood . rows(['x'], [1]) ],
	mute       => [ $welcome, '' ],
	angry      => [ $welcome, trouble(S => 'ERROR', C => '42501', M => 'not for you') . $ready ],
	no_columns => [ $welcome, rows(['y'], [1]) ],
	negative   => [ $welcome, settings('-7', 'session') ],
	huge       => [ $welcome, settings('99999999999999999999', 'session') ],
	odd_mode   => [ $welcome, settings('10', 'marathon') ]);

# One client of it, in a process of its own.
sub serve
{
	my ($socket) = @_;

	local $SIG{PIPE} = 'IGNORE';
	sysread($socket, my $packet, 65536) or return;
	my ($database) = $packet =~ /\0database\0([^\0]*)\0/ or return;
	my ($login, $query) = @{ $answers{$database} // return };
	return if !defined $login;
	syswrite $socket, $login;
	while (sysread($socket, $packet, 65536))
	{
		return if $packet =~ /^X/;
		syswrite $socket, $query if defined $query && $packet =~ /^Q/;
		return if $database eq 'dies';
	}
}

my $listener = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "could not listen: $!";
my $fake = fork // die "could not fork: $!";
if (!$fake)
{
	$SIG{CHLD} = 'IGNORE';
	while (1)
	{
		my $socket = $listener->accept or next;
		next if fork // die "could not fork: $!";
		eval { serve($socket) };
		POSIX::_exit(0);
	}
}
END { kill 'KILL', $fake if $fake }

sub target
{
	my ($options, $mapping) = @_;
	my $where = "host '127.0.0.1', port '" . $listener->sockport . "'";

	foreach ("DROP SERVER IF EXISTS bad CASCADE",
		"CREATE SERVER bad FOREIGN DATA WRAPPER pool_exhaust OPTIONS ($where, $options)",
		'CREATE USER MAPPING FOR CURRENT_USER SERVER bad OPTIONS (' . ($mapping // "user 'app', password 'secret'") . ')')
	{
		$watcher->query($_);
		die $watcher->message if $watcher->{error};
	}
}

sub ends
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $scenario, $verdict, $reason) = @_;
	my $id = $watcher->query("SELECT pool_exhaust_start('$scenario', 'bad', '{\"timeout_ms\": 30000, \"bystanders\": \"ignore\"}')") // die $watcher->message;

	is($watcher->query("SELECT pool_exhaust_wait($id)"), $verdict, "$name: verdict");
	my $said = $watcher->query("SELECT reason FROM pool_exhaust_runs WHERE id = $id");
	like($said, $reason, "$name: reason");
	unlike($said, qr/secret/, "$name: no secret");
}

my %logins = (
	quiet  => qr/no answer in time/,
	closes => qr/closed the connection/,
	web    => qr/expected authentication request/,
	mute   => qr/could not ask bad: no answer in time/,
	bytes  => qr/could not ask bad: ./,
	dies   => qr/could not ask bad: 57P01/,
	angry  => qr/could not ask bad: 42501 not for you/);
foreach my $database (sort keys %logins)
{
	target("kind 'postgres', dbname '$database'");
	ends("$database server", 'saturation', 'invalid', $logins{$database});
}

target("kind 'postgres', dbname 'noisy', capacity '3'");
ends('noisy server', 'saturation', 'invalid', qr/nothing was refused/);
target("kind 'postgres', dbname 'dies', capacity '3'");
ends('server that ends its sessions', 'storm', 'invalid', qr/no operation of the application succeeded/);

my $nonsense = qr/does not say what PgBouncer says/;
my %consoles = (
	mute       => qr/could not ask the console of bad: no answer in time/,
	angry      => qr/42501 SHOW CONFIG: not for you/,
	bytes      => qr/could not ask the console/,
	no_columns => $nonsense,
	negative   => $nonsense,
	odd_mode   => qr/pool_mode "marathon"/,
	huge       => qr/pool has \d+ connections/);
foreach my $console (sort keys %consoles)
{
	target("kind 'pgbouncer', dbname 'good', console '$console'");
	ends("$console console", 'queue', 'invalid', $consoles{$console});
}

# ---------- What the caller was shown is not what is there ----------

target("kind 'postgres', dbname 'good'");
$watcher->query($_)
  foreach "CREATE SERVER other FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'http', url 'http://127.0.0.1:1/')",
  q(CREATE USER MAPPING FOR CURRENT_USER SERVER other OPTIONS (user 'app')),
  'BEGIN', q(ALTER SERVER other OPTIONS (SET kind 'postgres', ADD host '127.0.0.1', DROP url));
my $id = $watcher->query(q(SELECT pool_exhaust_start('saturation', 'other'))) // die $watcher->message;
$watcher->query('ROLLBACK');
is($watcher->query("SELECT pool_exhaust_wait($id)"), 'aborted', 'a server that is being altered: verdict');
like($watcher->query("SELECT reason FROM pool_exhaust_runs WHERE id = $id"), qr/is not of kind postgres for others/,
	'a server that is being altered: reason');

# ---------- Passwords of one's own, on the console, too ----------

target("kind 'pgbouncer', dbname 'good', console 'no_columns'");
$watcher->query($_)
  foreach 'CREATE ROLE tester LOGIN', 'GRANT USAGE ON FOREIGN SERVER bad TO tester',
  'GRANT EXECUTE ON FUNCTION pool_exhaust_run(text, text, jsonb, text) TO tester',
  q(CREATE USER MAPPING FOR tester SERVER bad OPTIONS (user 'app', password 'secret', console_user 'admin'));
my $tester = client($node, user => 'tester');
fails_with($tester, q(SELECT pool_exhaust_run('queue', 'bad')), '2F003', [qr/password is required/, qr/console_password/],
	'console_user without console_password');
$tester->close;

$watcher->close;
left_nothing($node);
done_testing;
