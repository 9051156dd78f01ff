# A real PgBouncer as target: with a correct configuration the scenarios pass in
# each pool mode, with a wrong one they fail, and say why.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PoolExhaust;
use Pooler;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Target;
use Test::More;
use Time::HiRes qw(time);

plan skip_all => 'there is no PgBouncer here' if !Pooler::version('pgbouncer');

# Runs come from one server, PgBouncer stands before another.
my $node = new_server('runs');
my $behind = Target::server_behind('behind');
my $watcher = client($node);

# What the scenarios are right to pass on.  This file does not run alone, so no
# claim on time is close: storm.pl and pool_rules.pl have those.
my %good = (
	auth_type            => 'md5',
	default_pool_size    => 5,
	max_client_conn      => 60,
	query_wait_timeout   => 2,
	server_login_retry   => 1,
	client_login_timeout => 5,
	stats_users          => 'app');
my %options = (
	saturation  => {},
	queue       => { tolerance_ms => 5000 },
	# A machine that stands still for half a second is not to bring more clients than there may be.
	degradation => { work_ms => 60, load_percent => 70, response_limit_ms => 5000, burst_error_percent => 50 },
	isolation   => { second => 'beside', tolerance_ms => 10_000 },
	# Nor are so many to come that one connection left to them is hardly enough.
	latency     => { levels => [ 20, 50, 80 ], latency_limit_ms => 1000, rate => 50 },
	recovery    => {},
	storm       => { keep_percent => 1, response_limit_ms => 5000 });

my $bouncer = Pooler->new('pgbouncer', node => $behind, users => { app => 'secret', other => 'secret' }, settings => {%good});
my %where = (kind => 'pgbouncer', host => '127.0.0.1', port => $bouncer->port, dbname => 'postgres');
Target::make($watcher, 'bouncer', \%where, { user => 'app', password => 'secret' });
Target::make($watcher, 'beside', \%where, { user => 'other', password => 'secret', console_user => 'app', console_password => 'secret' });

# PgBouncer with these settings in place of the good ones
sub bouncer_with
{
	my (%settings) = @_;

	$bouncer->{settings} = { %good, %settings };
	$bouncer->restart;
}

# A run at PgBouncer; see Target.pm.
sub run_is
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $verdict, $why, $scenario, %more) = @_;
	my $run_id = Target::run_is($watcher, $name, $verdict, $why, $scenario, 'bouncer', %{ $options{$scenario} }, %more);

	ok(none_left(), "$name: no client is left in PgBouncer");
	return $run_id;
}

sub report_has
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;

	Target::report_has($watcher, @_);
}

# Only the client that reads this is left in PgBouncer, while it runs.
sub none_left
{
	return 1 if !$bouncer->{pid};
	return wait_until(sub { scalar grep { $_->{user} =~ /^(?:app|other)$/ } $bouncer->show('CLIENTS') }, 0, 'clients of PgBouncer');
}

# A restart breaks what is under way, and at some moments nothing is: restarts again
# until the run has come to its next phase.
sub until_felt
{
	my ($restart) = @_;

	for (1 .. 5)
	{
		$restart->();
		my $end = time + 2;
		while (time < $end)
		{
			return if $watcher->query("SELECT count(*) FROM pool_exhaust_progress WHERE phase = 'outage'") == 0;
		}
	}
}

# ---------- As it should be ----------

foreach my $mode (qw(session transaction statement))
{
	bouncer_with(pool_mode => $mode);
	run_is("$mode mode, $_", 'pass', '', $_) foreach qw(saturation queue degradation isolation latency storm);
	my $run_id = run_is("$mode mode, recovery of PgBouncer", 'pass', '', 'recovery',
		meanwhile => [ 'outage', sub { until_felt(sub { $bouncer->restart }) } ]);
	report_has($run_id, qr/^recover +\d+ operations broke/m, "$mode mode: the outage was felt");
	run_is("$mode mode, recovery of the server behind", 'pass', '', 'recovery',
		meanwhile => [ 'outage', sub { until_felt(sub { $behind->restart }) } ]);
}

