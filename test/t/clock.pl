# The server's clock is set while a run is under way: durations are by the monotonic
# clock, and a run that the clock breaks, as it does with the end of a password, is
# invalid and says so. The monitor goes on.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# A library that adds the number of seconds in a file to the clock.
my $dir = PostgreSQL::Test::Utils::tempdir();
my $library = "$dir/clock.so";
PostgreSQL::Test::Utils::append_to_file("$dir/clock.c", <<'C');
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile long *seconds;

__attribute__((constructor)) static void
begin(void)
{
	const char *name = getenv("CLOCK_FILE");
	int			file = name ? open(name, O_RDONLY) : -1;
	void	   *bytes = file >= 0 ? mmap(NULL, sizeof(long), PROT_READ, MAP_SHARED, file, 0) : MAP_FAILED;

	seconds = bytes != MAP_FAILED ? bytes : NULL;
	close(file);
}

int
clock_gettime(clockid_t clock, struct timespec *at)
{
	int			result = syscall(SYS_clock_gettime, clock, at);

	if (clock == CLOCK_REALTIME && seconds)
		at->tv_sec += *seconds;
	return result;
}

int
gettimeofday(struct timeval *restrict at, void *restrict zone)
{
	struct timespec now;
	int			result = clock_gettime(CLOCK_REALTIME, &now);

	at->tv_sec = now.tv_sec;
	at->tv_usec = now.tv_nsec / 1000;
	return result;
}
C

sub set_clock
{
	my ($seconds) = @_;

	open my $file, -e "$dir/clock" ? '+<' : '>', "$dir/clock" or die "$dir/clock: $!";
	syswrite $file, pack('l!', $seconds) or die "$dir/clock: $!";
	return close $file;
}

plan skip_all => 'no library can be put before those of a build with sanitizers' if $ENV{SANITIZE};
plan skip_all => 'no C compiler' if system("cc -shared -fPIC -o '$library' '$dir/clock.c' 2>'$dir/cc.log'") != 0;

set_clock(0);
my $port = PostgreSQL::Test::Cluster::get_free_port();
local $ENV{CLOCK_FILE} = "$dir/clock";
local $ENV{LD_PRELOAD} = $library;
my $node = new_server('clock', conf => "max_connections = 40\npool_exhaust.http_port = $port\npool_exhaust.leak_threshold = 1s",
	hba => [ 'local all postgres trust', 'local all all scram-sha-256', 'host all all 127.0.0.1/32 scram-sha-256' ]);
delete $ENV{LD_PRELOAD};
my $client = client($node);
my $monitor = monitor_pid($client);

# Starts it, and sets the clock when it has come to this phase; the id of the run, and its outcome.
sub run_and_set_clock
{
	my ($seconds, $phase, $scenario, $options) = @_;
	my $id = $client->query("SELECT pool_exhaust_start('$scenario', options => '$options')") // die $client->message;

	in_progress($client, $phase, "$scenario: it has come to '$phase'");
	set_clock($seconds);
	verdict_of($client, $id);
	my $outcome = run_outcome($client, $id);
	set_clock(0);
	return ($id, $outcome);
}

# Its times as the tables have them, in seconds: those of the run, and of its samples
sub lasted
{
	my ($id) = @_;

	return split /\|/, $client->query("SELECT extract(epoch FROM finished_at - started_at), extract(epoch FROM min(at) - started_at), extract(epoch FROM finished_at - max(at))
		FROM pool_exhaust_runs JOIN pool_exhaust_samples ON run_id = id WHERE id = $id GROUP BY id");
}

my $now = $client->query('SELECT extract(epoch FROM clock_timestamp())');
set_clock(3600);
cmp_ok($client->query("SELECT extract(epoch FROM clock_timestamp()) - $now"), '>', 3000, "the server's clock can be set");
set_clock(0);

# pg_sleep() is by that clock, so what a client does in the server may end at once, or never.
foreach my $seconds (3600, -7200)
{
	my $set = sprintf '%+d', $seconds;
	my ($id, $outcome) = run_and_set_clock($seconds, 'queue', 'queue', '{"long_ms": 100, "pool_timeout_ms": 500, "timeout_ms": 20000}');
	my @lasted = lasted($id);

	like($outcome, qr/^(?:pass$|(?:invalid|aborted): .*the server's clock was set by \Q$set\E s during the run)/, "the clock is set by $set s: the verdict")
	  or diag $client->query("SELECT pool_exhaust_report($id)");
	ok($_ >= -0.5 && $_ < 60, "the clock is set by $set s: the times of the run are those that it took: @lasted") foreach @lasted;
}

# The passwords of a run have an end.
my (undef, $outcome) = run_and_set_clock(36000, 'calm', 'storm', '{"timeout_ms": 60000, "recovery_limit_ms": 500}');
like($outcome, qr/^invalid: .*the server's clock was set by \+36000 s during the run/, 'the passwords of a run have come to their end: it is invalid, and says why');

# The recorder has the times of that clock, and notes the jump; neither is time lost nor measured twice.
sub recorded_on
{
	my ($n) = @_;
	my $since = $client->query('SELECT clock_timestamp()');

	return wait_for($client, "SELECT coalesce(sum(measured), 0) >= $n FROM pool_exhaust_history('$since', clock_timestamp(), '1 s') WHERE service IS NULL", 't');
}
recorded_on(2);
my $began = $client->query('SELECT clock_timestamp()');
foreach my $seconds (7200, -3600, 0)
{
	set_clock($seconds);
	ok(recorded_on(2), "the clock is $seconds s ahead: seconds are recorded");
}
is($client->query("SELECT max(measured) <= 1 AND bool_and(measured = 0 OR abs(extract(epoch FROM at - timestamptz '$began')) < 60
	OR abs(extract(epoch FROM at - timestamptz '$began') - 7200) < 60 OR abs(extract(epoch FROM at - timestamptz '$began') + 3600) < 60)
	FROM pool_exhaust_history(timestamptz '$began' - interval '2 h', timestamptz '$began' + interval '3 h', '1 s') WHERE service IS NULL"), 't', 'no second is measured twice, and none that was left out');

my @fill = map { client($node) } 1 .. 36;
foreach my $seconds (30, 10, 0)
{
	recorded_on(2);
	set_clock($seconds);
}
recorded_on(2);
$_->close foreach @fill;
recorded_on(2);
my $told = $client->query("SELECT string_agg(line, E'\\n') FROM pool_exhaust_incident() AS line");
is(join(' ', $told =~ /^event .*the clock was set by ([-+]\d+) s$/mg), '+30 -20 -10', 'an incident tells of each jump') or diag $told;

# A leak gets old by the monotonic clock.
my $leak = $client->query(q(SELECT pool_exhaust_leak(1, 'dead client'))) // die $client->message;
set_clock(-7200);
suspects_are($client, 1, 'a client that has gone is found while the clock is behind');
$client->query("SELECT pool_exhaust_release($leak)");
set_clock(0);

ok(wait_for($client, 'SELECT pool_exhaust_health()', 'healthy'), 'the server is healthy');
is(monitor_pid($client), $monitor, 'the monitor is the same');
is(http($port, '/readyz')->{status}, 200, 'and answers');
$client->close;
left_nothing($node);
done_testing();
