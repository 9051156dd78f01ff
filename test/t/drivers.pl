# Drivers: other servers generate the load of a run, and it is one run. Their figures
# add up, a driver that is not fit for it is named beforehand, and when one side is
# gone the other lets go.
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

my $within = 5;    # seconds in which everything is let go of
my $coordinator = new_server('coordinator', conf => 'restart_after_crash = on');
my %server = (n1 => new_server('first', streaming => 1, hba => [ 'local all app md5', 'local all all trust', 'local replication all trust' ]), n2 => new_server('second'), n3 => $coordinator);
my $behind = Target::server_behind('behind');
my $client = client($coordinator);
my $target = client($behind);
my ($host, $port) = ($behind->host, $behind->port);
my @aim = ({ kind => 'postgres', host => $host, port => $port, dbname => 'postgres' }, { user => 'app', password => 'secret' });

$target->query('GRANT pg_read_all_stats TO app');
rewrite_hba($behind, 'local all app md5', 'local all all trust');
$behind->reload;
ok(wait_until(sub { login($behind, user => 'app')->{stalled} ? 'asked' : 'granted' }, 'asked', 'the new pg_hba.conf'), 'the target asks for passwords');

# ---------- Each driver's administrator says what it may aim at, and which role may drive ----------

my $may_drive = 'GRANT EXECUTE ON FUNCTION pool_exhaust_drive, pool_exhaust_drive_open, pool_exhaust_drive_load, pool_exhaust_drive_stop, pool_exhaust_drive_crowd TO drive';

sub allow
{
	my ($node, $database) = @_;

	$node->safe_psql($database, $_) foreach $may_drive,
	  "CREATE SERVER aim FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'postgres', host '$host', port '$port', dbname 'postgres')",
	  'GRANT USAGE ON FOREIGN SERVER aim TO drive',
	  q(CREATE USER MAPPING FOR drive SERVER aim OPTIONS (user 'app', password 'secret'));
}

Target::make($client, 'aim', @aim);
$server{n1}->safe_psql('postgres', q(CREATE ROLE app LOGIN PASSWORD 'secret'));
foreach my $name (sort keys %server)
{
	my $node = $server{$name};

	$node->safe_psql('postgres', 'CREATE ROLE drive LOGIN');
	if ($node == $coordinator)
	{
		$node->safe_psql('postgres', $_) foreach $may_drive, 'GRANT USAGE ON FOREIGN SERVER aim TO drive', q(CREATE USER MAPPING FOR drive SERVER aim OPTIONS (user 'app', password 'secret'));
	}
	else
	{
		allow($node, 'postgres');
	}
	Target::make($client, $name, driver_at($node), { user => 'drive' });
}

sub driver_at
{
	my ($node, %options) = @_;

	return { kind => 'driver', host => $node->host, port => $node->port, dbname => 'postgres', %options };
}

sub run_by
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $verdict, $why, $drivers, %options) = @_;

	return play($name, $verdict, $why, 'saturation', 'aim', $drivers, %options);
}

sub play
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $verdict, $why, $scenario, $target, $drivers, %options) = @_;

	return Target::run_is($client, $name, $verdict, $why, $scenario, $target, drivers => $drivers, bystanders => 'ignore', %options);
}

# A number of the run's report, by what gives it in SQL.
sub of_run
{
	my ($id, $sql) = @_;

	return $client->query($sql =~ s/\bRUN\b/$id/gr) // $client->message;
}