# What breaks many connections breaks one after the other: an operation that succeeds
# in between is not yet a recovery.
bouncer_with(pool_mode => 'transaction');
{
	my $admin = client($behind);
	my $one_by_one = "SELECT count(*) FROM (SELECT pg_terminate_backend(pid), pg_sleep(0.04)
		FROM pg_stat_activity WHERE usename = 'app' OFFSET 0) AS ended";

	run_is('connections end one by one', 'pass', '', 'recovery',
		meanwhile => [ 'outage', sub { until_felt(sub { $admin->query($one_by_one) }) } ]);
}

# What it says of what it found
bouncer_with();
{
	my $run_id = run_is('full', 'pass', '', 'saturation', attempts => 7);
	report_has($run_id, qr/^attempt +7 refused +pooler_clients 7 +08P01 no more connections allowed \(max_client_conn\)/m, 'full: in its own words');
	is($watcher->query("SELECT count(*) FROM pool_exhaust_refusals WHERE refusals > 0"), 0, 'full: no refusal of this server');
}

# The reserve is overflow, once query_wait_timeout and reserve_pool_timeout are fit for it.
bouncer_with(reserve_pool_size => 2, reserve_pool_timeout => 1);
run_is('claims that hold', 'pass', '', 'queue', pool_size => 5, max_overflow => 2, pool_timeout_ms => 2000);

# It stands still for a moment, as on a machine that has no time for it: what that breaks
# proves nothing.
sub stand_still
{
	my ($seconds) = @_;
	my $end = time + $seconds;

	kill 'STOP', $bouncer->{pid};
	wait_until(sub { time >= $end ? 'over' : 'not yet' }, 'over', 'a moment');
	kill 'CONT', $bouncer->{pid};
	return;
}

# Where this process is late itself, the phase may be over: then it tries again.
sub stands_still_in
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($scenario, $outcome, %options) = @_;
	my $felt = qr/^machine +.*the console of the pooler took \d+ ms to answer/m;
	my $run_id;

	for (1 .. 3)
	{
		$run_id = Target::run_it($watcher, $scenario, 'bouncer', %options);
		last if $watcher->query("SELECT pool_exhaust_report($run_id)") =~ $felt;
	}
	like(run_outcome($watcher, $run_id), $outcome, "stands still: verdict of $scenario")
	  or diag $watcher->query("SELECT pool_exhaust_report($run_id)");
	report_has($run_id, $felt, "stands still: the report of $scenario says so");
	return;
}

# That phase lasts for two seconds, and asks the console all the time.
stands_still_in('queue', qr/^(?:pass$|invalid: the machine was too busy: )/,
	%{ $options{queue} }, meanwhile => [ 'time out', sub { stand_still(0.18) } ]);

# Twice as many clients come meanwhile as it has places for, though its pool has some left;
# where all take too long as it is, that comes first.
bouncer_with(max_client_conn => 15);
stands_still_in('latency', qr/^invalid: (?:the machine was too busy: .*; failed: not granted|the pool could not be kept) at 20 %/,
	levels => [20], level_ms => 4000, rate => 100, meanwhile => [ '20 %', sub { until_clients_come(); stand_still(0.3) } ]);

# A level's clients that arrive are measured when others keep its pool busy.
sub until_clients_come
{
	my $served = sub { (map { $_->{total_query_count} } grep { $_->{database} eq 'postgres' } $bouncer->show('STATS'))[0] };
	my $at_first = $served->();

	wait_until(sub { $served->() > $at_first + 300 ? 'they do' : 'not yet' }, 'they do', 'clients that arrive');
	return;
}

# ---------- As it should not be ----------

# Clients that arrive while others log in are too many, however idle its pool.
bouncer_with(max_client_conn => 4);
run_is('few clients', 'fail', 'not granted at 20 %', 'latency', levels => [20], level_ms => 2000, rate => 200);

