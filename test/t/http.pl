# HTTP from clients that mean no good: each is answered or dropped, no other
# client is kept waiting, the monitor stays what it was, and no page says too much.
use strict;
use warnings FATAL => 'all';

use Encode ();
use FindBin;
use lib $FindBin::RealBin;
use IO::Select;
use IO::Socket::INET;
use Page;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Socket qw(IPPROTO_TCP TCP_NODELAY);
use Test::More;
use Time::HiRes qw(time);

$SIG{PIPE} = 'IGNORE';

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = new_server('http', conf => qq(
max_connections = 60
autovacuum = off
pool_exhaust.http_port = $port
));
my $watcher = client($node);
my @pages = ('/livez', '/readyz', '/metrics', '/pools', '/report', '/explain', '/incidents', '/incident');
my $end = "Host: localhost\r\nConnection: close\r\n\r\n";

sub connected
{
	return IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) // die "could not connect: $!";
}

# Sends all of it, as far as the other side takes it.
sub put
{
	my ($socket, $bytes) = @_;

	while (length $bytes)
	{
		my $n = syswrite($socket, $bytes) // return;
		substr $bytes, 0, $n, '';
	}
}

# Reads to the end, or until the pattern has come.
sub get
{
	my ($socket, $until) = @_;
	my $bytes = '';

	while (!defined $until || $bytes !~ $until)
	{
		IO::Select->new($socket)->can_read($PostgreSQL::Test::Utils::timeout_default) or die "timed out after: $bytes";
		return $bytes if !sysread $socket, $bytes, 65536, length $bytes;
	}
	return $bytes;
}

# What a connection of its own answers to this.
sub talk
{
	my $socket = connected();

	put($socket, $_[0]);
	return get($socket);
}

sub is_utf8
{
	my ($bytes) = @_;

	return eval { Encode::decode('UTF-8', $bytes, Encode::FB_CROAK); 1 };
}

ok(wait_until(sub { http($port, '/livez')->{status} }, 200, '/livez'), 'it answers');
my $pid = monitor_pid($watcher);

sub descriptors { return scalar(my @fds = glob "/proc/$pid/fd/*") }
sub memory { return slurp_file("/proc/$pid/status") =~ /^RssAnon:\s+(\d+) kB/m ? $1 : die 'no RssAnon' }
my $descriptors = descriptors();
my $memory = memory();
cmp_ok($descriptors, '>', 5, 'its descriptors can be counted');

# ---------- Methods and paths ----------

