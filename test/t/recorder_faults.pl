# What may happen to the recorder: a file that is cut, noise, another's, or cannot be
# written, a disk that is full, a file that is made smaller, and a monitor that is killed
# at any moment (ROUNDS of them). One line of the log says so, nothing else suffers.
use strict;
use warnings FATAL => 'all';

use Fcntl qw(:mode);
use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $rounds = $ENV{ROUNDS} // 3;
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = new_server('faults_of_recorder', conf => "pool_exhaust.http_port = $port\npool_exhaust.recorder_interval = 200ms\nmax_connections = 20\nlogging_collector = on\nlog_filename = 'server.log'\nrestart_after_crash = on");
my $directory = $node->data_dir . '/pool_exhaust';
my $file = "$directory/recorder";
my $client = client($node);

sub log_text { return slurp_file($node->data_dir . '/log/server.log') }

# How often the recorder has said something like that
sub said
{
	my ($pattern) = @_;

	return scalar(() = log_text() =~ /LOG:  pool_exhaust $pattern/g);
}

# Until so many seconds were recorded from that moment on
sub recorded
{
	my ($since, $n) = @_;

	return wait_for($client, "SELECT coalesce(sum(measured), 0) >= $n FROM pool_exhaust_history('$since', clock_timestamp(), '1 s') WHERE service IS NULL", 't');
}

sub now { return $client->query('SELECT clock_timestamp()') }

# Live views work, and are fresh.
sub lives
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name) = @_;

	ok(samples($client, 8), "$name: the monitor samples");
	is($client->query("SELECT capacity FROM pool_exhaust_pools WHERE name = 'server'"), 17, "$name: live views work");
}

# The server is started with the file as "damage" leaves it.
sub started_with
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $damage, $pattern) = @_;
	my $before = said($pattern);

	$client->close;
	$node->stop;
	$damage->();
	$node->start;
	$client = client($node);
	lives($name);
	is(said($pattern) - $before, 1, "$name: one line of the log");
	is($client->query("SELECT count(*) >= 0 FROM pool_exhaust_incidents"), 't', "$name: it can be read");
}

sub recorded_again
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name) = @_;

	ok(recorded(now(), 0.3), "$name: it records");
}

# What is in the file now
sub overwrite
{
	my ($offset, $bytes) = @_;

	open my $out, '+<', $file or die "$file: $!";
	binmode $out;
	seek $out, $offset, 0 or die $!;
	syswrite $out, $bytes or die $!;
	close $out;
}

sub noise { return join '', map { chr int rand 256 } 1 .. $_[0] }

ok(recorded(now(), 0.3), 'it records');
is(sprintf('%o', S_IMODE((stat $directory)[2])), '700', 'the directory is the server\'s alone');
is(sprintf('%o', S_IMODE((stat $file)[2])), '600', 'and so is the file');

# ---------- Files ----------

my $anew = qr/records anew/;
started_with('noise', sub { overwrite(0, noise(4096)) }, $anew);
recorded_again('noise');
ok(-e "$file.old", 'noise: it was put aside');
started_with('another server', sub { my $other = slurp_file($file); overwrite(16, noise(8)) }, $anew);
recorded_again('another server');
started_with('an empty file', sub { truncate $file, 0 or die $! }, $anew);
recorded_again('an empty file');

my $cannot = qr/cannot record/;
started_with('a directory in its place', sub { unlink $file or die $!; mkdir $file or die $! }, $cannot);
rmdir $file or die $!;
$client->query('SELECT pg_reload_conf()');
recorded_again('when that is gone');
is(said(qr/records again/), 1, 'and says so');
SKIP:
{
	skip 'root may write anywhere', 4 if $> == 0;
	started_with('a directory that cannot be written', sub { unlink $file or die $!; chmod 0500, $directory or die $! }, $cannot);
	chmod 0700, $directory or die $!;
	$client->query('SELECT pg_reload_conf()');
	recorded_again('when it can be');
}

# Noise in the seconds themselves is their end, and nothing more.
$client->close;
$node->stop;
my $size = -s $file;
my $since = time;
overwrite(65536 + 64 + int(rand($size - 65536 - 128)), noise(64));
$node->start;
$client = client($node);
recorded_again('noise in seconds');
$client->close;
$node->stop;
truncate $file, 65536 + 64 or die $!;
$node->start;
$client = client($node);
recorded_again('cut in the first second');

# While it is written to
truncate $file, 100 or die $!;
recorded_again('cut under the monitor');
unlink $file or die $!;
recorded_again('removed under the monitor');
lives('after all that');

# ---------- A disk that is full ----------

SKIP:
{
	my $monitor = monitor_pid($client);
	skip 'no prlimit', 6 if system("prlimit --pid $monitor --fsize >/dev/null 2>&1") != 0;

	my $before = said($cannot);
	my $again = said(qr/records again/);
	my $full_at = now();
	is(system("prlimit --pid $monitor --fsize=" . (-s $file) . ':'), 0, 'the disk is full');
	ok(wait_until(sub { said($cannot) - $before }, 1, 'a line of the log'), 'the log says so');
	lives('a full disk');
	is(said($cannot) - $before, 1, 'once');
	my $refused = login($node, user => 'nobody_at_all');
	system("prlimit --pid $monitor --fsize=unlimited:") == 0 or die;
	ok(wait_until(sub { said(qr/records again/) - $again }, 1, 'it records'), 'there is room again');
	is($client->query("SELECT bool_or(measured < 1) FROM pool_exhaust_history('$full_at', clock_timestamp(), '1 s') WHERE service IS NULL"), 't', 'a gap is a gap');
}

