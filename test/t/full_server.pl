# A server filled to its last slot, which refuses every session: the monitor
# answers over HTTP with the true numbers, and remembers all of it afterwards.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use List::Util qw(max sum);
use Page;
use POSIX qw(ceil);
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $port = PostgreSQL::Test::Cluster::get_free_port();

# The same capacity on every release:
# 15:  10 = 8 regular + 2 superuser
# 16+: 12 = 8 regular + 2 reserved + 2 superuser
my $capacity = 8;

# Of 8 slots 5 are healthy, 6 warning, 7 critical.
my $node = new_server('full', conf_from => { 16 => "max_connections = 12\nreserved_connections = 2" }, conf => qq(
max_connections = 10
superuser_reserved_connections = 2
autovacuum = off
pool_exhaust.http_port = $port
pool_exhaust.sample_interval = 20ms
pool_exhaust.warning_threshold = 0.75
pool_exhaust.critical_threshold = 0.85
));
my $has_reserved = $node->pg_version >= 16;
my $max = $has_reserved ? 12 : 10;
$node->safe_psql('postgres', q(
CREATE ROLE app LOGIN;
CREATE ROLE ops LOGIN;
CREATE ROLE one LOGIN CONNECTION LIMIT 1;
));
$node->safe_psql('postgres', 'GRANT pg_use_reserved_connections TO ops') if $has_reserved;

my $watcher = client($node);
my $superuser = getpwuid($>);

# Numbers of /metrics, in the order of their names.
sub metrics
{
	my $metrics = http_metrics($port);

	return join ' ', map { $metrics->{$_} // "no $_" } @_;
}

sub states
{
	return metrics(map { qq(slots{state="$_"}) } qw(authenticating active idle idle_in_transaction unknown));
}

my $in_use = 'pool_in_use_connections{kind="server",pool="server"}';

# These are read without the database.
sub pool_in_use_becomes
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($expected, $name) = @_;

	ok(wait_until(sub { metrics($in_use) }, $expected, $in_use), $name);
}

# The whole of an answer of /readyz: status, header, body.
sub readyz_is
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($status, $health, $taken, $cause, $name) = @_;
	my $answer = http($port, '/readyz');

	is($answer->{status}, $status, "$name: status");
	is($answer->{headers}{'content-type'}, 'application/json', "$name: content type");
	is($answer->{headers}{'retry-after'}, $status == 200 ? undef : 10, "$name: Retry-After");
	is_deeply(
		JSON::PP::decode_json($answer->{content}),
		{
			health => $health,
			utilization => $taken / $capacity,
			in_use => $taken,
			capacity => $capacity,
			cause => $cause,
			retry_after_s => undef
		},
		"$name: body") or diag $answer->{content};
}

# An attempt that must be refused.
sub refused
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, %params) = @_;
	my $client = login($node, %params);

	is(sqlstate($client), '53300', "$name: refused");
	$client->vanish;
}

# Sessions end a little after their clients, and are seen a little later.
ok(wait_for($watcher, 'SELECT in_use FROM pool_exhaust_slots', 1), 'one slot to begin with');
ok(samples($watcher, 2), 'and the monitor has seen that');
my $reset_after = time;
$watcher->query('SELECT pool_exhaust_reset_stats()');
my $reset_before = time;
ok(samples($watcher, 1), 'the timeline begins healthy');

# Slot by slot to the reserve: a reading is not older than the answer.
is(http($port, '/livez')->{content}, "ok\n", 'alive');
readyz_is(200, 'healthy', 1, undef, 'nearly empty');
my @app = map { client($node, user => 'app', application_name => 'shop') } 2 .. 5;
readyz_is(200, 'healthy', 5, undef, 'healthy');
push @app, client($node, user => 'app', application_name => 'shop');
readyz_is(200, 'warning', 6, undef, 'warning');
push @app, client($node, user => 'app', application_name => 'shop');
readyz_is(429, 'critical', 7, 'utilization', 'critical');
push @app, client($node, user => 'app', application_name => 'mail');
readyz_is(503, 'exhausted', 8, 'reserved_slots', 'exhausted but for the reserve');

# A refused client has a slot for a moment.
foreach (1 .. 3)
{
	refused('reserve', user => 'app', application_name => 'shop');
	pool_in_use_becomes(8, 'reserve: its slot is free again');
}
my $reserved_slots = 3;
readyz_is(503, 'exhausted', 8, 'reserved_slots', 'refused for the reserve');
my @reserve;
if ($has_reserved)
{
	push @reserve, map { client($node, user => 'ops') } 1 .. 2;
	readyz_is(503, 'exhausted', 10, 'reserved_slots', 'exhausted but for superusers');
	foreach my $user ('app', 'ops')
	{
		refused("reserve, $user", user => $user, application_name => 'shop');
		pool_in_use_becomes(10, "reserve, $user: its slot is free again");
	}
	$reserved_slots += 2;
}

# Sessions that do different things
$watcher->query('SELECT pg_advisory_lock(1)');
$app[0]->send('SELECT pg_advisory_lock(1)');
$app[1]->query('BEGIN');

