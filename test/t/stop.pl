# However a run is ended, it ends: at once, with its reason, and with nothing
# left of it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

# Enough slots for a fill that lasts, and workers for eight runs
my $node = new_server('control', conf => q(
max_connections = 200
max_worker_processes = 20
));
my $watcher = client($node);

# Runs that last until they are stopped: thousands of attempts.
my $long = '{"attempts": 10000, "handshakes": 1, "timeout_ms": 300000}';
my $long_role = '{"attempts": 10000, "role_limit": 1, "timeout_ms": 300000}';

my $run_server = "SELECT pool_exhaust_run('saturation', 'server', '$long')";
my $run_role = "SELECT pool_exhaust_run('saturation', 'role', '$long_role')";
my $start_server = "SELECT pool_exhaust_start('saturation', 'server', '$long')";
my $start_role = "SELECT pool_exhaust_start('saturation', 'role', '$long_role')";

# The caller is canceled.
foreach ([ 'fill', 'connections > 0' ], [ 'attempt', 'done > 0' ])
{
	my ($phase, $more) = @$_;
	my $name = "cancel in phase $phase";
	my $caller = client($node);
	my $pid = $caller->query('SELECT pg_backend_pid()');

	$caller->send($run_server);
	my $run_id = in_progress($watcher, $phase, "$name: the run is there", $more);
	$watcher->query("SELECT pg_cancel_backend($pid)");
	$caller->result;
	is(sqlstate($caller), '57014', "$name: the caller sees it");
	run_ends($watcher, $run_id, 'aborted: canceled by the caller', $name);
	is($caller->query('SELECT 1'), 1, "$name: the caller's session goes on");
	$caller->close;
}

# The release lasts a moment, so the cancel may come too late; then try again.
my $caught;
for (my $try = 1; $try <= 10 && !$caught; $try++)
{
	my $caller = client($node);
	my $pid = $caller->query('SELECT pg_backend_pid()');

	$caller->send(q(SELECT pool_exhaust_run('saturation', 'server', '{"attempts": 1}')));
	wait_for($watcher, "SELECT EXISTS (SELECT FROM pool_exhaust_progress WHERE phase = 'release')
		OR EXISTS (SELECT FROM pg_stat_activity WHERE pid = $pid AND state = 'idle' AND query ~ 'pool_exhaust_run')", 't');
	$watcher->query("SELECT pg_cancel_backend($pid)");
	$caller->result;
	$caught = $watcher->query("SELECT id FROM pool_exhaust_runs
		WHERE id = (SELECT max(id) FROM pool_exhaust_runs) AND verdict = 'aborted'")
	  if sqlstate($caller) eq '57014';
	$caller->close;
}
SKIP:
{
	skip 'every release was over too soon to be canceled', 2 if !$caught;
	run_ends($watcher, $caught, 'aborted: canceled by the caller', 'cancel in phase release');
}

# Ctrl-C in psql, while the server is full.
{
	my ($in, $out, $err) = ('', '', '');
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $run_server ],
		\$in, \$out, \$err);
	my $run_id = in_progress($watcher, 'attempt', 'Ctrl-C: the run is there', 'done > 0');
	$psql->signal('INT');
	$psql->finish;
	like($err, qr/canceling statement due to user request/, 'Ctrl-C: psql says so');
	run_ends($watcher, $run_id, 'aborted: canceled by the caller', 'Ctrl-C');
	is(verdict_of($watcher, $run_id), 'aborted', 'Ctrl-C: the verdict');
}

# More cancels change nothing.
{
	my $caller = client($node);
	my $pid = $caller->query('SELECT pg_backend_pid()');

	$caller->send($run_server);
	my $run_id = in_progress($watcher, 'attempt', 'impatience: the run is there', 'done > 0');
	$watcher->query("SELECT pg_cancel_backend($pid)") foreach 1 .. 10;
	$caller->result;
	is(sqlstate($caller), '57014', 'impatience: the caller sees it');
	run_ends($watcher, $run_id, 'aborted: canceled by the caller', 'impatience');
	is(verdict_of($watcher, $run_id), 'aborted', 'impatience: the verdict');
	$caller->close;
}

