# Setting pool_exhaust.borrower: the slot of each session follows the value in force,
# whatever sets it and takes it back; what it says can be shown, whatever it is set to;
# and nothing but a client session has one.
use strict;
use warnings FATAL => 'all';

use FindBin;
use JSON::PP ();
use lib $FindBin::RealBin;
use PoolExhaust;
use Pooler;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = new_server('borrower', streaming => 1, conf => qq(
max_connections = 30
max_worker_processes = 20
max_parallel_workers = 8
pool_exhaust.sample_interval = 50ms
pool_exhaust.http_port = $port
));
$node->safe_psql('postgres', q(
CREATE ROLE app LOGIN REPLICATION;
CREATE ROLE tagged LOGIN;
ALTER ROLE tagged SET pool_exhaust.borrower = 'of the role';
CREATE ROLE plain LOGIN;
GRANT SELECT ON pool_exhaust_backends, pool_exhaust_services TO plain;
GRANT EXECUTE ON FUNCTION pool_exhaust_services_rows(), pool_exhaust_leaks_rows(), pool_exhaust_run_roles(), pool_exhaust_explain(timestamptz) TO plain;
CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
CREATE DATABASE utf TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
));
my $watcher = client($node, application_name => 'watcher');
my $reader = client($node, application_name => 'reader', database => 'utf');
$reader->query('CREATE EXTENSION pool_exhaust');

sub session { return client($node, user => 'app', application_name => 'shop', @_) }

# What the server says of a session: its borrower, in brackets if there is one.
sub borrower
{
	my ($client, $by) = @_;

	return ($by // $watcher)->query("SELECT '<' || borrower || '>' FROM pool_exhaust_backends WHERE pid = " . backend_pid($client));
}

sub borrowers { return $watcher->query('SELECT count(borrower) FROM pool_exhaust_backends') }

# These statements, one after the other, and what the slot says then.
sub says
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $name, @steps) = @_;

	while (my ($sql, $expected) = splice @steps, 0, 2)
	{
		$client->query($sql);
		is(borrower($client), $expected, "$name: $sql");
	}
}

# ---------- The value in force ----------

my $session = session();
is(borrower($session), '', 'a session is not borrowed');
says($session, 'a session',
	q(SET pool_exhaust.borrower = 'orders.py:57 request 8f2'), '<orders.py:57 request 8f2>',
	'SELECT 1', '<orders.py:57 request 8f2>',
	q(SET pool_exhaust.borrower = 'other'), '<other>',
	q(SET pool_exhaust.borrower = ''), '',
	q(SELECT set_config('pool_exhaust.borrower', 'by function', false)), '<by function>',
	'RESET pool_exhaust.borrower', '',
	q(SET pool_exhaust.borrower = 'again'), '<again>',
	'RESET ALL', '',
	q(SET pool_exhaust.borrower = 'and again'), '<and again>',
	'DISCARD ALL', '',
	q(SET pool_exhaust.borrower TO DEFAULT), '');
says($session, 'a transaction that rolls back',
	'BEGIN', '', q(SET pool_exhaust.borrower = 'undone'), '<undone>', 'ROLLBACK', '',
	q(SET pool_exhaust.borrower = 'before'), '<before>', 'BEGIN', '<before>', q(SET pool_exhaust.borrower = 'undone'), '<undone>',
	'SAVEPOINT a', '<undone>', q(SET pool_exhaust.borrower = 'within'), '<within>', 'ROLLBACK TO a', '<undone>',
	'SELECT 1/0', '<undone>', 'COMMIT', '<before>', 'BEGIN', '<before>', q(SET pool_exhaust.borrower = 'done'), '<done>', 'COMMIT', '<done>');
says($session, 'SET LOCAL',
	'BEGIN', '<done>', q(SET LOCAL pool_exhaust.borrower = 'local'), '<local>', 'COMMIT', '<done>',
	'RESET pool_exhaust.borrower', '', 'BEGIN', '', q(SET LOCAL pool_exhaust.borrower = 'local'), '<local>', 'SELECT 1/0', '', 'ROLLBACK', '',
	q(BEGIN; SET LOCAL pool_exhaust.borrower = 'one trip'; SELECT 1), '<one trip>', 'COMMIT', '');