# The counts of these phases by bucket; the largest value of a histogram stands for its bucket, too.
sub buckets_of
{
	my ($id, $phases) = @_;
	my %counts;

	foreach my $pair (split /\n/, of_run($id, "SELECT buckets[i][1] || ' ' || buckets[i][2] FROM pool_exhaust_histograms, generate_series(1, array_length(buckets, 1)) AS i
			WHERE run_id = RUN AND phase IN ($phases)"))
	{
		my ($value, $count) = split / /, $pair;
		my $octave = 0;

		$octave++ while $value >> $octave >= 64;
		$counts{ "$octave " . ($value >> $octave) } += $count;
	}
	return \%counts;
}

# No session of a run is on the target, and none of a coordinator on the drivers; within the time.
sub all_is_let_go
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($since, $name, @nodes) = @_;
	my $sessions = q(SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pool\_exhaust%' AND backend_type = 'client backend');

	ok(wait_for($target, $sessions, 0), "$name: nothing is left on the target");
	cmp_ok(time - $since, '<', $within, "$name: in time");
	ok($_->poll_query_until('postgres', $sessions, 0), "$name: nothing is left on " . $_->name) foreach @nodes;
}

# The run has ended like that, and soon.
sub aborted
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($id, $since, $reason, $name) = @_;

	is($client->query("SELECT pool_exhaust_wait($id)"), 'aborted', "$name: aborted") or diag run_outcome($client, $id);
	cmp_ok(time - $since, '<', $within, "$name: soon");
	like($client->query("SELECT reason FROM pool_exhaust_runs WHERE id = $id"), $reason, "$name: the driver is named");
}

# A run at PgBouncer, in the middle of a load that goes on.
sub under_load
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $options) = @_;
	my $id = $client->query(Target::sql('pool_exhaust_start', 'latency', 'bouncer', drivers => [qw(n1 n2)], bystanders => 'ignore', %$options, level_ms => 30000));

	ok(wait_for($client, "SELECT count(*) FROM pool_exhaust_progress WHERE run_id = $id AND phase = '60 %'", 1), "$name: a load is under way");
	return $id;
}

# ---------- One driver, and three ----------