# To the last slot
push @reserve, map { client($node) } 1 .. 2;
refused("full, $_", user => $_) foreach 'app', 'ops', 'no_such_role', $superuser, $superuser;
my $too_many_clients = 5;
my $refusals = $reserved_slots + $too_many_clients;
my $opened = 7 + @reserve;

# From here on without SQL: every session is refused, the superuser's too.
readyz_is(503, 'exhausted', $max, 'too_many_clients', 'full');
ok(wait_until(\&states, '0 1 ' . ($max - 2) . ' 1 0', 'slots by state'),
	'/metrics: slots by state, and their sum is every slot');
is(metrics('max_connections', 'superuser_reserved_connections', 'reserved_connections'),
	"$max 2 " . ($max - 10), '/metrics: what the slots are');
is( metrics(map { qq(pool_$_\{kind="server",pool="server"}) }
		  qw(capacity_connections in_use_connections peak_in_use_connections utilization_ratio health)),
	"$capacity $max $max " . $max / $capacity . ' 3', '/metrics: the pool');
is(metrics('pool_retry_after_seconds{kind="server",pool="server"}'),
	'no pool_retry_after_seconds{kind="server",pool="server"}', '/metrics: no release, no time');
is( metrics(map { qq(refusals_total{cause="$_"}) }
		  qw(too_many_clients reserved_slots child_processes role_limit database_limit walsender_limit not_accepting other_limit)),
	"$too_many_clients $reserved_slots 0 0 0 0 0 0", '/metrics: refusals by cause');
is(metrics('opened_connections_total'), $opened, '/metrics: sessions opened');
is(metrics('role_connections{role="app"}', qq(role_connections{role="$superuser"})), '7 3', '/metrics: roles');
is_deeply(
	http_json($port, '/pools'),
	[
		{
			name => 'server',
			kind => 'server',
			capacity => $capacity,
			in_use => $max,
			utilization => $max / $capacity,
			health => 'exhausted',
			granted => $opened,
			refused => $refusals,
			peak_in_use => $max,
			retry_after_s => undef
		},
		{
			name => 'one',
			kind => 'role',
			capacity => 1,
			in_use => 0,
			utilization => 0,
			health => 'healthy',
			granted => 0,
			refused => 0,
			peak_in_use => 0,
			retry_after_s => undef
		}
	],
	'/pools') or diag http($port, '/pools')->{content};
is(http($port, '/livez')->{status}, 200, 'alive as before');
refused('full to the end');
$too_many_clients++;
$refusals++;
is(metrics('refusals_total{cause="too_many_clients"}'), $too_many_clients, 'answers took no slot');

