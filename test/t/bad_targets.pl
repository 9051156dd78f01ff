# Targets that do not do what they should: each ends in a verdict that names the
# cause, and the server and its runners outlive them all.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use Fake;
use IO::Select;
use IO::Socket::INET;
use JSON::PP ();
use List::Util qw(min);
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $node = new_server('runs');
my $watcher = client($node);

# ---------- A server that can do nothing right ----------

sub settings
{
	my ($number, $mode) = @_;

	return rows([ 'key', 'value' ], [ 'pool_mode', $mode ],
		map { [ $_, $number ] } qw(max_client_conn default_pool_size reserve_pool_size query_wait_timeout));
}

my $long = 0x5fff_ffff;
my $stuff = 'x' x 100_000;
my ($columns) = rows([ 'key', 'value' ]) =~ /^(.*?)C\0\0\0/s;

# By the name of the database: its answer to a login, and to a query.
# What a terminal would obey, or a reader of lines take for lines of ours
my $hostile = "no\e[31m\e]0;title\a\x9b1m\rPASS\n 1..0 # SKIP\tok\x7f\b\"quoted\\\" caf\xc3\xa9 \xe2\x80\xaeevil\xe2\x80\xa8line\xc2\x9b2J";
my $printable = $hostile =~ s/\x9b1m//r;
my $flood = message('N', "SNOTICE\0C00000\0M" . 'x' x 1000 . "\0\0") x 1000;
my %answers = (
	good       => [ welcome(), rows(['x'], [1]) ],
	quiet      => [''],
	closes     => [],
	web        => ["HTTP/1.1 400 Bad Request\r\n\r\n"],
	bytes      => [ welcome(), "\x01" x 1000 ],
	dies       => [ welcome(), trouble(S => 'FATAL', C => '57P01') ],
	noisy      => [ welcome() . $flood, $flood . rows(['x'], [1]) ],
	mute       => [ welcome(), '' ],
	angry      => [ welcome(), trouble(S => 'ERROR', C => '42501', M => 'not for you') . ready() ],
	hostile    => [ welcome(), trouble(S => 'ERROR', C => '42501', M => $hostile) . ready() ],
	printable  => [ welcome(), trouble(S => 'ERROR', C => '42501', M => $printable) . ready() ],
	long       => [ welcome(), trouble(S => 'ERROR', C => '42501', M => "\e" x 10_000) . ready() ],
	denied     => [ trouble(S => 'FATAL', C => '42501', M => $printable) ],
	rows       => [ welcome(), endless($columns, message('D', pack('nN', 2, 20_000) . 'x' x 20_000 . pack('N', 1) . 'y')) ],
	long_row   => [ welcome(), endless($columns . 'D' . pack('NnN', $long, 2, $long - 20), $stuff) ],
	columns    => [ welcome(), endless('T' . pack('Nn', $long, 30_000), $stuff) ],
	long_error => [ welcome(), endless('E' . pack('N', $long) . 'M', $stuff) ],
	notice     => [ endless(message('R', pack('N', 0)) . 'N' . pack('N', $long) . 'M', $stuff), undef ],
	parameters => [ endless(message('R', pack('N', 0)), sub { message('S', "p$_[0]\0" . 'x' x 20_000 . "\0") }), undef ],
	no_columns => [ welcome(), rows(['y'], [1]) ],
	negative   => [ welcome(), settings('-7', 'session') ],
	huge       => [ welcome(), settings('99999999999999999999', 'session') ],
	evil_mode  => [ welcome(), settings('10', $printable) ],
	odd_mode   => [ welcome(), settings('10', 'marathon') ]);