# The caller's session is terminated.
{
	my $caller = client($node);
	my $pid = $caller->query('SELECT pg_backend_pid()');

	$caller->send($run_server);
	my $run_id = in_progress($watcher, 'attempt', 'terminated caller: the run is there', 'done > 0');
	$watcher->query("SELECT pg_terminate_backend($pid)");
	$caller->result;
	is(sqlstate($caller), '57P01', 'terminated caller: it sees it');
	is(verdict_of($watcher, $run_id), 'aborted', 'terminated caller: the run ends');
	run_ends($watcher, $run_id, 'aborted: the session that asked for the run has ended', 'terminated caller');
}

# The caller's client is gone without a word.
foreach my $run ([ 'on server', $run_server ], [ 'on role', $run_role ])
{
	my ($target, $sql) = @$run;
	my ($in, $out, $err) = ('', '', '');
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $sql ],
		\$in, \$out, \$err);
	my $run_id = in_progress($watcher, 'attempt', "killed client, run $target: the run is there", 'done > 0');
	$psql->signal('KILL');
	$psql->finish;
	is(verdict_of($watcher, $run_id), 'aborted', "killed client, run $target: the run ends");
	run_ends($watcher, $run_id, 'aborted: the session that asked for the run has ended', "killed client, run $target");
}

# pool_exhaust_stop
{
	my $run_id = $watcher->query($start_server);
	in_progress($watcher, 'attempt', 'stop: the run is there', 'done > 0');
	is($watcher->query('SELECT pool_exhaust_stop(987654)'), 0, 'stop of an unknown run stops none');
	is($watcher->query("SELECT count(*) FROM pool_exhaust_progress"), 1, 'stop of an unknown run leaves the others');
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'stop of a run stops one');
	run_ends($watcher, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'stop');
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 0, 'stop of a run that has ended stops none');
	is($watcher->query("SELECT pool_exhaust_stop()"), 0, 'nothing to stop');

	my @runs = map { $watcher->query($start_role) } 1 .. 2;
	in_progress($watcher, 'attempt', 'stop of all: the runs are there', "(SELECT count(*) FROM pool_exhaust_progress) = 2 AND run_id = $runs[0]");
	is($watcher->query("SELECT pool_exhaust_stop(NULL)"), 2, 'stop of all stops two');
	run_ends($watcher, $_, 'aborted: stopped by pool_exhaust_stop()', 'stop of all') foreach @runs;
}

# The caller of a run that another session stops gets its report.
{
	my $caller = client($node);
	$caller->send($run_role);
	my $run_id = in_progress($watcher, 'attempt', 'stopped under the caller: the run is there', 'done > 0');
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'stopped under the caller: one is stopped');
	like($caller->result, qr/\A ?ABORTED +saturation on role .* run $run_id\n +stopped by pool_exhaust_stop\(\)$/m,
		'stopped under the caller: the report says so');
	$caller->close;
}

# The runner is terminated.
{
	my $run_id = $watcher->query($start_role);
	in_progress($watcher, 'attempt', 'terminated runner: the run is there', 'done > 0');
	is($watcher->query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'pool_exhaust runner'"),
		't', 'terminated runner: the signal is sent');
	is(verdict_of($watcher, $run_id), 'aborted', 'terminated runner: the run ends');
	run_ends($watcher, $run_id, 'aborted: the runner was asked to terminate', 'terminated runner');
}

# The time is over.
foreach my $target ('server', 'role')
{
	my $run_id = $watcher->query(qq(SELECT pool_exhaust_start('saturation', '$target',
		'{"attempts": 10000, "role_limit": 2, "timeout_ms": 1500}')));
	is(verdict_of($watcher, $run_id), 'aborted', "timeout on $target: the run ends");
	run_ends($watcher, $run_id, 'aborted: not over within 1500 ms (option timeout_ms)', "timeout on $target");
}

