# The flight recorder against the truth: a night by script, which this test keeps a
# record of by itself; the server killed while it is full; and the story, by SQL and over
# HTTP.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use List::Util qw(max min sum0);
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = new_server('recorder', streaming => 1, conf => "max_connections = 20\nsuperuser_reserved_connections = 3\npool_exhaust.http_port = $port\nlog_min_messages = warning\npool_exhaust.leak_threshold = 2s\nwal_log_hints = on\nwal_keep_size = 320MB");
my $watcher = client($node);
$watcher->query("CREATE ROLE $_ LOGIN") foreach qw(web report job);
$watcher->query('ALTER ROLE job CONNECTION LIMIT 2');

# ---------- The night ----------

# Starts a server that was killed: its processes take a moment to be gone.
sub starts
{
	my ($killed) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	until ($killed->start(fail_ok => 1))
	{
		die 'the server does not start' if time > $end;
		$killed->{_pid} = undef;    # that of the file that is left
	}
}

my %sessions;
my @record;     # [time, { service => sessions }]
my %refused;    # by cause

sub note_state { push @record, [ time, { map { $_ => scalar @{ $sessions{$_} } } keys %sessions } ] }

sub comes
{
	my ($role, $name) = @_;
	my $client = login($node, user => $role, application_name => $name);

	if ($client->{error})
	{
		$refused{ $client->{error}{R} eq 'InitializeSessionUserId' ? 'role_limit' : $client->{error}{R} eq 'InitPostgres' ? 'reserved_slots' : 'too_many_clients' }++;
		return;
	}
	push @{ $sessions{"$role/$name"} }, $client;
	note_state();
}

sub go
{
	my ($service, $n) = @_;

	(pop @{ $sessions{$service} })->close foreach 1 .. $n;
	note_state();
}

# Until so many more seconds were recorded: the night goes on by the recorder's clock
sub seconds
{
	my ($n) = @_;
	my $since = $watcher->query('SELECT clock_timestamp()');

	ok(wait_for($watcher, "SELECT coalesce(sum(measured), 0) >= $n FROM pool_exhaust_history('$since', clock_timestamp(), '1 s') WHERE service IS NULL", 't'), "$n s were recorded");
}

seconds(2);
my $began = $watcher->query('SELECT clock_timestamp()');
comes('web', 'front') foreach 1 .. 3;
$sessions{'web/front'}[0]->query(q(SET pool_exhaust.borrower = 'orders.py:57 request 8f2'));
seconds(2);
foreach (1 .. 11)
{
	comes('report', 'nightly');
	seconds(1);
}
comes('job', 'queue') foreach 1 .. 4;    # two are refused: its own limit
$watcher->query('ALTER ROLE job CONNECTION LIMIT 3');
seconds(1);
comes('web', 'front') foreach 1 .. 4;    # all are refused: the server is full
seconds(2);
my $worst = $watcher->query('SELECT clock_timestamp()');
go('report/nightly', 9);
seconds(2);
comes('web', 'front');
seconds(1);
my $ended = $watcher->query('SELECT clock_timestamp()');

# ---------- Against the record ----------

# What the service had between two moments, a bit more: a session may be seen a moment earlier or later
sub had
{
	my ($service, $from, $to) = @_;
	my $before = 0;
	my @had;

	foreach my $entry (@record)
	{
		my $n = $entry->[1]{$service} // 0;
		$before = $n if $entry->[0] <= $from;
		push @had, $n if $entry->[0] > $from && $entry->[0] < $to;
	}
	return ($before, @had);
}

