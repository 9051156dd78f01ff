# Scenario backpressure: the reference API, with each of its faults, and HTTP
# services that are bad in ways of their own.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use IO::Select;
use IO::Socket::INET;
use IPC::Run ();
use JSON::PP ();
use POSIX ();
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Socket qw(SOL_SOCKET SO_LINGER);
use Test::More;
use Time::HiRes qw(time);

my $node = new_server('backpressure', conf => q(
max_connections = 60
max_worker_processes = 20
autovacuum = off
));
my $watcher = client($node);
my $json = JSON::PP->new->canonical;
my %servers;    # pids of those that this suite has started

END
{
	my $status = $?;
	kill 'KILL', keys %servers if %servers && ($$ == (values %servers)[0]);
	$? = $status;
}

sub run_of
{
	my ($function, $target, %options) = @_;

	return "SELECT $function('backpressure', '$target', '" . $json->encode(\%options) . "')";
}

# Runs it and returns "verdict: reason".
sub outcome
{
	my ($target, %options) = @_;
	my $run_id = $watcher->query(run_of('pool_exhaust_start', $target, %options));

	return $watcher->message if !$run_id;
	verdict_of($watcher, $run_id);
	return run_outcome($watcher, $run_id);
}

sub report
{
	return $watcher->query('SELECT pool_exhaust_report()');
}

# ---------- The reference API ----------

is(outcome('pool'), 'pass', 'the reference API passes') or diag report();
my $report = report();
like($report, $_, "its report: $_")
  foreach qr/SQL +4 timed out/, qr/53300 role_limit/, qr/press .* 429 \d+ +503 \d+|press .* 503 \d+ +429 \d+/,
  qr/retry +\d+ s after a 503 \/work answers 200/, qr/retry +\d+ s after a 429 \/limited answers 200/;
is(outcome('pool', max_waiting => 2), 'pass', 'and with a limit of waiting clients') or diag report();

my %faults = (
	http_500 => 'server errors (5xx but 503)',
	http_no_retry_after => 'refusals without Retry-After',
	http_hang => 'requests without an answer',
	http_html_error => 'errors as HTML pages',
	liveness_down => 'liveness: not 200',
	http_retry_too_soon => 'status of the retry after 503',
	miscount => 'requests not accounted for',
	no_limit => 'served by a full pool',
	ignore_timeout => 'SQL: timed out',
	early_timeout => 'SQL: earliest timeout');
foreach my $fault (sort keys %faults)
{
	like(outcome('pool', fault => $fault), qr/^fail: failed: .*\Q$faults{$fault}\E/, "fault $fault breaks: $faults{$fault}")
	  or diag report();
}
is(outcome('pool', fault => 'lifo'), 'invalid: the deliberate fault broke nothing: this scenario does not try what it concerns',
	'a fault of another scenario proves nothing');
fails_with($watcher, run_of('pool_exhaust_run', 'pool', role_limit => 3), '22023',
	[ qr/never comes to a role_limit of 3/ ], 'a role_limit that is never reached');

# ---------- Services that are bad without load ----------

my $names = 0;

# A foreign server of kind http; returns its name.
sub service
{
	my ($url, %options) = @_;
	my $name = 'service_' . ++$names;

	$options{path} //= '/work';
	$watcher->query("CREATE SERVER $name FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'http', url '$url'"
		  . join('', map { ", $_ '$options{$_}'" } sort keys %options) . ')');
	die $watcher->message if $watcher->{error};
	return $name;
}

sub listener
{
	return IO::Socket::INET->new(Listen => 200, LocalAddr => '127.0.0.1', Proto => 'tcp') // die "could not listen: $!";
}

# A process of its own; returns the URL that it answers.
sub forked
{
	my ($listener, $scheme, $serve) = @_;
	my $pid = fork // die "could not fork: $!";

	if (!$pid)
	{
		%servers = ();
		eval { $serve->($listener) };
		POSIX::_exit(0);
	}
	$servers{$pid} = $$;
	return "$scheme://127.0.0.1:" . $listener->sockport;
}