$session->query(q(CREATE FUNCTION pg_temp.f(pid integer) RETURNS text SET pool_exhaust.borrower = 'in a function' AS 'SELECT current_setting(''pool_exhaust.borrower'')' LANGUAGE sql));
is($session->query('SELECT pg_temp.f(1)'), 'in a function', 'a function has a setting of its own');
is(borrower($session), '', 'a function: it is over');

my $before = $watcher->query('SELECT clock_timestamp()');
$session->query(q(SET pool_exhaust.borrower = 'timed'));
my $after = $watcher->query('SELECT clock_timestamp()');
is($watcher->query("SELECT borrowed_since BETWEEN '$before' AND '$after' FROM pool_exhaust_backends WHERE pid = " . backend_pid($session)), 't', 'borrowed_since');
$session->query(q(SET pool_exhaust.borrower = 'timed'));
is($watcher->query("SELECT borrowed_since > '$after' FROM pool_exhaust_backends WHERE pid = " . backend_pid($session)), 't', 'borrowed_since: the same name, borrowed again');

# From a role, from the login
my $tagged = session(user => 'tagged');
says($tagged, 'ALTER ROLE', 'SELECT 1', '<of the role>', q(SET pool_exhaust.borrower = 'x'), '<x>', 'DISCARD ALL', '<of the role>', q(SET pool_exhaust.borrower = ''), '');
my $started = session(options => '-c pool_exhaust.borrower=nightly');
says($started, 'startup option', 'SELECT 1', '<nightly>', 'RESET ALL', '<nightly>');
$node->safe_psql('postgres', q(ALTER DATABASE latin SET pool_exhaust.borrower = 'of the database'));
my $of_database = session(database => 'latin');
says($of_database, 'ALTER DATABASE', 'SELECT 1', '<of the database>');
$_->close foreach $tagged, $started, $of_database;
$node->safe_psql('postgres', 'ALTER DATABASE latin RESET pool_exhaust.borrower');

# ---------- The next session in the slot ----------

my $pid = backend_pid($session);
$session->query(q(SET pool_exhaust.borrower = 'gone'));
$session->close;
ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0), 'a session ends');
is(borrowers(), 0, 'and with it what it said');
my @next = map { session() } 1 .. 5;
is(join('', map { borrower($_) } @next), '', 'the next ones are not borrowed');
$next[0]->query(q(SET pool_exhaust.borrower = 'killed'));
$watcher->query('SELECT pg_terminate_backend(' . backend_pid($next[0]) . ')');
ok(wait_until(\&borrowers, 0, 'no borrower'), 'a session that is terminated is not borrowed any more');
$_->close foreach @next[ 1 .. 4 ];

# ---------- Bad input ----------

my $bad = session(database => 'utf');
$reader->query('SELECT 1');
my @bad = (
	[ q(repeat('x', 1024 * 1024)), 'x' x 127, '1 MB' ],
	[ q(repeat('ä', 100)), 'ä' x 63, 'letters of two bytes are not cut' ],
	[ q('x' || repeat('ä', 100)), 'x' . 'ä' x 63, 'letters of two bytes that fit' ],
	[ q(repeat('€', 100)), '€' x 42, 'letters of three bytes' ],
	[ q(E'a\x01b\x1b[31mc\x7f'), 'a?b?[31mc?', 'control characters' ],
	[ q(E'two\nlines\tof\r\ntext'), 'two lines of  text', 'white space' ],
	[ q(E'turned \u202e round \u2028 and \u0085'), 'turned ? round ? and ?', 'characters that turn the direction of text' ],
	[ q($$"quoted" \ and 'so' {label="x"}$$), q("quoted" \ and 'so' {label="x"}), 'quotes' ],
	[ q('<script>alert(1)</script>&amp;'), '<script>alert(1)</script>&amp;', 'markup' ],
	[ q('%s%n%d'), '%s%n%d', 'a format' ]);
