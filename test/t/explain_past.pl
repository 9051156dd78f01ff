# pool_exhaust_explain() of past moments: a night by script, with a leak, a limit, stalled
# logins, a storm, a restart; the causes of each moment, told from the recording when it is
# long over, after the server was killed too, and over HTTP. What was not recorded is not
# guessed, and said.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $capacity = 40;
my $node = new_server('explain_past',
	hba => [ 'local all stalled scram-sha-256', 'local all all trust' ],
	conf => qq(
max_connections = 43
superuser_reserved_connections = 3
authentication_timeout = 10min
autovacuum = off
pool_exhaust.leak_threshold = 1s
pool_exhaust.sample_interval = 100ms
pool_exhaust.http_port = $port
));
my $watcher = client($node);
$watcher->query($_) foreach 'CREATE ROLE app LOGIN', 'CREATE ROLE few LOGIN CONNECTION LIMIT 3', q(CREATE ROLE stalled LOGIN PASSWORD 'x'), 'CREATE ROLE reader LOGIN',
	'GRANT EXECUTE ON FUNCTION pool_exhaust_explain(timestamptz) TO reader';
$watcher->query(q(SET application_name = 'watcher'));
my $unjudged = 'stranded advisory lock, prepared transaction, lock pile-up, listeners, monitoring, slow statements';

# ---------- What was ----------

sub rows
{
	my ($at, $session) = @_;

	return JSON::PP::decode_json(($session // $watcher)->query("SELECT jsonb_agg(e ORDER BY rank) FROM pool_exhaust_explain('$at') AS e"));
}

# A moment of the last second that was recorded since this one, of the fullest if told so
sub recorded_moment
{
	my $since = $watcher->query('SELECT clock_timestamp()');

	ok(wait_for($watcher, "SELECT coalesce(sum(measured), 0) >= 2 FROM pool_exhaust_history('$since', clock_timestamp(), '1 s') WHERE service IS NULL", 't'), 'two seconds were recorded');
	return $watcher->query("SELECT timestamptz '$since' + interval '1 s'");
}

my %moments;    # what the first row is to say, by moment
my %told;       # and all rows, as they were told first

# The first cause of that moment is this one; so it stays.
sub was
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $at, %first) = @_;
	my $rows = rows($at);

	is($rows->[0]{cause}, $first{cause}, "$name: $first{cause} comes first") or diag explain($rows);
	is($rows->[0]{confidence}, $first{confidence}, "$name: confidence");
	like($rows->[0]{sentence}, $first{sentence}, "$name: sentence");
	like($rows->[0]{evidence}, $_, "$name: evidence") foreach @{ $first{evidence} // [] };
	is_deeply([ @{ $rows->[-1] }{qw(cause sentence confidence)} ], [ 'not judged', "Whether there was any of these is not recorded: $unjudged.", 'cannot tell' ], "$name: what was not judged");
	is(scalar(grep { $unjudged =~ /\Q$_->{cause}\E/ } @$rows), 0, "$name: and none of these is guessed");
	$told{$at} = $rows;
	return $rows;
}

sub sessions
{
	my ($n, $name, %params) = @_;

	return map { client($node, user => 'app', application_name => $name, %params) } 1 .. $n;
}

# Sessions end, and their slots are free again.
sub over
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	$_->close foreach @_;
	ok(wait_for($watcher, 'SELECT in_use FROM pool_exhaust_slots', 1), 'it is over');
}

# ---------- At rest ----------

my $rest = recorded_moment();
was('at rest', $rest, cause => 'healthy', confidence => 'likely', sentence => qr/^1 of 40 slots in use: nothing is seen to be wrong\.$/, evidence => [qr/Slots: \S+\/watcher 1\. .*As recorded at \d/]);

# ---------- A leak of several services ----------

# Which session is suspected is not recorded, so no service is named.
{
	my @borrowed = map { sessions(1, $_) } qw(web batch);
	$_->query("SET pool_exhaust.borrower = 'orders.py:57'") foreach @borrowed;
	ok(wait_for($watcher, 'SELECT count(*) FROM pool_exhaust_leaks', 2), 'both are suspected');
	was('borrowed by two services', recorded_moment(), cause => 'borrowed', confidence => 'sure', sentence => qr/: 2 sessions are idle and still borrowed\.$/);
	over(@borrowed);
}