# Each connection is answered by a process of its own, which ends with it.
sub one_by_one
{
	my ($answer, $scheme) = @_;

	return forked(
		listener(),
		$scheme // 'http',
		sub {
			my ($listener) = @_;

			$SIG{CHLD} = 'IGNORE';
			while (1)
			{
				# A client that left before it was accepted is no reason to close.
				my $socket = $listener->accept or next;
				next if fork // die "could not fork: $!";
				close $listener;
				$SIG{PIPE} = 'IGNORE';
				alarm $PostgreSQL::Test::Utils::timeout_default;
				$answer->($socket);
				POSIX::_exit(0);
			}
		});
}

sub request
{
	my ($socket) = @_;
	my $request = '';

	while ($request !~ /\r\n\r\n/)
	{
		sysread($socket, $request, 4096, length $request) or return;
	}
	return $request;
}

# Until the client has gone.
sub hang
{
	my ($socket) = @_;

	while (sysread $socket, my $bytes, 4096) { }
}

sub say_to
{
	my ($socket, @text) = @_;

	syswrite $socket, $_ or last foreach @text;
}

# The port is reserved, and refuses connections.
my $down = IO::Socket::INET->new(LocalAddr => '127.0.0.1', Proto => 'tcp') // die "could not bind: $!";

my %bad = (
	'is down' => [ 'http://127.0.0.1:' . $down->sockport, qr/connection refused/ ],
	'cuts off' => [
		# Not before the client has seen that it is connected: it writes then.
		one_by_one(sub { sysread $_[0], my $byte, 1; setsockopt $_[0], SOL_SOCKET, SO_LINGER, pack('ii', 1, 0); close $_[0] }),
		qr/closed before the answer was complete/ ],
	'hangs in the handshake' => [ one_by_one(\&hang, 'https'), qr/no TLS handshake in time/ ],
	'hangs after the request' => [ one_by_one(sub { request($_[0]); hang($_[0]) }), qr/no answer in time/ ],
	'closes mid-answer' => [
		one_by_one(sub { request($_[0]); say_to($_[0], "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nten bytes!") }),
		qr/closed before the answer was complete/ ],
	'stops mid-answer' => [
		one_by_one(sub { request($_[0]); say_to($_[0], "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nten bytes!"); hang($_[0]) }),
		qr/only part of an answer in time/ ],
	'speaks PostgreSQL' => [
		one_by_one(sub { request($_[0]); my $e = "SFATAL\0C08P01\0Mno\0\0"; say_to($_[0], 'E' . pack('N', 4 + length $e) . $e) }),
		qr/the answer is not HTTP/ ],
	'speaks no TLS' => [
		one_by_one(sub { sysread $_[0], my $hello, 4096; say_to($_[0], "HTTP/1.1 400 Bad Request\r\n\r\n") }, 'https'),
		qr/no TLS handshake was possible/ ],
	'answers 10 MB of headers' => [
		one_by_one(sub { request($_[0]); say_to($_[0], "HTTP/1.1 200 OK\r\n", map { "X-$_: " . 'x' x 1000 . "\r\n" } 1 .. 10_000) }),
		qr/headers too large/ ],
	'answers one header of 10 MB' => [
		one_by_one(sub { request($_[0]); say_to($_[0], "HTTP/1.1 200 OK\r\nX: ", ('x' x 100_000) x 100) }),
		qr/headers too large/ ],
	'answers 10 MB' => [
		one_by_one(sub { request($_[0]); say_to($_[0], "HTTP/1.1 200 OK\r\n\r\n", ('x' x 100_000) x 100) }),
		qr/body too large/ ],
	'redirects for ever' => [
		one_by_one(sub { request($_[0]); say_to($_[0], "HTTP/1.1 302 Found\r\nLocation: /work\r\nContent-Length: 0\r\n\r\n") }),
		qr/is redirected \(302\)/ ],
	'answers 500 in HTML' => [
		one_by_one(sub { request($_[0]); say_to($_[0], "HTTP/1.1 500 Oops\r\nContent-Type: text/html\r\nContent-Length: 9\r\n\r\n<h1>\e[31m") }),
		qr/does not answer 200 even without load, but: 500 text\/html: <h1>/ ]);

