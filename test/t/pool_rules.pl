# The rules of the embedded pool (docs/pools.md) on a real server, seen from
# beside the run: in pg_stat_activity, in the views, and in what its operations
# did.  However such a run ends, nothing of it is left.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('pool', conf => q(
max_connections = 150
max_worker_processes = 20
restart_after_crash = on
autovacuum = off
));
my $user = getpwuid($>);
my $watcher = client($node);
my $json = JSON::PP->new->canonical;

sub sql
{
	my ($function, $scenario, %options) = @_;

	return "SELECT $function('$scenario', 'pool', '" . $json->encode({ timeout_ms => 300_000, %options }) =~ s/'/''/gr . "')";
}

sub start
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my $run_id = $watcher->query(sql('pool_exhaust_start', @_));

	ok($run_id, "$_[0]: it starts") or diag $watcher->message;
	return $run_id;
}

# What view pool_exhaust_pools shows of a run.
sub pool
{
	my ($run_id, $columns) = @_;

	$columns //= 'in_use, idle, overflow, waiting, granted, refused, timed_out';
	return "SELECT $columns FROM pool_exhaust_pools WHERE name = 'run $run_id'";
}

# The pids of a run's sessions.
sub pids
{
	my ($run_id, $more) = @_;

	$more //= 'true';
	return split /\n/, $watcher->query("SELECT pid FROM pool_exhaust_backends WHERE run_id = $run_id AND $more ORDER BY pid");
}