# A session from before sees the same.
ok(samples($watcher, 2), 'the monitor samples a full server');
is( $watcher->query("SELECT in_use, capacity, utilization, health, granted, refused, peak_in_use, retry_after_s
		FROM pool_exhaust_pools WHERE name = 'server'"),
	"$max|$capacity|" . $max / $capacity . "|exhausted|$opened|$refusals|$max|", 'the pool by SQL');
is($watcher->query('SELECT pool_exhaust_health()'), 'exhausted', 'health by SQL');
is($watcher->query('SELECT in_use, free, free_unreserved FROM pool_exhaust_slots'), "$max|0|0", 'slots by SQL');
is( $watcher->query("SELECT service, in_use, active, idle, idle_in_transaction, share, peak_in_use, opened, suspects
		FROM pool_exhaust_services WHERE usename = 'app' ORDER BY 1"),
	"app/mail|1|0|1|0|0.125|1|1|0\napp/shop|6|1|4|1|0.75|6|6|0", 'services, and none that was refused');
is( $watcher->query("SELECT active IN (1, 2), active + idle, idle_in_transaction FROM pool_exhaust_timeline
		ORDER BY at DESC LIMIT 1"),
	't|' . ($max - 1) . '|1', 'the timeline has the states; the watcher is active while it asks');

# The live hour as a page says the same as the views.
sub lines { return map { [ split /\|/ ] } split /\n/, $watcher->query($_[0]) }
my $report = http($port, '/report');
my $page = $report->{content};
is($report->{status}, 200, '/report of a full server');
is($report->{headers}{'content-type'}, 'text/html; charset=utf-8', '/report: content type');
my ($policy) = $page =~ /<meta http-equiv="Content-Security-Policy" content="(.*?)">/;
is($report->{headers}{'content-security-policy'}, "$policy; frame-ancestors 'none'", '/report: the policy is a header, too');
my %charts = map { /"(\S+)-t / ? ($1 => $_) : () } is_sound($page, '/report');
is(join(' ', sort keys %charts), 'causes in-use refused services', '/report: its charts');
like($page, qr{<title>exhausted: $max of $capacity slots in use</title>}, '/report: title');
like($page, qr{<span class="badge exhausted">exhausted</span> since (\S+ \S+)</p>\n<p class="reason exhausted">Cause: too_many_clients \(no slot}, '/report: health, and why');
like($page, qr{No session ended in the last minute}, '/report: no release, no time');
my ($since) = $page =~ m{exhausted</span> since (\S+ \S+)<};
is( $watcher->query("SELECT '$since' BETWEEN date_trunc('second', before) AND at FROM (SELECT at, health, lag(at) OVER (ORDER BY at) AS before
		FROM pool_exhaust_timeline) t WHERE health = 'exhausted' ORDER BY at LIMIT 1"),
	't', "/report: since when: $since");
is(sprintf('%.0f', max(drawn_values($charts{'in-use'}, 'in use'))), $watcher->query('SELECT max(in_use) FROM pool_exhaust_timeline'), '/report: the peak is drawn');
is(max(map { split / to /, $_->[1] } rows_of($page, 'Slots in use')), $max, '/report: and listed');
is(join(' ', $charts{'in-use'} =~ /class="dash s." data-value="(\d+)"/g), "$capacity 7 6", '/report: capacity and thresholds');
is(sum(map { sprintf '%.0f', $_ } grep { $_ > 0.5 } drawn_values($charts{refused}, 'refused')), $refusals, '/report: all refusals are drawn');
is_deeply([ rows_of($page, 'Refusals by cause') ], [ lines('SELECT cause, refusals FROM pool_exhaust_refusals WHERE refusals > 0') ], '/report: refusals by cause');
is_deeply(
	[ sort { $a->[0] cmp $b->[0] } grep { $_->[0] =~ /^(?:app|ops)/ } rows_of($page, 'Services that hold slots') ],
	[ lines("SELECT service, active, idle_in_transaction, idle FROM pool_exhaust_services WHERE usename IN ('app', 'ops') AND in_use > 0 ORDER BY service") ],
	'/report: services');
is_deeply(
	[ sort map { join '|', @$_[0 .. 4] } rows_of($page, 'Logins that were refused') ],
	[ sort split /\n/, $watcher->query(q{SELECT usename || '/' || application_name, datname, 'local', cause, refusals FROM pool_exhaust_refused_services}) ],
	'/report: refused services');
is_deeply([ map { "@$_[0, 2, 3, 6]" } rows_of($page, 'The server, its walsenders') ], [ "server exhausted $max of $capacity $refusals", 'one healthy 0 of 1 0' ], '/report: pools');

# Two let go: by these releases the next one is to be expected.
$reserve[$_]->close foreach 0, 1;
pool_in_use_becomes($max - 2, 'two let go');
ok(samples($watcher, 2), 'that is seen');
my $asked_after = time;
my $answer = http($port, '/readyz');
my $retry = JSON::PP::decode_json($answer->{content})->{retry_after_s};
my $retry_sql = $watcher->query("SELECT retry_after_s FROM pool_exhaust_pools WHERE name = 'server'");
my $asked_before = time;
cmp_ok($retry, '>=', ceil(($asked_after - $reset_before) / 2), 'the next release is not expected too early');
cmp_ok($retry, '<=', ceil(($asked_before - $reset_after) / 2), 'nor too late');
is($answer->{headers}{'retry-after'}, $retry, 'the header says the same');
cmp_ok($retry_sql - $retry, '<=', 1, 'and the view');

# All let go: it gets better by itself, and stays on record.
$watcher->query('SELECT pg_advisory_unlock(1)');
$app[0]->result;
$_->close foreach @app, @reserve[2 .. $#reserve];
ok(wait_until(sub { http_json($port, '/readyz')->{health} }, 'healthy', 'health'), 'healthy again');
pool_in_use_becomes(1, 'one slot is left');
ok(samples($watcher, 3), 'that is seen too');
is( $watcher->query('SELECT max(in_use), sum(refused), sum(opened), max(utilization) FROM pool_exhaust_timeline'),
	join('|', $max, $refusals, $opened, $max / $capacity), 'the timeline has all of it');
is( $watcher->query("SELECT string_agg(health, ' > ' ORDER BY at) FROM (
			SELECT at, health, lag(health) OVER (ORDER BY at) AS before FROM pool_exhaust_timeline) t
		WHERE health <> before AND health IN ('healthy', 'exhausted')"),
	'exhausted > healthy', 'from healthy to exhausted and back, once');
is( $watcher->query('SELECT health, in_use, refused, opened FROM pool_exhaust_timeline ORDER BY at DESC LIMIT 1'),
	'healthy|1|0|0', 'the last row');
is( $watcher->query("SELECT p.in_use, peak_in_use, p.health, peak_at > before AND peak_at <= at
		FROM pool_exhaust_pools p, (SELECT at, in_use, lag(at) OVER (ORDER BY at) AS before
			FROM pool_exhaust_timeline) t WHERE t.in_use = $max AND name = 'server' ORDER BY at LIMIT 1"),
	"1|$max|healthy|t", 'the peak, and that it was when the server became full');
is( $watcher->query("SELECT service, in_use, peak_in_use, opened
		FROM pool_exhaust_services WHERE usename = 'app' ORDER BY 1"),
	"app/mail|0|1|1\napp/shop|0|6|6", 'services that hold nothing any more');
is(metrics($in_use, 'pool_health{kind="server",pool="server"}'), '1 0', '/metrics afterwards');

$watcher->close;
left_nothing($node);
done_testing();