foreach my $what (sort keys %bad)
{
	my ($url, $reason) = @{ $bad{$what} };
	my $begun = time;

	like(outcome(service($url), response_limit_ms => 1000), qr/^invalid: GET \/work .*$reason/, "a service that $what");
	cmp_ok(time - $begun, '<', 30, "a service that $what: in time");
}
like(outcome(service('http://no-such-host.invalid')), qr/^invalid: the host of the service could not be resolved: \w/, 'a host that is not there');

# ---------- Services that are bad under load ----------

# Works on three requests at once, for 50 ms each, and refuses the others as the
# parameter says: by the text of the answer, '' to hang up, undef to let them wait.
# Beside that there are /livez and /other.
sub busy_service
{
	my ($send_away, %pages) = @_;
	my $page = sub {
		my ($status, $body, @headers) = @_;
		return join "\r\n", "HTTP/1.1 $status x", @headers, 'Content-Length: ' . length $body, 'Connection: close', '', $body;
	};

	return forked(
		listener(),
		'http',
		sub {
			my ($listener) = @_;
			my $select = IO::Select->new($listener);
			my (%input, %done, $n);

			$SIG{PIPE} = 'IGNORE';
			for (;;)
			{
				my ($next) = sort { $a <=> $b } values %done;
				foreach my $socket ($select->can_read(defined $next ? ($next > time ? $next - time : 0) : undef))
				{
					if ($socket == $listener)
					{
						my $client = $listener->accept or next;
						$select->add($client);
						next;
					}
					if (!sysread $socket, $input{$socket}, 4096, length($input{$socket} //= ''))
					{
						delete $input{$socket};
						delete $done{ fileno $socket };
						$select->remove($socket);
						close $socket;
						next;
					}
					my ($path) = $input{$socket} =~ /^GET (\S+) .*\r\n\r\n/s or next;
					if ($path ne '/work')
					{
						say_to($socket, $page->(@{ $pages{$path} // [ 200, 'ok' ] }));
					}
					elsif (keys %done < 3)
					{
						$done{ fileno $socket } = time + 0.05;
						next;
					}
					else
					{
						my $answer = $send_away->($page, ++$n) // next;
						say_to($socket, $answer);
					}
					shutdown $socket, 1;
				}
				foreach my $socket (grep { defined fileno $_ && ($done{ fileno $_ } // 9e99) <= time } $select->handles)
				{
					delete $done{ fileno $socket };
					say_to($socket, $page->(200, 'done'));
					shutdown $socket, 1;
				}
			}
		});
}

my @paths = (liveness_path => '/livez', other_path => '/other');
my @json = ('Content-Type: application/json');
my @later = (@json, 'Retry-After: 1');
my $error = '{"error": "busy", "code": 1}';

is(outcome(service(busy_service(sub { $_[0]->(503, $error, @later) }), @paths)), 'pass', 'a service that is good passes')
  or diag report();
is(outcome(service(busy_service(sub { $_[0]->(429, $error, @json, 'Retry-After: ' . POSIX::strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 3))) }))),
	'pass', 'also with 429 and a date, and without other paths')
  or diag report();
like(report(), qr/^skip +liveness.*\n(.*\n)*^skip +other path/m, 'which the report says');

my %bad_under_load = (
	'server errors (5xx but 503), errors as HTML pages' => [ sub { $_[0]->(500, '<h1>Oops</h1>', 'Content-Type: text/html') } ],
	'server errors (5xx but 503)' => [ sub { $_[0]->(504, $error, @later) } ],
	'answers of another kind' => [ sub { $_[0]->(302, '', 'Location: /work') } ],
	'requests without an answer' => [ sub { undef } ],
	'connections that broke' => [ sub { '' } ],
	'refusals without Retry-After' => [ sub { $_[0]->(503, $error, @json) } ],
	'longest Retry-After' => [ sub { $_[0]->(503, $error, @json, 'Retry-After: 86400') } ],
	'errors as HTML pages' => [ sub { $_[0]->(503, '<p>busy', 'Content-Type: text/html', 'Retry-After: 1') } ],
	'one format of errors' => [ sub { $_[0]->(503, $_[1] % 2 ? $error : '{"message": "busy"}', @later) } ]);
foreach my $checks (sort keys %bad_under_load)
{
	is(outcome(service(busy_service(@{ $bad_under_load{$checks} })), response_limit_ms => 1000), "fail: failed: $checks", "under load: $checks")
	  or diag report();
}

# Some say what no Retry-After is.
foreach my $value ('0', 'soon', '-1', '')
{
	is(outcome(service(busy_service(sub { $_[0]->(503, $error, @json, "Retry-After: $value") }))),
		'fail: failed: refusals without Retry-After', "Retry-After: \"$value\"");
}

my $fine = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
like(outcome(service(one_by_one(sub { request($_[0]); say_to($_[0], $fine) }), @paths), clients => 2, tolerance_ms => 5000),
	qr/^invalid: no request was refused, and all were served in time, with 2 clients at once: raise option clients$/, 'no request is refused');

# ---------- TLS and authentication ----------

my $tls = PostgreSQL::Test::Utils::tempdir();
SKIP:
{
	skip 'there is no openssl', 2
	  if !IPC::Run::run([ 'openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=localhost',
			'-addext', 'subjectAltName=DNS:localhost', '-keyout', "$tls/key", '-out', "$tls/cert" ], '<', \undef, '>&', \my $output);
	my $port = do { my $l = listener(); $l->sockport };
	my $pid = fork // die "could not fork: $!";

	if (!$pid)
	{
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', '/dev/null';
		exec 'openssl', 's_server', '-accept', "127.0.0.1:$port", '-www', '-cert', "$tls/cert", '-key', "$tls/key" or POSIX::_exit(1);
	}
	$servers{$pid} = $$;
	wait_until(sub { IO::Socket::INET->new("127.0.0.1:$port") ? 'up' : "$!" }, 'up', 'openssl s_server');
	like(outcome(service("https://localhost:$port"), clients => 2), qr/^invalid: GET \/work .*the certificate is not to be trusted/, 'a bad certificate');
	unlike(outcome(service("https://localhost:$port", sslrootcert => "$tls/cert"), clients => 2), qr/without load/, 'a good one');
}

my $locked = service(one_by_one(sub {
	my $request = request($_[0]);
	say_to($_[0], $request =~ /^Authorization: Basic YXBwOnNlc2FtZQ==\r$/m ? $fine : "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n");
}));
like(outcome($locked, clients => 2), qr/^invalid: GET \/work does not answer 200 even without load, but: 401/, 'a service that asks for a password');
$watcher->query("CREATE USER MAPPING FOR CURRENT_USER SERVER $locked OPTIONS (user 'app', password 'sesame')");
like(outcome($locked, clients => 2), qr/^invalid: no request was refused/, 'with the password of the user mapping');
is($watcher->query("SELECT count(*) FROM pool_exhaust_runs WHERE reason || options || summary LIKE '%sesame%'"), 0, 'no password in a report');

# ---------- Ends ----------

# A service that hangs does not keep a run from ending.
my $hanging = service(busy_service(sub { undef }));
my $run_id = $watcher->query(run_of('pool_exhaust_start', $hanging, response_limit_ms => 60_000));
in_progress($watcher, 'press', 'a run waits for answers that do not come');
is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'it is stopped');
run_ends($watcher, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'it ends');

# And so it is with the reference API, wherever it is.
foreach my $phase ('baseline', 'SQL', 'press', 'retry')
{
	my %long = (baseline => { baseline_ms => 30_000 }, SQL => { pool_timeout_ms => 15_000 }, press => { exhaust_ms => 30_000 },
		retry => { baseline_ms => 10, work_ms => 50, pool_timeout_ms => 1000 });
	my $run_id = $watcher->query(run_of('pool_exhaust_start', 'pool', %{ $long{$phase} }));

	in_progress($watcher, $phase, "$phase: it is there");
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, "$phase: it is stopped");
	run_ends($watcher, $run_id, 'aborted: stopped by pool_exhaust_stop()', $phase);
}

kill 'TERM', keys %servers;
waitpid $_, 0 foreach keys %servers;
%servers = ();
$watcher->close;
left_nothing($node);
done_testing();
