# Connections held and leaked by hand: all of them or none, in the state that was
# asked for, until they are released or their time, their session, the extension,
# the database or the server comes to an end.  Nothing is left then.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# 30 slots = 27 regular + 3 for superusers
my $http_port = PostgreSQL::Test::Cluster::get_free_port();
my $node = new_server('holds', conf => qq(
max_connections = 30
max_worker_processes = 20
autovacuum = off
pool_exhaust.http_port = $http_port
));
my $watcher = client($node);
my $json = JSON::PP->new->canonical;

# "hold(3, state => 'active')" as SQL; what is no argument is an option.
sub sql
{
	my ($function, $connections, %params) = @_;
	my @args = map { "$_ => '" . delete($params{$_}) . "'" } grep { exists $params{$_} } qw(target state kind);

	push @args, "options => '" . $json->encode(\%params) . "'" if %params;
	return "SELECT pool_exhaust_$function(" . join(', ', $connections, @args) . ')';
}

# The id of a new hold or leak.
sub held
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $name, @hold) = @_;
	my $id = $client->query(sql(@hold));

	ok($id, "$name: it is held") or BAIL_OUT($client->message);
	return $id;
}

# What its sessions do, "active 3, idle 1".
sub states
{
	my ($id) = @_;

	return "SELECT coalesce(string_agg(state || ' ' || n, ', ' ORDER BY state), 'none')
		FROM (SELECT state, count(*) AS n FROM pool_exhaust_backends
			WHERE hold_id = $id AND run_id IS NULL AND usename ~ '^pool_exhaust_[0-9]+\$' GROUP BY state) AS s";
}

sub row
{
	my ($id, $columns) = @_;

	$columns //= 'target, state, connections, leaked';
	return "SELECT $columns FROM pool_exhaust_holds WHERE hold_id = $id";
}

sub pids
{
	my ($id) = @_;

	return split /\n/, $watcher->query("SELECT pid FROM pool_exhaust_backends WHERE hold_id = $id ORDER BY backend_start, pid");
}

my $left = "SELECT (SELECT count(*) FROM pg_stat_activity WHERE usename ~ '^pool_exhaust_[0-9]+\$') || ' sessions, '
	|| (SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_[0-9]+\$') || ' roles, '
	|| (SELECT count(*) FROM pool_exhaust_holds) || ' holds'";
my $nothing = '0 sessions, 0 roles, 0 holds';

sub nothing_is_left
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name) = @_;

	is($watcher->query($left), $nothing, "$name: nothing is left");
}

sub nothing_will_be_left
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name) = @_;

	ok(wait_for($watcher, $left, $nothing), "$name: soon nothing is left");
}

# Releases it; this many connections are closed, and nothing is left.
sub released
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($id, $n, $name) = @_;

	is($watcher->query("SELECT pool_exhaust_release($id)") // $watcher->message, $n, "$name: $n are released");
	nothing_is_left($name);
}

# The log says how a hold ended.
sub log_says
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($id, $reason, $name) = @_;

	like(slurp_file($node->logfile), qr/LOG:  pool_exhaust: hold $id has ended: $reason$/m, "$name: the log says why");
}

# ---------- States and kinds ----------