# ---------- A leak that fills the server ----------

my $leak;
{
	my @leaks = map { open_transaction($node, 'web') } 1 .. 30;
	my @fill = sessions($capacity - 1 - 30, 'other');
	ok(wait_for($watcher, 'SELECT count(*) FROM pool_exhaust_leaks', 30), 'all of them are suspected');
	foreach (1 .. 4) { login($node, user => 'app', application_name => 'late')->vanish }
	$leak = recorded_moment();
	was('full of open transactions', $leak, cause => 'idle in transaction', confidence => 'likely',
		sentence => qr/^Full, 40 of 40 slots in use: 30 sessions of app\/web are idle in transaction\.$/,
		evidence => [ qr/Slots: app\/web 30, app\/other 9, \S+\/watcher 1\./, qr/Grown most since \d\d:\d\d:\d\d: app\/web, from 0 to 30\./, qr/Refused in the last minute: app\/late 4 \(reserved_slots 4\)\./ ]);
	my $live = $watcher->query('SELECT cause FROM pool_exhaust_explain() LIMIT 1');
	is($live, 'idle in transaction', 'as it was told then');
	over(@leaks, @fill);
}

# ---------- The ledger ----------

change_setting($watcher, log_min_messages => 'panic');
was('the ledger sees nothing', recorded_moment(), cause => 'ledger blind', confidence => 'cannot tell',
	sentence => qr/: refusals are not counted for at least [\d.]+ s, since log_min_messages keeps FATAL out of the server log\.$/);
change_setting($watcher, log_min_messages => 'warning');

# ---------- The limit of a role ----------

{
	my @sessions = sessions(3, 'small', user => 'few');
	login($node, user => 'few', application_name => 'small')->vanish foreach 1 .. 2;
	my $at = recorded_moment();
	was('the limit of a role', $at, cause => 'role_limit', confidence => 'sure',
		sentence => qr/: role few: 3 of 3 connections in use, 2 refused for that cause in the last minute \(its CONNECTION LIMIT\)\.$/, evidence => [qr/few\/small 2/]);
	$watcher->query('ALTER ROLE few CONNECTION LIMIT 2');
	$at = recorded_moment();
	was('a limit that was lowered', $at, cause => 'limit below use', confidence => 'sure', sentence => qr/: role few has 3 sessions, and its CONNECTION LIMIT is 2\.$/,
		evidence => [qr/In the last minute: .*the limit of role few became 2, it was 3/]);
	over(@sessions);
}

# ---------- Logins ----------

{
	my @stalled = map { login($node, user => 'stalled', application_name => 'stalled') } 1 .. 10;
	ok(wait_until(sub { (grep { $_->{cause} eq 'stalled logins' && $_->{sentence} =~ /the longest for [4-9]/ } @{ rows($watcher->query('SELECT clock_timestamp()')) }) ? 'there are' : 'none' }, 'there are', 'stalled logins'),
		'stalled logins of just now');
	my $at = recorded_moment();
	was('logins without an answer', $at, cause => 'stalled logins', confidence => 'likely', sentence => qr/: 10 logins hold a slot and are not completed, the longest for [\d.]+ s\.$/);
	$_->vanish foreach @stalled;
	over();
}
{
	my @clients;
	my $storm;
	my $end = time + 12;

	while (time < $end)
	{
		push @clients, sessions($capacity - 1, 'herd');
		login($node, user => 'app', application_name => 'herd')->vanish;
		$storm = $watcher->query('SELECT clock_timestamp()');
		over(splice @clients);
	}
	recorded_moment();
	my ($found) = grep { $_->{cause} eq 'reconnect storm' } @{ rows($storm) };
	like($found->{sentence}, qr/[Cc]lients connect again and again: \d+ logins granted and \d+ refused in the last 10 s/, 'a storm') or diag explain(rows($storm));
}

# ---------- A surge ----------

