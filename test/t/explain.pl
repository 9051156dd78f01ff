# Incidents of every kind, made on purpose: pool_exhaust_explain() and the page /explain
# name the cause of each first, with true figures, and the statement that they
# propose runs. Where nothing is wrong there is no complaint.
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use lib $FindBin::RealBin;
use Explain;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $port = PostgreSQL::Test::Cluster::get_free_port();

# 40 slots for roles without a reserve; four sessions are a tenth of them.
my $node = new_server('explain',
	hba => [ 'local all stalled scram-sha-256', 'local all,replication all trust' ],
	conf => qq(
max_connections = 43
superuser_reserved_connections = 3
wal_level = replica
max_wal_senders = 2
max_prepared_transactions = 2
max_worker_processes = 20
authentication_timeout = 10min
autovacuum = off
pool_exhaust.leak_threshold = 1s
pool_exhaust.sample_interval = 100ms
pool_exhaust.http_port = $port
));
my $capacity = 40;
$node->safe_psql('postgres', q(
CREATE ROLE app LOGIN;
CREATE ROLE few LOGIN CONNECTION LIMIT 3;
CREATE ROLE "watch" LOGIN IN ROLE pg_monitor;
CREATE ROLE quiet LOGIN;
ALTER ROLE quiet SET track_activities = off;
CREATE ROLE stalled LOGIN PASSWORD 'x';
CREATE ROLE copy LOGIN REPLICATION;
CREATE ROLE reader LOGIN;
CREATE DATABASE small CONNECTION LIMIT 3;
CREATE TABLE stock ();
GRANT ALL ON stock TO app;
));
my $watcher = client($node, application_name => 'watcher');
my $explain = Explain->new(watcher => $watcher, port => $port);
my @columns = qw(rank cause sentence evidence next_step confidence);

sub sessions
{
	my ($n, $name, %params) = @_;

	return map { client($node, user => 'app', application_name => $name, %params) } 1 .. $n;
}

# Uses sessions, so that they are not at rest.
sub used { $_->query('SELECT 1') foreach @_ }

# ---------- All is well ----------

is_deeply([ sort keys %{ $explain->first } ], [ sort @columns ], 'the columns');
$explain->incident('at rest', cause => 'healthy', sentence => qr/^1 of 40 slots in use: nothing is seen to be wrong\.$/, confidence => 'likely');

my $load = begin_load($watcher, $node);
$explain->healthy('beside six sessions at work', 200);
end_load($load);

# A leader that keeps its lock while it is idle, and a follower that waits for it.
{
	my ($leader, $follower) = sessions(2, 'elected');
	$leader->query('SELECT pg_advisory_lock(9)');
	$follower->send('SELECT pg_advisory_lock(9)');
	ok(wait_for($watcher, 'SELECT sum(waiting_on_lock) FROM pool_exhaust_services WHERE service = $$app/elected$$', 1), 'a follower waits');
	$explain->healthy('a leader and a follower', 50);
	$_->vanish foreach $leader, $follower;
	$explain->over('a leader and a follower');
}

# Waits behind one row, each a short one.
{
	$node->safe_psql('postgres', 'CREATE TABLE hot (n int); INSERT INTO hot VALUES (0)');
	my $script = PostgreSQL::Test::Utils::tempdir() . '/hot.sql';
	append_to_file($script, "UPDATE hot SET n = n + 1;\n");
	my $pgbench = IPC::Run::start(
		[ 'pgbench', '--no-vacuum', '--client=8', '--time=900', "--file=$script", '--host=' . $node->host, '--port=' . $node->port, 'postgres' ],
		'<', \undef, '>', \my $output, '2>', \my $errors);
	ok(wait_until(sub { $watcher->query('SELECT n > 100 FROM hot') }, 't', 'pgbench'), 'a hot row');
	$explain->healthy('short waits behind a hot row', 200);
	$pgbench->kill_kill;
	$explain->over('a hot row');
}

# ---------- Leaks ----------

