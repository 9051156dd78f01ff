# What the suites in this directory share: a server that preloads
# pool_exhaust, a client that speaks the protocol by itself and so depends on
# nothing that is tested here, and the proof that nothing was left behind.
package PoolExhaust;

use strict;
use warnings FATAL => 'all';

use Exporter 'import';
use HTTP::Tiny;
use IPC::Run ();
use JSON::PP ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

our @EXPORT = qw($busy_per_core backend_pid begin_load busy_machine calm_machine change_setting client end_load failed_transaction fails_with forked_client
  http http_json http_metrics in_progress in_use_becomes left_nothing login monitor_pid name_in new_server open_transaction
  proved_nothing refusals report_of rewrite_hba run_ends run_outcome run_scenario samples server_is_back sqlstate suspects_are until_proved
  verdict_of wait_for wait_until wrong_outcomes);

# On a busy machine so many processes for each processor are always ready to run.
our $busy_per_core = 16;

# Seconds between two questions while waiting: the cores are for what is waited for.
my $pause = 0.01;

# The services whose sessions the healer may end, by name of the server.
my %heals;

# A started server that preloads pool_exhaust, with the extension in database
# postgres; its runs begin without the 200 ms of a calibration.  Parameters: conf => lines of postgresql.conf, conf_from => { VERSION
# => lines that hold from there on }, hba => [lines of pg_hba.conf], streaming => 1,
# heals => pattern of the services whose sessions the healer may end; of others
# left_nothing() finds out if it did.
sub new_server
{
	my ($name, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	my $conf_from = $params{conf_from} // {};

	$heals{$name} = $params{heals};
	initialize($node, allows_streaming => $params{streaming});
	$node->append_conf('postgresql.conf', $_)
	  foreach "shared_preload_libraries = 'pool_exhaust'", 'pool_exhaust.calibration = off', $params{conf} // '',
	  map { $conf_from->{$_} } grep { $node->pg_version >= $_ } sort keys %$conf_from;
	rewrite_hba($node, @{ $params{hba} }) if $params{hba};
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION pool_exhaust');
	return $node;
}

# Makes its data directory, a copy of the one that test/prove has made once, if it
# has. From PostgreSQL 16 on PostgreSQL::Test::Cluster does that by itself.
sub initialize
{
	my ($node, %params) = @_;
	my $run = \&PostgreSQL::Test::Utils::system_or_bail;

	no warnings 'redefine';
	local *PostgreSQL::Test::Utils::system_or_bail = sub {
		my ($command, undef, $directory) = @_;
		my $copies = $command eq 'initdb' && $ENV{INITDB_TEMPLATE} && $node->pg_version < 16;

		return $copies ? $run->('cp', '-RPp', $ENV{INITDB_TEMPLATE}, $directory) : $run->(@_);
	};
	$node->init(%params);
}

# Replaces pg_hba.conf; what is in force changes with the next reload.
sub rewrite_hba
{
	my ($node, @lines) = @_;

	unlink $node->data_dir . '/pg_hba.conf';
	$node->append_conf('pg_hba.conf', join("\n", @lines));
}

# A name of a role or database that has line ends. 19 has no such names: it gets
# vertical tabs there.
sub name_in
{
	my ($node, $name) = @_;

	return $node->pg_version < '19devel' ? $name : $name =~ tr/\r\n/\x0b/r;
}

# A session, by default of the superuser; dies if it is refused.
sub client
{
	my ($node, %params) = @_;
	my $client = login($node, %params);

	die "login failed: $client->{error}{C} $client->{error}{M}" if $client->{error};
	return $client;
}

# An attempt to get a session; "error" of the result says why there is none.
sub login
{
	my ($node, %params) = @_;

	return PoolExhaust::Client->new($node, %params);
}

# The SQLSTATE that a query or a login of this client ended with.
sub sqlstate
{
	my ($client) = @_;

	return $client->{error} ? $client->{error}{C} : '00000';
}

# Runs a query that must fail with this SQLSTATE, and with messages (message,
# detail and hint together) that match all the patterns.
sub fails_with
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $sql, $sqlstate, $patterns, $name) = @_;

	$client->query($sql);
	is(sqlstate($client), $sqlstate, "$name: SQLSTATE");
	my $text = $client->message;
	like($text, $_, "$name: $_") foreach @$patterns;
}