# The failed checks of a run, "name: expected, not observed".
sub failed
{
	my ($run_id) = @_;

	return $watcher->query("SELECT coalesce(string_agg(name || ': ' || expected || ', not ' || observed, E'\\n' ORDER BY seq), '')
		FROM pool_exhaust_checks WHERE run_id = $run_id AND outcome = 'fail'");
}

# What became of the requests and connections of its pool.
sub figures
{
	my ($run_id, @names) = @_;

	return $watcher->query('SELECT ' . join(', ', map { "p->>'$_'" } @names)
		  . " FROM pool_exhaust_runs, jsonb_path_query_first(summary, '\$.pools[0]') AS p WHERE id = $run_id");
}

sub terminate
{
	my (@pids) = @_;

	return $watcher->query('SELECT bool_and(pg_terminate_backend(p)) FROM unnest(ARRAY[' . join(',', @pids) . ']) AS p');
}

# ---------- Connections that die ----------

# In use: waiting acquires get new ones, in the order of asking.
{
	my $run_id = start('queue', pool_size => 2, max_overflow => 1, long_operations => 4, quick_operations => 6,
		long_ms => 200_000, pool_timeout_ms => 3000, tolerance_ms => 3000);
	ok(wait_for($watcher, pool($run_id), '3|0|1|7|3|0|0'), 'killed in use: all are taken, seven wait');
	my @first = pids($run_id);
	is(scalar(@first), 3, 'killed in use: three sessions');
	is(terminate($first[0]), 't', 'killed in use: one is ended');
	ok(wait_for($watcher, pool($run_id), '3|0|1|6|4|0|0'), 'killed in use: its place is taken by the next');
	my @second = pids($run_id);
	is(scalar(grep { my $pid = $_; grep { $_ == $pid } @first } @second), 2, 'killed in use: by a new session');
	is(terminate(@second), 't', 'killed in use: all are ended');
	is(verdict_of($watcher, $run_id), 'fail', 'killed in use: the run fails');
	is(failed($run_id), 'operations that failed: 0, not 4', 'killed in use: by the operations that were cut off, and only by them');
	is(figures($run_id, qw(granted timed_out refused failed lost)), '14|6|0|0|4', 'killed in use: its figures');
	run_ends($watcher, $run_id, 'fail: failed: operations that failed', 'killed in use');
}

# Idle: no client is affected.
{
	my $run_id = start('accuracy', levels => [100], pool_size => 4, max_overflow => 0, churn_ms => 3000, rate => 5,
		arrivals => 'constant', work_ms => 1, failing_percent => 0, tolerance_percent => 100);
	in_progress($watcher, 'churn', 'killed idle: the run is there');
	ok(wait_for($watcher, pool($run_id, 'in_use, idle'), '0|4'), 'killed idle: four are idle');
	my @before = pids($run_id);
	is(terminate(@before), 't', 'killed idle: all are ended');
	my $old = join ', ', @before;
	ok( wait_for($watcher, "SELECT count(*) FILTER (WHERE pid IN ($old)) || ' old, ' || count(*) FILTER (WHERE pid NOT IN ($old)) || ' new'
			FROM pool_exhaust_backends WHERE run_id = $run_id", '0 old, 1 new'),
		'killed idle: the next operation opens one, and only one');
	is(verdict_of($watcher, $run_id), 'pass', 'killed idle: the run passes') or diag failed($run_id);
	is(figures($run_id, qw(refused failed lost)), '0|0|0', 'killed idle: its figures');
	run_ends($watcher, $run_id, 'pass', 'killed idle');
}

# All the time: every operation comes to an end, and every count holds.
{
	my $run_id = start('accuracy', levels => [0], churn_ms => 3000, rate => 200, work_ms => 20, failing_percent => 0,
		workload => 'SELECT pg_sleep(0.01)', tolerance_percent => 50);
	in_progress($watcher, 'churn', 'killed at random: the run is there');
	my ($killed, $most) = (0, 0);
	while ($watcher->query("SELECT count(*) FROM pool_exhaust_progress WHERE run_id = $run_id AND phase = 'churn'"))
	{
		my @pids = pids($run_id);
		$most = @pids if @pids > $most;
		$killed++ if @pids && terminate($pids[ rand @pids ]) eq 't';
	}
	cmp_ok($killed, '>=', 20, "killed at random: $killed sessions were ended");
	cmp_ok($most, '<=', 6, 'killed at random: there were never more than its capacity');
	is(verdict_of($watcher, $run_id), 'fail', 'killed at random: the run fails');
	# A session may be ended before its login is through.
	my ($lost, $failed) = split /\|/, figures($run_id, qw(lost failed));
	is( failed($run_id),
		join("\n", "operations that failed: 0, not $lost", $failed ? "requests that failed: 0, not $failed" : ()),
		'killed at random: by the operations and logins that were cut off, and only by them');
	run_ends($watcher, $run_id, 'fail: failed: operations that failed' . ($failed ? ', requests that failed' : ''), 'killed at random');
}

# ---------- Which connection, and for how long ----------

# Operations that do not overlap, 25 ms apart, over four idle connections; what
# each saw of its session goes to a table of its own. The four runs are side by
# side.
my %one_by_one = (
	lifo => { idle_order => 'lifo' },
	fifo => { idle_order => 'fifo' },
	lasting => {},
	expiring => { max_lifetime_ms => 200 });
my @did = sort keys %one_by_one;
foreach my $name (@did, 'half_way')
{
	$watcher->query("CREATE TABLE did_$name (n serial, pid integer DEFAULT pg_backend_pid(), at timestamptz DEFAULT clock_timestamp());
		GRANT INSERT ON did_$name TO PUBLIC;
		GRANT USAGE ON did_${name}_n_seq TO PUBLIC");
}
foreach my $name (@did)
{
	$one_by_one{$name}{run_id} = start('accuracy', levels => [100], pool_size => 4, max_overflow => 0, churn_ms => 2000, rate => 40,
		arrivals => 'constant', work_ms => 0, failing_percent => 0, tolerance_percent => 100,
		workload => "INSERT INTO did_$name DEFAULT VALUES", %{ $one_by_one{$name} });
}
foreach my $name (@did)
{
	my $run_id = $one_by_one{$name}{run_id};

	is(verdict_of($watcher, $run_id), 'pass', "$name: the run passes") or diag failed($run_id);

	# The trial was the first.
	$watcher->query("DELETE FROM did_$name WHERE n = (SELECT min(n) FROM did_$name)");
	is($watcher->query("SELECT count(*) FROM did_$name"), 79, "$name: all operations were done");
}

# How many were done by the session that did the one so many before it.  On a
# busy machine some do overlap.
sub same_as_before
{
	my ($name, $before) = @_;

	return $watcher->query("SELECT count(*) FROM (SELECT pid = lag(pid, $before) OVER (ORDER BY n) AS same FROM did_$name) d WHERE same");
}

cmp_ok(same_as_before('lifo', 1), '>=', 60, 'lifo: the last one used is used again');
cmp_ok(same_as_before('fifo', 1), '<=', 10, 'fifo: the last one used is not');
cmp_ok(same_as_before('fifo', 4), '>=', 60, 'fifo: but the first');
is($watcher->query('SELECT count(DISTINCT pid) FROM did_fifo'), 4, 'fifo: four sessions');
is(figures($one_by_one{lasting}{run_id}, qw(expired replaced lost)), '0|0|0', 'lasting: its figures');
cmp_ok($watcher->query('SELECT count(DISTINCT pid) FROM did_lasting'), '<=', 4, 'lasting: the sessions stay');
my $sessions = $watcher->query('SELECT count(DISTINCT pid) FROM did_expiring');
cmp_ok($sessions, '>=', 8, 'expiring: new sessions come');
cmp_ok(figures($one_by_one{expiring}{run_id}, 'expired'), '>=', $sessions - 1, 'expiring: for those that were too old');
cmp_ok($watcher->query('SELECT max(extract(epoch FROM age)) FROM (SELECT max(at) - min(at) AS age FROM did_expiring GROUP BY pid) s'),
	'<', 0.5, 'expiring: none is used for much longer');

# ---------- Operations that end in a transaction ----------

# The workload works when it is tried, and fails half-way later: what it began
# is rolled back, and its session goes on.
{
	$watcher->query(q(
		CREATE TABLE divisor AS SELECT 1 AS n;
		GRANT SELECT ON divisor TO PUBLIC));
	my $run_id = start('accuracy', levels => [100], pool_size => 4, max_overflow => 0, churn_ms => 3000, rate => 100,
		work_ms => 1, failing_percent => 0, tolerance_percent => 100,
		workload => 'BEGIN; INSERT INTO did_half_way DEFAULT VALUES; SELECT 1 / n FROM divisor; COMMIT');
	in_progress($watcher, 'churn', 'failed half-way: the run is there');
	ok(wait_for($watcher, 'SELECT count(*) > 20 FROM did_half_way', 't'), 'failed half-way: operations work');
	my @before = pids($run_id);
	$watcher->query('UPDATE divisor SET n = 0');
	my $granted = $watcher->query(pool($run_id, 'granted'));
	my $rows = $watcher->query('SELECT count(*) FROM did_half_way');
	ok(wait_for($watcher, pool($run_id, "granted > $granted + 20"), 't'), 'failed half-way: operations fail');
	cmp_ok($watcher->query('SELECT count(*) FROM did_half_way') - $rows, '<=', 4, 'failed half-way: they leave nothing');
	ok( wait_for($watcher, "SELECT count(*) FROM pool_exhaust_backends WHERE run_id = $run_id AND state ~ 'in transaction'", 0),
		'failed half-way: no session stays in a transaction');
	$watcher->query('UPDATE divisor SET n = 1');
	$rows = $watcher->query('SELECT count(*) FROM did_half_way');
	ok(wait_for($watcher, "SELECT count(*) > $rows + 20 FROM did_half_way", 't'), 'failed half-way: operations work again');
	is(join(' ', pids($run_id)), join(' ', @before), 'failed half-way: in the same sessions');
	is(verdict_of($watcher, $run_id), 'fail', 'failed half-way: the run fails');
	like(failed($run_id), qr/\Aoperations that failed: 0, not [1-9]\d+\z/, 'failed half-way: by these operations, and only by them');
	is(figures($run_id, qw(replaced lost)), '0|0', 'failed half-way: its figures');
	run_ends($watcher, $run_id, 'fail: failed: operations that failed', 'failed half-way');
}

# A query that is canceled from outside, in a transaction
{
	my $run_id = start('queue', pool_size => 1, max_overflow => 0, long_operations => 1, quick_operations => 1,
		long_ms => 1, pool_timeout_ms => 60_000, workload => 'BEGIN; SELECT pg_sleep(1); COMMIT');
	ok(wait_for($watcher, pool($run_id, 'in_use, waiting'), '1|1'), 'canceled half-way: one is in use');
	ok(wait_for($watcher, "SELECT count(*) FROM pool_exhaust_backends WHERE run_id = $run_id", 1), 'canceled half-way: the trial is over');
	my @before = pids($run_id);
	$watcher->query("SELECT pg_cancel_backend($before[0])");
	ok(wait_for($watcher, pool($run_id, 'in_use, waiting, granted'), '1|0|2'), 'canceled half-way: the next is served');
	is(join(' ', pids($run_id)), $before[0], 'canceled half-way: by the same session');
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'canceled half-way: the run is stopped');
	run_ends($watcher, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'canceled half-way');
}
$watcher->query('DROP TABLE divisor, ' . join ', ', map { "did_$_" } @did, 'half_way');

# ---------- Connections that cannot be opened ----------

# The database refuses every other session: the first in the queue fails with
# that, one after the other; when it grants again, the capacity is still there.
{
	$watcher->query('CREATE DATABASE limited');
	my $before = $watcher->query("SELECT refusals FROM pool_exhaust_refusals WHERE cause = 'database_limit'");
	my $run_id = start('queue', database => 'limited', pool_size => 2, max_overflow => 0, long_operations => 2,
		quick_operations => 40, long_ms => 200_000, pool_timeout_ms => 60_000);
	ok(wait_for($watcher, pool($run_id), '2|0|0|40|2|0|0'), 'refused: two are in use, forty wait');
	$watcher->query('ALTER DATABASE limited CONNECTION LIMIT 0');
	is(terminate((pids($run_id))[0]), 't', 'refused: one is ended');
	ok(wait_for($watcher, pool($run_id, 'refused >= 3'), 't'), 'refused: the first in the queue are refused');
	is($watcher->query(pool($run_id, 'in_use, idle, waiting + refused, granted, timed_out')), '1|0|40|2|0', 'refused: no other');
	$watcher->query('ALTER DATABASE limited CONNECTION LIMIT -1');
	ok(wait_for($watcher, pool($run_id, 'in_use, idle, waiting, granted + refused'), '1|1|0|42'), 'refused: the others are served as soon as that is possible');
	my $refused = $watcher->query(pool($run_id, 'refused'));
	cmp_ok($refused, '<', 20, "refused: there was a pause between the $refused attempts");
	is( $watcher->query("SELECT refusals - $before FROM pool_exhaust_refusals WHERE cause = 'database_limit'"),
		$refused, 'refused: the ledger has as many, for this cause');
	is( $watcher->query("SELECT datname, refusals FROM pool_exhaust_refused_services
			WHERE cause = 'database_limit' AND usename = 'pool_exhaust_1'"),
		"limited|$refused", 'refused: under the name of the run');
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'refused: the run is stopped');
	run_ends($watcher, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'refused');
	is( figures($run_id, qw(refused refused_logins failed last_failure)),
		qq($refused|{"database_limit": $refused}|0|53300 too many connections for database "limited"), 'refused: its figures');
	$watcher->query('DROP DATABASE limited');
	is(sqlstate($watcher), '00000', 'refused: no session is left in that database') or diag $watcher->message;
}

# No answer: the first in the queue waits for connect_timeout_ms, and not
# for ever.
{
	my $run_id = start('queue', pool_size => 2, max_overflow => 0, long_operations => 2, quick_operations => 20,
		long_ms => 200_000, pool_timeout_ms => 60_000, connect_timeout_ms => 200);
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	ok(wait_for($watcher, pool($run_id), '2|0|0|20|2|0|0'), 'no answer: two are in use, twenty wait');
	kill 'STOP', $postmaster;
	is(terminate((pids($run_id))[0]), 't', 'no answer: one is ended');
	ok(wait_for($watcher, pool($run_id, 'waiting < 18'), 't'), 'no answer: the first in the queue are refused');
	is($watcher->query(pool($run_id, 'in_use, idle, granted, refused, timed_out')), '1|0|2|0|0', 'no answer: that is no refusal, and no timeout of the pool');
	kill 'CONT', $postmaster;
	ok(wait_for($watcher, pool($run_id, 'in_use, idle, waiting, refused, timed_out'), '1|1|0|0|0'), 'no answer: the others are served when there is one');
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'no answer: the run is stopped');
	run_ends($watcher, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'no answer');
	is(figures($run_id, qw(refused last_failure)), '0|no answer in time', 'no answer: its figures');
	cmp_ok(figures($run_id, 'failed'), '>=', 3, 'no answer: how many attempts failed');
}

# A login takes longer than a request waits: the connections come nevertheless, so
# a run that is to hold them asks again.
{
	ok(change_setting($watcher, post_auth_delay => "'1s'"), 'slow logins: a second each');
	my $run_id = run_scenario($watcher, 'latency', 'pool', pool_timeout_ms => 400, pool_size => 2, max_overflow => 0, levels => [50], level_ms => 200);
	is(run_outcome($watcher, $run_id), 'pass', 'slow logins: of more than pool_timeout_ms are no failure');
	cmp_ok(figures($run_id, 'timed_out'), '>', 0, 'slow logins: though requests timed out');
	ok(change_setting($watcher, post_auth_delay => 'DEFAULT'), 'slow logins: no longer');
}

# Requests that take long keep a pool busier than planned.
{
	my $report = report_of($watcher, 'latency', 'pool', levels => [20], level_ms => 100, rate => 50_000, latency_limit_ms => 60_000, pool_timeout_ms => 30_000);
	like("$report->{verdict}: $report->{reason}",
		qr/^invalid: the machine was too busy: a request with its query took \d+ ms on average, and the pool was at \d+ % utilization instead of 20 %: raise tolerance_percent/,
		'slow requests: the verdict says what they took');
}

# A grant that is slow within the limits fails nothing, and is there.
{
	my $run_id = run_scenario($watcher, 'latency', 'pool', levels => [20], level_ms => 300, fault => 'slow_grant', fault_ms => 30);
	is(run_outcome($watcher, $run_id), 'pass', 'slow_grant of 30 ms: within the limit') or diag $watcher->query("SELECT pool_exhaust_report($run_id)");
	cmp_ok($watcher->query("SELECT pool_exhaust_percentile(buckets, 0) FROM pool_exhaust_histograms WHERE run_id = $run_id AND phase = '20 %' AND metric = 'wait'"),
		'>=', 30_000, 'slow_grant of 30 ms: no wait is shorter, in us');
	$run_id = run_scenario($watcher, 'latency', 'pool', levels => [20], level_ms => 300, fault => 'miscount', fault_ms => 30);
	isnt($watcher->query("SELECT verdict FROM pool_exhaust_runs WHERE id = $run_id"), 'pass', 'fault_ms: of another fault it changes nothing');
}

# ---------- However it ends ----------

# Each scenario in the middle of its story, for minutes.
my %long = (
	queue => { phase => 'queue', options => { long_ms => 250_000, pool_timeout_ms => 40_000 } },
	degradation => { phase => 'sustained', options => { sustained_ms => 250_000, baseline_ms => 100 } },
	isolation => { phase => 'exhaust', options => { exhaust_ms => 250_000, baseline_ms => 100 } },
	latency => { phase => '50 %', options => { level_ms => 250_000, levels => [50] } },
	accuracy => { phase => 'churn', options => { churn_ms => 250_000 } });
my @scenarios = sort keys %long;
my $stopped = 'aborted: stopped by pool_exhaust_stop()';

# All five are under way, side by side; their ids, in that order.
sub all_under_way
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $name) = @_;

	foreach my $scenario (@scenarios)
	{
		ok( wait_for(
				$client,
				"SELECT count(*) FROM pool_exhaust_progress
				 WHERE scenario = '$scenario' AND phase = '$long{$scenario}{phase}' AND connections > 0", 1),
			"$name: $scenario is there");
	}
	return split /\n/, $client->query('SELECT run_id FROM pool_exhaust_progress ORDER BY scenario COLLATE "C"');
}