{
	my @leaks = map { open_transaction($node, 'web') } 1 .. 8;
	$explain->incident('open transactions', cause => 'idle in transaction', confidence => 'likely',
		sentence => qr/^9 of 40 slots in use: 8 sessions of app\/web are idle in transaction, the longest for \d+\.\d s\.$/,
		evidence => qr/^pid \d+: .* Slots: app\/web 8, \S+\/watcher 1\.$/);
	$explain->over('open transactions', @leaks);
}
{
	my @leaks = map { failed_transaction($node, 'web') } 1 .. 3;
	$explain->incident('failed transactions', cause => 'idle in transaction', confidence => 'sure', sentence => qr/3 sessions of app\/web are idle in transaction/);
	$explain->over('failed transactions', @leaks);
}
{
	my @fill = sessions($capacity - 1 - 25, 'other');
	my @leaks = map { open_transaction($node, 'web') } 1 .. 25;
	my $refused = login($node, user => 'app', application_name => 'late');
	$explain->incident('full of open transactions', cause => 'idle in transaction', confidence => 'likely', busy => sub { used(@fill) },
		sentence => qr/^Full, 40 of 40 slots in use: 25 sessions of app\/web are idle in transaction/,
		evidence => qr/Slots: app\/web 25, app\/other 14, \S+\/watcher 1\. Refused in the last minute: app\/late of database postgres, from this host, for cause reserved_slots, 1 time so far\.$/);
	$refused->vanish;
	$explain->over('full of open transactions', @leaks, @fill);
}
{
	# Its sessions are idle in transaction for longer than those that leak, and no leak: they are the hold's.
	my $hold = $watcher->query("SELECT pool_exhaust_hold(10, 'server', 'idle in transaction')");
	my @fill = sessions($capacity - 1 - 10 - 20, 'other');
	my @leaks = map { open_transaction($node, 'web') } 1 .. 20;
	$explain->incident('beside a hold', cause => 'idle in transaction', confidence => 'likely', busy => sub { used(@fill) },
		sentence => qr/^Full, 40 of 40 slots in use: 20 sessions of app\/web are idle in transaction/);
	is($watcher->query("SELECT string_agg(cause, ', ' ORDER BY rank) FROM pool_exhaust_explain() WHERE rank > 1 AND cause = 'run under way'"), 'run under way', 'beside a hold: that is named next');
	$watcher->query("SELECT pool_exhaust_release($hold)");
	$explain->over('beside a hold', @leaks, @fill);
}
{
	my @leaks = map { my $leak = client($node, user => 'app', application_name => 'forgetful'); $leak->query('SELECT pg_sleep(0.14)'); $leak } 1 .. 9;
	$explain->incident('a connection for each request', cause => 'growth', confidence => 'likely', sentence => qr/sessions of app\/forgetful are opened one after the other/);
	$explain->over('a connection for each request', @leaks);
}
{
	my ($client, $backend) = forked_client($node, 'SELECT pg_sleep(600)', user => 'app', application_name => 'gone');
	ok(wait_for($watcher, "SELECT wait_event FROM pg_stat_activity WHERE pid = $backend", 'PgSleep'), 'a statement for a client');
	kill KILL => $client;
	waitpid $client, 0;
	my $first = $explain->incident('a dead client', cause => 'dead client', confidence => 'sure',
		sentence => qr/1 session of app\/gone is running a statement for a client that is gone/, evidence => qr/pid $backend: /);
	ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE pid = $backend", 0), 'a dead client: its next step ends the session');
	$explain->over('a dead client');
}

# ---------- Locks ----------