# ---------- Made smaller, and larger ----------

SKIP:
{
	my $top = "$FindBin::RealBin/../..";
	my $dir = PostgreSQL::Test::Utils::tempdir();
	chomp(my $include = `pg_config --includedir-server`);
	chomp(my $libraries = `pg_config --pkglibdir`);
	skip 'no C compiler', 8 if system("cc -O1 -I'$top/src' -I'$include' -o '$dir/bytes' '$top/test/recorder_bytes.c' '$top'/src/base/recorder/*.c -L'$libraries' -lpgcommon -lpgport -lm >/dev/null 2>&1") != 0;
	my $system = $client->query('SELECT system_identifier FROM pg_control_system()');

	$client->close;
	$node->stop;
	is(system("'$dir/bytes' file '$file' 86400 $system " . int(time) . ' >/dev/null'), 0, 'a day of a busy server');
	$node->start;
	$client = client($node);
	recorded_again('a day');
	my $day = $client->query('SELECT pg_postmaster_start_time()');
	my $begun = time;
	is($client->query("SELECT count(*) > 1430 FROM pool_exhaust_history(timestamptz '$day' - interval '1 day', '$day', '1 minute') WHERE service IS NULL AND measured > 0.9"), 't', 'all its minutes are there');
	note sprintf 'a day by minute: %.0f ms', 1000 * (time - $begun);
	$begun = time;
	is($client->query("SELECT count(*) FROM pool_exhaust_incidents WHERE main_holder = 'role_7/application-7' AND holder_growth BETWEEN 190 AND 210"), 24, 'and its incidents');
	note sprintf 'incidents of a day: %.0f ms', 1000 * (time - $begun);
	like(http($port, '/incidents')->{content}, qr/^[^\n]* role_7\/application-7 grew most.*\nWhat was recorded earlier was not read: pool_exhaust_incidents has all\.\n\z/s, 'over HTTP the latest');
	$begun = time;
	is(scalar(split /\n/, $client->query("SELECT pool_exhaust_incident(timestamptz '$day' - interval '6 hours')")) > 6, 1, 'and the story of one');
	note sprintf 'an incident: %.0f ms', 1000 * (time - $begun);

	change_setting($client, 'pool_exhaust.recorder_size' => "'2MB'");
	ok(wait_until(sub { (-s $file) <= 2 * 1024 * 1024 ? 'smaller' : -s $file }, 'smaller', 'a smaller file'), 'it is made smaller');
	is($client->query("SELECT count(*) FROM pool_exhaust_history(timestamptz '$day' - interval '3 hours', '$day', '1 minute') WHERE service IS NULL AND measured < 0.9") <= 2, 1, 'the newest seconds are kept');
	is($client->query("SELECT count(*) FROM pool_exhaust_history(timestamptz '$day' - interval '20 hours', timestamptz '$day' - interval '10 hours', '1 hour') WHERE measured > 0"), 0, 'the oldest are not');
	change_setting($client, 'pool_exhaust.recorder_size' => "'8MB'");
	recorded_again('made larger');
	is($client->query("SELECT count(*) FROM pool_exhaust_history(timestamptz '$day' - interval '3 hours', '$day', '1 minute') WHERE service IS NULL AND measured < 0.9") <= 2, 1, 'nothing is lost by that');
}

# ---------- Killed at any moment ----------

# The monitor, or the whole server at once; how it is again
my $killed = 0;
foreach my $round (1 .. $rounds)
{
	my $start = now();
	recorded($start, 3) or last;
	select undef, undef, undef, rand;    # any moment of a second
	my $at = now();
	if ($round % 3 == 0)
	{
		$client->close;
		$node->stop('immediate');
		$node->start;
		$client = client($node);
	}
	else
	{
		my $monitor = monitor_pid($client);
		kill 'KILL', $monitor;
		$killed++;
		$client->vanish;
		$client = undef;
		# Until the server has noticed it, a session may still begin, and end with it.
		wait_until(sub { eval { $client = client($node); my $pid = monitor_pid($client); $pid ne '' && $pid ne $monitor } ? 1 : 0 }, 1, 'the server is back');
	}
	my $back = now();
	recorded($back, 1);
	my $lost = $client->query("SELECT sum(measured) >= 0.99 FROM pool_exhaust_history(timestamptz '$at' - interval '3 s', timestamptz '$at' - interval '2 s', '1 s') WHERE service IS NULL");
	my $gap = $client->query("SELECT bool_or(measured < 1 AND (measured > 0 OR in_use IS NULL)) FROM pool_exhaust_history('$at', clock_timestamp(), '1 s') WHERE service IS NULL");
	"$lost $gap" eq 't t' or fail("round $round: lost $lost, gap $gap");
}
pass("$rounds rounds: no more than two seconds are lost, and that is a gap");
is(said(qr/records anew/), 3, 'no file was unreadable but those that were made so');
lives('after all that');

$client->close;
is(scalar(() = log_text() =~ /terminated by signal/g), $killed, 'no process ended but those that were killed');
unlike(log_text(), qr/PANIC|TRAP/, 'and nothing crashed');
left_nothing($node);
done_testing();