foreach (@bad)
{
	my ($value, $expected, $name) = @$_;

	is($bad->query("SELECT set_config('pool_exhaust.borrower', $value, false)"), $expected, "$name: the setting itself");
	is(borrower($bad, $reader), "<$expected>", "$name: the view");
	my $json = $reader->query(q(SELECT borrowers->0->>'borrower' FROM pool_exhaust_services WHERE service = 'app/shop'));
	is($json, $expected, "$name: JSON");
	my $metrics = http($port, '/metrics')->{content};
	is(join("\n", grep { !/^#|^pool_exhaust_\w+(\{\w+="(?:[^"\\]|\\.)*"(,\w+="(?:[^"\\]|\\.)*")*\})? [-+.\w]+$/ } split /\n/, $metrics), '', "$name: /metrics has nothing but samples");
}
is($bad->query(q(SELECT length(current_setting('pool_exhaust.borrower')))), 6, 'the setting is what is shown');

# Bytes that are no characters, and those of other encodings
my $ascii = session(database => 'ascii');
$ascii->query(qq(SET pool_exhaust.borrower = E'no \\xff\\xfe letters'));
is(borrower($ascii, $reader), '<no ?? letters>', 'invalid bytes: in another database');
is($ascii->query('SHOW pool_exhaust.borrower'), 'no ?? letters', 'invalid bytes: in their own');
$ascii->query(qq(SET pool_exhaust.borrower = E'UTF-8 \\xc3\\xa4'));
is(borrower($ascii, $reader), '<UTF-8 ä>', 'SQL_ASCII: what is UTF-8 stays');
my $latin = session(database => 'latin');
$latin->query(qq(SET client_encoding = 'LATIN1'));
$latin->query(qq(SET pool_exhaust.borrower = E'caf\xe9 \x9b'));
is($latin->query('SHOW pool_exhaust.borrower'), "caf\xe9 ?", 'LATIN1: in its own database');
is(borrower($latin, $reader), '<caf? ?>', 'LATIN1: in another database');
is(http($port, '/explain?format=json')->{status}, 200, 'pages stand');
ok(eval { JSON::PP::decode_json(http($port, '/explain?format=json')->{content}) }, '/explain is JSON');
$_->close foreach $bad, $ascii, $latin;

# A million times: neither memory nor time grow.
{
	my $busy = session();
	my $half = q(DO $$BEGIN FOR i IN 1 .. 500000 LOOP PERFORM set_config('pool_exhaust.borrower', 'request ' || i, false); END LOOP; END$$);
	my $rss = sub { slurp_file('/proc/' . backend_pid($busy) . '/status') =~ /^VmRSS:\s+(\d+) kB/m ? $1 : die 'no VmRSS' };
	my (@seconds, @kib);

	$busy->query(q(DO $$BEGIN FOR i IN 1 .. 1000 LOOP PERFORM set_config('pool_exhaust.borrower', 'request ' || i, false); END LOOP; END$$));
	foreach (1 .. 2)
	{
		my $begun = time;
		push @kib, $rss->();
		$busy->send($half);
		is(http($port, '/explain')->{status}, 200, "a million times, half $_: the monitor answers meanwhile");
		is($watcher->query('SELECT count(*) >= 0 FROM pool_exhaust_backends'), 't', "a million times, half $_: the views do, too");
		$busy->result;
		push @seconds, time - $begun;
	}
	push @kib, $rss->();
	note sprintf 'half a million took %.2f s and %.2f s; %s KiB', @seconds, join(', ', @kib);
	cmp_ok($kib[2] - $kib[1], '<=', 512, 'a million times: memory does not grow');
	cmp_ok($seconds[1], '<=', 3 * $seconds[0] + 2, 'a million times: nor does it take longer');
	is(borrower($busy), '<request 500000>', 'a million times: the last one stands');
	$busy->close;
}

# ---------- Nothing but client sessions ----------

ok(wait_until(\&borrowers, 0, 'no borrower'), 'there is none');
{
	my $leader = session();
	backend_pid($leader);
	my $force = $node->pg_version >= 16 ? 'debug_parallel_query' : 'force_parallel_mode';

	$watcher->query('GRANT EXECUTE ON FUNCTION pool_exhaust_leaks_rows() TO app');
	$leader->query($_) foreach "SET $force = on", 'SET parallel_setup_cost = 0', 'SET parallel_tuple_cost = 0', 'SET min_parallel_table_scan_size = 0',
	  q(SET pool_exhaust.borrower = 'a leader');
	like($leader->query('EXPLAIN SELECT count(*) FROM pool_exhaust_leaks_rows()'), qr/^Gather/, 'a parallel worker does the work');
	is($leader->query("SELECT string_agg(borrower || ' ' || (pid = $leader->{pid}), ', ') FROM pool_exhaust_leaks_rows()"), 'a leader true', 'a parallel worker: has no borrower itself');
	is(borrower($leader), '<a leader>', 'a parallel worker: its leader keeps its own');
	$leader->close;
	$watcher->query('REVOKE EXECUTE ON FUNCTION pool_exhaust_leaks_rows() FROM app');
}
my $walsender = client($node, user => 'app', application_name => 'copy', replication => 'database', options => '-c pool_exhaust.borrower=copy');
is($walsender->query('SHOW pool_exhaust.borrower'), 'copy', 'a walsender has the setting');
ok(wait_until(\&borrowers, 0, 'no borrower'), 'and no slot');
$walsender->close;

# In the configuration it is that of all sessions, and of nothing else.
ok(change_setting($watcher, 'pool_exhaust.borrower' => q('of the server')), 'a setting of the server');
my @clients = ($reader, session(), session());
is(join(' ', map { $_->query('SELECT 1'); borrower($_) } @clients), join(' ', ('<of the server>') x 3), 'a setting of the server: all sessions, old and new');
is($watcher->query(q(SELECT count(*) FROM pool_exhaust_leaks_rows() b LEFT JOIN pg_stat_activity a USING (pid) WHERE a.backend_type IS DISTINCT FROM 'client backend')), 0, 'a setting of the server: nothing else');
is(report_of($watcher, 'queue')->{verdict}, 'pass', 'a setting of the server: runs go on');
ok(change_setting($watcher, 'pool_exhaust.borrower' => 'DEFAULT'), 'a setting of the server: it is over');
$_->query('SELECT 1') foreach @clients;
ok(wait_until(\&borrowers, 0, 'no borrower'), 'a setting of the server: no session is borrowed any more');
$_->close foreach @clients[ 1, 2 ];

# ---------- By service ----------

{
	my $begun = $watcher->query('SELECT clock_timestamp()');
	my @lent = map { session(application_name => 'many') } 1 .. 9;

	is($watcher->query(q(SELECT borrowed, borrower IS NULL, borrowed_since IS NULL, borrowers IS NULL FROM pool_exhaust_services WHERE service = 'app/many')), '0|t|t|t', 'services: none is borrowed');
	$lent[0]->query(q(SET pool_exhaust.borrower = 'the first'));
	$lent[$_]->query(q(SET pool_exhaust.borrower = 'the same')) foreach 1, 2;
	$lent[$_]->query("SET pool_exhaust.borrower = 'request $_'") foreach 3 .. 7;
	is($watcher->query(qq(SELECT in_use, borrowed, borrower, borrowed_since > '$begun' FROM pool_exhaust_services WHERE service = 'app/many')), '9|8|the first|t', 'services: how many, and the longest');
	is($watcher->query(q(SELECT string_agg(concat_ws(' ', coalesce(b->>'borrower', 'NULL'), b->>'sessions'), ', ' ORDER BY n) FROM pool_exhaust_services, jsonb_array_elements(borrowers) WITH ORDINALITY AS e(b, n) WHERE service = 'app/many')),
		'the same 2, the first 1, request 3 1, request 4 1, request 5 1, NULL 2', 'services: the borrowers with most sessions, and the rest');
	is($watcher->query(q(SELECT min((b->>'since')::timestamptz) = min(borrowed_since) FROM pool_exhaust_services, jsonb_array_elements(borrowers) AS b WHERE service = 'app/many')), 't', 'services: since when');

	# ... in metrics as a number alone
	ok(wait_until(sub { http_metrics($port)->{borrowed_connections} }, 8, '/metrics'), '/metrics: how many are borrowed');
	cmp_ok(http_metrics($port)->{longest_borrowed_seconds}, '>', 0, '/metrics: for how long');
	unlike(http($port, '/metrics')->{content}, qr/the same|request \d/, '/metrics: no borrower has a series');

	# Others see what they may see of application_names.
	my $plain = client($node, user => 'plain', application_name => 'plain');
	$plain->query(q(SET pool_exhaust.borrower = 'my own'));
		is($plain->query('SELECT string_agg(borrower, $$, $$) FROM pool_exhaust_backends'), 'my own', 'a plain role sees its own');
	is($plain->query('SELECT string_agg(borrower, $$, $$) FROM pool_exhaust_services'), 'my own', 'a plain role: and by service');
	$watcher->query('GRANT pg_read_all_stats TO plain');
	is($plain->query('SELECT count(borrower) FROM pool_exhaust_backends'), 9, 'with pg_read_all_stats it sees all');
	$watcher->query('REVOKE pg_read_all_stats FROM plain');
	$_->close foreach @lent, $plain;
}

# ---------- Poolers ----------

SKIP:
{
	skip 'there is no PgBouncer here', 1 if !Pooler::version('pgbouncer');
	my %settings = (default_pool_size => 1, max_client_conn => 20, server_reset_query => 'DISCARD ALL');
	my $bouncer = Pooler->new('pgbouncer', node => $node, users => { app => '' }, settings => { %settings, pool_mode => 'session' });
	my $pooled = sub { return $watcher->query(q(SELECT coalesce('<' || borrower || '>', 'free') FROM pool_exhaust_backends WHERE usename = 'app')) };
	my $through = sub { return client($bouncer, user => 'app', application_name => 'pooled', @_) };
	my $with = sub {
		$bouncer->{settings} = { %settings, @_ };
		$bouncer->restart;
	};

	ok(wait_for($watcher, q(SELECT count(*) FROM pool_exhaust_backends WHERE usename = 'app'), 0), 'before poolers there is none');
	my $one = $through->();
	$one->query(q(SET pool_exhaust.borrower = 'one'));
	is($pooled->(), '<one>', 'session pool: while its client is there');
	$one->close;
	ok(wait_until($pooled, 'free', 'free'), 'session pool: server_reset_query takes it back');

	$with->(pool_mode => 'session', server_reset_query => '');
	$one = $through->();
	$one->query(q(SET pool_exhaust.borrower = 'one'));
	$one->close;
	my $two = $through->();
	$two->query('SELECT 1');
	is($pooled->(), '<one>', 'session pool that resets nothing: the next client has it');
	$two->close;

	$with->(pool_mode => 'transaction');
	($one, $two) = ($through->(), $through->());
	$one->query(q(SET pool_exhaust.borrower = 'one'));
	$two->query('SELECT 1');
	is($pooled->(), '<one>', 'transaction pool, SET: the next client has it');
	$two->query('RESET ALL');
	$one->query(q(BEGIN; SET LOCAL pool_exhaust.borrower = 'one'; SELECT 1));
	is($pooled->(), '<one>', 'transaction pool, SET LOCAL: in the transaction');
	$one->query('COMMIT');
	is($pooled->(), 'free', 'transaction pool, SET LOCAL: and not after it');
	$two->query('BEGIN; SELECT 1');
	is($pooled->(), 'free', 'transaction pool, SET LOCAL: nor in that of the next client');
	$two->query('COMMIT');
	$_->close foreach $one, $two;
	$bouncer->stop;
}

# ---------- Not preloaded ----------

my $bare = PostgreSQL::Test::Cluster->new('bare');
$bare->init;
$bare->start;
my $unloaded = client($bare);
is($unloaded->query(q(SET pool_exhaust.borrower = 'x'; SHOW pool_exhaust.borrower)), 'x', 'without the library: clients may set it');
$unloaded->query(q(LOAD 'pool_exhaust'));
is($unloaded->message, '', 'not preloaded: the library can be loaded');
is($unloaded->query('SHOW pool_exhaust.borrower'), 'x', 'not preloaded: what was set before stays');
is($unloaded->query(q(SELECT set_config('pool_exhaust.borrower', E'a\nb', false))), 'a b', 'not preloaded: what is set is checked');
is(join(' ', map { $unloaded->query($_) // $unloaded->message } q(BEGIN; SET LOCAL pool_exhaust.borrower = 'y'; ROLLBACK), 'DISCARD ALL', 'SHOW pool_exhaust.borrower'), '  ', 'not preloaded: and reset');
$unloaded->close;
$bare->stop;

$_->close foreach $reader, $watcher;
left_nothing($node);
done_testing();