sub long_sql
{
	my ($function) = @_;

	return map { sql($function, $_, %{ $long{$_}{options} }) } @scenarios;
}

# They have ended at this moment, or end soon; all for this reason.
sub all_end
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $verdict, $name, @ids) = @_;

	$client->query("SELECT pool_exhaust_wait($_, '1 min')") foreach @ids;
	run_ends($client, $ids[$_], $verdict, "$name, $scenarios[$_]") foreach 0 .. $#ids;
	is($client->query("SELECT count(*) FROM pool_exhaust_pools WHERE kind = 'pool'"), 0, "$name: no pool is left");
}

# pool_exhaust_stop
{
	$watcher->query($_) foreach long_sql('pool_exhaust_start');
	my @ids = all_under_way($watcher, 'stop');
	is($watcher->query('SELECT pool_exhaust_stop()'), 5, 'stop: five are stopped');
	all_end($watcher, $stopped, 'stop', @ids);
}

# The caller is canceled, is terminated, is gone without a word.
my %callers_end = (
	'canceled caller' => [ 'canceled by the caller', sub { $watcher->query("SELECT pg_cancel_backend($_[1])"); $_[0]->result; is(sqlstate($_[0]), '57014', 'canceled caller: it sees it'); $_[0]->close } ],
	'terminated caller' => [ 'the session that asked for the run has ended', sub { $watcher->query("SELECT pg_terminate_backend($_[1])"); $_[0]->result; is(sqlstate($_[0]), '57P01', 'terminated caller: it sees it') } ],
	'lost caller' => [ 'the session that asked for the run has ended', sub { $_[0]->vanish } ]);