my $wrong = 0;
my @rows = map { [ split /\|/ ] } split /\n/, $watcher->query("SELECT extract(epoch FROM at), service, peak_in_use
	FROM pool_exhaust_history('$began', '$ended', '1 s') WHERE service ~ '^(web|report|job)/'");
cmp_ok(scalar(@rows), '>', 20, 'there are seconds of services');
foreach my $row (@rows)
{
	my ($at, $service, $peak) = @$row;
	# A row has the seconds that it has a part of.
	my @had = had($service, $at - 1.5, $at + 2.5);
	next if $peak >= min(@had) - 1 && $peak <= max(@had) + 1;
	$wrong++;
	diag "$service at $at: $peak, and it was @had";
}
is($wrong, 0, 'each second and service is as it was, within 1');

is_deeply(\%refused, { role_limit => 2, reserved_slots => 4 }, 'what the clients saw');
my $ledger = $watcher->query("SELECT sum(refusals) FROM pool_exhaust_refusals WHERE cause IN ('role_limit', 'reserved_slots')");
is($ledger, 6, 'what the ledger saw');
is($watcher->query("SELECT sum(refused) FROM pool_exhaust_history('$began', '$ended', '10 s') WHERE service IS NULL"), 6, 'and the recorder, of the server');
is($watcher->query("SELECT string_agg(service || ' ' || n, ', ' ORDER BY service) FROM (SELECT service, sum(refused) AS n
	FROM pool_exhaust_history('$began', '$ended', '10 s') WHERE service IS NOT NULL GROUP BY 1) AS s WHERE n > 0"), 'job/queue 2, web/front 4', 'and of services');
is($watcher->query("SELECT sum(opened) FROM pool_exhaust_history('$began', '$ended', '10 s') WHERE service ~ '^(web|report|job)/'"), 3 + 11 + 2 + 1, 'logins');
is($watcher->query("SELECT sum(closed) >= 9 FROM pool_exhaust_history('$began', '$ended', '10 s') WHERE service IS NULL"), 't', 'sessions that ended');
is($watcher->query("SELECT max(capacity) FROM pool_exhaust_history('$began', '$ended', '10 s') WHERE service IS NULL"), 17, 'the capacity');
# A login that is refused has a reserved slot for a moment.
is($watcher->query("SELECT max(peak_in_use) BETWEEN 17 AND 19 AND max(reserved_in_use) = max(peak_in_use) - 17 FROM pool_exhaust_history('$began', '$ended', '1 s') WHERE service IS NULL"), 't', 'the peak');

# ---------- The incident ----------

is($watcher->query('SELECT health, refused, main_holder, holder_growth, coalesce(second_holder, \'none\'), refused_by_cause FROM pool_exhaust_incidents'),
	'exhausted|6|report/nightly|11|none|{"role_limit": 2, "reserved_slots": 4}', 'the incident');
my $told = $watcher->query("SELECT string_agg(line, E'\\n') FROM pool_exhaust_incident('$worst') AS line");
like($told, qr/exhausted, \d+ of 17 slots in use at the most, 6 logins were refused \(reserved_slots 4, role_limit 2\); report\/nightly grew most, from 0 to 11 connections/, 'its sentence');
like($told, qr/^report\/nightly +0 +11 +\d+ +\d+ +0/m, 'the service that grew');
like($told, qr/^web\/front .* +4  \d\d:\d\d:\d\d, the last$/m, 'the one that was refused, and when it was through again');
like($watcher->query("SELECT pool_exhaust_incident('$worst', 'markdown')"), qr/^\*\*Incident\.\*\* .*report\/nightly/, 'as markdown');
like($watcher->query("SELECT string_agg(line, E'\\n') FROM pool_exhaust_incident('$worst', 'html') AS line"), qr/<svg.*report\/nightly/s, 'as a page');
my $json = JSON::PP::decode_json($watcher->query("SELECT pool_exhaust_incident('$worst', 'json')"));
is("$json->{refused} $json->{worst}{capacity} $json->{services}[0]{service} $json->{services}[0]{growth} $json->{growers}", '6 17 report/nightly 11 1', 'as JSON');
fails_with($watcher, "SELECT pool_exhaust_incident('$worst', 'pdf')", '22023', [qr/format "pdf" does not exist/, qr/Formats are: text, json, markdown, html\./], 'no such format');
is($watcher->query("SELECT pool_exhaust_incident('2001-01-01')") =~ s/ of 2001.*//r, 'No incident was recorded within 12 hours', 'a time without any');
fails_with($watcher, "SELECT count(*) FROM pool_exhaust_history('2001-01-01', '2026-01-01', '1 s')", '54000', [qr/has 788918400 steps, and 100000 is the most/], 'a history that is too long');
fails_with($watcher, "SELECT count(*) FROM pool_exhaust_history(now(), now(), '1 ms')", '22023', [qr/one second or more/], 'a step that is too short');

# ---------- Names ----------

$watcher->query($_) foreach 'GRANT EXECUTE ON FUNCTION pool_exhaust_history(timestamptz, timestamptz, interval), pool_exhaust_incident(timestamptz, text) TO report';
my $report = $sessions{'report/nightly'}[0];
is($report->query("SELECT string_agg(DISTINCT service, ' ') FROM pool_exhaust_history('$began', '$ended', '1 minute')"), 'report/nightly', 'a role sees its own services');
unlike($report->query("SELECT string_agg(line, '') FROM pool_exhaust_incident('$worst') AS line"), qr/web\/front|orders/, 'and no names of others');
fails_with($sessions{'web/front'}[0], 'SELECT pool_exhaust_incident()', '42501', [qr/permission denied/], 'which needs a right');

# ---------- Killed while it is full ----------

comes('report', 'nightly') foreach 1 .. 8;
seconds(2);
is($watcher->query("SELECT in_use FROM pool_exhaust_slots"), 17, 'it is full again');
my $killed = $watcher->query('SELECT clock_timestamp()');
$node->kill9;
starts($node);
$watcher = client($node);
my $started = $watcher->query('SELECT clock_timestamp()');
$_->vanish foreach map { @$_ } values %sessions;
%sessions = ();
seconds(2);
is($watcher->query("SELECT sum(measured) >= 0.99 FROM pool_exhaust_history(timestamptz '$killed' - interval '3 s', timestamptz '$killed' - interval '2 s', '1 s') WHERE service IS NULL"),
	't', 'no more than two seconds are lost');
is($watcher->query("SELECT bool_or(measured < 1) FROM pool_exhaust_history('$killed', '$started', '1 s') WHERE service IS NULL"), 't', 'a gap is a gap');
is($watcher->query("SELECT count(*) FROM pool_exhaust_history('$killed', '$started', '1 s') WHERE measured = 0 AND (in_use IS NOT NULL OR refused IS NOT NULL OR health IS NOT NULL)"), 0,
	'and no row of it has a figure');
is($watcher->query("SELECT sum(refused) FROM pool_exhaust_history('$began', '$ended', '10 s') WHERE service IS NULL"), 6, 'what was before is still there');

# The server is full again, and has no slot for what asks over HTTP.
my @fill = map { client($node, user => 'web', application_name => 'again') } 1 .. 16;
my $full = $worst;
my $story = $watcher->query("SELECT string_agg(line, E'\\n') FROM pool_exhaust_incident('$full') AS line");
like($story, qr/6 logins were refused \(reserved_slots 4, role_limit 2\); report\/nightly grew most, from 0 to 11 connections/, 'the story after a restart has the right name, and numbers');
like($story, qr/^gap +\d+ /m, 'and says what was not measured');
{
	my ($limit, $start) = (qr/the limit of role job became 3, it was 2/, qr/the server was started/);
	my $leaked = qr/1 connection was idle and still borrowed: orders\.py:57 request 8f2 of web\/front \(1\)/;

	like($story, qr/^leaked   $leaked$/m, 'which borrower had leaked a connection');

	like($story, qr/^event +\d\d:\d\d:\d\d  $limit\n(?:event .*\n)*event +\d\d:\d\d:\d\d  $start$/m, 'what else happened');
	like($watcher->query("SELECT string_agg(line, E'\\n') FROM pool_exhaust_incident('$full', 'markdown') AS line"), qr/^Leaked: $leaked\.\n.*^- \d\d:\d\d:\d\d $limit\n.*^- \d\d:\d\d:\d\d $start$/ms, 'as markdown');
	like($watcher->query("SELECT string_agg(line, E'\\n') FROM pool_exhaust_incident('$full', 'html') AS line"), qr/Leaked: $leaked\..*Meanwhile.*$limit.*$start/s, 'as a page');
	my $in_json = JSON::PP::decode_json($watcher->query("SELECT pool_exhaust_incident('$full', 'json')"));
	my %texts = map { $_->{event} => $_->{text} } @{ $in_json->{events} };
	is_deeply($in_json->{borrowers}, [ { borrower => 'orders.py:57 request 8f2', service => 'web/front', connections => 1 } ], 'its borrower as JSON');
	is("$texts{'limit changed'}; $texts{'server started'}", 'the limit of role job became 3, it was 2; the server was started', 'as JSON');
}
my $page = http($port, '/incident?at=' . $watcher->query("SELECT extract(epoch FROM timestamptz '$full')"));
is($page->{status}, 200, 'the same over HTTP while the server is full');
is(($page->{content} =~ /(report\/nightly .*)/)[0], ($story =~ /(report\/nightly .*)/)[0], 'with the same figures');
like(http($port, '/incidents')->{content}, qr/report\/nightly grew most/, 'all of them');
is(ref http_json($port, '/incidents?format=json'), 'ARRAY', 'as JSON');
like(http($port, '/incidents', headers => { accept => 'text/html' })->{content}, qr/<a href="incident\?at=\d+/, 'as a page');
is(http($port, '/incident?at=yesterday')->{status}, 400, 'a moment that is none');
is(http($port, '/incident?format=pdf')->{status}, 400, 'a format that is none');
my $at = $watcher->query("SELECT to_char(timestamptz '$full' AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS')");
like(http($port, "/incident?at=${at}Z")->{content}, qr/report\/nightly/, 'a moment as text');
$_->close foreach @fill;

# ---------- Copies ----------

$node->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('recorder_standby');
$standby->init_from_backup($node, 'copy', has_streaming => 1);
$standby->append_conf('postgresql.conf', 'pool_exhaust.http_port = 0');
$standby->start;
my $there = client($standby);
is($there->query("SELECT count(*) FROM pool_exhaust_incidents WHERE main_holder = 'report/nightly'"), 1, 'a standby has what was recorded before');
ok(wait_for($there, "SELECT count(*) > 0 FROM pool_exhaust_history(pg_postmaster_start_time(), clock_timestamp(), '1 s') WHERE measured > 0", 't'), 'and goes on');
my $checksums = $there->query('SHOW data_checksums');
$there->close;
$standby->stop;
# From 18 on they are there from the begin.
command_ok([ 'pg_checksums', '--enable', '-D', $standby->data_dir ], 'pg_checksums is not disturbed') if $checksums eq 'off';
command_ok([ 'pg_checksums', '--check', '-D', $standby->data_dir ], 'and finds nothing');

# ---------- Without the extension, without names, and off ----------

$watcher->query('DROP EXTENSION pool_exhaust');
like(http($port, '/incidents')->{content}, qr/report\/nightly/, 'it needs no database that has the extension');
$watcher->query('CREATE EXTENSION pool_exhaust');
change_setting($watcher, 'pool_exhaust.recorder_names' => 'off');
my $unnamed = $watcher->query('SELECT clock_timestamp()');
my $secret = client($node, user => 'web', application_name => 'secret');
seconds(3);
is($watcher->query("SELECT bool_and(service ~ '^service [0-9]+\$') FROM pool_exhaust_history(timestamptz '$unnamed' + interval '1 s', clock_timestamp(), '1 s') WHERE service IS NOT NULL"), 't',
	'without names services have numbers');
unlike(slurp_file($node->data_dir . '/pool_exhaust/recorder'), qr/secret/, 'and the file has none');
$secret->close;
change_setting($watcher, 'pool_exhaust.recorder_size' => 0);
my $off = $watcher->query('SELECT clock_timestamp()');
my $size = -s $node->data_dir . '/pool_exhaust/recorder';
ok(samples($watcher, 10), 'two seconds without it');
is(-s $node->data_dir . '/pool_exhaust/recorder', $size, 'nothing is written');
change_setting($watcher, 'pool_exhaust.recorder_size' => "'1MB'");
seconds(1);
is($watcher->query("SELECT bool_or(measured < 1) FROM pool_exhaust_history('$off', clock_timestamp(), '1 s') WHERE service IS NULL"), 't', 'that is a gap, too');

# ---------- A server that another has taken the place of ----------

change_setting($watcher, 'pool_exhaust.recorder_size' => "'16MB'");
$node->backup('copy again');
my $heir = PostgreSQL::Test::Cluster->new('recorder_heir');
$heir->init_from_backup($node, 'copy again', has_streaming => 1);
$heir->append_conf('postgresql.conf', 'pool_exhaust.http_port = 0');
$heir->start;
$heir->promote;
my $heard = client($heir);
ok(wait_for($heard, "SELECT count(*) > 0 FROM pool_exhaust_history(pg_postmaster_start_time(), clock_timestamp(), '1 s') WHERE measured > 0", 't'), 'the new primary records');
$heard->query('CHECKPOINT');
$watcher->query('CREATE TABLE lost (i integer)');
$watcher->close;
left_nothing($node);
$node->stop;
command_ok([ 'pg_rewind', '--target-pgdata', $node->data_dir, '--source-server', $heir->connstr('postgres') ], 'pg_rewind is not disturbed');
$heard->close;
$heir->stop;
# Its settings are those of the other now.
$node->append_conf('postgresql.conf', "pool_exhaust.http_port = $port\nport = " . $node->port . "\nunix_socket_directories = '" . $node->host . "'");
$node->start;
$watcher = client($node);
ok(wait_for($watcher, "SELECT count(*) > 0 FROM pool_exhaust_history(pg_postmaster_start_time(), clock_timestamp(), '1 s') WHERE measured > 0", 't'), 'the old primary records again');
is($watcher->query("SELECT count(*) FROM pool_exhaust_incidents WHERE main_holder = 'report/nightly'"), 1, 'and has what was recorded');
$watcher->close;
done_testing();