{
	my $holder = open_transaction($node, 'batch');
	$holder->query('LOCK TABLE stock');
	my @waiters = sessions(12, 'web');
	$_->send('SELECT count(*) FROM stock') foreach @waiters;
	$explain->incident('behind one session', cause => 'lock pile-up', confidence => 'sure',
		sentence => qr/: 12 sessions wait behind pid @{[ backend_pid($holder) ]} \(app\/batch, idle in transaction for [\d.]+ s\)\.$/, evidence => qr/^The longest wait is \d/);
	$holder->query('ROLLBACK');
	$_->result foreach @waiters;
	$explain->over('behind one session', $holder, @waiters);
}
{
	my $holder = client($node, user => 'app', application_name => 'pooled');
	my @waiters = sessions(3, 'pooled');
	$holder->query('SELECT pg_advisory_lock(7)');
	$_->send('SELECT pg_advisory_lock(7)') foreach @waiters;
	$explain->incident('a lock in a transaction pool', cause => 'stranded advisory lock', confidence => 'likely',
		sentence => qr/: 3 sessions wait for an advisory lock of pid @{[ backend_pid($holder) ]} \(app\/pooled\), which is idle outside of a transaction/);
	$_->vanish foreach $holder, @waiters;
	$explain->over('a lock in a transaction pool');
}
{
	my $preparer = open_transaction($node, 'batch');
	$preparer->query('LOCK TABLE stock');
	$preparer->query(q(PREPARE TRANSACTION 'forgotten'));
	my @waiters = sessions(2, 'web');
	$_->send('SELECT count(*) FROM stock') foreach @waiters;
	$explain->incident('a prepared transaction', cause => 'prepared transaction', confidence => 'sure', sentence => qr/2 sessions wait for locks of prepared transactions/);
	$watcher->query(q(ROLLBACK PREPARED 'forgotten'));
	$_->result foreach @waiters;
	$explain->over('a prepared transaction', $preparer, @waiters);
}

{
	my $walsender = client($node, user => 'copy', replication => 'database', application_name => 'slots');
	$walsender->query('BEGIN');
	$walsender->query('SELECT pg_advisory_xact_lock(8)');
	my @waiters = sessions(3, 'web');
	$_->send('SELECT pg_advisory_xact_lock(8)') foreach @waiters;
	$explain->incident('behind a walsender', cause => 'lock pile-up', confidence => 'sure',
		sentence => qr/: 3 sessions wait behind pid @{[ backend_pid($walsender) ]}, which is no session of a client\.$/);
	$walsender->query('ROLLBACK');
	$_->result foreach @waiters;
	$explain->over('behind a walsender', $walsender, @waiters);
}

# ---------- Logins ----------

{
	my @stalled = map { login($node, user => 'stalled', application_name => 'stalled') } 1 .. 10;
	$explain->incident('logins without an answer', cause => 'stalled logins', confidence => 'sure', sentence => qr/10 logins hold a slot and are not completed, the longest for /,
		evidence => qr/authentication_timeout, 600 s/);
	$_->vanish foreach @stalled;
	$explain->over('logins without an answer');
}
{
	my @clients;
	$explain->incident('all connect again and again', cause => 'reconnect storm', confidence => 'likely', sentence => qr/\d+ logins granted and \d+ refused in the last 10 s/,
		busy => sub {
			$_->close foreach splice @clients;
			wait_for($watcher, 'SELECT in_use FROM pool_exhaust_slots', 1);
			push @clients, sessions($capacity - 1, 'herd');
			login($node, user => 'app', application_name => 'herd')->vanish;
		});
	$_->close foreach @clients;
	$watcher->query('SELECT pool_exhaust_reset_stats()');
	$explain->over('all connect again and again');
}

# ---------- Limits ----------

