# What many connections take of the machine is found out beforehand, and named with the
# numbers and what helps: open files, ports, memory, backlog. Sessions take turns over the
# addresses of a server. And what docs/scale.md and contrib/kubernetes have for several
# machines works.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use Pooler;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Target;
use Test::More;

my $FILES = 300;
my $SPARE = 64;              # files beside those of the sessions
my $UNDER_WAY = 8 + 10;      # handshakes and attempts of saturation
my $PORTS = 64;

my $behind = Target::server_behind('behind');
$behind->append_conf('postgresql.conf', "max_connections = 320\nlisten_addresses = '127.0.0.1,127.0.0.2'\n");
$behind->restart;
$behind->safe_psql('postgres', 'GRANT pg_read_all_stats TO app');
my $node = new_server('runs');
my $host = '127.0.0.1';
my $both = '127.0.0.1,127.0.0.2';
my $watcher = client($node);

sub target
{
	my (%options) = @_;

	Target::make($watcher, 'theirs', { kind => 'postgres', host => $host, port => $behind->port, dbname => 'postgres', %options }, { user => 'app' });
}

# The plan of a run, "value" or "detail" by item
sub planned
{
	my ($run, $column) = @_;

	return { map { split /\|/, $_, 2 } split /\n/, $watcher->query("SELECT item, $column FROM pool_exhaust_plan($run)") };
}

sub proc
{
	my ($file) = @_;

	return -e "/proc/$file" ? slurp_file("/proc/$file") : '';
}

# How many connections a server has at each of these addresses, by the kernel's table
sub connections_at
{
	my ($port, @addresses) = @_;
	my $table = proc('self/net/tcp');
	my %at;

	$at{ join '.', reverse map { hex } $1 =~ /../g }++ while $table =~ /^ *\d+: (\w{8}):@{[ sprintf '%04X', $port ]} \w+:\w+ 01 /mg;
	return map { $at{$_} // 0 } @addresses;
}

# ---------- The plan ----------

my ($low, $high) = proc('sys/net/ipv4/ip_local_port_range') =~ /(\d+)\s+(\d+)/;
my ($hard) = proc('self/limits') =~ /^Max open files +\d+ +(\d+)/m;

target(capacity => 100);
is(planned(q('saturation', 'theirs'), 'value')->{'open files'}, 100 + $UNDER_WAY + $SPARE, 'plan: open files');
is(planned(q('saturation', 'theirs'), 'value')->{ports}, 100 + $UNDER_WAY, 'plan: ports');
is(planned(q('storm', 'theirs', '{"clients": 50}'), 'value')->{ports}, 50 + 200 + 4, 'plan: ports of a storm of fewer clients');
target(capacity => 100, host => $both);
is(planned(q('saturation', 'theirs'), 'value')->{ports}, (100 + $UNDER_WAY) / 2, 'plan: ports to each of two addresses');
target(capacity => 200_000);
SKIP:
{
	skip 'the range of ports is not known here', 5 if !defined $low || proc('sys/net/ipv4/ip_local_reserved_ports') =~ /\d/;
	my $ports = $high - $low + 1;
	my $needed = 200_000 + $UNDER_WAY + $SPARE;

	is(planned(q('saturation', 'theirs'), 'value')->{'would start'}, 'no', 'plan: 200,000 connections to one address would not start');
	my ($error, $hint) = $hard < $needed ? (qr/the run needs $needed open files, but the server's hard limit is $hard/, qr/ulimit -Hn/)
	  : (qr/the run needs @{[ 200_000 + $UNDER_WAY ]} ports to one address, but this machine has $ports/, qr/option host.*ip_local_port_range/);
	fails_with($watcher, q(SELECT pool_exhaust_run('saturation', 'theirs')), '53000', [ $error, $hint ], 'which the run says, too');
	fails_with($watcher, q(SELECT pool_exhaust_hold(250000, 'theirs')), '53000', [qr/the hold needs \d+ (?:open files|ports to one address), but/], 'and a hold');
	like(planned(q('saturation', 'theirs'), 'detail')->{'connections at the most'}, qr/@{[ $hard - $SPARE ]} by open files, $ports by ports, \d+ by memory/, 'plan: what each limit allows');
	target(capacity => 200_000, host => $both);
	like(planned(q('saturation', 'theirs'), 'detail')->{'connections at the most'}, qr/, @{[ 2 * $ports ]} by ports, /, 'plan: by the ports of two addresses');
}
target(host => $behind->host);
ok(!exists planned(q('saturation', 'theirs'), 'value')->{ports}, 'plan: a unix socket takes no port');
target();
ok(!exists planned(q('saturation', 'theirs'), 'value')->{'open files'}, 'plan: what only the target knows is not told');
ok(planned(q('saturation', 'theirs'), 'value')->{'connections at the most'} > 0, 'plan: but how many there can be');
is($behind->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE usename = 'app')), 0, 'a plan has opened nothing');

