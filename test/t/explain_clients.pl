# The client libraries and the pooler that others wrote, as they go wrong: SQLAlchemy,
# psycopg, node-postgres, PgBouncer, pgbench. pool_exhaust_explain() names each cause first;
# beside healthy services of the same there is no complaint.
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use lib $FindBin::RealBin;
use Explain;
use PoolExhaust;
use Pooler;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

# The system's own, which has the packages, whatever comes first in PATH.
my @python = ('/usr/bin/python3', "$FindBin::RealBin/../clients.py");
my @node_js = ('node', "$FindBin::RealBin/../clients.js");

# Debian's modules of Node are there.
$ENV{NODE_PATH} = join ':', grep { defined } $ENV{NODE_PATH}, '/usr/share/nodejs';

sub works { return eval { IPC::Run::run([@_], '<', \undef, '>&', \my $output) } }

plan skip_all => "$python[0] has no SQLAlchemy or psycopg" if !works($python[0], '-c', 'import sqlalchemy, psycopg, psycopg2');
my $has_node_pg = works('node', '-e', 'require("pg")');

my $port = PostgreSQL::Test::Cluster::get_free_port();
my $capacity = 40;
my $node = new_server('clients', conf => qq(
max_connections = 43
superuser_reserved_connections = 3
autovacuum = off
pool_exhaust.leak_threshold = 1s
pool_exhaust.sample_interval = 100ms
pool_exhaust.http_port = $port
));
$node->safe_psql('postgres', q(
CREATE ROLE app LOGIN;
CREATE TABLE stock ();
CREATE TABLE work (id int PRIMARY KEY, n int);
INSERT INTO work SELECT i, 0 FROM generate_series(0, 99) AS i;
GRANT ALL ON stock, work TO app;
));
my $watcher = client($node, application_name => 'watcher');
my $explain = Explain->new(watcher => $watcher, port => $port);