# Changes settings of the server; true when they are in force.
sub change_setting
{
	my ($client, %settings) = @_;

	foreach my $name (sort keys %settings)
	{
		$client->query("ALTER SYSTEM SET $name = $settings{$name}");
		die $client->message if $client->{error};
	}
	# The reload is seen by this session first at its next message, by the
	# monitor at its second sample.
	my $since = $client->query('SELECT clock_timestamp()');
	$client->query('SELECT pg_reload_conf()');
	return wait_for($client, "SELECT pg_conf_load_time() > '$since'", 't');
}

# The pid of a session's backend.
sub backend_pid
{
	my ($client) = @_;

	return $client->{pid} //= $client->query('SELECT pg_backend_pid()');
}

# A session of role app, or another, that is idle in a transaction; its service is
# role/name.
sub open_transaction
{
	my ($node, $name, %params) = @_;
	my $client = client($node, user => 'app', application_name => $name, %params);

	backend_pid($client);
	$client->query('BEGIN');
	return $client;
}

# The same, of a transaction that has failed.
sub failed_transaction
{
	my $client = open_transaction(@_);

	$client->query('SELECT 1/0');
	return $client;
}

# A client that is a process of its own, to be killed: sends the query and does
# not read.  Parameters: those of client().  Returns its pid and its backend's.
sub forked_client
{
	my ($node, $sql, %params) = @_;

	pipe(my $reader, my $writer) or die "could not make a pipe: $!";
	my $pid = fork // die "could not fork: $!";
	if (!$pid)
	{
		my $client = eval { client($node, %params) } // POSIX::_exit(1);
		syswrite $writer, backend_pid($client) . "\n";
		$client->send($sql);
		POSIX::pause();
		POSIX::_exit(0);
	}
	CORE::close($writer);
	my $backend = <$reader> // die 'the client came to nothing';
	chomp $backend;
	return ($pid, $backend);
}

# Six sessions of role "load" that work and rest until end_load(), for a test
# that must not harm them.
sub begin_load
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $node) = @_;
	my $script = PostgreSQL::Test::Utils::tempdir() . '/load.sql';

	$client->query($_) foreach 'CREATE ROLE load LOGIN', 'ALTER ROLE load SET log_statement = none';
	append_to_file($script, "BEGIN;\nSELECT pg_sleep(0.002);\nSELECT 1;\nCOMMIT;\nSELECT 1;\n");
	my %load = (client => $client, output => '', errors => '');
	$load{pgbench} = IPC::Run::start(
		[
			'pgbench', '--no-vacuum', '--client=6', '--rate=150', '--time=900', "--file=$script", '--username=load',
			'--host=' . $node->host, '--port=' . $node->port, 'postgres'
		],
		'<', \undef, '>', \$load{output}, '2>', \$load{errors});
	$load{sessions} = "SELECT string_agg(pid::text, ' ' ORDER BY pid) FROM pg_stat_activity WHERE usename = 'load'";
	ok(wait_for($client, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'load' AND state_change > backend_start + interval '100 ms'", 6),
		'six sessions are at work');
	$load{pids} = $client->query($load{sessions});
	return \%load;
}