# ---------- Several addresses ----------

target(host => $both);
ok(defined $watcher->query(q(SELECT pool_exhaust_hold(10, 'theirs'))), 'a hold over two addresses') or diag $watcher->message;
SKIP:
{
	skip 'the kernel does not show its connections', 1 if !proc('self/net/tcp');
	# One of them is that of the session that asks.
	is(join(' ', sort { $a <=> $b } connections_at($behind->port, split /,/, $both)), '5 6', 'sessions take turns over the addresses');
}
is($watcher->query('SELECT pool_exhaust_release()'), 10, 'and are released');
Target::run_is($watcher, 'two addresses', 'pass', '', $_, 'theirs') foreach 'saturation';
target(host => "$both,127.0.0.3");
Target::run_is($watcher, 'an address where none listens', 'invalid', qr/could not log in at 127\.0\.0\.3 to theirs: .*refused/, 'saturation', 'theirs');
is($behind->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE usename = 'app')), 0, 'nothing is left there');

# ---------- Several machines, by hand and by a platform ----------

my $top = "$FindBin::RealBin/../..";
my $driver = new_server('driver');
my %aim = (kind => 'postgres', host => $host, port => $behind->port, dbname => 'postgres');
my @trusting = ('local all all trust', 'host all all 127.0.0.0/8 trust');