foreach (
	[ 'idle',                          'idle 3' ],
	[ 'active',                        'active 3' ],
	[ 'idle in transaction',           'idle in transaction 3' ],
	[ 'idle in transaction (aborted)', 'idle in transaction (aborted) 3' ],
	[ 'lock wait',                     'active 3, idle 1' ],
	[ 'abandoned',                     undef, 'idle 9' ],
	[ 'dead client',                   undef, 'active 3' ])
{
	my ($kind, $as_hold, $as_leak) = @$_;

	if ($as_hold)
	{
		my $id = held($watcher, "hold $kind", 'hold', 3, state => $kind);
		is($watcher->query(states($id)), $as_hold, "hold $kind: its sessions");
		is($watcher->query(row($id)), "server|$kind|3|f", "hold $kind: its row");
		released($id, 3, "hold $kind");
	}
	my $id = held($watcher, "leak $kind", 'leak', 3, kind => $kind, target => 'role');
	# A companion may be in the middle of its SELECT 1.
	ok(wait_for($watcher, states($id), $as_leak // $as_hold), "leak $kind: its sessions");
	is($watcher->query(row($id)), "role|$kind|3|t", "leak $kind: its row");
	is($watcher->query("SELECT rolconnlimit FROM pg_roles JOIN pool_exhaust_run_roles() r ON r.role = pg_roles.oid WHERE hold_id = $id"),
		$watcher->query("SELECT count(*) FROM pool_exhaust_backends WHERE hold_id = $id"),
		"leak $kind: its role may have that many sessions and no more");
	released($id, 3, "leak $kind");
}

# What a state means
{
	my $id = held($watcher, 'lock wait', 'hold', 4, state => 'lock wait');
	is($watcher->query("SELECT count(*) FROM pg_locks l JOIN pool_exhaust_backends b USING (pid)
			WHERE b.hold_id = $id AND l.locktype = 'advisory' AND NOT l.granted"), 4, 'lock wait: all of them wait');
	is($watcher->query("SELECT count(DISTINCT blocker) FROM pool_exhaust_backends b, unnest(pg_blocking_pids(b.pid)) AS blocker
			WHERE b.hold_id = $id AND blocker IN (SELECT pid FROM pool_exhaust_backends WHERE hold_id = $id AND state = 'idle')"),
		1, 'lock wait: for one session of the hold itself');
	my $second = held($watcher, 'lock wait', 'hold', 1, state => 'lock wait');
	is($watcher->query(states($second)), 'active 1, idle 1', 'lock wait: a second hold has a lock of its own');
	$watcher->query("SELECT pool_exhaust_release($second)");
	released($id, 4, 'lock wait');
}
{
	my $id = held($watcher, 'abandoned', 'leak', 3, kind => 'abandoned');
	my @pids = pids($id);
	my ($old, $new) = (join(',', @pids[0 .. 2]), join(',', @pids[3 .. $#pids]));

	is(scalar(@pids), 9, 'abandoned: two newer sessions for each');
	is($watcher->query("SELECT (SELECT min(backend_start) FROM pg_stat_activity WHERE pid IN ($new))
			- (SELECT max(state_change) FROM pg_stat_activity WHERE pid IN ($old)) >= '300 ms'"),
		't', 'abandoned: the newer sessions came 300 ms after the last use of the others');
	my $before = $watcher->query("SELECT max(state_change) FROM pg_stat_activity WHERE pid IN ($old)");
	foreach my $round (1 .. 3)
	{
		my $now = $watcher->query('SELECT clock_timestamp()');
		ok( wait_for($watcher, "SELECT min(query_start) > '$now' FROM pg_stat_activity WHERE pid IN ($new)", 't'),
			"abandoned: the newer ones are used, round $round");
	}
	is($watcher->query("SELECT max(state_change), min(query), max(query) FROM pg_stat_activity WHERE pid IN ($old)"),
		"$before|SELECT 1|SELECT 1", 'abandoned: the others are not, after the first time');
	released($id, 3, 'abandoned');
}
{
	my $id = held($watcher, 'growth', 'leak', 6, kind => 'growth', spacing_ms => 200);
	my ($companion, @pids) = pids($id);
	my $grown = join(',', @pids);

	is($watcher->query(row($id)), 'server|growth|6|t', 'growth: its row');
	is(scalar(@pids), 6, 'growth: one session came before them');
	is($watcher->query("SELECT count(*) FILTER (WHERE gap >= '100 ms') || ' of ' || count(gap) FROM (SELECT backend_start
			- lag(backend_start) OVER (ORDER BY backend_start) AS gap FROM pool_exhaust_backends WHERE pid IN ($grown)) AS g"),
		'5 of 5', 'growth: they came one after the other');
	my $used = "SELECT count(*), min(query), max(query), max(state_change) FROM pg_stat_activity WHERE pid IN ($grown) AND state = 'idle'";
	my $before = $watcher->query($used);
	like($before, qr/^6\|SELECT 1\|SELECT 1\|/, 'growth: each was used, at its beginning');
	foreach my $round (1 .. 3)
	{
		my $now = $watcher->query('SELECT clock_timestamp()');
		ok(wait_for($watcher, "SELECT query_start > '$now' FROM pg_stat_activity WHERE pid = $companion", 't'),
			"growth: the one before them is used, round $round");
	}
	is($watcher->query($used), $before, 'growth: and not again');
	released($id, 6, 'growth');
}
{
	my $id = held($watcher, 'dead client', 'leak', 3, kind => 'dead client');
	my @pids = pids($id);
	my $log_start = -s $node->logfile;

	is($watcher->query("SELECT count(*) FROM pg_stat_activity WHERE pid IN (" . join(',', @pids) . ") AND wait_event = 'PgSleep'"),
		3, 'dead client: the server works for it');
	$watcher->query("SELECT pg_cancel_backend($pids[0])");
	ok(wait_for($watcher, row($id, 'connections'), 2), 'dead client: a session whose statement ends is gone');
	ok($node->wait_for_log(qr/connection to client lost/, $log_start), 'dead client: for no client takes the answer');
	released($id, 2, 'dead client');

	# A server that checks whether its clients are still there
	$watcher->query("ALTER DATABASE postgres SET client_connection_check_interval = '20ms'");
	$id = held($watcher, 'dead client found out', 'leak', 3, kind => 'dead client');
	nothing_will_be_left('dead client found out');
	log_says($id, 'none of its connections is left', 'dead client found out');
	$watcher->query('ALTER DATABASE postgres RESET client_connection_check_interval');
}

# ---------- All or nothing ----------

# What the limits leave is held, one more is not.  The watcher has one slot.
foreach (
	[ 'slots',                    27, 0,  'reserved_slots', 26, 'hold', {} ],
	[ 'with the lock',            26, 1,  'reserved_slots', 26, 'hold', { state => 'lock wait' } ],
	[ 'with companions',          9,  18, 'reserved_slots', 26, 'leak', { kind => 'abandoned' } ],
	[ 'with one companion',       26, 1,  'reserved_slots', 26, 'leak', { kind => 'growth', spacing_ms => 1 } ],
	[ 'role limit',               5,  0,  'role_limit',     4,  'hold', { target => 'role', role_limit => 4 } ],
	[ 'role limit and slot',      5,  1,  'role_limit',     4,  'leak', { target => 'role', role_limit => 4, kind => 'lock wait' } ],
	[ 'role limit and two slots', 3,  6,  'role_limit',     6,  'leak', { target => 'role', role_limit => 6, kind => 'abandoned' } ])
{
	my ($name, $connections, $beside_n, $cause, $room, $function, $params) = @$_;
	my $beside = $beside_n > 0 ? " and $beside_n beside" : '';
	my $each = $beside_n == 2 * $connections;
	my $refused = $watcher->query("SELECT sum(refusals) FROM pool_exhaust_refusals");

	fails_with($watcher, sql($function, $connections, %$params), '53300',
		[ qr/could not hold $connections connections$beside: $cause would refuse after $room$/m, qr/Nothing was opened/,
			qr/pool_exhaust_slots/ ], $name);
	nothing_is_left($name);
	is($watcher->query('SELECT sum(refusals) FROM pool_exhaust_refusals'), $refused, "$name: no session was refused");
	my $fits = $each ? int($room / 3) : $room - $beside_n;
	my $taken = $each ? 3 * $fits : $room;
	my $left = $room - $taken;
	my $more = $left == 0 ? '1 connection' : $left + 1 . ' connections';
	my $id = held($watcher, "$name, all that fit", $function, $fits, %$params);
	is($watcher->query("SELECT count(*) FROM pool_exhaust_backends WHERE hold_id = $id"), $taken, "$name: all that fit");
	fails_with($watcher, sql('hold', $left + 1), '53300', [qr/could not hold $more: reserved_slots would refuse after $left$/m],
		"$name: not one more than is left") if $cause eq 'reserved_slots';
	released($id, $fits, $name);
}
{
	$watcher->query('CREATE DATABASE limited CONNECTION LIMIT 3');
	fails_with($watcher, sql('hold', 4, database => 'limited'), '53300',
		[qr/could not hold 4 connections: database_limit would refuse after 3$/m], 'database limit');
	my $id = held($watcher, 'database limit, all that fit', 'hold', 3, database => 'limited');
	is($watcher->query("SELECT count(*), min(datname) FROM pool_exhaust_backends WHERE hold_id = $id"), '3|limited', 'database limit: all that fit');
	released($id, 3, 'database limit');
}

# Room that was there when it began is gone before all are held.  The kind
# growth is slow enough to be overtaken, also where a login takes 300 ms; the
# number that fit is exact.
sub overtaken
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $params, $overtake) = @_;
	my $caller = client($node);

	$caller->send(sql('leak', 20, kind => 'growth', spacing_ms => 1400, %$params));
	ok(wait_for($watcher, 'SELECT count(*) >= 2 FROM pool_exhaust_backends WHERE hold_id IS NOT NULL', 't'), "$name: it has begun");
	is($watcher->query('SELECT count(*) FROM pool_exhaust_holds'), 0, "$name: the view does not show it yet");
	my ($cause, $after, @others) = $overtake->();
	$caller->result;
	is(sqlstate($caller), '53300', "$name: SQLSTATE");
	like($caller->message, qr/could not hold 20 connections and 1 beside: $cause refused after $after\nWhat was opened so far is closed again\./, "$name: the cause and the number");
	nothing_is_left($name);
	$_->close foreach @others, $caller;
	ok(wait_for($watcher, 'SELECT in_use FROM pool_exhaust_slots', 1), "$name: every slot is back");
}

$watcher->query('CREATE ROLE app LOGIN');
overtaken('slots taken meanwhile', {}, sub {
	my @others;
	for (;;)
	{
		my $other = login($node, user => 'app');
		last if $other->{error};
		push @others, $other;
	}
	return ('reserved_slots', 27 - 2 - @others, @others);
});
overtaken('role limited meanwhile', {}, sub {
	$watcher->query("DO \$\$ BEGIN EXECUTE format('ALTER ROLE %s CONNECTION LIMIT 4',
		(SELECT role::regrole FROM pool_exhaust_run_roles())); END \$\$");
	return ('role_limit', 4);
});
overtaken('database limited meanwhile', { database => 'limited', timeout_ms => 30_000 }, sub {
	$watcher->query('ALTER DATABASE limited CONNECTION LIMIT 5');
	return ('database_limit', 5);
}) if $watcher->query('ALTER DATABASE limited CONNECTION LIMIT -1; SELECT 1');

# A session of it is ended meanwhile; it does not come to its end in time.
{
	my $caller = client($node);
	$caller->send(sql('hold', 6, state => 'idle'));
	like($caller->result, qr/^\d+$/, 'beside it: a hold');
	$caller->close;
	nothing_will_be_left('beside it');

	$caller = client($node);
	$caller->send(sql('leak', 10, kind => 'growth', spacing_ms => 150));
	ok(wait_for($watcher, 'SELECT count(*) >= 2 FROM pool_exhaust_backends WHERE hold_id IS NOT NULL', 't'), 'killed meanwhile: it has begun');
	$watcher->query('SELECT pg_terminate_backend(min(pid)) FROM pool_exhaust_backends WHERE hold_id IS NOT NULL');
	$caller->result;
	is(sqlstate($caller), '08006', 'killed meanwhile: SQLSTATE');
	like($caller->message, qr/could not hold 10 connections and 1 beside: a session was ended before all were held/, 'killed meanwhile: the reason');
	nothing_is_left('killed meanwhile');
	$caller->close;

	fails_with($watcher, sql('leak', 5, kind => 'growth', spacing_ms => 300, timeout_ms => 1200), '22023',
		[ qr/opening 5 connections takes more than 1200 ms, and may take 1200/, qr/lower spacing_ms/ ], 'too slow, and that is known');
	fails_with($watcher, sql('leak', 3, kind => 'abandoned', timeout_ms => 200), '57000',
		[qr/could not hold 3 connections and 6 beside: not all there within 200 ms \(option timeout_ms\)/], 'too slow');
	nothing_is_left('too slow');
}

# ---------- How it ends ----------

# With the session that asked; a leak does not.
foreach my $end ('close', 'vanish', 'terminate')
{
	my $caller = client($node);
	my $pid = $caller->query('SELECT pg_backend_pid()');
	my $hold = held($caller, "session ends by $end", 'hold', 3, state => 'active');
	my $second = held($caller, "session ends by $end", 'hold', 2);
	my $leak = held($caller, "session ends by $end", 'leak', 2);

	$end eq 'terminate' ? $watcher->query("SELECT pg_terminate_backend($pid)") : $caller->$end;
	ok(wait_for($watcher, 'SELECT string_agg(hold_id::text, $$ $$) FROM pool_exhaust_holds', $leak), "session ends by $end: its holds end");
	is($watcher->query(states($hold)) . ' and ' . $watcher->query(states($second)), 'none and none', "session ends by $end: their sessions are gone");
	is($watcher->query(states($leak)), 'idle in transaction 2', "session ends by $end: the leak goes on");
	log_says($hold, 'the session that asked for the hold has ended', "session ends by $end");
	released($leak, 2, "session ends by $end");
}

# When its time is over
{
	my $caller = client($node);
	my $id = held($caller, 'hold_ms', 'leak', 2, kind => 'active', hold_ms => 700);
	is($watcher->query(row($id, 'expires_at - since')), '00:00:00.7', 'hold_ms: expires_at');
	nothing_will_be_left('hold_ms');
	log_says($id, 'its time is over', 'hold_ms');

	$id = held($caller, 'without hold_ms', 'hold', 1);
	is($watcher->query(row($id, 'expires_at - since')), '00:10:00', 'max_hold_time: 10 min');
	released($id, 1, 'without hold_ms');

	$caller->query("SET pool_exhaust.max_hold_time = '1s'");
	foreach my $params ({}, { hold_ms => 60_000 })
	{
		$id = held($caller, 'max_hold_time', 'leak', 2, %$params);
		is($watcher->query(row($id, 'expires_at - since')), '00:00:01', 'max_hold_time: expires_at');
		nothing_will_be_left('max_hold_time');
		log_says($id, 'its time is over', 'max_hold_time');
	}
	$id = held($caller, 'max_hold_time of a hold', 'hold', 2);
	nothing_will_be_left('max_hold_time of a hold');
	fails_with($caller, sql('leak', 8, kind => 'growth', spacing_ms => 200), '22023', [qr/may take 1000/], 'max_hold_time: for the set-up too');
	$caller->close;
}

# The caller is canceled while it waits.
{
	my $caller = client($node);
	my $pid = $caller->query('SELECT pg_backend_pid()');

	$caller->query("SET statement_timeout = '400ms'");
	fails_with($caller, sql('leak', 6, kind => 'growth', spacing_ms => 1000), '57014', [qr/statement timeout/], 'canceled leak');
	$caller->query('RESET statement_timeout');
	nothing_is_left('canceled leak');
	is($caller->query('SELECT 1'), 1, 'canceled leak: the session goes on');

	# While its role is still to be made
	my $locker = client($node);
	$locker->query('BEGIN');
	$locker->query('LOCK TABLE pg_catalog.pg_authid IN EXCLUSIVE MODE');
	$caller->send(sql('hold', 6, state => 'active'));
	ok(wait_for($watcher, "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'pg_authid'::regclass", 1), 'canceled hold: it waits');
	$watcher->query("SELECT pg_cancel_backend($pid)");
	$locker->query('ROLLBACK');
	$caller->result;
	is(sqlstate($caller), '57014', 'canceled hold: the caller sees it');
	nothing_is_left('canceled hold');
	$locker->close;
	$caller->send(sql('leak', 10, kind => 'growth', spacing_ms => 1000));
	ok(wait_for($watcher, 'SELECT count(*) > 0 FROM pool_exhaust_backends WHERE hold_id IS NOT NULL', 't'), 'terminated caller: a leak has begun');
	$watcher->query("SELECT pg_terminate_backend($pid)");
	nothing_will_be_left('terminated caller: a leak that was not complete');
}

# The worker that holds them is terminated.
{
	my $worker = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pool_exhaust runner'";
	foreach my $kind ('idle', 'dead client', 'lock wait')
	{
		my $id = held($watcher, "terminated worker, $kind", 'leak', 3, kind => $kind);
		is($watcher->query($worker), 't', "terminated worker, $kind: the signal is sent");
		nothing_will_be_left("terminated worker, $kind");
		log_says($id, 'the runner was asked to terminate', "terminated worker, $kind");
	}
	my $caller = client($node);
	$caller->send(sql('leak', 10, kind => 'growth', spacing_ms => 1000));
	ok(wait_for($watcher, 'SELECT count(*) > 0 FROM pool_exhaust_backends WHERE hold_id IS NOT NULL', 't'), 'terminated worker: a leak has begun');
	$watcher->query($worker);
	$caller->result;
	is(sqlstate($caller), '57000', 'terminated worker: the caller learns it');
	nothing_is_left('terminated worker: a leak that was not complete');
	$caller->close;
}

# Sessions of it are ended from outside: it goes on with fewer.
foreach (
	[ 'idle', 'pg_terminate_backend' ], [ 'active', 'pg_terminate_backend' ],
	[ 'active', 'pg_cancel_backend' ], [ 'lock wait', 'pg_cancel_backend' ])
{
	my ($state, $function) = @$_;
	my $name = "$function, $state";
	my $id = held($watcher, $name, 'hold', 3, state => $state);
	my $more = $state eq 'idle' ? '' : " AND state = 'active'";
	my @pids = split /\n/, $watcher->query("SELECT pid FROM pool_exhaust_backends WHERE hold_id = $id$more");

	$watcher->query("SELECT $function($pids[0])");
	ok(wait_for($watcher, row($id, 'connections'), 2), "$name: it goes on with two");
	ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pids[0]", 0), "$name: the third is gone");
	$watcher->query("SELECT $function($pids[1])");
	ok(wait_for($watcher, row($id, 'connections'), 1), "$name: it goes on with one");
	$watcher->query("SELECT $function($pids[2])");
	nothing_will_be_left($name);
	log_says($id, 'none of its connections is left' . ($function eq 'pg_terminate_backend' ? ': 57P01 terminating connection due to administrator command' : ''), $name);
}
{
	my $id = held($watcher, 'two of three', 'hold', 3);
	$watcher->query('SELECT pg_terminate_backend(' . (pids($id))[1] . ')');
	ok(wait_for($watcher, row($id, 'connections'), 2), 'two of three: one is ended');
	released($id, 2, 'two of three');

	$id = held($watcher, 'no companion', 'leak', 2, kind => 'abandoned');
	my @pids = pids($id);
	$watcher->query("SELECT pg_terminate_backend($_)") foreach @pids[2 .. 5];
	ok(wait_for($watcher, states($id), 'idle 2'), 'no companion: all four are ended');
	is($watcher->query(row($id, 'connections')), 2, 'no companion: the abandoned are still there');
	$watcher->query("SELECT pg_terminate_backend($_)") foreach @pids[0, 1];
	nothing_will_be_left('no companion');

	$id = held($watcher, 'no lock', 'hold', 3, state => 'lock wait');
	$watcher->query("SELECT pg_terminate_backend(pid) FROM pool_exhaust_backends WHERE hold_id = $id AND state = 'idle'");
	nothing_will_be_left('no lock');
	log_says($id, 'the session that held the lock is gone', 'no lock');
}

# The timeouts of the server are for held sessions too, and the log says which one it was.
foreach (
	[ 'idle in transaction', 'idle_in_transaction_session_timeout', ': 25P03 terminating connection due to idle-in-transaction timeout' ],
	[ 'idle', 'idle_session_timeout', ': 57P05 terminating connection due to idle-session timeout' ],
	[ 'active', 'statement_timeout', '' ], [ 'lock wait', 'lock_timeout', '' ])
{
	my ($kind, $setting, $why) = @$_;
	$watcher->query("ALTER DATABASE limited SET $setting = '300ms'");
	my $id = held($watcher, $setting, 'leak', 3, kind => $kind, database => 'limited');
	nothing_will_be_left($setting);
	log_says($id, "none of its connections is left$why", $setting);
	$watcher->query("ALTER DATABASE limited RESET $setting");
}

# ---------- Release ----------

{
	my @ids = map { held($watcher, "release, hold $_", 'hold', $_) } 1 .. 3;
	fails_with($watcher, 'SELECT pool_exhaust_release(987654)', '42704', [ qr/hold 987654 does not exist/, qr/pool_exhaust_holds/ ], 'release of an unknown hold');
	fails_with($watcher, 'SELECT pool_exhaust_release(0)', '42704', [qr/hold 0 does not exist/], 'release of no hold');
	is($watcher->query("SELECT pool_exhaust_release($ids[1])"), 2, 'release of one: its two connections');
	is($watcher->query('SELECT string_agg(hold_id::text, $$ $$ ORDER BY hold_id) FROM pool_exhaust_holds'), "$ids[0] $ids[2]", 'release of one: the others stay');
	fails_with($watcher, "SELECT pool_exhaust_release($ids[1])", '42704', [qr/hold $ids[1] does not exist/], 'release of one: once');
	is($watcher->query('SELECT pool_exhaust_stop()'), 0, 'pool_exhaust_stop() stops no hold');
	fails_with($watcher, 'SELECT pool_exhaust_wait(0)', '42704', [qr/run 0 does not exist/], 'a hold is no run to wait for');
	is($watcher->query('SELECT pool_exhaust_release()'), 4, 'release of all: their four connections');
	nothing_is_left('release of all');
	is($watcher->query('SELECT pool_exhaust_release()'), 0, 'release of all: nothing to release');

	# One that is still being set up
	my $caller = client($node);
	$caller->send(sql('leak', 10, kind => 'growth', spacing_ms => 1000));
	# Two of them, and the one that came before
	ok(wait_for($watcher, 'SELECT count(*) FROM pool_exhaust_backends WHERE hold_id IS NOT NULL', 3), 'release on the way: it has begun');
	is($watcher->query('SELECT pool_exhaust_release()'), 2, 'release on the way: what there is');
	nothing_is_left('release on the way');
	$caller->result;
	is(sqlstate($caller), '57000', 'release on the way: the caller learns it');
	like($caller->message, qr/could not hold 10 connections and 1 beside: released by pool_exhaust_release\(\)/, 'release on the way: and why');
	$caller->close;
}

# Runs and holds leave each other alone.
{
	my $id = held($watcher, 'beside a run', 'hold', 5);
	my $report = $watcher->query("SELECT pool_exhaust_run('saturation', 'server')") // $watcher->message;
	like($report, qr/\A ?PASS +saturation on server/, 'a run on the server passes beside a hold');
	like($report, qr/held connections +21 = 21/, 'and takes what that leaves');
	is($watcher->query(row($id, 'connections')), 5, 'and the hold stays');
	is($watcher->query('SELECT count(*) FROM pool_exhaust_progress'), 0, 'a hold is no run under way');
	is(http_metrics($http_port)->{runs}, 0, 'nor in the metrics');
	my $run_id = $watcher->query(q(SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 10000, "role_limit": 1, "timeout_ms": 300000}')));
	is($watcher->query("SELECT pool_exhaust_release($id)"), 5, 'a hold is released beside a run');
	$id = held($watcher, 'during a run', 'hold', 2);
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'the run goes on until it is stopped');
	is($watcher->query(row($id, 'connections')), 2, 'and the hold stays');
	released($id, 2, 'during a run');
	is($watcher->query('SELECT count(*) FROM pool_exhaust_runs'), 2, 'only the runs are recorded');
}

# Eight places, and no more
{
	my @ids = map { held($watcher, "place $_", 'leak', 1) } 1 .. 8;
	is($watcher->query('SELECT count(*), sum(connections) FROM pool_exhaust_holds'), '8|8', 'eight holds');
	fails_with($watcher, sql('hold', 1), '53400', [ qr/8 runs are under way, holds included/, qr/pool_exhaust_release/ ], 'a ninth hold');
	fails_with($watcher, "SELECT pool_exhaust_start('saturation', 'role')", '53400', [ qr/8 runs are under way/, qr/pool_exhaust_stop/ ], 'a run beside eight holds');
	is($watcher->query('SELECT pool_exhaust_release()'), 8, 'eight are released');
	nothing_is_left('eight holds');
}

# The owner of a hold decides which roles may release it.
{
	$watcher->query(q(
CREATE ROLE tester LOGIN;
CREATE ROLE signaller LOGIN IN ROLE pg_signal_backend;
GRANT EXECUTE ON FUNCTION pool_exhaust_hold(integer, text, text, jsonb), pool_exhaust_leak(integer, text, text, jsonb),
	pool_exhaust_release(bigint) TO tester, signaller));
	my $tester = client($node, user => 'tester');
	my $signaller = client($node, user => 'signaller');
	my $id = held($watcher, 'of the superuser', 'hold', 2);
	my $own = held($tester, 'of a tester', 'hold', 3);

	fails_with($tester, "SELECT pool_exhaust_release($id)", '42501', [ qr/permission denied to release hold $id/, qr/pg_signal_backend/ ], 'a hold of another role');
	is($tester->query('SELECT pool_exhaust_release()'), 3, 'release of all leaves the holds of others');
	is($watcher->query(row($id, 'connections')), 2, 'they stay');
	is($signaller->query("SELECT pool_exhaust_release($id)"), 2, 'pg_signal_backend may release it');
	held($watcher, 'of the superuser again', 'hold', 2);
	is($signaller->query('SELECT pool_exhaust_release()'), 2, 'and all of them');
	$own = held($tester, 'of a tester again', 'hold', 3);
	released($own, 3, 'the superuser releases what a tester holds');
	fails_with($tester, sql('hold', 1, database => 'limited'), '42501', [qr/permission denied for database limited/], 'a database that the caller may not connect to')
	  if $watcher->query('REVOKE CONNECT ON DATABASE limited FROM PUBLIC; SELECT 1');
	$id = held($watcher, 'a database that PUBLIC may not connect to', 'hold', 1, database => 'limited');
	released($id, 1, 'a database that PUBLIC may not connect to');
	$_->close foreach $tester, $signaller;
}

# A session that will not end: the release says so.
{
	my $id = held($watcher, 'a session that will not end', 'leak', 2, kind => 'active');
	my ($pid) = pids($id);
	kill 'STOP', $pid;
	fails_with($watcher, "SELECT pool_exhaust_release($id)", '55000', [ qr/1 sessions of the hold are still there: pid $pid$/m, qr/pg_terminate_backend/ ],
		'a session that will not end');
	kill 'CONT', $pid;
	like(slurp_file($node->logfile), qr/WARNING:  pool_exhaust: the clean-up of hold $id could not be proved: 1 sessions of the hold are still there: pid $pid$/m,
		'a session that will not end: the log has it');
	nothing_will_be_left('a session that will not end');
}

# No more than one may hold
{
	$watcher->query('SET pool_exhaust.max_connections_per_run = 6');
	fails_with($watcher, sql('hold', 7), '53400', [ qr/the hold would hold 7 connections, more than the 6/, qr/lower connections/ ], 'one more than a hold may hold');
	fails_with($watcher, sql('leak', 3, kind => 'abandoned'), '53400', [qr/would hold 9 connections/], 'companions count');
	my $id = held($watcher, 'as many as a hold may hold', 'leak', 2, kind => 'abandoned');
	released($id, 2, 'as many as a hold may hold');
	$watcher->query('RESET pool_exhaust.max_connections_per_run');
}

# ---------- The extension and the database go ----------

{
	$watcher->query('CREATE DATABASE dropped_db');
	foreach (
		[ 'extension dropped by another role', 'leak', 0, 'DROP EXTENSION pool_exhaust' ],
		[ 'extension dropped by its owner',     'hold', 1, 'DROP EXTENSION pool_exhaust' ],
		[ 'database dropped',                   'leak', undef, 'DROP DATABASE dropped_db WITH (FORCE)' ])
	{
		my ($name, $function, $by_owner, $drop) = @$_;
		my $client = client($node, database => 'dropped_db');
		$client->query('CREATE EXTENSION pool_exhaust');
		my $id = held($client, $name, $function, 3);
		my $elsewhere = held($watcher, "$name: elsewhere", 'hold', 1);
		is($client->query('SELECT pool_exhaust_release()'), 3, "$name: release of all is for this database");
		$id = held($client, $name, $function, 3);

		my $dropper = $by_owner ? $client : defined $by_owner ? client($node, database => 'dropped_db') : $watcher;
		$dropper->query($drop);
		is(sqlstate($dropper), '00000', "$name: it comes through") or diag $dropper->message;
		ok(wait_for($watcher, states($id), 'none'), "$name: no session is left");
		ok(wait_for($watcher, 'SELECT string_agg(hold_id::text, $$ $$) FROM pool_exhaust_holds', $elsewhere), "$name: a hold elsewhere stays");
		released($elsewhere, 1, $name);
		$client->close;
		$dropper->close if $dropper != $client && $dropper != $watcher;
	}
	my $client = client($node, database => 'limited');
	$client->query('CREATE EXTENSION pool_exhaust');
	my $id = held($client, 'another database', 'leak', 2);
	is($watcher->query('SELECT pool_exhaust_release()'), 0, 'another database: release of all leaves it');
	$client->close;
	released($id, 2, 'another database: by its id');

	$client = client($node, database => 'limited');
	$client->query($_) foreach 'DROP EXTENSION pool_exhaust', 'BEGIN', 'CREATE EXTENSION pool_exhaust';
	fails_with($client, sql('hold', 1), '55000', [ qr/could not hold 1 connection: /, qr/commit it first/ ], 'an extension that is not committed');
	$client->close;
}

$watcher->close;
left_nothing($node);

# ---------- Logins that stall ----------

{
	my $node = new_server('stalls', conf => 'max_connections = 20');
	my $user = getpwuid($>);
	my $watcher = client($node);
	my $slots = 'SELECT in_use, authenticating FROM pool_exhaust_slots';
	my @stalled = ('hold', 4, state => 'authenticating');

	fails_with($watcher, sql(@stalled), '22023', [ qr/takes reserved slots too/, qr/option "reserved" the value "take"/ ], 'stalled, without the option');
	fails_with($watcher, sql('hold', 1, state => 'idle', reserved => 'take'), '22023', [qr/"idle" cannot take reserved slots/], 'reserved slots for others');
	fails_with($watcher, sql(@stalled, reserved => 'take'), '28000',
		[qr/could not hold 4 connections: the server asks for no password; stalled logins need a line of pg_hba.conf .* role "pool_exhaust_\d" for a password/],
		'stalled, and not asked');

	rewrite_hba($node, "local all $user trust", 'local all all scram-sha-256');
	$node->reload;
	ok(wait_until(sub { sqlstate(login($node, user => 'missing')) ne '28000' ? 'asked' : 'denied' }, 'asked', 'the new pg_hba.conf'), 'stalled: the server asks');
	ok(wait_for($watcher, $slots, '1|0'), 'stalled: no other session is there');
	my $id = $watcher->query(sql(@stalled, reserved => 'take'));
	is($watcher->query($slots), '5|4', 'stalled: four slots are taken');
	is($watcher->query("SELECT state, connections, leaked, expires_at - since FROM pool_exhaust_holds WHERE hold_id = $id"),
		'authenticating|4|f|00:01:00', 'stalled: its row; authentication_timeout ends it');
	is($watcher->query("SELECT pool_exhaust_release($id)"), 4, 'stalled: four are released');
	is($watcher->query($slots), '1|0', 'stalled: every slot is back');

	# All of them, the reserved ones too: every session is refused.
	$id = $watcher->query(sql('leak', 19, kind => 'authenticating', reserved => 'take'));
	is($watcher->query($slots), '20|19', 'stalled: all slots are taken');
	my $superuser = login($node);
	is(sqlstate($superuser), '53300', 'stalled: superusers are locked out');
	fails_with($watcher, sql('hold', 1, state => 'authenticating', reserved => 'take'), '53300', [qr/too_many_clients would refuse after 0$/m], 'stalled: one more');
	is($watcher->query("SELECT pool_exhaust_release($id)"), 19, 'stalled: all are released');
	ok(wait_for($watcher, $slots, '1|0'), 'stalled: all slots are back');

	# The server ends them itself.
	$node->safe_psql('postgres', "ALTER SYSTEM SET authentication_timeout = '2s'");
	$node->reload;
	ok(wait_for($watcher, 'SHOW authentication_timeout', '2s'), 'stalled: the server is impatient');
	$id = $watcher->query(sql('leak', 3, kind => 'authenticating', reserved => 'take', hold_ms => 60_000));
	is($watcher->query("SELECT expires_at - since FROM pool_exhaust_holds WHERE hold_id = $id"), '00:00:02', 'stalled: the hold knows');
	ok(wait_for($watcher, 'SELECT count(*) FROM pool_exhaust_holds', 0), 'stalled: it ends');
	is($watcher->query($slots), '1|0', 'stalled: with nothing left');
	$watcher->close;
	left_nothing($node);
}

# ---------- The server stops, or crashes ----------

{
	my $node = new_server('crash', conf => q(
max_connections = 20
max_worker_processes = 20
restart_after_crash = on
));
	my $roles = "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_[0-9]+\$'";

	foreach my $end ('fast', 'immediate', 'kill')
	{
		my $client = client($node);
		$client->query(sql('leak', 2, kind => $_)) foreach 'idle', 'dead client', 'lock wait';
		is($client->query('SELECT count(*), sum(connections) FROM pool_exhaust_holds'), '3|6', "$end: there are holds");
		my $pid = $client->query('SELECT min(pid) FROM pool_exhaust_backends WHERE hold_id IS NOT NULL');
		if ($end eq 'kill')
		{
			my $log_start = -s $node->logfile;
			kill 'KILL', $pid;
			ok($node->wait_for_log(qr/all server processes terminated; reinitializing/, $log_start), "$end: the server crashes");
			$client->vanish;
			ok(server_is_back($node), "$end: the server is back");
		}
		else
		{
			$node->stop($end);
			$client->vanish;
			$node->start;
		}
		ok($node->poll_query_until('postgres', $roles, 0), "$end: no role is left");
		$client = client($node);
		is($client->query('SELECT count(*) FROM pool_exhaust_holds'), 0, "$end: no hold is left");
		is($client->query('SELECT connections FROM pool_exhaust_holds WHERE hold_id = ' . $client->query(sql('hold', 2))), 2, "$end: the next hold");
		$client->close;
	}
	left_nothing($node, killed => 1);
}

done_testing();