foreach my $page (@pages)
{
	my $get = http($port, $page);
	my $head = talk("HEAD $page HTTP/1.1\r\n$end");

	is($get->{status}, 200, "GET $page");
	like($head, qr/\AHTTP\/1\.1 200 OK\r\n.*\r\n\r\n\z/s, "HEAD $page: no body");
	like($head, qr/^Content-Length: [1-9]\d*\r$/m, "HEAD $page: but its length");
	is($get->{headers}{'cache-control'}, 'no-store', "GET $page: not to be kept");
	foreach my $method ('POST', 'PUT', 'DELETE', 'OPTIONS', 'BREW')
	{
		my $answer = http($port, $page, method => $method, content => 'x' x 1000);

		is($answer->{status}, 405, "$method $page");
		is($answer->{headers}{allow}, 'GET, HEAD', "$method $page: what is allowed");
		ok(JSON::PP::decode_json($answer->{content})->{error}, "$method $page: why");
	}
}
foreach my $path ('/', '/metric', '/metrics/', '/METRICS', '/../metrics', '//metrics', '/pools/x', '/favicon.ico')
{
	my $answer = http($port, $path);

	is($answer->{status}, 404, "no $path");
	ok(JSON::PP::decode_json($answer->{content})->{error}, "no $path: why");
}
is(http($port, '/readyz?verbose=1')->{status}, 200, 'a query string is ignored');
is(http_json($port, '/')->{error}, 'there are ' . join(', ', @pages[0 .. $#pages - 1]) . " and $pages[-1]", 'the pages that there are');
foreach ([ '', 1 ], [ '?', 1 ], [ '?refresh=1', 1 ], [ '?refresh', 1 ], [ '?other=0', 1 ], [ '?refresh=0', 0 ], [ '?refresh=0&refresh=1', 0 ])
{
	my ($query, $refreshes) = @$_;

	is(scalar(() = http($port, "/report$query")->{content} =~ /<meta http-equiv="refresh" content="5">/g), $refreshes, "/report$query: does it refresh?");
}
like(http($port, '/metrics', headers => { Accept => 'application/openmetrics-text;version=1.0.0,text/plain;q=0.5' })->{headers}{'content-type'},
	qr/^application\/openmetrics-text; version=1\.0\.0; charset=utf-8$/, 'OpenMetrics for a client that asks for it');
foreach my $accept ('*/*', 'text/html', 'text/plain;version=0.0.4', '')
{
	is(http($port, '/metrics', headers => { Accept => $accept })->{headers}{'content-type'},
		'text/plain; version=0.0.4; charset=utf-8', 'the older format for the others');
}

# ---------- Names that lead here ----------

my %hosts = (
	(map { $_ => 200, "$_:$port" => 200 } 'localhost', 'LocalHost', 'localhost.', '127.0.0.1', '127.3.2.1', '[::1]', '[::ffff:127.0.0.1]'),
	(map { $_ => 403, "$_:$port" => 403 } 'evil.example', 'localhost.evil.example', '127.0.0.1.evil.example', 'notlocalhost', '10.0.0.1',
		'0.0.0.0', '[::2]', '[::ffff:10.0.0.1]', '[::1', '::1', '127.0.0.1:8x', 'localhost..', '[]', '', '.', "localhost\t.evil.example",
		'127.0.0.1@evil.example', 'a' x 10_000));
foreach my $host (sort keys %hosts)
{
	my $answer = talk("GET /pools HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n\r\n");
	my $name = substr "Host: $host", 0, 60;

	like($answer, qr/\AHTTP\/1\.1 $hosts{$host} /, $name);
	like($answer, $hosts{$host} == 200 ? qr/"name": "server"/ : qr/\r\n\r\n\{"error": "Host is neither localhost [^"]*"\}\n\z/, "$name: what it says");
}

# ---------- What is no request, or hardly one ----------

my $refused = qr/\A(?:HTTP\/1\.1 (?:400|413|414|431|501|505) .*)?\z/s;
my $anything = qr/\A(?:HTTP\/1\.1 [2345]\d\d .*)?\z/s;
my @odd = (
	[ 'garbage', "garbage\r\n\r\n", $refused ],
	[ 'no path', "GET\r\n\r\n", $refused ],
	[ 'no version', "GET /livez\r\n\r\n", $refused ],
	[ 'version 9', "GET /livez HTTP/9.9\r\n$end", $refused ],
	[ 'HTTP/2', "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", $refused ],
	[ 'a header of 100 kB', "GET /livez HTTP/1.1\r\nX: " . 'a' x 100_000 . "\r\n$end", $refused ],
	[ '5,000 headers', "GET /livez HTTP/1.1\r\n" . join('', map { "X-$_: y\r\n" } 1 .. 5000) . $end, $refused ],
	[ 'a path of 100 kB', 'GET /' . 'a' x 100_000 . " HTTP/1.1\r\n$end", $refused ],
	[ 'a NUL in the path', "GET /\0 HTTP/1.1\r\n$end", $anything ],
	[ 'a NUL in a header', "GET /livez HTTP/1.1\r\nX: a\0b\r\n$end", $anything ],
	[ 'high bytes', "GET /\xff\xfe\x80 HTTP/1.1\r\nX: \xff\r\n$end", $anything ],
	[ 'no colon', "GET /livez HTTP/1.1\r\nXa\r\n$end", $refused ],
	[ 'HTTP/1.0 without Host', "GET /livez HTTP/1.0\r\n\r\n", qr/\AHTTP\/1\.\d 200 .*\r\n\r\nok\n\z/s ],
	[ 'HTTP/1.1 without Host', "GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n", $anything ],
	[ 'line feeds alone', "GET /livez HTTP/1.1\nHost: localhost\nConnection: close\n\n", $anything ],
	[ 'a body of GET', "GET /livez HTTP/1.1\r\nContent-Length: 5\r\n${end}hello", qr/\AHTTP\/1\.1 200 .*ok\n\z/s ],
	[ 'a body of POST', "POST /livez HTTP/1.1\r\nContent-Length: 5\r\n${end}hello", qr/\AHTTP\/1\.1 405 /s ],
	[ 'a long body', "POST /livez HTTP/1.1\r\nContent-Length: 1000000\r\n$end" . 'x' x 1_000_000, qr/\A(?:HTTP\/1\.1 405 .*)?\z/s ],
	[ 'a body that never comes', "POST /livez HTTP/1.1\r\nContent-Length: 9999999999\r\n$end", qr/\AHTTP\/1\.1 405 /s ],
	[ 'a length that is none', "POST /livez HTTP/1.1\r\nContent-Length: -1\r\n$end", $refused ],
	[ 'a length beyond all numbers', "GET /livez HTTP/1.1\r\nContent-Length: " . '9' x 50 . "\r\n$end", $refused ],
	[ 'chunks', "POST /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n${end}5\r\nhello\r\n0\r\n\r\n", qr/\AHTTP\/1\.1 405 /s ],
	[ 'chunks of GET', "GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n${end}5\r\nhello\r\n0\r\n\r\n", qr/\AHTTP\/1\.1 200 .*ok\n\z/s ],
	[ 'chunks that are none', "GET /livez HTTP/1.1\r\nTransfer-Encoding: chunked\r\n${end}zz\r\nhello\r\n", $refused ],
	[ 'another protocol', "GET /livez HTTP/1.1\r\nUpgrade: h2c\r\nHost: localhost\r\nConnection: Upgrade, close\r\n\r\n", qr/\AHTTP\/1\.1 200 .*ok\n\z/s ],
);
foreach (@odd)
{
	my ($name, $bytes, $expected) = @$_;

	like(talk($bytes), $expected, $name);
	is(http($port, '/livez')->{content}, "ok\n", "$name: others are answered as before");
}

# ---------- Clients that take their time, or none ----------

my $answers = talk(join('', map { "GET $pages[$_ % 5] HTTP/1.1\r\nHost: localhost\r\n\r\n" } 1 .. 49) . "GET /last HTTP/1.1\r\n$end");
is( join(' ', $answers =~ /^HTTP\/1\.1 (\d+) /mg), join(' ', (200) x 49, 404), 'fifty requests at once are all answered');
is( join(' ', $answers =~ /^(ok$|\{"health"|# EOF|\[\{"name"|<!DOCTYPE|\{"error")/mg),
	join(' ', (map { ('ok', '{"health"', '# EOF', '[{"name"', '<!DOCTYPE')[ $_ % 5 ] } 1 .. 49), '{"error"'), 'and in their order');

my $slow = connected();
setsockopt $slow, IPPROTO_TCP, TCP_NODELAY, 1;
foreach (split //, "GET /livez HTTP/1.1\r\n$end")
{
	put($slow, $_);
	http($port, '/livez') if /\n/;
}
like(get($slow), qr/\AHTTP\/1\.1 200 .*\r\n\r\nok\n\z/s, 'byte by byte');

my $half = connected();
put($half, "GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
shutdown $half, 1;
like(get($half, qr/\}\n\z/), qr/\AHTTP\/1\.1 200 .*"health": "healthy"/s, 'a client that says no more gets its answer');
close $half;

my $faithful = connected();
sub faithful
{
	put($faithful, "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
	return get($faithful, qr/\r\n\r\nok\n\z/);
}
like(faithful(), qr/\AHTTP\/1\.1 200 /, "a connection is used, request $_") foreach 1 .. 3;

# ---------- More of them than there is room for ----------

# Hard limits are seldom below this; if they are, so many fewer clients come.
system "prlimit --pid $$ --nofile=2000:" if slurp_file('/proc/self/limits') =~ /^Max open files +(\d+)/m && $1 < 1200;
my @idle;
my $slowest = 0;
my $most = 0;
while (@idle < 1000)
{
	push @idle, IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port) // last;
	next if @idle % 50;
	my $start = time;
	is(http($port, '/readyz')->{status}, 200, scalar(@idle) . ' idle clients: it answers');
	$slowest = time - $start if $slowest < time - $start;
	$most = descriptors() if $most < descriptors();
	like(faithful(), qr/\AHTTP\/1\.1 200 /, scalar(@idle) . ' idle clients: one that asks now and then may stay');
}
cmp_ok(scalar(@idle), '>=', 300, 'idle clients');
cmp_ok($slowest, '<', 1, 'it answered each time within a second');
cmp_ok($most, '<=', $descriptors + 256, 'it keeps only so many');
is(get($idle[0]), '', 'the quietest had to go');
put($idle[-1], "GET /livez HTTP/1.1\r\n$end");
like(get($idle[-1]), qr/\AHTTP\/1\.1 200 /, 'the latest stays');
close $_ foreach splice @idle;

foreach my $i (1 .. 1000)
{
	my $socket = connected();
	put($socket, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n") if $i % 2;
	close $socket;
	is(http($port, '/livez')->{status}, 200, "$i clients came and vanished: it answers") if $i % 100 == 0;
}
close $faithful;
ok( wait_until(sub { descriptors() < $descriptors + 5 ? 'few' : 'many' }, 'few', 'descriptors of the monitor'),
	'all of them are gone, and their descriptors');

# ---------- No descriptor is left ----------

# The soft limit of the monitor alone, as if others had taken the rest.
sub limit_descriptors
{
	is(system_log('prlimit', '--pid', $pid, "--nofile=$_[0]:"), 0, "the monitor may have $_[0] descriptors");
}

sub free_below { return scalar(grep { !-l "/proc/$pid/fd/$_" } 0 .. $_[0] - 1) }
sub accept_errors { return scalar(my @lines = slurp_file($node->logfile) =~ /could not accept an HTTP connection: /g) }
my ($nofile) = slurp_file("/proc/$pid/limits") =~ /^Max open files +(\d+)/m;
is(accept_errors(), 0, 'it has always had descriptors so far');
foreach my $free (0, 5)
{
	my $max = 0;
	$max++ while free_below($max + 1) <= $free;
	limit_descriptors($max);
	@idle = map { connected() } 1 .. 60;
	ok(wait_until(\&accept_errors, 1, 'errors of accept'), "$free descriptors free: it is logged");
	ok(wait_until(sub { free_below($max) }, 0, 'free descriptors'), "$free descriptors free: all are in use");
	close $_ foreach splice @idle;
	limit_descriptors($nofile) if !$free;
	is(http($port, '/livez')->{content}, "ok\n", "$free descriptors free: it answers when the clients are gone");
}
limit_descriptors($nofile);
is(accept_errors(), 1, 'no descriptors: logged once');
is(monitor_pid($watcher), $pid, 'no descriptors: it is the same monitor');

# ---------- What the pages say ----------

# The name of a role or database can be anything.
my @names = ('plain', q(it's "quoted"), 'back\\slash\\', name_in($node, "new\nline"), "tab\tand\x01control\x7f", "caf\xc3\xa9 \xe2\x98\x83", '{a="b"} 1', '<script>', '$(reboot)', 'x' x 63);
foreach my $name (@names)
{
	my $quoted = $name =~ s/"/""/gr;
	$watcher->query(qq(CREATE ROLE "$quoted" LOGIN CONNECTION LIMIT 3));
	is(sqlstate($watcher), '00000', 'a role with a name') or diag $watcher->message;
}
my $database = name_in($node, "d\"\\\n\xc3\xa9");
$watcher->query(sprintf q(CREATE DATABASE "%s" CONNECTION LIMIT 7), $database =~ s/"/""/r);
my @clients = map { client($node, user => $_) } @names;
my $talkative = client($node, application_name => 'secret_app');
$talkative->query("CREATE ROLE someone PASSWORD 'secret_password'");
$talkative->send("SELECT 'secret_in_query', pg_advisory_lock(1), pg_sleep(600)");

ok(samples($watcher, 2), 'the monitor has seen them');

my $pools = http_json($port, '/pools');
foreach my $name (@names, $database)
{
	my ($pool) = grep { Encode::encode_utf8($_->{name}) eq $name } @$pools;
	my $shown = $name =~ s/[^ -~]/./gr;

	is($pool && $pool->{capacity}, $name =~ /^d"/ ? 7 : 3, "/pools has $shown");
	my $label = $name =~ s/(["\\])/\\$1/gr =~ s/\n/\\n/gr;
	my $metrics = http_metrics($port);
	is($metrics->{qq(pool_capacity_connections{kind="role",pool="$label"})}
		  // $metrics->{qq(pool_capacity_connections{kind="database",pool="$label"})}, $pool->{capacity}, "/metrics has $shown");
	is($metrics->{qq(role_connections{role="$label"})}, 1, "/metrics has its session: $shown") if $pool->{kind} eq 'role';
}
foreach my $page (@pages)
{
	my $content = http($port, $page)->{content};

	unlike($content, $page =~ m{^/(?:report|explain)$} ? qr/secret_(?!app)/ : qr/secret/, "$page: nothing of what sessions do");
	ok(is_utf8($content), "$page is UTF-8");
}

# /report has the names of services, too: those with the most sessions.
my $report = http($port, '/report')->{content};
is_sound($report, '/report with such names');
foreach my $name (@names)
{
	my $shown = Encode::decode('UTF-8', $name) =~ tr/\t-\r/ /r =~ s/[\x00-\x1f\x7f]/?/gr =~ s/([^ -~]|[&<>"'])/'&#' . ord($1) . ';'/ger;

	like($report, qr{<th scope="row">\Q$shown\E/}, "/report has $shown");
}

# The health of a role is not that of the server.
$watcher->query('CREATE ROLE alone LOGIN CONNECTION LIMIT 1');
push @clients, client($node, user => 'alone');
ok( wait_until(sub { http($port, '/report')->{content} =~ m{<th scope="row">alone</th><td [^>]*>role</td><td [^>]*>(\w+)<} ? $1 : '' }, 'exhausted', '/report'),
	'/report has a role that is exhausted');
like(http($port, '/report')->{content}, qr{<span class="badge healthy">healthy</span> since the server started, }, '/report: the server is healthy as before');

# Names stand in catalogs, for which the monitor does not wait.
$watcher->query('BEGIN; LOCK TABLE pg_authid IN ACCESS EXCLUSIVE MODE');
ok( wait_until(sub { http($port, '/report')->{content} =~ m{<p>Names of roles cannot be read .* has locked their catalog\.</p>} ? 'yes' : 'no' }, 'yes', '/report'),
	'/report without names');
$watcher->query('ROLLBACK');
ok(wait_until(sub { http($port, '/report')->{content} =~ />Services that hold slots</ ? 'yes' : 'no' }, 'yes', '/report'), '/report has them again');

# A name from a database with another encoding is not UTF-8.
$watcher->query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
my $latin = client($node, database => 'latin', client_encoding => 'LATIN1');
foreach my $name ("caf\xe9", "caf\xe8")
{
	$latin->query(qq(CREATE ROLE "$name" LOGIN CONNECTION LIMIT 3));
	is(sqlstate($latin), '00000', 'a role with a name in another encoding') or diag $latin->message;
}
push @clients, client($node, user => "caf\xe9", database => 'latin');
ok(wait_until(sub { http($port, '/pools')->{content} =~ /"caf[^\xc3]/ ? 'yes' : 'no' }, 'yes', '/pools'), 'the monitor has seen it');
foreach my $page (@pages)
{
	ok(is_utf8(http($port, $page)->{content}), "$page is UTF-8, whatever encoding a name has");
}
is(ref http_json($port, '/pools'), 'ARRAY', '/pools is JSON, whatever encoding a name has');

# Names that would be the same if only bytes that are not UTF-8 were escaped
$watcher->query(qq(CREATE ROLE "caf\\xe9" LOGIN CONNECTION LIMIT 5));
push @clients, map { client($node, user => 'caf\xe9') } 1 .. 2;
my %alike = ('caf\\\\xe9' => [ 3, 1 ], 'caf\\\\x5cxe9' => [ 5, 2 ]);
ok(wait_until(sub { http_metrics($port)->{'role_connections{role="caf\\\\x5cxe9"}'} // 0 }, 2, 'its sessions'), 'a name that looks like an escaped one');
foreach my $label (sort keys %alike)
{
	my $metrics = http_metrics($port);

	is(join(' ', @$metrics{qq(pool_capacity_connections{kind="role",pool="$label"}), qq(pool_in_use_connections{kind="role",pool="$label"}), qq(role_connections{role="$label"})}),
		"$alike{$label}[0] $alike{$label}[1] $alike{$label}[1]", "/metrics: the figures of $label are its own");
}
is(scalar(my @same = grep { $_->{name} eq 'caf\x5cxe9' && $_->{capacity} == 5 } @{ http_json($port, '/pools') }), 1, '/pools has it, too');

# As many roles as there may be series, and more, one of them by the name of the rest
my @many = map { "role$_" } 1 .. 34;
$watcher->query(qq(CREATE ROLE "$_" LOGIN)) foreach @many, '(others)';
push @clients, map { client($node, user => $_) } @many, '(others)', '(others)';
ok(wait_until(sub { http($port, '/metrics')->{content} =~ /role="\(others\)"} [1-9]/ ? 'yes' : 'no' }, 'yes', 'others'), 'many roles');
my @samples = http($port, '/metrics')->{content} =~ /^([^#].*) \S+$/mg;
my %times;
$times{$_}++ foreach @samples;
cmp_ok(scalar(grep { /role_connections/ } @samples), '<=', 33, '/metrics is bounded');
is(join("\n", grep { $times{$_} > 1 } sort keys %times), '', '/metrics has each sample once');

# The longest names of services, refused ones among them, that there can be: each character is a reference.
$_->vanish foreach splice @clients;
ok(wait_for($watcher, 'SELECT in_use < 10 FROM pool_exhaust_slots', 't'), 'there is room');
my @long = map { my $role = sprintf('%02d', $_) . '<' x 61; $watcher->query(qq(CREATE ROLE "$role" LOGIN CONNECTION LIMIT 1)); $role } 1 .. 40;
push @clients, map { client($node, user => $_, application_name => '"' x 63) } @long;
login($node, user => $_, application_name => "'" x 63)->vanish foreach @long;
ok(wait_until(sub { http($port, '/report')->{content} =~ /&#60;&#60;&#60;/ ? 'yes' : 'no' }, 'yes', '/report'), 'names that are long');
foreach (1 .. 10)
{
	my $start = time;
	$report = http($port, '/report')->{content};
	$slowest = $_ == 1 || time - $start < $slowest ? time - $start : $slowest;
}
is_sound($report, '/report of many long names');
cmp_ok(length $report, '<=', 150 * 1024, '/report is bounded') or diag length $report;
note sprintf '/report of many long names: %d bytes, %.1f ms', length $report, 1000 * $slowest;
cmp_ok($slowest, '<', 0.05, '/report takes less than 50 ms');

is(monitor_pid($watcher), $pid, 'it is the same monitor');
cmp_ok(memory() - $memory, '<', 8_000, 'and it has not grown, in kB');
# An address that others reach: any name may lead there.
change_setting($watcher, 'pool_exhaust.http_host', "'0.0.0.0'");
ok( wait_until(sub { talk("GET /livez HTTP/1.1\r\nHost: db.example.com\r\nConnection: close\r\n\r\n") =~ /\AHTTP\/1\.1 (\d+)/ ? $1 : 'none' }, 200, 'status'),
	'on another address it answers by any name');
change_setting($watcher, 'pool_exhaust.http_host', 'DEFAULT');
$_->vanish foreach @clients, $talkative, $latin;
$watcher->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'secret_app'");
$watcher->close;
left_nothing($node);

# ---------- Few descriptors for all of the server ----------

$node->stop;
is(system_log('sh', '-c', 'ulimit -n 64 && exec pg_ctl --wait --pgdata "$1" --log "$2" start', 'sh',
	$node->data_dir, $node->logfile), 0, 'the server starts with 64 open files');
$node->_update_pid(1);
my $errors = accept_errors();
$watcher = client($node);
ok(wait_until(sub { http($port, '/livez')->{status} }, 200, '/livez'), '64 open files: it answers');
$pid = monitor_pid($watcher);
# As many counts as it accepts in one go: the request is the first of those, or the last.
my %statuses;
foreach my $count (112 .. 127)
{
	close $_ foreach splice @idle;
	@idle = map { connected() } 1 .. $count;
	$statuses{ http($port, '/readyz')->{status} }++;
}
is(join(' ', %statuses), '200 16', '64 open files: it answers beside 112 to 127 idle clients');
cmp_ok(descriptors(), '<=', 60, '64 open files: the monitor has some left');
close $_ foreach splice @idle;
is(http($port, '/livez')->{content}, "ok\n", '64 open files: it answers when they are gone');
is(accept_errors(), $errors, '64 open files: it never ran out of them');
is(monitor_pid($watcher), $pid, '64 open files: by the same monitor');
$watcher->close;
left_nothing($node);
done_testing();