rewrite_hba($behind, 'host all app 127.0.0.0/8 md5', @trusting);
$behind->reload;
ok(wait_until(sub { login($behind, tcp => 1, user => 'app')->{stalled} ? 'asked' : 'granted' }, 'asked', 'the new pg_hba.conf'), 'the target asks for passwords');
{
	my ($script) = slurp_file("$top/contrib/kubernetes/drivers.yaml") =~ /^  drive\.sh: \|\n((?: {4}.*\n)+)/m;

	$script =~ s/^ {4}//mg;
	$driver->safe_psql('postgres', 'DROP EXTENSION pool_exhaust');
	local %ENV = (%ENV, PGHOST => $driver->host, PGPORT => $driver->port, POSTGRES_USER => $driver->safe_psql('postgres', 'SELECT current_user'), DRIVE_PASSWORD => q(it's),
		TARGET_USER => 'app', TARGET_PASSWORD => 'secret', map { 'TARGET_' . ($_ eq 'dbname' ? 'DATABASE' : uc) => $aim{$_} } keys %aim);
	is(system_log('sh', '-c', $script), 0, 'the script of the pods makes a driver');
}
Target::make($watcher, 'aim', \%aim, { user => 'app', password => 'secret' });
Target::make($watcher, 'n0', { kind => 'driver', host => $driver->host, port => $driver->port, dbname => 'postgres' }, { user => 'drive', password => q(it''s) });
Target::run_is($watcher, 'a driver of the Job', 'pass', '', 'saturation', 'aim', drivers => ['n0'], bystanders => 'ignore');
$driver->safe_psql('postgres', q(CREATE USER MAPPING FOR CURRENT_USER SERVER aim OPTIONS (user 'app', password 'secret')));

# 1,000 connections of 3 drivers are a third each, and what is under way.
$watcher->query(q(ALTER SERVER aim OPTIONS (ADD capacity '1000'); CREATE SERVER n1 FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'driver', host '127.0.0.9', dbname 'postgres')));
$watcher->query(q(CREATE SERVER n2 FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'driver', host '127.0.0.8', dbname 'postgres'); CREATE USER MAPPING FOR CURRENT_USER SERVER n1; CREATE USER MAPPING FOR CURRENT_USER SERVER n2));
{
	my $plan = planned(q('saturation', 'aim', '{"drivers": ["n0", "n1", "n2"]}'), 'value');
	my $alone = planned(q('saturation', 'aim'), 'value');
	my $share = int((1000 + $UNDER_WAY) / 3) + 8 + 1;

	is($plan->{'would start'}, 'yes', 'plan of drivers: it would start');
	is($plan->{drivers}, 3, 'plan of drivers: how many');
	is($plan->{'open files'}, $share + $SPARE, 'plan of drivers: open files of each');
	is($plan->{ports}, $share, 'plan of drivers: ports of each');
	# Half as many clients again as fit, and those of one driver may be the faster ones.
	cmp_ok(planned(q('storm', 'aim', '{"handshakes": 8, "drivers": ["n0", "n1", "n2"]}'), 'value')->{ports}, '>', 1.4 * $share, 'plan of drivers: a crowd');
	cmp_ok(abs($plan->{'logins a second at the most'} - 3 * $alone->{'logins a second at the most'}), '<=', 3, 'plan of drivers: the rate of all');
}
$watcher->query('ALTER SERVER aim OPTIONS (DROP capacity)');
{
	my ($sql) = grep { /dblink_connect/ } slurp_file("$top/docs/scale.md") =~ /^```sql\n(.*?)^```/msg;
	my %at = ('n1.example.com' => $node, 'n2.example.com' => $driver);

	$sql =~ s/host=\Q$_\E /host=${\$at{$_}->host} port=${\$at{$_}->port} / || fail("docs/scale.md: $_") foreach sort keys %at;
	$sql =~ s/pool_exhaust_hold\(10000/pool_exhaust_hold(20/ || fail('docs/scale.md: 10000');
	like($node->safe_psql('postgres', $sql), qr/^n1\|\d+\nn2\|\d+\nn1\|0\nn2\|0\nn1\|aim\|20\|.*\nn2\|aim\|20\|.*\nn1\|20\nn2\|20\n/m, 'two nodes by dblink, as docs/scale.md has it');
}
is($behind->safe_psql('postgres', q(SELECT count(*) FROM pg_stat_activity WHERE usename = 'app')), 0, 'nothing is left there');
left_nothing($driver);
$driver->stop;
rewrite_hba($behind, @trusting);
$behind->reload;
ok(wait_until(sub { login($behind, tcp => 1, user => 'app')->{stalled} ? 'asked' : 'granted' }, 'granted', 'the old pg_hba.conf'), 'the target trusts again');

# ---------- Too few open files ----------

my $files = 317 + $UNDER_WAY + $SPARE;

$watcher->close;
$node->stop;
is(system_log('sh', '-c', "ulimit -n $FILES && " . 'exec pg_ctl --wait --pgdata "$1" --log "$2" start', 'sh',
	$node->data_dir, $node->logfile), 0, "the server starts with $FILES open files");
$node->_update_pid(1);
$watcher = client($node);
target(capacity => 317);
fails_with($watcher, q(SELECT pool_exhaust_run('saturation', 'theirs')), '53000',
	[ qr/the run needs $files open files, but the server's hard limit is $FILES/, qr/Raise the limit that the server is started with \(ulimit -Hn, LimitNOFILE=\)/ ], 'a capacity that is known');
fails_with($watcher, q(SELECT pool_exhaust_hold(300, 'theirs')), '53000', [qr/the hold needs 372 open files, but the server's hard limit is $FILES/], 'a hold');
is(planned(q('saturation', 'theirs'), 'value')->{'connections at the most'}, $FILES - $SPARE, 'plan: what there can be');
target();
{
	my $log_start = -s $behind->logfile;
	my $opened = q(SELECT sum(sessions) FROM pg_stat_database WHERE datname = 'postgres');
	my $before = $behind->safe_psql('postgres', $opened);

	Target::run_is($watcher, 'a capacity that the target says', 'invalid',
		qr/with \d+ connections to theirs the run needs \d+ open files, but the server's hard limit is $FILES: raise the limit that the server is started with/, 'saturation', 'theirs');
	my $after = $behind->safe_psql('postgres', $opened);
	cmp_ok($after - $before, '<=', 5, 'nothing was opened but to ask');
}

SKIP:
{
	skip 'no pgbouncer', 3 if !Pooler::version('pgbouncer');
	my $bouncer = Pooler->new('pgbouncer', node => $behind, users => { app => '' }, settings => { max_client_conn => 1000, default_pool_size => 2, admin_users => 'app' });

	Target::make($watcher, 'theirs', { kind => 'pgbouncer', host => $host, port => $bouncer->port, dbname => 'postgres' }, { user => 'app' });
	Target::run_is($watcher, 'PgBouncer with more clients', 'invalid', qr/the run needs \d+ open files, but the server's hard limit is $FILES/, 'saturation', 'theirs');
	is(scalar(grep { $_->{database} eq 'postgres' } $bouncer->show('CLIENTS')), 0, 'no client is left there');
	$bouncer->stop;
}

$watcher->close;
left_nothing($node);
$node->stop;

# ---------- Too few ports ----------

# In a network of its own with few ports a server has more connections over two addresses than there are
# ports to one.
SKIP:
{
	my $range = '50000 ' . (50000 + $PORTS - 1);
	my ($user, $group) = ($>, $) + 0);
	my $network = qq(ip link set lo up && echo 100 >/proc/sys/net/core/somaxconn && echo "$range" >/proc/sys/net/ipv4/ip_local_port_range && exec unshare --user --map-user=$user --map-group=$group);

	skip 'no network of its own can be made here', 10 if system("unshare --user --map-root-user --net sh -c '$network true' >/dev/null 2>&1") != 0;
	$behind->stop;
	$behind->append_conf('postgresql.conf', 'max_connections = 103');
	is(system_log('unshare', '--user', '--map-root-user', '--net', 'sh', '-c',
			$network . ' sh -c \'for i; do pg_ctl --wait --pgdata "$i" --log "$i/../in_network.log" start || exit; done\' sh "$@"', 'sh',
			$behind->data_dir, $node->data_dir), 0, 'two servers in a network of their own');
	$_->_update_pid(1) foreach $behind, $node;
	$watcher = client($node);
	target(capacity => 100);
	fails_with($watcher, q(SELECT pool_exhaust_run('saturation', 'theirs')), '53000',
		[ qr/the run needs 118 ports to one address, but this machine has $PORTS/, qr/Name more addresses of the target in the foreign server's option host, or widen net\.ipv4\.ip_local_port_range/ ], 'too few ports');
	target(capacity => 100, host => $behind->host);
	fails_with($watcher, q(SELECT pool_exhaust_run('storm', 'theirs')), '53000',
		[ qr/the run needs a backlog of 200 logins, but listeners of this machine let 100 wait/, qr/Lower option handshakes, or raise net\.core\.somaxconn/ ], 'a short backlog');
	fails_with($watcher, q(SELECT pool_exhaust_run('storm')), '53000', [qr/the run needs a backlog of 200 logins, but listeners of this machine let 100 wait/], 'a short backlog of this server');
	is(planned(q('storm', 'theirs'), 'value')->{backlog}, 200, 'plan: logins that wait');
	target();
	Target::run_is($watcher, 'too few ports, as the target says', 'invalid', qr/with \d+ connections to theirs the run needs \d+ ports to one address, but this machine has $PORTS: name more addresses/, 'saturation', 'theirs');
	target(host => $both);
	my $id = Target::run_is($watcher, 'more connections than ports', 'pass', '', 'saturation', 'theirs');
	cmp_ok($watcher->query("SELECT observed_num FROM pool_exhaust_checks WHERE run_id = $id AND name = 'held connections'"), '>', $PORTS, 'more connections than ports');
	$watcher->close;
	left_nothing($node);
	$_->stop foreach $node;
}
$behind->stop;
done_testing();