# pool_exhaust_wait
{
	my $run_id = $watcher->query($start_role);
	is($watcher->query("SELECT pool_exhaust_wait($run_id, '100 ms') IS NULL"), 't', 'wait: NULL when its time is over');
	is($watcher->query("SELECT pool_exhaust_wait($run_id, '0') IS NULL"), 't', 'wait: NULL at once');
	my $waiter = client($node);
	$waiter->send("SELECT pool_exhaust_wait($run_id)");
	$watcher->query('SELECT pool_exhaust_stop()');
	is($waiter->result, 'aborted', 'wait: another session learns the verdict');
	$waiter->close;
	is($watcher->query("SELECT pool_exhaust_wait($run_id)"), 'aborted', 'wait: after the end');
	is($watcher->query("SELECT pool_exhaust_wait($run_id, '0')"), 'aborted', 'wait: after the end, without time');
	fails_with($watcher, 'SELECT pool_exhaust_wait(987654)', '42704', [qr/run 987654 does not exist/], 'wait for an unknown run');
	fails_with($watcher, "SELECT pool_exhaust_wait($run_id, '-1 s')", '22023', [qr/must not be negative/], 'wait for less than no time');

	# A canceled wait leaves the run alone.
	$run_id = $watcher->query($start_role);
	fails_with($watcher, "SET statement_timeout = '200ms'; SELECT pool_exhaust_wait($run_id)", '57014', [qr/statement timeout/], 'canceled wait');
	$watcher->query('RESET statement_timeout');
	is($watcher->query("SELECT count(*) FROM pool_exhaust_progress WHERE run_id = $run_id"), 1, 'canceled wait: the run goes on');
	$watcher->query('SELECT pool_exhaust_stop()');
}