{
	my @sessions = sessions(3, 'small', user => 'few');
	login($node, user => 'few', application_name => 'small')->vanish;
	$explain->incident('the limit of a role', cause => 'role_limit', confidence => 'sure', busy => sub { used(@sessions) },
		sentence => qr/: role few: 3 of 3 connections in use, 1 refused for that so far \(its CONNECTION LIMIT\)\.$/);
	$watcher->query('ALTER ROLE few CONNECTION LIMIT 2');
	my $first = $explain->incident('a limit below use', cause => 'limit below use', confidence => 'sure', busy => sub { used(@sessions) },
		sentence => qr/: role few has 3 sessions, and its CONNECTION LIMIT is 2\.$/);
	is($watcher->query(q(SELECT rolconnlimit FROM pg_roles WHERE rolname = 'few')), 3, 'a limit below use: its next step mends that');
	$watcher->query('SELECT pool_exhaust_reset_stats()');
	$explain->over('the limit of a role', @sessions);
}
{
	my @sessions = sessions(3, 'small', database => 'small');
	login($node, user => 'app', application_name => 'small', database => 'small')->vanish;
	$explain->incident('the limit of a database', cause => 'database_limit', confidence => 'sure', busy => sub { used(@sessions) },
		sentence => qr/: database small: 3 of 3 connections in use, 1 refused/);

	# A superuser is let past that limit, and so no sign that it was lowered.
	push @sessions, client($node, database => 'small');
	$explain->incident('the limit of a database, and a superuser', cause => 'database_limit', confidence => 'sure', busy => sub { used(@sessions) },
		sentence => qr/: database small: 4 of 3 connections in use, 1 refused/);
	$watcher->query('SELECT pool_exhaust_reset_stats()');
	$explain->over('the limit of a database', @sessions);
}
{
	my @standbys = map { client($node, user => 'copy', replication => 'true', application_name => 'standby') } 1 .. 2;
	login($node, user => 'copy', replication => 'true')->vanish;
	$explain->incident('the limit of walsenders', cause => 'walsender_limit', confidence => 'sure', sentence => qr/: replication: 2 of 2 connections in use, 1 refused for that so far \(max_wal_senders\)/);
	$watcher->query('SELECT pool_exhaust_reset_stats()');
	$explain->over('the limit of walsenders', @standbys);
}

# ---------- Sessions ----------

{
	my @sessions = sessions(10, 'agent', user => 'watch');
	$explain->incident('a monitor that opens sessions', cause => 'monitoring', confidence => 'likely', busy => sub { used(@sessions) },
		sentence => qr/10 sessions of watch\/agent are of roles that are to monitor/);
	$explain->over('a monitor that opens sessions', @sessions);
}
{
	my @sessions = sessions(10, 'events');
	$_->query('LISTEN news') foreach @sessions;
	$explain->incident('sessions that listen', cause => 'listeners', confidence => 'likely', sentence => qr/10 sessions of app\/events are idle and waiting for notifications/);
	$explain->over('sessions that listen', @sessions);
}
{
	my @sessions = map { sessions(1, "web-$_") } 1 .. 12;
	$explain->incident('a name for each pod', cause => 'many application_names', confidence => 'likely', busy => sub { used(@sessions) },
		sentence => qr/12 sessions have nearly as many names: 12 services of one role/);
	$explain->over('a name for each pod', @sessions);
}
{
	my $hold = $watcher->query("SELECT pool_exhaust_hold(10, 'server', 'active')");
	my $first = $explain->incident('a hold', cause => 'run under way', confidence => 'sure', sentence => qr/10 sessions of \S+ are those of hold $hold of pool_exhaust\.$/,
		evidence => qr/in the database with OID \d/);
	is($watcher->query('SELECT count(*) FROM pool_exhaust_holds'), 0, 'a hold: its next step releases it');
	$explain->over('a hold');

	my ($large, $small) = map { $watcher->query("SELECT pool_exhaust_hold($_, 'server', 'active')") } 10, 6;
	$explain->incident('two holds', cause => 'run under way', confidence => 'sure',
		sentence => qr/: \d+ sessions of \S+ and \d+ others are those of several runs and holds of pool_exhaust, 10 of hold $large\.$/);
	is($watcher->query('SELECT hold_id FROM pool_exhaust_holds'), $small, 'two holds: its next step releases the larger one');
	$watcher->query("SELECT pool_exhaust_release($small)");
	$explain->over('two holds');
}

{
	my $run = $watcher->query(q(SELECT pool_exhaust_start('degradation', options => '{"profile": "standard", "pool_size": 10}')));
	my $first = $explain->incident('a run', cause => 'run under way', confidence => 'sure', sentence => qr/are those of run $run of pool_exhaust\.$/);
	like($first->{next_step}, qr/pool_exhaust_stop\($run\)/, 'a run: its next step');
	is($watcher->query("SELECT pool_exhaust_wait($run, '1 min')"), 'aborted', 'a run: its next step stops it');
	$explain->over('a run');
}

# ---------- Load ----------