foreach my $drivers ([qw(n1)], [qw(n1 n2 n3)])
{
	my $n = @$drivers;
	my $id = run_by("$n drivers", 'pass', '', $drivers);
	my $names = join ', ', map { "'$_'" } @$drivers;

	Target::report_has($client, $id, qr/^ *$_ +\d+ granted, \d+ refused /m, "$n drivers: a line for $_") foreach @$drivers;
	Target::report_has($client, $id, qr/^ *drivers +\d+ granted, 10 refused by $n driver/m, "$n drivers: the total");
	is(of_run($id, "SELECT count(*) FROM pool_exhaust_histograms WHERE run_id = RUN AND phase IN ($names)"), $n, "$n drivers: latencies of each");
	is_deeply(buckets_of($id, $names), buckets_of($id, "'drivers'"), "$n drivers: their latencies add up, bucket by bucket");
	is( of_run($id, "SELECT sum((p->>'granted')::int) = max((s.summary #>> '{pools,0,granted}')::int) FROM pool_exhaust_runs s, jsonb_array_elements(s.summary->'phases') AS p
			WHERE id = RUN AND p->>'phase' IN ($names)"), 't', "$n drivers: so do their grants");
	is( of_run($id, "SELECT string_agg(outcome, ',') FROM pool_exhaust_checks WHERE run_id = RUN AND name = 'start skew of the drivers'"),
		$n > 1 ? 'pass' : '', "$n drivers: they begin together");
	cmp_ok(of_run($id, "SELECT max((p->>'granted')::int) - min((p->>'granted')::int) FROM pool_exhaust_runs, jsonb_array_elements(summary->'phases') AS p
			WHERE id = RUN AND p->>'phase' IN ($names)"), '<=', 2, "$n drivers: the shares are even");
	all_is_let_go(time, "$n drivers", values %server);
}

# A scenario can fail with them, too.
run_by('a slot that is kept', 'fail', 'held connections, in use by the server\'s count, health on the way up, refused attempts, refusals by cause', [qw(n1 n2)], fault => 'keep_slot');

# ---------- Other scenarios, and PgBouncer ----------

my @three = qw(n1 n2 n3);
play('clients that retry', 'pass', '', 'storm', 'aim', \@three, clients => 60, baseline_ms => 100, keep_percent => 1, handshakes => 24);
play('a slot that is kept, by clients that retry', 'fail', qr/^failed: storm: granted/, 'storm', 'aim', \@three, clients => 60, baseline_ms => 100, fault => 'keep_slot', keep_percent => 1, handshakes => 24);

SKIP:
{
	skip 'there is no PgBouncer here', 1 if !Pooler::version('pgbouncer');
	my %settings = (auth_type => 'md5', default_pool_size => 5, max_client_conn => 60, query_wait_timeout => 1, stats_users => 'app', pool_mode => 'transaction');
	my $bouncer = Pooler->new('pgbouncer', node => $behind, users => { app => 'secret' }, settings => {%settings});
	my %where = (kind => 'pgbouncer', host => '127.0.0.1', port => $bouncer->port, dbname => 'postgres');
	my %options = (
		saturation  => {},
		storm       => { baseline_ms => 100, keep_percent => 1, handshakes => 24 },
		latency     => { arrivals => 'constant', levels => [60], level_ms => 600, rate => 50, tolerance_percent => 60 },
		degradation => { work_ms => 60, load_percent => 70, burst_error_percent => 50, sustained_ms => 1000, burst_every_ms => 500, burst_ms => 200, baseline_ms => 300 },
		queue       => { tolerance_ms => 3000 });

	Target::make($client, 'bouncer', \%where, { user => 'app', password => 'secret' });
	foreach my $node (values %server)
	{
		$node->safe_psql('postgres', "CREATE SERVER bouncer FOREIGN DATA WRAPPER pool_exhaust OPTIONS (" . join(', ', map { "$_ '$where{$_}'" } sort keys %where) . ')') if $node != $coordinator;
		$node->safe_psql('postgres', $_) foreach 'GRANT USAGE ON FOREIGN SERVER bouncer TO drive', q(CREATE USER MAPPING FOR drive SERVER bouncer OPTIONS (user 'app', password 'secret'));
	}
	foreach my $scenario (sort keys %options)
	{
		my $id = play("three drivers at PgBouncer, $scenario", 'pass', '', $scenario, 'bouncer', \@three, %{ $options{$scenario} });

		Target::report_has($client, $id, qr/^ *drivers +\d+ granted, \d+ refused by 3 drivers/m, "$scenario: the total");
		is_deeply(buckets_of($id, "'n1', 'n2', 'n3'"), buckets_of($id, "'drivers'"), "$scenario: their latencies add up, bucket by bucket");
		ok(wait_until(sub { scalar grep { $_->{user} eq 'app' } $bouncer->show('CLIENTS') }, 0, 'clients of PgBouncer'), "$scenario: no client is left in PgBouncer");
	}

	# It is gone in the middle of a load.
	my ($id, $since) = (under_load('PgBouncer is gone', $options{latency}), time);
	$bouncer->end;
	aborted($id, $since, qr/^bouncer was lost: the connection was closed without a message, no driver was granted or refused a connection for 2\.\d s, and this server cannot log in either: .*Connection refused$/, 'PgBouncer is gone');
	all_is_let_go($since, 'PgBouncer is gone', values %server);
	$bouncer->start;

	# A driver is stopped. PgBouncer ends no client: the driver's own server lets go.
	$id = under_load('stopped at PgBouncer', $options{latency});
	my $stopped = $server{n2}->safe_psql('postgres', q(SELECT pid FROM pg_stat_activity WHERE application_name = 'pool_exhaust coordinator'));
	$since = time;
	kill 'STOP', $stopped;
	aborted($id, $since, qr/^driver n2 was lost: it is silent for \d\.\d s$/, 'stopped at PgBouncer');
	ok(wait_until(sub { scalar grep { $_->{user} eq 'app' } $bouncer->show('CLIENTS') }, 0, 'clients of PgBouncer'), 'stopped at PgBouncer: no client is left there');
	cmp_ok(time - $since, '<', $within, 'stopped at PgBouncer: in time');
	ok($server{n2}->poll_query_until('postgres', "SELECT count(*) FROM pg_stat_activity WHERE pid = $stopped", 0), 'stopped at PgBouncer: the driver has ended the session');

	# What breaks a claim without drivers breaks it with them.
	play('a session that is left', 'fail', 'sessions left after the storm', 'storm', 'bouncer', [qw(n1 n2)], %{ $options{storm} }, fault => 'leave_session');
	$bouncer->{settings} = { %settings, query_wait_timeout => 1, max_client_conn => 8 };
	$bouncer->restart;
	play('too few clients may wait', 'fail', qr/refused at once/, 'queue', 'bouncer', [qw(n1 n2)], %{ $options{queue} });
	$bouncer->stop;
}

# SQL of a load is what a workload may be, on the driver, too.
{
	my $hand = client($server{n1}, user => 'drive');
	my $load = sub { my ($sql) = @_; return "SELECT pool_exhaust_drive_load(0, '$sql', '', '{0,0,0,0,1,1,1,0,0,0,0,0,0,0}', false, 0, 1000)" };

	is($hand->query(q(SELECT pool_exhaust_drive_open('aim', 'pool_exhaust 1-1', 5, 5, 1000, '', 1))), '(postgres,app)', 'a load by hand');
	is($hand->query(q(SELECT sum(value) FROM) . $load->('SELECT 42') =~ s/^SELECT//r . q( WHERE item = 'calm succeeded')), 1, 'its operation succeeds');
	fails_with($hand, $load->('SET work_mem = 64'), '22023', [qr/workload must not change the state of its session/], 'a load that leaves something behind');
	fails_with($hand, 'SELECT pool_exhaust_drive(0, 0, false, 0, 0)', '55000', [qr/this session does not drive/], 'that ends the drive');

	my $drive = q(SELECT pool_exhaust_drive_open('aim', 'pool_exhaust 1-1', 5, 5, 1000, '', 1));
	my $crowd = sub { my ($action) = @_; return "SELECT pool_exhaust_drive_crowd('$action', 1, 1, 0, 0)" };
	$hand->query($drive);
	fails_with($hand, $crowd->('stop'), '55000', [qr/no crowd that could "stop"/], 'a crowd that there is not');
	$hand->query("$drive; " . $crowd->('connect'));
	fails_with($hand, $crowd->('dance'), '22023', [ qr/a crowd cannot "dance"/, qr/"disconnect"/ ], 'what a crowd cannot');
	$hand->query($drive);
	fails_with($hand, $load->('SELECT 1') =~ s/\{0,0,0,0,1,1,1,/{0,0,0,0,1,1,3e9,/r, '22003', [qr/figure "operations" of a load is 3e\+09, outside the bounds 0 to 2\.14748e\+09/], 'a figure out of bounds');
	$hand->query($drive);
	my $too_many = $load->('SELECT 1') =~ s/\{0,0,0,0,1,1,1,/{0,0,0,0,1,1000,1001,/r =~ s/false/true/r;
	fails_with($hand, $too_many, '22023', [qr/grants in order is 1001000, outside the bounds/], 'more grants than are told in order');
	$hand->close;
}

# ---------- Errors beforehand ----------

my $run = sub { my ($options, $scenario, $aim) = @_; return "SELECT pool_exhaust_run('" . ($scenario // 'saturation') . "', '" . ($aim // 'aim') . "', '$options')" };
fails_with($client, $run->('{"drivers": ["n1", "n1"]}'), '22023', [ qr/option "drivers" has "n1" twice/, qr/each once/ ], 'twice');
fails_with($client, $run->('{"drivers": []}'), '22023', [ qr/option "drivers" has 0 elements/, qr/\["n1", "n2"\]/ ], 'none');
fails_with($client, $run->('{"drivers": "n1"}'), '22023', [qr/option "drivers" must be an array of names, not a string/], 'no array');
fails_with($client, $run->('{"drivers": [7]}'), '22023', [qr/element 1 of option "drivers" must be a string, not a number/], 'no name');
fails_with($client, $run->('{"drivers": ["nowhere"]}'), '22023', [ qr/"nowhere", which is no foreign server of kind driver/, qr/CREATE SERVER/ ], 'no server');
fails_with($client, $run->('{"drivers": ["aim"]}'), '22023', [qr/"aim", which is no foreign server of kind driver/], 'another kind');
fails_with($client, $run->('{"drivers": ["n1"], "clients": 30000}', 'storm'), '22023', [ qr/option "clients" is 30000, more than 1 drivers may have: 20000 each/, qr/Name more drivers/ ], 'too large a share');
fails_with($client, $run->('{"drivers": ["n1"], "chaos": 5}'), '22023', [qr/chaos disturbs the sessions of the runner/], 'chaos');
fails_with($client, $run->('{"drivers": ["n1"]}', 'saturation', 'role'), '22023', [ qr/drivers cannot generate load for target "role"/, qr/kind postgres or pgbouncer/ ], 'a target of this server');
fails_with($client, $run->('{"drivers": ["n1"]}', 'recovery', 'pool'), '22023', [qr/scenario "recovery" has no option "drivers"/], 'another scenario');
fails_with($client, $run->('{}', 'saturation', 'n1'), '22023', [qr/cannot aim at target "n1", a foreign server of kind driver/], 'a driver is no target');
Target::make($client, 'itself', driver_at($behind), { user => 'drive' });
fails_with($client, $run->('{"drivers": ["n1", "itself"]}'), '22023', [ qr/driver "itself" is the target itself/, qr/another server/ ], 'the target drives');
$client->query('CREATE ROLE tester LOGIN; GRANT EXECUTE ON FUNCTION pool_exhaust_run(text, text, jsonb, text) TO tester; GRANT USAGE ON FOREIGN SERVER aim TO tester');
$client->query(q(CREATE USER MAPPING FOR tester SERVER aim OPTIONS (user 'app', password 'secret')));
my $tester = client($coordinator, user => 'tester');
fails_with($tester, $run->('{"drivers": ["n1"]}'), '42501', [qr/permission denied for foreign server n1/], 'no right to have it drive');
$client->query('GRANT USAGE ON FOREIGN SERVER n1 TO tester');
fails_with($tester, $run->('{"drivers": ["n1"]}'), '42704', [qr/no user mapping for you on foreign server "n1"/], 'no mapping');
$tester->close;

# What shows when the driver is asked
my $first = $server{n1};
my $plain = PostgreSQL::Test::Cluster->new('plain');
$plain->init;
$plain->start;
$plain->safe_psql('postgres', $_) foreach 'SET client_min_messages = error; CREATE EXTENSION pool_exhaust', 'CREATE ROLE drive LOGIN';
allow($plain, 'postgres');
$first->safe_psql('postgres', $_) foreach 'CREATE DATABASE bare', 'CREATE DATABASE older', 'CREATE DATABASE shut';
$first->safe_psql('older', q(CREATE EXTENSION pool_exhaust VERSION '1.0'));
$first->safe_psql('shut', 'CREATE EXTENSION pool_exhaust');
my %unfit = (
	'no extension' => [ driver_at($first, dbname => 'bare'), qr/^driver odd has no extension pool_exhaust in database bare: CREATE EXTENSION/ ],
	'another version' => [ driver_at($first, dbname => 'older'), qr/^driver odd has version 1\.0 of extension pool_exhaust, and this server [\d.]+: .*UPDATE/ ],
	'no right there' => [ driver_at($first, dbname => 'shut'), qr/^driver odd does not let role drive drive: GRANT EXECUTE/ ],
	'no preload' => [ driver_at($plain), qr/^driver odd cannot drive: 55000 .*shared_preload_libraries/ ],
	'another name of a driver' => [ driver_at($first), qr/^driver odd is the same server as driver n1: name each once/ ],
	'no such target there' => [ driver_at($server{n2}, target => 'elsewhere'), qr/^driver odd cannot drive: 42704 there is no target "elsewhere" here/ ],
	'no server there' => [ driver_at($first, port => PostgreSQL::Test::Cluster::get_free_port()), qr/^could not log in to driver odd: / ]);
$first->backup('copy');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($first, 'copy', has_streaming => 1);
$standby->start;
$unfit{'a standby'} = [ driver_at($standby), qr/^driver odd is a standby: name its primary/ ];
foreach my $what (sort keys %unfit)
{
	my ($options, $reason) = @{ $unfit{$what} };

	Target::make($client, 'odd', $options, { user => 'drive' });
	run_by($what, 'invalid', $reason, [qw(n1 odd)]);
}
$_->stop foreach $plain, $standby;

# It leads elsewhere there, or as someone else, or the administrator has thought better of it.
my $second = client($server{n2});
$second->query(qq(ALTER SERVER aim OPTIONS (SET host '${\$first->host}', SET port '${\$first->port}')));
run_by('another server by that name', 'invalid', qr/^driver n2 connects to another server than aim here: check host/, [qw(n1 n2)]);
$second->query(qq(ALTER SERVER aim OPTIONS (SET host '$host', SET port '$port')));
$second->query(q(ALTER USER MAPPING FOR drive SERVER aim OPTIONS (SET user 'other')));
run_by('another user there', 'invalid', qr/^driver n2 (?:cannot drive|logs in to aim as user "other", and this server as "app")/, [qw(n2)]);
$second->query(q(ALTER USER MAPPING FOR drive SERVER aim OPTIONS (SET user 'app')));
$second->query('REVOKE USAGE ON FOREIGN SERVER aim FROM drive');
run_by('no right to that target', 'invalid', qr/^driver n2 cannot drive: 42501 permission denied for foreign server aim/, [qw(n1 n2)]);
$second->query('GRANT USAGE ON FOREIGN SERVER aim TO drive');
all_is_let_go(time, 'after the errors', values %server);

# ---------- When one side is gone ----------

# The run, in its long phase, and the backend of the coordinator's session on a driver.
sub begun
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name) = @_;
	my $id = $client->query(q(SELECT pool_exhaust_start('saturation', 'aim', '{"drivers": ["n1", "n2"], "bystanders": "ignore", "attempts": 5000}')));

	ok(wait_for($client, "SELECT count(*) FROM pool_exhaust_progress WHERE run_id = $id AND phase = 'attempt' AND connections > 5", 1), "$name: it is full");
	return ($id, $second->query(q(SELECT pid FROM pg_stat_activity WHERE application_name = 'pool_exhaust coordinator')));
}

my ($id, $pid) = begun('terminated');
my $since = time;
$second->query("SELECT pg_terminate_backend($pid)");
aborted($id, $since, qr/^driver n2 was lost: 57P01 /, 'terminated');
all_is_let_go($since, 'terminated', values %server);

($id, $pid) = begun('stopped');
$since = time;
kill 'STOP', $pid;
aborted($id, $since, qr/^driver n2 was lost: it is silent for \d\.\d s/, 'stopped');
all_is_let_go($since, 'stopped', values %server);

($id) = begun('asked to end');
$since = time;
is($client->query("SELECT pool_exhaust_stop($id)"), 1, 'asked to end: it is');
all_is_let_go($since, 'asked to end', values %server);

($id) = begun('the coordinator is killed');
my $runner = $client->query("SELECT pid FROM pg_stat_activity WHERE backend_type = 'pool_exhaust runner'");
$since = time;
kill 'KILL', $runner;
all_is_let_go($since, 'the coordinator is killed', $server{n1}, $server{n2});
ok(server_is_back($coordinator), 'the coordinator is back');

# ---------- By hand ----------

my $hand = client($first, user => 'drive');
fails_with($hand, 'SELECT pool_exhaust_drive(0, 0, false, 0, 0)', '55000', [ qr/this session does not drive/, qr/pool_exhaust_drive_open/ ], 'no drive');
fails_with($hand, q(SELECT pool_exhaust_drive_open('aim', 'psql', 5, 5, 1000, '', 1)), '22023', [qr/"psql" is no name of the sessions of a run/], 'a name of others');
fails_with($hand, q(SELECT pool_exhaust_drive_open('aim', 'pool_exhaust 1-1', 0, 5, 1000, '', 1)), '22023', [qr/connections is 0, outside the bounds/], 'no connections');
is($hand->query(q(SELECT pool_exhaust_drive_open('aim', 'pool_exhaust 1-1', 5, 5, 1000, '', 1))), '(postgres,app)', 'a drive by hand');
fails_with($hand, q(SELECT pool_exhaust_drive_open('aim', 'pool_exhaust 1-1', 5, 5, 1000, '', 1)), '55006', [qr/this session drives already/], 'a second drive');
is($hand->query(q(SELECT value FROM pool_exhaust_drive(3, 0, false, 0, 1000) WHERE item = 'held')), 3, 'three connections');
is($hand->query(q(SELECT value FROM pool_exhaust_drive(0, 1, false, 0, 1000) WHERE item = 'held')), 2, 'one is released');
ok(wait_for($target, q(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pool_exhaust 1-1'), 2), 'the target shows the others');
$since = time;
ok(wait_for($target, q(SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pool_exhaust 1-1'), 0), 'a coordinator that is silent loses them');
cmp_ok(time - $since, '<', $within + 1, 'soon');

$_->close foreach $second, $target;
left_nothing($server{$_}) foreach qw(n1 n2);
done_testing();