bouncer_with(query_wait_timeout => 0);
run_is('query_wait_timeout = 0', 'invalid', qr/lets clients wait for ever \(query_wait_timeout = 0\)/, 'queue');
run_is('query_wait_timeout = 0, against a claim', 'fail', 'timed out', 'queue', pool_timeout_ms => 1000);

bouncer_with(query_wait_timeout => 120);
run_is('query_wait_timeout = 120 s', 'invalid', qr/wait for 120 s \(query_wait_timeout\), longer than this run may take/, 'queue', timeout_ms => 60_000);
run_is('query_wait_timeout = 120 s, against a claim', 'fail', 'timed out', 'queue', pool_timeout_ms => 1000);

bouncer_with(query_wait_timeout => 1);
run_is('query_wait_timeout = 1 s, against a claim of 3 s', 'fail', 'earliest timeout', 'queue', pool_timeout_ms => 3000);

bouncer_with();
run_is('another pool_size than was claimed', 'fail', 'pool_size', 'queue', pool_size => 10);

bouncer_with(max_client_conn => 8);
{
	my $run_id = run_is('max_client_conn too small for the clients that are to wait', 'fail', qr/refused at once/, 'queue');
	report_has($run_id, qr/08P01 no more connections allowed \(max_client_conn\)/, 'max_client_conn too small: the report names the limit');
}

bouncer_with();
$behind->safe_psql('postgres', 'ALTER ROLE app CONNECTION LIMIT 3');
run_is('the server gives less than pool_size', 'fail', qr/^failed: in use while requests wait/, 'queue');
$behind->safe_psql('postgres', 'ALTER ROLE app CONNECTION LIMIT -1');

# Two connections of the pool are used by others, and these are to be ignored.
bouncer_with(pool_mode => 'transaction');
{
	my @others = map { client($bouncer, tcp => 1, user => 'app', password => 'secret', database => 'postgres') } 1, 2;

	$_->query('BEGIN') foreach @others;
	my $run_id = Target::run_is($watcher, 'others in the pool', 'invalid',
		qr/^clients of others use this pool: 5 of its 5 connections .* no more than 3 by this run/, 'queue', 'bouncer', bystanders => 'ignore');
	is($watcher->query("SELECT count(*) FROM pool_exhaust_checks WHERE run_id = $run_id AND (outcome = 'fail' OR detail LIKE '%refuse%')"), 0,
		'others in the pool: nothing is said of a refusal');
	$_->close foreach @others;
}
bouncer_with();

# Two services of the same user share a pool.
bouncer_with();
$watcher->query(q(ALTER USER MAPPING FOR CURRENT_USER SERVER beside OPTIONS (SET user 'app')));
{
	my $run_id = run_is('a pool that the services share', 'fail', qr/success of the second service/, 'isolation', tolerance_ms => 500);
	report_has($run_id, qr/do they share a pool or a limit/, 'a pool that the services share: what to check');
}
$watcher->query(q(ALTER USER MAPPING FOR CURRENT_USER SERVER beside OPTIONS (SET user 'other')));

SKIP:
{
	skip 'this PgBouncer has no limits of clients but max_client_conn', 8 if !$bouncer->at_least(1, 24);
	foreach ([ 'max_user_client_connections', 'pooler_user_limit' ], [ 'max_db_client_connections', 'pooler_database_limit' ])
	{
		my ($limit, $cause) = @$_;

		bouncer_with($limit => 20);
		my $run_id = run_is("$limit below max_client_conn", 'fail', qr/held connections/, 'saturation');
		report_has($run_id, qr/$cause/, "$limit: the report names the cause");
	}
}

# ---------- Where nothing can be found out ----------

bouncer_with(stats_users => 'other');
run_is('no right to the console', 'invalid', qr/could not ask the console of bouncer: 08P01 not allowed/, $_) foreach qw(saturation queue);