# Starts a program of clients, of the service app/NAME unless it says otherwise, and
# returns when it is ready; "at" is the pooler that it connects to.
sub begin
{
	my ($name, $at, @command) = @_;
	my %program = (name => $name, in => '', out => '', errors => '');

	local @ENV{qw(PGHOST PGPORT PGUSER PGDATABASE PGAPPNAME)} = ($at->host, $at->port, 'app', 'postgres', $name);
	$program{run} = IPC::Run::start([@command], '<', \$program{in}, '>', \$program{out}, '2>', \$program{errors},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	$program{run}->pump while $program{out} !~ /ready/ && $program{run}->pumpable;
	like($program{out}, qr/ready/, "$name is ready") or diag $program{errors};
	return \%program;
}

# Ends programs as if they had crashed, and the statements that go on without them.
sub end
{
	$_->{run}->kill_kill foreach @_;
	$watcher->query(q(SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'));
	return;
}

sub python { my ($name, @way) = @_; return begin($name, $node, @python, @way) }

sub node_js { my ($name, @way) = @_; return begin($name, $node, @node_js, @way) }

# One program, and what is said of it.
sub goes_wrong
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $program, %incident) = @_;

	$explain->incident($name, %incident);
	end($program);
	$explain->over($name);
	return;
}

my $bouncer;
$bouncer = Pooler->new('pgbouncer', node => $node, users => { app => '' }, settings => { pool_mode => 'transaction', default_pool_size => 4 })
  if Pooler::version('pgbouncer');

# ---------- SQLAlchemy and psycopg ----------

goes_wrong('SQLAlchemy: sessions that were not closed', python('web', 'forgotten_commits', 8), cause => 'idle in transaction', confidence => 'likely',
	sentence => qr/: 8 sessions of app\/web are idle in transaction/);
goes_wrong('SQLAlchemy: an engine for each request', python('web', 'engine_per_request', 10), cause => 'growth', confidence => 'likely',
	sentence => qr/ sessions of app\/web are opened one after the other and never used again/);
goes_wrong('SQLAlchemy: behind a lock', python('web', 'behind_a_lock', 10), cause => 'lock pile-up', confidence => 'sure',
	sentence => qr/: 10 sessions wait behind pid \d+ \(app\/batch, idle in transaction for /);
# What a machine opens so slowly that it takes a threshold is a growth by its looks.
change_setting($watcher, 'pool_exhaust.leak_threshold' => "'1min'");
goes_wrong('SQLAlchemy: a roll-out of pools that are too large', python('web', 'rollout', $capacity - 1), cause => 'surge', confidence => 'likely',
	sentence => qr/^Full, 40 of 40 slots in use: the slots in use rose by \d+ in the last minute: 39 sessions of app\/web /);
change_setting($watcher, 'pool_exhaust.leak_threshold' => "'1s'");
$watcher->query('SELECT pool_exhaust_reset_stats()');
goes_wrong('psycopg: transactions that failed', python('jobs', 'failed_transactions', 4), cause => 'idle in transaction', confidence => 'sure',
	sentence => qr/: 4 sessions of app\/jobs are idle in transaction/);
goes_wrong('psycopg: a connection that listens for each worker', python('events', 'listeners', 10), cause => 'listeners', confidence => 'likely',
	sentence => qr/: 10 sessions of app\/events are idle and waiting for notifications/);
{
	my $program = python('reports', 'statement', $capacity - 1);

	$explain->incident('psycopg: slow statements', cause => 'slow statements', confidence => 'likely',
		sentence => qr/^Full, 40 of 40 slots in use: 39 sessions of app\/reports are busy with statements that take long/);
	$program->{run}->kill_kill;
	$explain->incident('psycopg: killed in a statement', cause => 'dead client', confidence => 'sure', sentence => qr/sessions? of app\/reports (is|are) running a statement for a client that is gone/);
	end($program);
	$explain->over('psycopg: killed in a statement');
}
{
	my $program = python('herd', 'reconnect', 2 * $capacity);

	$explain->incident('psycopg: all connect again and again', cause => 'reconnect storm', confidence => 'likely',
		sentence => qr/clients connect again and again: \d+ logins granted and [1-9]\d* refused in the last 10 s/,
		evidence => qr/app\/herd of database postgres, from this host, for cause reserved_slots, \d+ times? so far/);
	end($program);
	$watcher->query('SELECT pool_exhaust_reset_stats()');
	$explain->over('psycopg: all connect again and again');
}

# ---------- PgBouncer ----------

SKIP:
{
	skip 'there is no PgBouncer here', 1 if !$bouncer;
	my $owner = begin('pooled', $bouncer, @python, 'stranded_lock');
	my $waiters = python('web', 'waiters', 4);

	goes_wrong('PgBouncer: a lock that stays in the pool', $waiters, cause => 'stranded advisory lock', confidence => 'likely',
		sentence => qr/: 4 sessions wait for an advisory lock of pid \d+ \(\w+\/\S*\), which is idle outside of a transaction/);
	end($owner);
}

# ---------- node-postgres ----------

SKIP:
{
	skip 'Node has no module pg', 1 if !$has_node_pg;
	goes_wrong('node-postgres: early returns', node_js('node', 'early_returns', 6), cause => 'idle in transaction', confidence => 'likely',
		sentence => qr/: 6 sessions of app\/node are idle in transaction/);
	goes_wrong('node-postgres: a pool for each request', node_js('node', 'pool_per_request', 10), cause => 'growth', confidence => 'likely',
		sentence => qr/ sessions of app\/node are opened one after the other and never used again/);
}

# ---------- All is well ----------

# What the service has done: so many sessions were opened, and one was used at that moment.
sub done_by
{
	my ($service) = @_;

	return $watcher->query("SELECT concat_ws(', ', (SELECT opened FROM pool_exhaust_services WHERE service = 'app/$service'),
		(SELECT max(state_change) FROM pg_stat_activity WHERE usename = 'app' AND application_name = '$service'))");
}

# Services, each for itself and then all of them, and all of them go on.
{
	my %services = (
		'SQLAlchemy' => sub { python('web', 'web', 5) },
		'psycopg: transactions one after the other' => sub { python('batch', 'batch', 3) },
		'psycopg: jobs without a pool' => sub { python('cron', 'cron', 3) },
		'psycopg: one that listens' => sub { python('events', 'notified') },
		$bouncer ? ('SQLAlchemy, through PgBouncer' => sub { begin('pooled', $bouncer, @python, 'web', 4) }) : (),
		$has_node_pg ? ('node-postgres' => sub { node_js('node', 'service', 4) }) : ());
	my @all;

	foreach my $name (sort keys %services)
	{
		my $program = $services{$name}->();
		my $done = done_by($program->{name});

		$explain->healthy($name, 170, 1.5);
		isnt(done_by($program->{name}), $done, "$name: it was at work") or diag $program->{errors};
		push @all, $program;
	}
	my %done = map { $_->{name} => done_by($_->{name}) } @all;
	$explain->healthy('all of them', 170, 3);
	isnt(done_by($_->{name}), $done{ $_->{name} }, "$_->{name} is still at work") or diag $_->{errors} foreach @all;
	end(@all);
	$explain->over('all of them');
}

$watcher->close;
left_nothing($node);
done_testing();