# They are the same as ever, and still at work.
sub end_load
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($load) = @_;
	my $client = $load->{client};
	my $now = $client->query('SELECT clock_timestamp()');

	is($client->query($load->{sessions}), $load->{pids}, 'none of the sessions at work was ever ended');
	ok(wait_for($client, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'load' AND state_change > '$now'", 6), 'and all of them go on');
	$load->{pgbench}->kill_kill;
	is($load->{errors} =~ s/^pgbench \(.*\)$//mgr =~ s/\s+//gr, '', 'and had nothing to complain of');
	ok(wait_for($client, "SELECT count(*) FROM pg_stat_activity WHERE usename = 'load'", 0), 'until their client ends');
}

# Asks until the answer is the expected one; false, with the last answer shown,
# when that takes too long.
sub wait_for
{
	my ($client, $sql, $expected) = @_;

	return wait_until(sub { $client->query($sql) // $client->message }, $expected, $sql);
}

# The same for anything that can be asked for; "what" stands in the
# message when it took too long.
sub wait_until
{
	my ($ask, $expected, $what) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	my $last;

	while (time < $end)
	{
		$last = $ask->();
		return 1 if $last eq $expected;
		select undef, undef, undef, $pause;
	}
	diag "timed out waiting for: $what\nexpected: $expected\nlast: $last";
	return 0;
}

# Until a server that has crashed lets sessions begin again. Unlike poll_query_until(),
# which has psql read its query, this does not mind when the server ends one of these.
sub server_is_back
{
	my ($node) = @_;

	return wait_until(sub { eval { my $client = client($node); my $answer = $client->query('SELECT 1'); $client->close; $answer } // '' }, 1, 'the server');
}

# How often a measurement is repeated, and how late this process may wake up
# meanwhile, in ms: on machines that others use too, it can be hundreds.
my $measurements = 3;
my $late_ms_max = 40;

# Measures, and measures again as long as the machine was too busy for it.
# "measure" returns the latest that a process woke up meanwhile, in ms: see
# result_and_lateness().  Returns whether the last measurement can be used; the
# test skips what depends on it if not, and the reason says how late it was.
sub calm_machine
{
	my ($measure) = @_;
	my $late_ms;

	foreach (1 .. $measurements)
	{
		$late_ms = $measure->();
		return (1, '') if $late_ms <= $late_ms_max;
		diag sprintf 'the machine was too busy: a process woke up %.0f ms late', $late_ms;
	}
	return (0, sprintf 'the machine was too busy, %d times: a process woke up %.0f ms late', $measurements, $late_ms);
}

# Waits until the monitor has taken this many more samples: then it has seen
# all that was before.
sub samples
{
	my ($client, $n) = @_;
	my $since = $client->query('SELECT clock_timestamp()');

	return wait_for($client, "SELECT count(*) >= $n FROM pool_exhaust_timeline WHERE at > '$since'", 't');
}

# As many slots are in use, soon.
sub in_use_becomes
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $in_use, $name) = @_;

	ok(wait_for($client, 'SELECT in_use FROM pool_exhaust_slots', $in_use), $name);
}

# As many sessions are suspected of a leak, soon.
sub suspects_are
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $n, $name) = @_;

	ok(wait_for($client, 'SELECT count(*) FROM pool_exhaust_leaks', $n), $name)
	  or diag $client->query('SELECT service, rule, held_ms FROM pool_exhaust_leaks');
}

# The pid of the monitor, empty while there is none.
sub monitor_pid
{
	my ($client) = @_;

	return $client->query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pool_exhaust monitor'");
}

# Asks the monitor for a page; a new connection each time.  Parameters: method,
# headers, content.  The result is that of HTTP::Tiny; status 599 means that
# there was no answer.
sub http
{
	my ($port, $path, %params) = @_;
	my $http = HTTP::Tiny->new(timeout => 30, proxy => undef, http_proxy => undef);

	return $http->request(delete $params{method} // 'GET', "http://127.0.0.1:$port$path", \%params);
}

# What a page says that is JSON; undef if it is not.
sub http_json
{
	my ($port, $path) = @_;

	return eval { JSON::PP::decode_json(http($port, $path)->{content}) };
}

# The samples of /metrics, by name and labels as they stand there, without
# "pool_exhaust_".
sub http_metrics
{
	my ($port) = @_;

	return { http($port, '/metrics')->{content} =~ /^pool_exhaust_(\w+(?:\{.*\})?) (\S+)$/mg };
}

# The refusal ledger without its zeros, "cause count" in the order of causes.
sub refusals
{
	my ($client) = @_;

	return $client->query("SELECT coalesce(string_agg(cause || ' ' || refusals, ', '), 'none')
		FROM pool_exhaust_refusals WHERE refusals > 0");
}

# Makes the machine much too busy, for so many seconds at most; the processes that do
# so, which are to be killed.
sub busy_machine
{
	my ($at_most_s, $per_core) = @_;
	my $cores = () = slurp_file('/proc/cpuinfo') =~ /^processor\b/mg;
	my @pids;

	foreach (1 .. ($per_core // $busy_per_core) * $cores)
	{
		my $pid = fork // die "could not fork: $!";
		if (!$pid)
		{
			my $end = time + $at_most_s;
			my $parent = getppid;
			POSIX::setsid();    # or Linux gives all of them together the share of one session
			while (time < $end && getppid == $parent) { my $n = 0; $n++ foreach 1 .. 1e6; }
			POSIX::_exit(0);
		}
		push @pids, $pid;
	}
	return @pids;
}

# Runs a scenario to its end, on its default target if that is undef; its
# report, or dies.
sub report_of
{
	my ($client, $scenario, $target, %options) = @_;
	my $options = JSON::PP->new->canonical->encode(\%options);

	$target = defined $target ? "'$target'" : 'NULL';
	$client->query('SET pool_exhaust.progress = off');
	return JSON::PP::decode_json($client->query("SELECT pool_exhaust_run('$scenario', $target, '$options', 'json')")
		  // die $client->message);
}

# Did the run of this report prove nothing, as the machine was too busy, or as chance left it nothing to prove?
sub proved_nothing
{
	my ($report) = @_;

	return 0 if $report->{verdict} ne 'invalid' || $report->{reason} !~ /the machine was too busy|the loop woke up|no request of the bursts had to wait|the pool was never full|could not be kept at \d+ % utilization/;
	diag "run $report->{run_id}, $report->{scenario}: $report->{reason}";
	return 1;
}

# Measures, and again as long as that proved nothing; what the last report was.
sub until_proved
{
	my ($measure) = @_;
	my $report;

	foreach (1 .. $measurements)
	{
		$report = $measure->();
		last if !proved_nothing($report);
	}
	return $report;
}

# Runs it until it proves something; the id of the last run.
sub run_scenario
{
	my @run = @_;

	return until_proved(sub { report_of(@run) })->{run_id};
}

# The verdict of a run at this moment, with its reason if it has one.
sub run_outcome
{
	my ($client, $run_id) = @_;

	return $client->query("SELECT concat_ws(': ', verdict, reason) FROM pool_exhaust_runs WHERE id = $run_id");
}

# Waits for a run; its verdict, or the error.
sub verdict_of
{
	my ($client, $run_id) = @_;

	return $client->query("SELECT pool_exhaust_wait($run_id, '3 min')") // $client->message;
}

# Waits until a run has come to this phase and returns its id; "more" is a
# condition on the other columns of pool_exhaust_progress.
sub in_progress
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $phase, $name, $more) = @_;

	$more //= 'true';
	ok( wait_for(
			$client,
			"SELECT count(*) FROM pool_exhaust_progress WHERE phase = '$phase' AND $more", 1),
		$name);
	return $client->query('SELECT max(run_id) FROM pool_exhaust_progress');
}

# The run is over at this moment: with this verdict and reason, and nothing of
# it is left.
sub run_ends
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $run_id, $verdict, $name) = @_;

	is(run_outcome($client, $run_id) =~ s/; the loop woke up .*//r, $verdict, "$name: verdict and reason");
	is( $client->query("SELECT (SELECT count(*) FROM pg_stat_activity
				WHERE usename ~ '^pool_exhaust_[0-9]+\$') || ' sessions, '
			|| (SELECT count(*) FROM pg_roles
				WHERE rolname ~ '^pool_exhaust_[0-9]+\$') || ' roles, '
			|| (SELECT count(*) FROM pool_exhaust_progress
				WHERE run_id = $run_id) || ' runs'"),
		'0 sessions, 0 roles, 0 runs', "$name: nothing is left");
}

# Checks whose outcome does not follow from their numbers, or that have an operator
# that is not known here; none, if all is well.
sub wrong_outcomes
{
	my ($client) = @_;

	return $client->query(q(
		SELECT coalesce(string_agg(concat_ws(' ', run_id, name, operator, expected_num, tolerance, observed_num, outcome), ', '), '')
		FROM pool_exhaust_checks
		WHERE operator IS NOT NULL
		  AND outcome IS DISTINCT FROM CASE CASE operator
			WHEN '=' THEN observed_num = expected_num AND tolerance IS NULL
			WHEN '+=' THEN observed_num = expected_num AND tolerance IS NULL
			WHEN '<=' THEN observed_num <= expected_num AND tolerance IS NULL
			WHEN '>=' THEN observed_num >= expected_num AND tolerance IS NULL
			WHEN '+-' THEN abs(observed_num - expected_num) <= tolerance
			WHEN '+= up to' THEN observed_num BETWEEN expected_num AND expected_num + tolerance
			WHEN 'up to' THEN observed_num BETWEEN expected_num AND expected_num + tolerance
			END WHEN true THEN 'pass' WHEN false THEN 'fail' END));
}

# The end of every suite.  Processes that the suite itself killed are allowed
# to be "terminated by signal", as often as "killed" says.
sub left_nothing
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($node, %params) = @_;
	my $name = $node->name;

	ok( $node->poll_query_until(
			'postgres',
			"SELECT count(*) FROM pg_stat_activity
			 WHERE pid <> pg_backend_pid() AND backend_type IN ('client backend', 'pool_exhaust runner')", 0),
		"$name: no session and no runner is left");
	is( $node->safe_psql('postgres', "SELECT rolname FROM pg_roles WHERE rolname LIKE 'pool\\_exhaust\\_%'"),
		'', "$name: no role is left");
	if (!$params{not_preloaded})
	{
		is($node->safe_psql('postgres', 'SELECT * FROM pool_exhaust_progress'),
			'', "$name: no run is left");
		is($node->safe_psql('postgres', 'SELECT * FROM pool_exhaust_holds'),
			'', "$name: no hold is left");
		ok( $node->poll_query_until('postgres', 'SELECT in_use FROM pool_exhaust_slots', 1),
			"$name: no slot is left in use");
	}

	# The monitor ends with 1 whenever it ends, so that it is started again; a sweeper
	# does when the server is stopped while it works.
	my $log = slurp_file($node->logfile);
	my %stopped = map { $_ => 1 }
	  $log =~ /\[(\d+)\].*FATAL: +terminating background worker "pool_exhaust sweeper" due to administrator command/g;
	my @bad = grep { !(/\(PID (\d+)\) exited/ && $stopped{$1}) }
	  grep { /PANIC:|TRAP:|terminated by signal|"pool_exhaust (?!monitor").*exited with exit code 1/ } split /\n/, $log;
	is(scalar(@bad), $params{killed} // 0, "$name: nothing crashed") or diag join("\n", @bad);

	# No test may lose a session to the healer that did not ask for it.
	my @healed = $log =~ /pool_exhaust: terminated session \d+ of "(.*?)", by strategy/gs;
	@healed = grep { $_ !~ $heals{$name} } @healed if defined $heals{$name};
	is(join(', ', @healed), '', "$name: no other session was ended");
}

# A client that speaks the frontend/backend protocol, version 3.0.
package PoolExhaust::Client;

use Digest::MD5 qw(md5_hex);
use IO::Select;
use IO::Socket::IP;
use IO::Socket::UNIX;
use List::Util qw(max);
use Time::HiRes qw(time);

# Parameters: user, database, application_name, replication, as in a startup
# packet; silent => 1 sends none, tcp => 1 comes over TCP, from => '127.0.0.2' too,
# from that address.  A login that is asked
# for a password stalls there: "stalled" is true; with password => '...' it gives
# that, if it is asked for by md5 or in clear text.
sub new
{
	my ($class, $node, %params) = @_;
	my ($tcp, $from) = delete @params{qw(tcp from)};
	my $host = !$tcp && !$from ? $node->host : ($from // '') =~ /:/ ? '::1' : '127.0.0.1';
	my $socket = $tcp || $from
	  ? IO::Socket::IP->new(Proto => 'tcp', PeerHost => $host, PeerPort => $node->port, $from ? (LocalHost => $from) : ())
	  : IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "$host/.s.PGSQL." . $node->port);
	die "could not connect to port " . $node->port . " of $host: $!" if !$socket;
	my $self = bless { node => $node, socket => $socket, input => '', notified => [] }, $class;

	return $self if delete $params{silent};
	$params{user}     //= getpwuid($>);
	$self->{user} = $params{user};
	$self->{password} = delete $params{password};
	$params{database} //= 'postgres';
	my $packet = pack('N', 196608) . join('', map { "$_\0$params{$_}\0" } sort keys %params) . "\0";
	$self->_write(pack('N', 4 + length $packet) . $packet);
	$self->_read_until_ready;
	return $self;
}

# Sends a query and does not wait for its end.
sub send
{
	my ($self, $sql) = @_;

	$self->_write('Q' . pack('N', 5 + length $sql) . "$sql\0");
}

# Waits for the end of a query; the rows as psql -At shows them, or undef if
# it failed.
sub result
{
	my ($self) = @_;

	$self->_read_until_ready;
	return $self->{error} ? undef : join("\n", @{ $self->{rows} });
}

# The same, and how late this process woke up meanwhile, at the worst, in ms.  It
# asks to be woken every few milliseconds, so others were as late at that time.
sub result_and_lateness
{
	my ($self) = @_;
	my $select = IO::Select->new($self->{socket});
	my ($step, $late) = (0.005, 0);

	for (;;)
	{
		my $begun = time;
		last if $select->can_read($step);
		$late = max($late, time - $begun - $step);
	}
	return ($self->result, 1000 * $late);
}

sub query
{
	my ($self, $sql) = @_;

	$self->send($sql);
	return $self->result;
}

# Waits until this many notifications have come, and takes them: their payloads.
sub notifications
{
	my ($self, $n) = @_;

	while (@{ $self->{notified} } < $n)
	{
		my ($type) = $self->_read_message;
		die 'the server closed the connection' if !defined $type;
	}
	return splice @{ $self->{notified} }, 0, $n;
}

# Takes the notices that have come: their messages.
sub notices
{
	my ($self) = @_;

	return @{ delete $self->{notices} // [] };
}

# Message, detail and hint of the last error.
sub message
{
	my ($self) = @_;

	return $self->{error} ? join("\n", grep { defined } @{ $self->{error} }{qw(M D H)}) : '';
}

# Says good-bye; the slot is free a little later.
sub close
{
	my ($self) = @_;

	$self->_write('X' . pack('N', 4));
	$self->vanish;
}

# Goes away without a word.
sub vanish
{
	my ($self) = @_;

	CORE::close($self->{socket});
}

# What another session sees of the server: its runs, processes and locks that are waited for.
sub _what_it_does
{
	my ($self) = @_;

	return 'nor does it answer another session' if $self->{asks};
	my $other = eval { PoolExhaust::Client->new($self->{node}) } // return "no other session is granted: $@";
	$other->{asks} = 1;
	return join "\n", map { $other->query($_) // $other->message } 'SELECT p FROM pool_exhaust_progress AS p',
	  "SELECT concat_ws(' | ', pid, backend_type, usename, state, backend_start, wait_event_type, wait_event, query) FROM pg_stat_activity",
	  'SELECT l FROM pg_locks AS l WHERE NOT granted';
}

sub _write
{
	my ($self, $bytes) = @_;

	# A server that has gone already shows at the next read.
	syswrite $self->{socket}, $bytes;
}

# The answer to an authentication request; false if it is none that can be answered.
sub _give_password
{
	my ($self, $body) = @_;
	my ($how, $salt) = unpack 'Na*', $body;
	my $password = $self->{password} // return 0;

	return 0 if $how != 3 && $how != 5;
	$password = 'md5' . md5_hex(md5_hex("$password$self->{user}") . $salt) if $how == 5;
	$self->_write('p' . pack('N', 5 + length $password) . "$password\0");
	return 1;
}

sub _read
{
	my ($self, $length) = @_;

	while (length $self->{input} < $length)
	{
		# A signal, as of a child that was stopped, interrupts the wait.
		my $end = time + $PostgreSQL::Test::Utils::timeout_default;
		until (IO::Select->new($self->{socket})->can_read($end - time))
		{
			die "timed out waiting for the server\n" . $self->_what_it_does if !$!{EINTR} || time >= $end;
		}
		my $n = sysread $self->{socket}, $self->{input}, 8192, length $self->{input};
		return undef if !$n;
	}
	return substr $self->{input}, 0, $length, '';
}

# The type of the next message and the rest of it, nothing at the end.
# Notifications and notices come at any time, and are collected.
sub _read_message
{
	my ($self) = @_;
	my ($type, $length) = unpack 'aN', $self->_read(5) // return;
	my $body = $self->_read($length - 4) // return;

	push @{ $self->{notified} }, (split /\0/, substr($body, 4))[1] if $type eq 'A';
	push @{ $self->{notices} }, map { /^M(.*)/s } split /\0/, $body if $type eq 'N';
	return ($type, $body);
}

sub _read_until_ready
{
	my ($self) = @_;

	delete @$self{qw(error stalled)};
	$self->{rows} = [];
	for (;;)
	{
		my ($type, $body) = $self->_read_message;

		if (!defined $body)
		{
			$self->{error} //= { C => '08006', M => 'the server closed the connection' };
			return;
		}
		if ($type eq 'E')
		{
			$self->{error} = { map { substr($_, 0, 1) => substr($_, 1) } grep { length } split /\0/, $body };
			# PgBouncer has only the old field for the severity.
			return if ($self->{error}{V} // $self->{error}{S}) =~ /FATAL|PANIC/;
		}
		elsif ($type eq 'T')
		{
			my ($columns, @columns) = unpack 'n(Z*x18)*', $body;
			$self->{columns} = \@columns;
		}
		elsif ($type eq 'D')
		{
			my ($columns, @row) = unpack 'n', substr $body, 0, 2, '';
			for (1 .. $columns)
			{
				my $n = unpack 'l>', substr $body, 0, 4, '';
				push @row, $n < 0 ? '' : substr $body, 0, $n, '';
			}
			push @{ $self->{rows} }, join '|', @row;
		}
		elsif ($type eq 'R')
		{
			$self->{stalled} = unpack('N', $body) != 0;
			return if $self->{stalled} && !$self->_give_password($body);
		}
		elsif ($type eq 'Z')
		{
			return;
		}
	}
}

1;