# A started run outlives the session that started it.
{
	my $starter = client($node);
	my $run_id = $starter->query(q(SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 100}')));
	$starter->vanish;
	is(verdict_of($watcher, $run_id), 'pass', 'a started run needs no session');
	run_ends($watcher, $run_id, 'pass', 'a started run');
}

# Two at once: a run on the server is alone.
{
	my $first = $watcher->query($start_server);
	fails_with($watcher, "SELECT pool_exhaust_run('saturation', '$_', '{\"role_limit\": 1}')", '55006',
		[ qr/run $first on server is under way/, qr/pool_exhaust_stop\($first\)/ ], "server, then $_")
	  foreach 'server', 'role';
	$watcher->query('SELECT pool_exhaust_stop()');

	$first = $watcher->query($start_role);
	fails_with($watcher, "SELECT pool_exhaust_run('saturation', 'server')", '55006',
		[ qr/run $first on role is under way/, qr/must be alone/ ], 'role, then server');
	my $second = $watcher->query(q(SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 5}')));
	is(verdict_of($watcher, $second), 'pass', 'role, then role: the second passes');
	is($watcher->query('SELECT string_agg(run_id::text, $$ $$) FROM pool_exhaust_progress'),
		$first, 'role, then role: while the first goes on');
	$watcher->query('SELECT pool_exhaust_stop()');

	my @runs = map { $watcher->query(qq(SELECT pool_exhaust_start('saturation', 'role', '{"attempts": 300, "role_limit": $_}'))) } 3, 20;
	is($watcher->query('SELECT count(*) FROM pool_exhaust_progress'), 2, 'role and role overlap');
	is(verdict_of($watcher, $_), 'pass', 'role and role both pass') foreach @runs;
	run_ends($watcher, $_, 'pass', 'role and role') foreach @runs;
}

# Eight at once, and no more.
{
	my @runs = map { $watcher->query($start_role) } 1 .. 8;
	is($watcher->query('SELECT count(*) FROM pool_exhaust_progress'), 8, 'eight runs at once');
	fails_with($watcher, $start_role, '53400', [ qr/8 runs are under way/, qr/pool_exhaust_stop/ ], 'a ninth');
	is($watcher->query('SELECT pool_exhaust_stop()'), 8, 'eight runs are stopped');
	run_ends($watcher, $_, 'aborted: stopped by pool_exhaust_stop()', 'one of eight') foreach @runs;
}

# A role that a crash left behind is no obstacle, whatever place it belongs to;
# one that another role made is not touched.
{
	my $run_id = $watcher->query($start_role);
	in_progress($watcher, 'attempt', 'leftovers: a run is there');
	my $comment = $watcher->query("SELECT shobj_description(role, 'pg_authid') FROM pool_exhaust_run_roles()");
	like($comment, qr/pool_exhaust/, 'the role of a run is marked');
	$watcher->query('SELECT pool_exhaust_stop()');
	$watcher->query("DO \$\$ BEGIN FOR i IN 1..16 LOOP
			EXECUTE format('CREATE ROLE pool_exhaust_%s LOGIN', i);
			EXECUTE format('COMMENT ON ROLE pool_exhaust_%s IS %L', i, '$comment');
		END LOOP; END \$\$");
	$run_id = $watcher->query(q(SELECT pool_exhaust_start('saturation', 'role')));
	is(verdict_of($watcher, $run_id), 'pass', 'roles that a crash left behind');
	run_ends($watcher, $run_id, 'pass', 'roles that a crash left behind');

	$watcher->query("DO \$\$ BEGIN FOR i IN 1..8 LOOP
			EXECUTE format('CREATE ROLE pool_exhaust_%s LOGIN', i);
		END LOOP; END \$\$");
	$run_id = $watcher->query(q(SELECT pool_exhaust_start('saturation', 'role')));
	like(verdict_of($watcher, $run_id), qr/invalid|aborted/, 'a role of the same name, made by another role');
	is($watcher->query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_[1-8]\$'"), 8, 'that role is not touched');
	like($watcher->query("SELECT reason FROM pool_exhaust_runs WHERE id = $run_id"),
		qr/role "pool_exhaust_\d" exists and was not made by pool_exhaust/, 'the reason says so');
	$watcher->query("DO \$\$ BEGIN FOR i IN 1..8 LOOP EXECUTE format('DROP ROLE pool_exhaust_%s', i); END LOOP; END \$\$");
}

# The extension is dropped under a run, and under its caller.
{
	$watcher->query($start_server);
	in_progress($watcher, 'attempt', 'dropped extension: the run is there', 'done > 0');
	$watcher->query('DROP EXTENSION pool_exhaust');
	is(sqlstate($watcher), '00000', 'dropped extension: it comes through') or diag $watcher->message;
	is($watcher->query("SELECT count(*) FROM pg_stat_activity WHERE usename ~ '^pool_exhaust_'"), 0, 'dropped extension: no session is left');
	is($watcher->query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_'"), 0, 'dropped extension: no role is left');

	$watcher->query('CREATE EXTENSION pool_exhaust');
	my $caller = client($node);
	$caller->send($run_role);
	in_progress($watcher, 'attempt', 'extension dropped under the caller: the run is there', 'done > 0');
	$watcher->query('DROP EXTENSION pool_exhaust');
	is(sqlstate($watcher), '00000', 'extension dropped under the caller: it comes through') or diag $watcher->message;
	$caller->result;
	like(sqlstate($caller), qr/^(00000|55000)$/, 'extension dropped under the caller: the caller gets the report, or learns that it is gone')
	  or diag $caller->message;
	is($watcher->query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_'"), 0, 'extension dropped under the caller: no role is left');
	$caller->close;

	$watcher->query('CREATE EXTENSION pool_exhaust');
	my $run_id = $watcher->query(q(SELECT pool_exhaust_start('saturation', 'role')));
	is(verdict_of($watcher, $run_id), 'pass', 'a new extension, a new run');
}

# A session that will not end: the clean-up cannot be proved, and says so.
{
	my $run_id = $watcher->query($start_role);
	in_progress($watcher, 'attempt', 'a session that will not end: the run is there', 'done > 0');
	my $pid = $watcher->query("SELECT pid FROM pool_exhaust_backends WHERE run_id = $run_id AND state = 'idle' LIMIT 1");
	kill 'STOP', $pid;
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'a session that will not end: the run does');
	kill 'CONT', $pid;
	is($watcher->query("SELECT verdict || ': ' || reason FROM pool_exhaust_runs WHERE id = $run_id"),
		"fail: 1 sessions of the run are still there: pid $pid", 'a session that will not end: a failure with its pid');
	is($watcher->query("SELECT outcome FROM pool_exhaust_checks WHERE run_id = $run_id AND name = 'sessions left at the end'"),
		'fail', 'a session that will not end: the check');
	ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid", 0), 'a session that will not end: it ends');
}

# The row of the run is deleted while it is under way: its checks belong to no run
# then, and are not written; the caller has the verdict nevertheless.
{
	my $caller = client($node);
	$caller->send("SET pool_exhaust.progress = off; SELECT pool_exhaust_run('saturation', 'role', '$long_role')");
	my $run_id = in_progress($watcher, 'attempt', 'a deleted row: the run is there', 'done > 0');
	$watcher->query("DELETE FROM pool_exhaust_runs WHERE id = $run_id");
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'a deleted row: the run ends');
	$caller->result;
	is(sqlstate($caller), '42704', 'a deleted row: there is no report');
	$caller->close;
	is($watcher->query("SELECT count(*) FROM pool_exhaust_checks WHERE run_id NOT IN (SELECT id FROM pool_exhaust_runs)"),
		0, 'a deleted row: no check is left without a run');
	is($watcher->query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_'"), 0, 'a deleted row: no role is left');
}

# Results that cannot be written: the caller has verdict and reason, in each format.
# Three runs wait for one lock.
{
	my @formats = qw(text json tap);
	my $locker = client($node);
	my (%callers, %runs);
	foreach my $format (@formats)
	{
		my $before = join ', ', 0, values %runs;
		$callers{$format} = client($node);
		$callers{$format}->send("SET pool_exhaust.progress = off; SELECT pool_exhaust_run('saturation', 'role', '$long_role', '$format')");
		$runs{$format} = in_progress($watcher, 'attempt', "$format, not written: the run is there", "done > 0 AND run_id NOT IN ($before)");
	}
	$locker->query('BEGIN; LOCK TABLE pool_exhaust_checks IN SHARE MODE');
	is($watcher->query('SELECT pool_exhaust_stop()'), 3, 'not written: the runs end');
	my %reports = map { $_ => $callers{$_}->result // '' } @formats;
	$locker->query('ROLLBACK');
	my %verdict = (text => qr/^ABORTED +saturation on role/, json => qr/"verdict": "aborted"/, tap => qr/aborted/);
	foreach (@formats)
	{
		like($reports{$_}, $verdict{$_}, "$_, not written: the verdict");
		like($reports{$_}, qr/stopped by pool_exhaust_stop\(\); the results could not be written: 55P03 /, "$_, not written: the reason");
	}
	is($watcher->query("SELECT pool_exhaust_wait(pool_exhaust_start('saturation', 'role'))"), 'pass', 'not written: the next run passes');
	is(run_outcome($watcher, $runs{$_}), 'aborted: the run is not under way, and its results were not written',
		"$_, not written: and gives the row a verdict") foreach @formats;
	$_->close foreach values %callers, $locker;
}

# An event trigger that forbids DDL is in the way of no clean-up.
{
	$watcher->query(q(CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql AS $$BEGIN RAISE EXCEPTION 'nothing is dropped'; END$$));
	$watcher->query(q(CREATE EVENT TRIGGER refuse ON ddl_command_start WHEN TAG IN ('DROP OWNED', 'GRANT', 'COMMENT') EXECUTE FUNCTION refuse()));
	$watcher->query('ALTER EVENT TRIGGER refuse ENABLE ALWAYS');
	my $run_id = $watcher->query(q(SELECT pool_exhaust_start('saturation', 'role')));
	is(verdict_of($watcher, $run_id), 'pass', 'an event trigger against DDL: the run passes');
	run_ends($watcher, $run_id, 'pass', 'an event trigger against DDL');
	$watcher->query('ALTER EVENT TRIGGER refuse DISABLE; DROP EVENT TRIGGER refuse; DROP FUNCTION refuse()');
}

# What any owner of a table may do: a grant to the role, in a transaction that goes
# on.  The run fails, says what it was, and has taken the login away; no later run is
# in trouble for it, and the first one after that drops the role.
{
	my $run_id = $watcher->query($start_role);
	in_progress($watcher, 'attempt', 'a role that cannot be dropped: the run is there', 'done > 0');
	my $role = $watcher->query("SELECT rolname FROM pg_roles WHERE rolname ~ '^pool_exhaust_[0-9]+\$'");
	$watcher->query('CREATE TABLE granted ()');
	my $granter = client($node);
	$granter->query("BEGIN; GRANT SELECT ON granted TO $role");
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'a role that cannot be dropped: the run ends');
	like(run_outcome($watcher, $run_id), qr/^fail: could not drop the role of the run, which cannot log in any more; the next run tries again: 55P03 /,
		'a role that cannot be dropped: verdict and reason');
	is($watcher->query("SELECT outcome FROM pool_exhaust_checks WHERE run_id = $run_id AND name = 'sessions left at the end'"),
		'pass', 'a role that cannot be dropped: no session is left');
	is($watcher->query("SELECT count(*) FROM pool_exhaust_runs, jsonb_array_elements(summary->'phases') AS p
			WHERE id = $run_id AND p->>'phase' = 'clean up' AND (p->>'elapsed_ms')::float8 > 0"),
		1, 'a role that cannot be dropped: the clean-up has an end');
	is($watcher->query("SELECT string_agg(rolname ~ '^pool_exhaust_left_' || ' ' || rolcanlogin, ', ') FROM pg_roles WHERE rolname ~ '^pool_exhaust_'"),
		'true false', 'a role that cannot be dropped: it cannot log in, and its name is free');
	is($watcher->query(q(SELECT pool_exhaust_wait(pool_exhaust_start('saturation', 'role')))), 'pass', 'a role that cannot be dropped: the next run passes');
	$granter->query('COMMIT');
	$granter->close;
	is($watcher->query(q(SELECT pool_exhaust_wait(pool_exhaust_start('saturation', 'role')))), 'pass', 'a role that cannot be dropped: and so does the one after the transaction');
	is($watcher->query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_'"), 0, 'a role that cannot be dropped: and drops it');
}

# A catalogue that is locked keeps the roles: a canceled call says what it waits for.
{
	my ($in, $out, $err) = ('', '', '');
	my $psql = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', $run_role ], \$in, \$out, \$err);
	my $locker = client($node);
	my $locker_pid = $locker->query('SELECT pg_backend_pid()');
	my $log_start = -s $node->logfile;
	my $blocked = qr/WARNING: +run \d+ was asked to end, and has not yet: it waits for \w+ on relation 1260 of database 0, which is held by process $locker_pid$/m;

	my $run_id = in_progress($watcher, 'attempt', 'a locked catalogue: the run is there', 'done > 0');
	$locker->query('BEGIN; LOCK TABLE pg_authid IN SHARE MODE');
	$psql->signal('INT');
	ok($node->wait_for_log($blocked, $log_start), 'a locked catalogue: the log says what the run waits for');
	$locker->query('ROLLBACK');
	$psql->finish;
	like($err, $blocked, 'a locked catalogue: and so does the call');
	like($err, qr/canceling statement due to user request/, 'a locked catalogue: which ends');
	run_ends($watcher, $run_id, 'aborted: canceled by the caller', 'a locked catalogue');
	$locker->close;
}

# The caller holds what the runner needs; only lock_timeout can end that.
{
	my $caller = client($node);
	$caller->query('BEGIN; LOCK TABLE pool_exhaust_runs');
	$caller->query("SELECT pool_exhaust_run('saturation', 'role')");
	is(sqlstate($caller), '55P03', 'results locked by the caller: the run does not start');
	$caller->close;
	is($watcher->query(q(SELECT pool_exhaust_wait(pool_exhaust_start('saturation', 'role')))), 'pass',
		'results locked by the caller: the next run passes');
}

$watcher->close;
left_nothing($node);
done_testing();
