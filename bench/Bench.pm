# What the programs in this directory share: a throwaway server with psql on it,
# turns, medians, and lines that say whether a target was met.
package Bench;

use strict;
use warnings;

use Cwd;
use Exporter 'import';
use FindBin;
use Getopt::Std;
use IO::Socket::INET;
use JSON::PP;
use Time::HiRes;

our @EXPORT = qw(alternate build_bare compare enter_sandbox exit_status free_port
  heading latest_run median missed now p99 postmaster ratios runner_memory settle show
  show_heading sql turns until_true values_of);
our @EXPORT_OK = qw(bouncer_console has_pgbouncer start_pgbouncer stop_pgbouncers write_file);

my $PATIENCE_S = 60;    # for anything that is waited for

my $turns;
my @missed;

# Starts the program again inside test/sandbox, on a server with these settings
# ("name=value"). Inside, returns the parts that were named, or all of them, and
# takes option -p: how many turns alternate() does.
sub enter_sandbox
{
	my ($program, $settings, $parts, $default_turns) = @_;
	if (($ARGV[0] // '') ne '--inside')
	{
		exec "$FindBin::RealBin/../test/sandbox", (map { ('-c', $_) } @$settings), 'run', "bench/$program", '--inside', @ARGV;
		die "test/sandbox: $!\n";
	}
	shift @ARGV;
	getopts('p:', \my %given) or exit 2;
	$turns = $given{p} // $default_turns;
	for my $part (@ARGV)
	{
		die "there is no part $part\n" if !grep { $_ eq $part } @$parts;
	}
	$ENV{PGOPTIONS} = '-c client_min_messages=warning';
	$| = 1;
	return @ARGV ? @ARGV : @$parts;
}

# ---------- The server ----------

sub sql
{
	my @commands = map { ('-c', $_) } @_;
	open(my $psql, '-|', 'psql', '-XAqt', '-v', 'ON_ERROR_STOP=1', @commands)
	  or die "psql: $!\n";
	my $out = do { local $/; <$psql> };
	close($psql) or die "psql failed\n";
	chomp($out);
	return $out;
}

sub postmaster
{
	return (sql("SELECT pg_read_file('postmaster.pid')") =~ /^(\d+)/)[0];
}

# Sessions leave pg_stat_activity first and take their memory down after that:
# waits until the postmaster has no other children than those it shows.
sub settle
{
	my $postmaster = postmaster();
	my $settled = "SELECT count(*) = cardinality(string_to_array(trim("
	  . "pg_read_file('/proc/$postmaster/task/$postmaster/children')), ' ')) "
	  . "FROM pg_stat_activity";
	until_true('the server comes to rest', sub { sql($settled) eq 't' });
}

# The latest run: its verdict, and its summary, with the phases by name.
sub latest_run
{
	my ($verdict, $json) = split /\|/,
	  sql('SELECT verdict, summary FROM pool_exhaust_runs ORDER BY id DESC LIMIT 1'), 2;
	my $summary = decode_json($json);
	return {
		verdict => $verdict,
		summary => $summary,
		phases => { map { $_->{phase} => $_ } @{ $summary->{phases} } } };
}

# Private memory per connection of a runner, in KiB: while it attempts at a full
# pool, less what it was before the fill. The reader spins, so nothing is timed
# here. A reader that comes too late for the time before the fill tries again.
sub runner_memory
{
	my ($target) = @_;
	for (1 .. 10)
	{
		settle();
		my $kib = sql(<<"EOSQL");
DO \$\$
DECLARE
	run bigint := pool_exhaust_start('saturation', '$target', '{"attempts": 10000}');
	runner integer;
	kib float8;
	before float8;
	progress record;
BEGIN
	SELECT pid INTO STRICT runner FROM pg_stat_activity WHERE backend_type = 'pool_exhaust runner';
	LOOP
		SELECT sum(substring(line FROM '\\d+')::integer) INTO kib
		FROM regexp_split_to_table(pg_read_file(format('/proc/%s/smaps_rollup', runner)), '\\n') line
		WHERE line ~ '^Private_(Clean|Dirty)';
		SELECT * INTO STRICT progress FROM pool_exhaust_progress WHERE run_id = run;
		IF progress.phase = 'attempt' THEN
			EXIT;
		ELSIF progress.phase IS DISTINCT FROM 'fill' THEN
			before := kib;
		END IF;
	END LOOP;
	PERFORM set_config('bench.memory_kib', ((kib - before) / progress.connections)::text, false);
	PERFORM pool_exhaust_stop(run);
END \$\$;
SELECT current_setting('bench.memory_kib');
EOSQL
		return $kib if $kib ne '';
	}
	die "the runner was always too fast to be read\n";
}

# Makes ./bare of bench/bare.c.
sub build_bare
{
	my ($include, $lib) = map { chomp(my $dir = `pg_config --$_`); $dir } qw(includedir libdir);
	system('cc', '-O2', '-Wall', "-I$include", '-o', 'bare', 'bench/bare.c', "-L$lib", '-lpq') == 0
	  or die "bench/bare.c does not compile\n";
}

sub free_port
{
	my $socket = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Listen => 1) or die "listen: $!\n";
	return $socket->sockport;
}

sub now { return Time::HiRes::clock_gettime(Time::HiRes::CLOCK_MONOTONIC()) }

sub until_true
{
	my ($what, $test) = @_;
	my $deadline = now() + $PATIENCE_S;
	while (!$test->()) { die "$what: not within $PATIENCE_S s\n" if now() > $deadline; }
}

# Returns false, with the reason in $!, if that cannot be written.
sub write_file
{
	my ($name, $text) = @_;
	open(my $file, '>', $name) or return 0;
	print $file $text;
	return close($file);
}

# ---------- PgBouncer ----------

my @pgbouncers;    # pids

sub has_pgbouncer
{
	$ENV{PATH} .= ':/usr/sbin' if $ENV{PATH} !~ m{:/usr/sbin};    # where Debian has it
	return system('pgbouncer --version >/dev/null 2>&1') == 0;
}

# One command on the console of that process; undef if there is no answer.
sub bouncer_console
{
	my ($port, $directory, $command) = @_;
	my $out = `psql -XAqtd "host=$directory port=$port dbname=pgbouncer" -c "$command" 2>console.err`;
	return $? == 0 ? $out : undef;
}

# A process of it in front of database "bench", in transaction mode, with a directory of its
# own for its socket, which is returned. More lines of its configuration may follow.
sub start_pgbouncer
{
	my ($port, $number, $clients, $addresses, @more) = @_;
	my $directory = getcwd() . "/b$number";
	my $files = $clients + 100;
	mkdir $directory;
	write_file("$directory/users.txt", qq("bench" ""\n"$ENV{PGUSER}" ""\n)) or die "$directory: $!\n";
	write_file("$directory/pgbouncer.ini", join("\n", <<"INI", @more, '')) or die "$directory: $!\n";
[databases]
bench = host=$ENV{PGHOST} port=$ENV{PGPORT} dbname=$ENV{PGDATABASE}
[pgbouncer]
listen_addr = $addresses
listen_port = $port
listen_backlog = 1024
unix_socket_dir = $directory
auth_type = trust
ignore_startup_parameters = options
auth_file = $directory/users.txt
admin_users = $ENV{PGUSER}
pool_mode = transaction
default_pool_size = 20
max_client_conn = $clients
log_connections = 0
log_disconnections = 0
log_pooler_errors = 0
logfile = $directory/pgbouncer.log
INI
	my $pid = fork() // die "fork: $!\n";
	if (!$pid)
	{
		exec 'sh', '-c', "ulimit -n $files && exec pgbouncer -q $directory/pgbouncer.ini";
		die "sh: $!\n";
	}
	push @pgbouncers, $pid;
	until_true('PgBouncer answers', sub { defined bouncer_console($port, $directory, 'SHOW VERSION') });
	return $directory;
}

sub stop_pgbouncers
{
	my $status = $?;
	kill('INT', $_) && waitpid($_, 0) for @pgbouncers;
	@pgbouncers = ();
	$? = $status;
}

END { stop_pgbouncers() }

# ---------- Figures ----------

sub median
{
	my @sorted = sort { $a <=> $b } @_;
	return ($sorted[ $#sorted / 2 ] + $sorted[ @sorted / 2 ]) / 2;
}

sub p99
{
	my @sorted = sort { $a <=> $b } @_;
	return $sorted[ @sorted * 99 / 100 ];
}

# How many turns alternate() does.
sub turns { return $turns }

# Runs all in turn, and the order changes from round to round. Returns the
# figures of each in a list of its own.
sub alternate
{
	my @ways = @_;
	my @figures;
	for my $round (1 .. $turns)
	{
		for my $i ($round % 2 == 1 ? 0 .. $#ways : reverse(0 .. $#ways))
		{
			push @{ $figures[$i] }, $ways[$i]->();
		}
	}
	return @figures;
}

sub values_of
{
	my ($key, $results) = @_;
	return map { $_->{$key} } @$results;
}

sub ratios
{
	my ($key, $one, $other) = @_;
	return map { $one->[$_]{$key} / $other->[$_]{$key} } 0 .. $#$one;
}

# ---------- Lines ----------

# Notes that a target was missed; the program fails in the end.
sub missed { push @missed, $_[0] }

# The end of a program: shows what was missed. Returns 0 if nothing was, else 1.
sub exit_status
{
	print "\n" if @missed;
	print "MISSED: $_\n" for @missed;
	return @missed ? 1 : 0;
}

# Targets are texts such as "<= 30 s" or "ratio >= 0.95", of which the comparison
# and the number count. Notes a figure that misses its target.
sub judge
{
	my ($what, $value, $target) = @_;
	my ($sign, $limit) = ($target // '') =~ /([<>])=? ([\d.]+)/ or return;
	my $excess = $sign eq '<' ? $value - $limit : $limit - $value;
	missed(sprintf('%s: %.3f, target %s', $what, $value, $target)) if $excess > 0;
}

sub heading
{
	printf "\n%-28s %10s %10s %8s  %-13s %s\n", @_, 'ratio', 'spread', 'target';
}

# One line: both medians, the median of the ratios within each pair with their
# spread, and the target, of the ratio if it says so, else of the first figure.
# Returns the median of the ratios.
sub compare
{
	my ($what, $key, $one, $other, $target) = @_;
	my @ratios = sort { $a <=> $b } ratios($key, $one, $other);
	my @medians = (median(values_of($key, $one)), median(values_of($key, $other)), median(@ratios));
	printf "%-28s %10.3f %10.3f %8.3f  %-13s %s\n", $what, @medians,
	  sprintf('%.2f-%.2f', @ratios[ 0, -1 ]), $target // '';
	judge($what, $medians[ ($target // '') =~ /^ratio/ ? 2 : 0 ], $target);
	return $medians[2];
}

sub show_heading
{
	printf "\n%-36s %10s %10s %10s  %s\n", @_, 'min', 'median', 'max', 'target';
}

# One line of figures that are compared with nothing. The target is that of the
# median.
sub show
{
	my ($what, $figures, $target) = @_;
	my @sorted = sort { $a <=> $b } @$figures;
	printf "%-36s %10.3f %10.3f %10.3f  %s\n", $what, $sorted[0], median(@sorted), $sorted[-1],
	  $target // '';
	judge($what, median(@sorted), $target);
}

1;