{
	my @sessions = sessions($capacity - 1, 'reports');
	$_->send('SELECT pg_sleep(600)') foreach @sessions;
	$explain->incident('slow statements', cause => 'slow statements', confidence => 'likely',
		sentence => qr/^Full, 40 of 40 slots in use: 39 sessions of app\/reports are busy with statements that take long/);
	$watcher->query("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE usename = 'app'");
	$_->result foreach @sessions;
	$explain->over('slow statements', @sessions);
}
{
	my @sessions = sessions($capacity - 1, 'surging');
	$explain->incident('a surge', cause => 'surge', confidence => 'likely', busy => sub { used(@sessions) },
		sentence => qr/: the slots in use rose by \d+ in the last minute: 39 sessions of app\/surging (and 1 other )?are new/);

	# Without a past that could tell, nothing is known but that they are there.
	$watcher->query('SELECT pool_exhaust_reset_stats()');
	$explain->incident('pools that are too large', cause => 'no single cause', confidence => 'cannot tell', busy => sub { used(@sessions) },
		sentence => qr/^Full, 40 of 40 slots in use: 40 slots are held by sessions that nothing is seen to be wrong with, 39 of them idle/);
	$explain->over('pools that are too large', @sessions);
}

# ---------- Blindness ----------

{
	my @sessions = sessions(2, 'dark', user => 'quiet');
	$explain->incident('sessions that do not say what they do', cause => 'activities off', confidence => 'cannot tell', sentence => qr/what 2 of 3 sessions do is not known/);
	$explain->over('sessions that do not say what they do', @sessions);
}
change_setting($watcher, 'log_min_messages', 'panic');
$explain->incident('the ledger sees nothing', cause => 'ledger blind', confidence => 'cannot tell', sentence => qr/refusals are not counted for [\d.]+ s, since log_min_messages/);
ok(wait_for($watcher, 'SHOW log_min_messages', 'warning'), 'the ledger sees nothing: its next step mends that');
$explain->over('the ledger sees nothing');
change_setting($watcher, 'pool_exhaust.monitor', 'off');
{
	my $first;
	ok(wait_until(sub { ($first = $explain->first)->{cause} }, 'monitor away', 'monitor away'), 'no monitor: that comes first');
	is($first->{confidence}, 'cannot tell', 'no monitor: confidence');
	$watcher->query($_) foreach split /(?<=;) /, $first->{next_step};
	$explain->over('no monitor');
}

# ---------- Rights ----------

{
	my $reader = client($node, user => 'reader', application_name => 'reader');
	is($reader->query('SELECT * FROM pool_exhaust_explain()'), undef, 'not for PUBLIC');
	$watcher->query('GRANT EXECUTE ON FUNCTION pool_exhaust_explain(timestamptz) TO reader');
	my @leaks = map { open_transaction($node, 'secret') } 1 .. 3;
	ok(wait_until(sub { $explain->rows($reader)->[0]{sentence} =~ /: 3 sessions of (.*) are idle in transaction/ ? $1 : '' }, 'a service that is not shown', 'cause'),
		'a role without pg_read_all_stats sees the cause, and that a name is not shown');
	my $all = $reader->query('SELECT string_agg(e::text, chr(10)) FROM pool_exhaust_explain() AS e');
	unlike($all, qr/secret/, 'but no names of others');
	$explain->over('rights', @leaks, $reader);
}

# ---------- Names ----------

{
	my $role = name_in($node, "a\nb\\x\"'");
	my $ident = '"' . $role =~ s/"/""/gr . '"';
	$watcher->query("CREATE ROLE $ident LOGIN CONNECTION LIMIT 1");
	my @sessions = sessions(1, "it's; DROP TABLE stock", user => $role);
	login($node, user => $role)->vanish;
	$explain->incident('a hostile name', cause => 'role_limit', confidence => 'sure', busy => sub { used(@sessions) }, sentence => qr/: role a.b\\x"': 1 of 1 connections in use/);
	is($watcher->query('SELECT count(*) FROM stock'), 0, 'a hostile name: nothing but the statement was run');
	$explain->over('a hostile name', @sessions);
	$watcher->query("DROP ROLE $ident");
}

$watcher->close;
left_nothing($node);
done_testing();