foreach my $name (sort keys %callers_end)
{
	my ($reason, $end) = @{ $callers_end{$name} };
	my @callers = map { my $client = client($node); [ $client, $client->query('SELECT pg_backend_pid()') ] } @scenarios;

	my @sql = long_sql('pool_exhaust_run');
	$callers[$_][0]->send($sql[$_]) foreach 0 .. $#callers;
	my @ids = all_under_way($watcher, $name);
	$end->(@$_) foreach @callers;
	all_end($watcher, "aborted: $reason", $name, @ids);
}

# The runners are terminated, all at once.
{
	$watcher->query($_) foreach long_sql('pool_exhaust_start');
	my @ids = all_under_way($watcher, 'terminated runner');
	is($watcher->query("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE backend_type = 'pool_exhaust runner'"),
		5, 'terminated runner: five are');
	all_end($watcher, 'aborted: the runner was asked to terminate', 'terminated runner', @ids);
}

# The time is over.
{
	my $run_id = $watcher->query(sql('pool_exhaust_start', 'queue', pool_size => 1, max_overflow => 0, long_ms => 1000,
		pool_timeout_ms => 1500, timeout_ms => 2600));
	is(verdict_of($watcher, $run_id), 'aborted', 'timeout: the run ends');
	run_ends($watcher, $run_id, 'aborted: not over within 2600 ms (option timeout_ms)', 'timeout');
}