# One client of it, in a process of its own.
sub serve
{
	my ($socket) = @_;

	sysread($socket, my $packet, 65536) or return;
	if ($packet =~ /^GET/)
	{
		syswrite $socket, "HTTP/1.1 500 \e[31m\r\nContent-Type: text/\e[1m\xff\r\nRetry-After: \x1b\x9b\r\n\r\n$hostile";
		return;
	}
	my ($database) = $packet =~ /\0database\0([^\0]*)\0/ or return;
	my ($login, $query) = @{ $answers{$database} // return };
	return if !defined $login;
	say_to($socket, $login);
	while (sysread($socket, $packet, 65536))
	{
		return if $packet =~ /^X/;
		say_to($socket, $query) if defined $query && $packet =~ /^Q/;
		return if $database eq 'dies';
	}
}

my $port = fake_server(\&serve);

sub target
{
	my ($options, $mapping, $other_port) = @_;
	my $where = "host '127.0.0.1', port '" . ($other_port // $port) . "'";

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

# ---------- A pooler that serves the last request first ----------

# It has no server behind it, and serves all its clients in one process, as PgBouncer does;
# asked on the console "late" while a client waits, it stands still once. Or it serves the
# first request first, all that come free in a span of time together, whose clients then
# have their answers in the other order.
my @unfair = (query_wait_timeout => 1.5, default_pool_size => 1, max_client_conn => 100, pool_mode => 'transaction');
my $late_s = 0.18;
my $together_s = 0.05;

sub unfair_console
{
	my ($query, $clients, $in_use, @waiting) = @_;

	return rows([ 'key', 'value' ], map { [ @unfair[ 2 * $_, 2 * $_ + 1 ] ] } 0 .. 3) if $query =~ /CONFIG/;
	return rows([qw(database user sv_active cl_waiting)], [ 'unfair', 'app', $in_use, scalar @waiting ]) if $query =~ /POOLS/;
	return rows([qw(database application_name)], map { [ @{$_}{qw(database application_name)} ] } @$clients) if $query =~ /CLIENTS/;
	return rows(['name']);
}

sub fake_pooler
{
	my ($listener, $last_first) = @_;
	my $select = IO::Select->new($listener);
	my (%clients, @waiting, %in_use, @sleeping);
	my $served_at = 0;
	my $answer = sub { my ($client, $bytes) = @_; substr $bytes, -1, 1, 'T' if $in_use{$client}; syswrite $client->{socket}, $bytes };
	my $gone = sub {
		my ($client) = @_;

		@waiting = grep { $_ != $client } @waiting;
		@sleeping = grep { $_ != $client } @sleeping;
		delete $in_use{$client};
		$select->remove($client->{socket});
		delete $clients{ $client->{socket} };
	};
	my $query = sub {
		my ($client, $sql) = @_;

		if ($client->{database} ne 'unfair')
		{
			select undef, undef, undef, $late_s if $client->{database} eq 'late' && @waiting && !$client->{was_late}++;
			return $answer->($client, unfair_console($sql, [ grep { $_->{database} } values %clients ], scalar keys %in_use, @waiting));
		}
		$client->{since} = time;
		return push @waiting, $client if $sql =~ /^BEGIN/;
		return push @sleeping, $client if ($client->{sleeps}) = $sql =~ /pg_sleep\(([\d.]+)\)/;
		delete $in_use{$client} if $sql =~ /^(?:COMMIT|ROLLBACK)/;
		$answer->($client, rows(['x'], [1]));
	};

	while (1)
	{
		foreach my $socket ($select->can_read(0.005))
		{
			if ($socket == $listener)
			{
				my $new = $listener->accept or next;
				$select->add($new);
				$clients{$new} = { socket => $new };
				next;
			}
			my $client = $clients{$socket};
			my $packet = '';
			if (!sysread($socket, $packet, 65536) || $packet =~ /^X/) { $gone->($client) }
			elsif ($packet =~ /^Q....([^\0]*)\0/s) { $query->($client, $1) }
			else
			{
				($client->{$_}) = $packet =~ /\0$_\0([^\0]*)\0/ foreach 'database', 'application_name';
				syswrite $socket, welcome();
			}
		}
		my $now = time;
		next if !$last_first && $now < $served_at + $together_s;
		$served_at = $now;
		my @awake = grep { $now >= $_->{since} + $_->{sleeps} } @sleeping;
		@sleeping = grep { $now < $_->{since} + $_->{sleeps} } @sleeping;
		$answer->($_, rows(['x'], [1])) foreach @awake;
		my @late = grep { $now >= $_->{since} + $unfair[1] } @waiting;
		foreach my $client (@late)
		{
			syswrite $client->{socket}, trouble(S => 'FATAL', C => '08P01', M => 'query_wait_timeout');
			$gone->($client);
		}
		my $granted = min($unfair[3] - keys %in_use, scalar @waiting);
		my @granted = splice @waiting, $last_first ? -$granted : 0, $granted;
		$in_use{$_} = 1 foreach @granted;
		$answer->($_, message('C', "BEGIN\0") . ready()) foreach reverse @granted;
	}
}

# To be found out, unless it may be due to how late it was.
{
	my $listener = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "could not listen: $!";
	serve_with(sub { local $SIG{PIPE} = 'IGNORE'; fake_pooler($listener, 1) });
	foreach my $console ('prompt', 'late')
	{
		target("kind 'pgbouncer', dbname 'unfair', console '$console'", undef, $listener->sockport);
		my $report = report_of($watcher, 'queue', 'bad', long_operations => 2, quick_operations => 2, long_ms => 700, tolerance_ms => 3000);
		my $late_ms = $watcher->query("SELECT f->>'pooler_late_ms' FROM pool_exhaust_runs, jsonb_path_query(summary, '\$.phases[*].figures') AS f
			WHERE id = $report->{run_id} AND f ? 'pooler_late_ms'");

		is($watcher->query("SELECT string_agg(name, ', ') FROM pool_exhaust_checks WHERE run_id = $report->{run_id} AND outcome = 'fail'"),
			'granted after a later request', "last request first, $console console: what fails");
		if ($console eq 'late')
		{
			cmp_ok($late_ms, '>=', 1000 * $late_s, 'late console: the summary says how late');
			is($report->{verdict}, 'invalid', 'late console: verdict');
			like($report->{reason}, qr/^the machine was too busy: .*the console of the pooler took \d+ ms to answer.*; failed: granted after a later request$/,
				'late console: reason');
			next;
		}
	  SKIP: {
			skip "the machine was too busy: $report->{reason}", 1 if proved_nothing($report);
			is("$report->{verdict}: $report->{reason}", 'fail: failed: granted after a later request', 'prompt console: verdict and reason');
		}
	}
}

# Two connections come free together, for a long request and a quick one: the order of their
# answers does not show that of the grants.
{
	my $listener = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "could not listen: $!";
	local $unfair[3] = 2;
	serve_with(sub { local $SIG{PIPE} = 'IGNORE'; fake_pooler($listener, 0) });
	target("kind 'pgbouncer', dbname 'unfair', console 'prompt'", undef, $listener->sockport);
	my $report = report_of($watcher, 'queue', 'bad', long_operations => 3, quick_operations => 3, long_ms => 300, tolerance_ms => 3000);
  SKIP: {
		skip "the machine was too busy: $report->{reason}", 1 if proved_nothing($report);
		is("$report->{verdict}: " . ($report->{reason} // ''), 'pass: ', 'two at once, first come first served');
	}
}

# ---------- They send without end, and no more than so much is kept ----------

my $known = 0;
foreach my $database ('rows', 'long_row', 'columns', 'long_error', 'notice', 'parameters')
{
	target("kind 'pgbouncer', dbname 'good', console '$database'");
	my $id = $watcher->query(q(SELECT pool_exhaust_start('queue', 'bad', '{"timeout_ms": 30000}'))) // die $watcher->message;
	# A run that is over at once has none any more.
	my $runner = $watcher->query(q(SELECT pid FROM pg_stat_activity WHERE backend_type LIKE 'pool_exhaust%run%'));
	my $peak = 0;

	$known += $runner ne '';
	while (!length $watcher->query("SELECT pool_exhaust_wait($id, '10 ms')"))
	{
		my ($hwm) = (eval { slurp_file("/proc/$runner/status") } // '') =~ /^VmHWM:\s+(\d+) kB/m;
		$peak = $hwm if ($hwm // 0) > $peak;
	}
	like($watcher->query("SELECT verdict, reason FROM pool_exhaust_runs WHERE id = $id"),
		qr/^invalid\|could not ask the console of bad: it sent more than is kept: at most 64 MB for a session/, "$database without end: verdict and reason");
	cmp_ok($peak, '<', 400_000, "$database without end: memory of the runner, in kB");
}
cmp_ok($known, '>=', 3, 'runners are known');

# ---------- What they say is shown, and obeyed by no terminal ----------

my %options = (
	(map { $_ => "kind 'postgres', host '127.0.0.1', port 'PORT', dbname '$_'" } 'hostile', 'printable', 'long', 'denied'),
	evil_mode => "kind 'pgbouncer', host '127.0.0.1', port 'PORT', dbname 'good', console 'evil_mode'",
	web       => "kind 'http', url 'http://127.0.0.1:PORT'");
my %scenarios = (evil_mode => 'queue', web => 'backpressure');
foreach my $name (sort keys %options)
{
	my $server = "bad \e[7m\n$name\xe2\x80\xae";
	my $options = $options{$name} =~ s/PORT/$port/r;

	foreach ("CREATE SERVER \"$server\" FOREIGN DATA WRAPPER pool_exhaust OPTIONS ($options)",
		"CREATE USER MAPPING FOR CURRENT_USER SERVER \"$server\" OPTIONS (user 'app', password 'secret')")
	{
		$watcher->query($_);
		die $watcher->message if $watcher->{error};
	}
	my $text = $watcher->query("SELECT pool_exhaust_run('" . ($scenarios{$name} // 'saturation') . "', '$server')") // die $watcher->message;
	is_printable($text, "$name: report");
	unlike($text, qr/^ ?(?:PASS|1\.\.0|evil|line)/m, "$name: report: what it says begins no line");
	like($text, qr/42501 no\?\[31m\?\]0;title\?\?1m PASS\s*$/m, "$name: what it says, as far as it can be shown") if $name eq 'hostile';
	like($text, qr/42501 no\?\[31m\?\]0;title\? PASS/, "$name: what it says, as far as it can be shown") if $name =~ /^(?:printable|denied)$/;
	my $id = $watcher->query('SELECT max(id) FROM pool_exhaust_runs');
	foreach my $format ('json', 'tap')
	{
		my $report = $watcher->query("SELECT pool_exhaust_report($id, '$format')");

		is_printable($report, "$name: $format");
		ok(eval { JSON::PP::decode_json($report) }, "$name: is JSON") if $format eq 'json';
		is(join("\n", grep { !/^(?:(?:not )?ok \d+ - |#   ?|1\.\.1$)/ } split /\n/, $report), "# " . ($scenarios{$name} // 'saturation') . " on bad ?[7m $name?, run $id", "$name: all lines are TAP")
		  if $format eq 'tap';
	}
	is_printable($watcher->query("SELECT reason, summary FROM pool_exhaust_runs WHERE id = $id"), "$name: table of runs");
	$watcher->query("DROP SERVER \"$server\" CASCADE");
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