bouncer_with();
$watcher->query(q(ALTER USER MAPPING FOR CURRENT_USER SERVER bouncer OPTIONS (SET password 'Wrong-as-can-be')));
{
	my $run_id = run_is('wrong password', 'invalid', qr/could not log in to bouncer: 08P01 password authentication failed/, 'queue');
	unlike($watcher->query("SELECT string_agg(r::text, '') FROM pool_exhaust_report($run_id, 'json') r"), qr/Wrong-as/, 'wrong password: it is in no report');
	unlike(slurp_file($node->logfile) =~ s/statement: .*//gr, qr/Wrong-as/, 'wrong password: nor in a message of the log');
}
$watcher->query(q(ALTER USER MAPPING FOR CURRENT_USER SERVER bouncer OPTIONS (SET password 'secret')));

$watcher->query(q(ALTER SERVER bouncer OPTIONS (SET dbname 'missing')));
run_is('no such database', 'invalid', qr/could not log in to bouncer: .*database "missing" does not exist/, 'queue');
$watcher->query(q(ALTER SERVER bouncer OPTIONS (SET dbname 'postgres')));

bouncer_with();
$bouncer->console('PAUSE');
run_is('paused', 'invalid', qr/could not log in to bouncer: 08P01 pooler_queue_timeout, query_wait_timeout/, 'queue');
$bouncer->console('RESUME');

{
	my $bystander = client($bouncer, tcp => 1, user => 'other', password => 'secret', database => 'postgres');
	my $run_id = Target::run_it($watcher, 'saturation', 'bouncer');
	is($watcher->query("SELECT verdict FROM pool_exhaust_runs WHERE id = $run_id"), 'invalid', 'a bystander: verdict');
	like($watcher->query("SELECT reason FROM pool_exhaust_runs WHERE id = $run_id"), qr/1 connections of others are open on bouncer/, 'a bystander: reason');
	is($bystander->query('SELECT 42'), 42, 'a bystander: it goes on');
	$bystander->close;
}

bouncer_with();
$behind->stop;
run_is("the server behind is down, $_", 'invalid', qr/could not log in to bouncer: 08P01 pooler_(?:queue_timeout|server_down), /, $_) foreach qw(saturation queue);
$behind->start;

$bouncer->stop;
run_is("PgBouncer is down, $_", 'invalid', qr/could not log in to bouncer: .*Connection refused/, $_) foreach qw(saturation queue isolation);
$bouncer->start;

# ---------- However it ends ----------

# Stopped, or PgBouncer killed, in the middle of a run: nothing is left.
bouncer_with(query_wait_timeout => 100);
{
	my $run_id = $watcher->query(Target::sql('pool_exhaust_start', 'queue', 'bouncer', timeout_ms => 500_000));
	ok(wait_for($watcher, "SELECT count(*) FROM pool_exhaust_progress WHERE run_id = $run_id AND connections > 0", 1), 'stop: it is under way');
	is($watcher->query("SELECT pool_exhaust_stop($run_id)"), 1, 'stop: one is stopped');
	run_ends($watcher, $run_id, 'aborted: stopped by pool_exhaust_stop()', 'stop');
	ok(none_left(), 'stop: no client is left in PgBouncer');
}
{
	my $run_id = $watcher->query(Target::sql('pool_exhaust_start', 'queue', 'bouncer', timeout_ms => 500_000));
	ok(wait_for($watcher, "SELECT count(*) FROM pool_exhaust_progress WHERE run_id = $run_id AND connections > 0", 1), 'kill: it is under way');
	$bouncer->end;
	like($watcher->query("SELECT pool_exhaust_wait($run_id)"), qr/^(?:fail|invalid)$/, 'kill: it ends, and does not pass');
	is($watcher->query('SELECT count(*) FROM pool_exhaust_progress'), 0, 'kill: nothing of it is left');
}

$watcher->close;
left_nothing($node);
$behind->stop;
done_testing();