{
	# No past that could tell of anything else
	my @sessions = sessions($capacity - 1, 'surging');
	my $at = recorded_moment();
	my $rows = rows($at);
	like($rows->[0]{sentence}, qr/^Full, 40 of 40 slots in use: /, 'a surge: it is full');
	$told{$at} = $rows;
	my $server = $node->data_dir;

	# ---------- Killed while it is full ----------

	my $killed = $watcher->query('SELECT clock_timestamp()');
	$node->kill9;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;
	until ($node->start(fail_ok => 1))
	{
		die 'the server does not start' if time > $end;
		$node->{_pid} = undef;
	}
	$_->vanish foreach @sessions;
	$watcher = client($node, application_name => 'watcher');
	my $started = recorded_moment();
	foreach my $moment (sort keys %told)
	{
		is_deeply(rows($moment), $told{$moment}, "$moment: the same after a kill");
	}
	my $gap = rows($watcher->query("SELECT lead - interval '10 ms' FROM (SELECT at, measured, lead(at) OVER (ORDER BY at) FROM pool_exhaust_history('$killed', '$started', '1 s') WHERE service IS NULL) AS h WHERE measured < 1 ORDER BY at LIMIT 1"));
	is(scalar(@$gap), 1, 'a moment in the gap has one row');
	is("$gap->[0]{cause}, $gap->[0]{confidence}", 'not recorded, cannot tell', 'which says that nothing was recorded');
	like($gap->[0]{sentence}, qr/^Nothing was recorded at \d/, 'at which moment');
	like($gap->[0]{evidence}, qr/^Nothing was recorded between .* and .*\. After that: the server was started\.$/, 'and why');
	my $now = rows($started);
	like($now->[0]{evidence}, qr/In the last minute: .*the server was started.*Of that minute \d+ s were not measured/, 'what is told after it says so');
}
is(rows('2001-01-01')->[0]{cause}, 'not recorded', 'a moment long before');
is(rows($watcher->query("SELECT now() + interval '1 day'"))->[0]{cause}, 'not recorded', 'a moment to come');
fails_with($watcher, "SELECT pool_exhaust_explain('infinity')", '22023', [qr/must be finite/], 'no moment');
$watcher->query($_) // fail($watcher->message) foreach map { $_->{next_step} } map { @$_ } values %told;

# ---------- Names ----------

{
	my $reader = client($node, user => 'reader');
	my $rows = rows($leak, $reader);
	like($rows->[0]{sentence}, qr/^Full, 40 of 40 slots in use: 30 sessions of a service that is not shown are idle in transaction\.$/, 'a role without pg_read_all_stats sees the cause');
	like($rows->[0]{evidence}, qr/a service that is not shown, from 0 to 30.*Refused in the last minute: a service that is not shown 4 \(reserved_slots 4\)/, 'and its figures');
	unlike(JSON::PP::encode_json($rows), qr/app|web|late/, 'but no names of others');
	fails_with(client($node, user => 'app'), "SELECT pool_exhaust_explain('$leak')", '42501', [qr/permission denied/], 'it needs a right');
}

# ---------- HTTP ----------

{
	my @fill = sessions($capacity - 1, 'again');
	my $epoch = $watcher->query("SELECT extract(epoch FROM timestamptz '$leak')");
	my $page = http($port, "/explain?at=$epoch");

	is($page->{status}, 200, 'over HTTP while the server is full');
	like($page->{content}, qr/^1\. idle in transaction \(likely\)\n   Full, 40 of 40 slots in use: 30 sessions of app\/web/, 'the same');
	cmp_ok(length $page->{content}, '<=', 2048, 'the page is small');
	is_deeply(http_json($port, "/explain?at=$epoch&format=json"), $told{$leak}, 'as JSON');
	is(http($port, '/explain?at=yesterday')->{status}, 400, 'a moment that is none');
	is(http_json($port, '/explain?at=2001-01-01T00:00:00Z&format=json')->[0]{cause}, 'not recorded', 'a moment that was not recorded');
	over(@fill);
}

# ---------- Without names ----------

change_setting($watcher, 'pool_exhaust.recorder_names' => 'off');
{
	my @leaks = map { open_transaction($node, 'web') } 1 .. 10;
	ok(wait_for($watcher, 'SELECT count(*) FROM pool_exhaust_leaks', 10), 'a leak of a service without a name');
	was('without names', recorded_moment(), cause => 'idle in transaction', confidence => 'likely', sentence => qr/: 10 sessions of service \d+ are idle in transaction\.$/);
	over(@leaks);
}

$watcher->close;
left_nothing($node);
done_testing();