# Runs of two databases count from 1 each, and each reads its own row.
{
	$watcher->query('CREATE DATABASE other');
	my $other = client($node, database => 'other');
	$other->query('CREATE EXTENSION pool_exhaust');
	my $theirs = $other->query("SELECT pool_exhaust_start('queue', 'pool', '{\"long_ms\": 100000, \"pool_timeout_ms\": 100000, \"timeout_ms\": 300000}')");
	my $ours = $watcher->query(sql('pool_exhaust_start', 'accuracy'));

	ok( wait_for($watcher, "SELECT string_agg(name, ', ' ORDER BY name) FROM pool_exhaust_pools WHERE kind = 'pool' AND name ~ ' of '",
			"run $theirs of other"), 'another database: its run is named with it');
	is(verdict_of($watcher, $ours), 'pass', 'another database: a run is not confused by it');
	is($other->query('SELECT pool_exhaust_stop()'), 1, 'another database: its run is stopped there');
	$other->close;
	ok(wait_for($watcher, 'SELECT count(*) FROM pool_exhaust_pools WHERE kind = \'pool\'', 0), 'another database: no pool is left');
}

# The extension is dropped under them; the database is, by force.
foreach ([ 'dropped extension', 'DROP EXTENSION pool_exhaust' ], [ 'dropped database', 'DROP DATABASE dropped_db WITH (FORCE)' ])
{
	my ($name, $drop) = @$_;

	$watcher->query('CREATE DATABASE dropped_db');
	my $client = client($node, database => 'dropped_db');
	$client->query('CREATE EXTENSION pool_exhaust');
	$client->query($_) foreach long_sql('pool_exhaust_start');
	all_under_way($client, $name);
	$drop =~ /EXTENSION/ ? $client->query($drop) : $watcher->query($drop);
	is(sqlstate($drop =~ /EXTENSION/ ? $client : $watcher), '00000', "$name: it comes through") or diag $watcher->message;
	is($watcher->query('SELECT count(*) FROM pool_exhaust_progress'), 0, "$name: no run is left");
	is($watcher->query("SELECT count(*) FROM pg_stat_activity WHERE usename ~ '^pool_exhaust_'"), 0, "$name: no session is left");
	is($watcher->query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_'"), 0, "$name: no role is left");
	$client->close;
	$watcher->query('DROP DATABASE IF EXISTS dropped_db WITH (FORCE)');
}

# ---------- Eight at once ----------

# Each has two services, with roles of their own.
{
	my @ids = map { start('isolation', tolerance_ms => 10_000, pool_timeout_ms => 1000, long_ms => 1200, exhaust_ms => 2000) } 1 .. 8;
	ok( wait_for(
			$watcher,
			q(SELECT string_agg(rolname || ' ' || rolconnlimit, ', ' ORDER BY length(rolname), rolname) FROM pg_roles WHERE rolname ~ '^pool_exhaust_'),
			join ', ', map { "pool_exhaust_$_ " . ($_ > 8 ? -1 : 5) } 1 .. 16),
		'eight at once: sixteen roles, those of first services with a limit');
	ok(wait_for($watcher, 'SELECT count(DISTINCT run_id) || $$ $$ || count(DISTINCT role) FROM pool_exhaust_run_roles()', '8 16'),
		'eight at once: two for each run');
	fails_with($watcher, sql('pool_exhaust_start', 'queue'), '53400', [qr/8 runs are under way/], 'eight at once: a ninth');
	is(verdict_of($watcher, $_), 'pass', 'eight at once: the verdict') or diag $watcher->query("SELECT pool_exhaust_report($_)") foreach @ids;
	run_ends($watcher, $_, 'pass', 'eight at once') foreach @ids;
}

# The limit of the role does not bind: the pool's own is felt.
{
	my $run_id = start('isolation', role_limit => 6, baseline_ms => 200);
	is(verdict_of($watcher, $run_id), 'pass', 'a wide role: the verdict') or diag $watcher->query("SELECT pool_exhaust_report($run_id)");
	like($watcher->query("SELECT pool_exhaust_report($run_id)"), qr/^exhaust +the first: \d+ not granted, pool_timeout after \d+ ms$/m,
		'a wide role: the report names the only limit that was felt');
	is($watcher->query("SELECT observed FROM pool_exhaust_checks WHERE run_id = $run_id AND name = 'refusals in the ledger'"), '+0', 'a wide role: no session is refused');
}

# ---------- Rights to a run ----------

$watcher->query(q(
	CREATE ROLE tester LOGIN;
	CREATE ROLE monitor LOGIN IN ROLE pg_monitor;
	CREATE TABLE of_tester AS SELECT 1 AS a;
	ALTER TABLE of_tester OWNER TO tester;
	GRANT EXECUTE ON FUNCTION pool_exhaust_run(text, text, jsonb, text), pool_exhaust_start(text, text, jsonb),
		pool_exhaust_wait(bigint, interval), pool_exhaust_stop(bigint), pool_exhaust_report(bigint, text) TO tester));
{
	my $tester = client($node, user => 'tester');
	my $monitor = client($node, user => 'monitor');

	my %runs = map { $_ => client($node, user => 'tester') } @scenarios;
	$runs{$_}->send(sql('pool_exhaust_run', $_)) foreach @scenarios;
	foreach my $scenario (@scenarios)
	{
		my $mine = $runs{$scenario};
		my $text = $mine->result // $mine->message;

		# Beside each other they may prove nothing on a busy machine; then one by one.
		$text = $mine->query('SELECT pool_exhaust_report(' . run_scenario($mine, $scenario, 'pool', timeout_ms => 300_000) . ')') // $mine->message
		  if $text =~ /\A ?INVALID .*\n +the machine was too busy/;
		like($text, qr/\A ?PASS +$scenario on pool /, "a role that was granted it runs $scenario");
		$mine->close;
	}
	is($tester->query('SELECT a FROM of_tester'), 1, 'its table is its own');
	like($tester->query(sql('pool_exhaust_run', 'queue', workload => 'SELECT a FROM of_tester')) // $tester->message,
		qr/\A ?INVALID +queue on pool .*\n +the workload failed: 42501 permission denied for table of_tester$/m,
		'a workload has not the rights of the role that started the run');
	my $run_id = $tester->query(sql('pool_exhaust_start', 'queue', long_ms => 200_000, pool_timeout_ms => 60_000));
	ok(wait_for($monitor, pool($run_id, 'in_use, waiting'), '5|10'), 'pg_monitor sees its pool');
	fails_with($tester, pool($run_id), '42501', [qr/permission denied/], 'the role that runs it does not, without the right to read it');
	is($tester->query("SELECT pool_exhaust_stop($run_id)"), 1, 'the role that runs it may stop it');
	run_ends($watcher, $run_id, $stopped, 'stopped by its owner');
	$_->close foreach $tester, $monitor;
}

# ---------- Only the second service is denied ----------

{
	my @trust = ("local all $user,tester,monitor trust", 'local all pool_exhaust_1 scram-sha-256');

	rewrite_hba($node, @trust);
	$node->reload;
	ok(wait_until(sub { sqlstate(login($node, user => 'pool_exhaust_9')) }, '28000', 'the new pg_hba.conf'), 'pg_hba.conf is in force');
	my $run_id = start('isolation');
	is(verdict_of($watcher, $run_id), 'invalid', 'denied: the run proves nothing');
	my $reason = $watcher->query("SELECT reason FROM pool_exhaust_runs WHERE id = $run_id");
	my ($line) = $reason =~ /pg_hba\.conf and reload: (.*?) \(tried /;
	is($line, 'local "postgres" pool_exhaust_9 scram-sha-256', 'denied: the reason has the line that is missing') or diag $reason;
	run_ends($watcher, $run_id, "invalid: $reason", 'denied');
	rewrite_hba($node, $line // '', @trust);
	$node->reload;
	ok( wait_until(
			sub { $watcher->query(q(SELECT count(*) FROM pg_hba_file_rules WHERE 'pool_exhaust_9' = ANY (user_name))) }, 1,
			'the new line'), 'denied: the line can be read');
	$run_id = start('isolation');
	is(verdict_of($watcher, $run_id), 'pass', 'denied: with that line the run gets in')
	  or diag $watcher->query("SELECT pool_exhaust_report($run_id)");
	rewrite_hba($node, 'local all all trust');
	$node->reload;
}

# ---------- The server ends ----------

# It is back: the runs are over, in the tables and everywhere, and the next pass.
sub all_recovered
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($verdict, $name, @ids) = @_;

	$watcher->vanish;
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM pool_exhaust_runs WHERE id IN (" . join(', ', @ids) . ') AND verdict IS NULL', 0),
		"$name: all have a verdict");
	ok($node->poll_query_until('postgres', "SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_[0-9]+\$'", 0),
		"$name: the roles are gone");
	$watcher = client($node);
	all_end($watcher, $verdict, $name, @ids);
	is(verdict_of($watcher, start('isolation')), 'pass', "$name: the next run passes");
}

sub all_running
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name) = @_;

	$watcher->query($_) foreach long_sql('pool_exhaust_start');
	my @ids = all_under_way($watcher, $name);
	is($watcher->query("SELECT count(*) FROM pg_roles WHERE rolname ~ '^pool_exhaust_[0-9]+\$'"), 6, "$name: with their roles");
	return @ids;
}

my $crashed = 'aborted: the server stopped or crashed during the run';
{
	my @ids = all_running('fast stop');
	$node->stop('fast');
	$node->start;
	all_recovered('aborted: the runner was asked to terminate', 'fast stop', @ids);
}
{
	my @ids = all_running('immediate stop');
	$node->stop('immediate');
	$node->start;
	all_recovered($crashed, 'immediate stop', @ids);
}
{
	my @ids = all_running('killed runner');
	my $log_start = -s $node->logfile;
	kill 'KILL', $watcher->query("SELECT runner.pid FROM pg_stat_activity runner, pool_exhaust_progress p
		WHERE runner.backend_type = 'pool_exhaust runner' AND p.scenario = 'isolation'
		ORDER BY abs(extract(epoch FROM runner.backend_start - p.started_at)) LIMIT 1");
	ok($node->wait_for_log(qr/all server processes terminated; reinitializing/, $log_start), 'killed runner: the server crashes');
	ok(server_is_back($node), 'killed runner: the server is back');
	all_recovered($crashed, 'killed runner', @ids);
}

$watcher->close;

# What was killed above: a runner
left_nothing($node, killed => 1);
done_testing();
