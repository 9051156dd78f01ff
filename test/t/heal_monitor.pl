# The healer by itself: always, or while the server is critical.  After its time
# of grace, at its rate, in its order, no more than it takes; and only for what
# this monitor has found.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $threshold = 0.3;
my $interval = 0.05;

# For a machine that is busy with something else
my $slack = 2;

# 100 slots, 3 of them reserved; half of the 97 is critical: 49 and more.
my $critical = 49;

my $node = new_server('healer', streaming => 1, heals => qr{^(app|hostile.*|pool_exhaust_\d+)/}s, conf => q(
max_connections = 100
max_worker_processes = 20
autovacuum = off
pool_exhaust.leak_threshold = 300ms
pool_exhaust.sample_interval = 50ms
pool_exhaust.warning_threshold = 0.4
pool_exhaust.critical_threshold = 0.5
pool_exhaust.heal_exclude_roles = precious
));
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN REPLICATION; CREATE ROLE precious LOGIN');
my $watcher = client($node, application_name => 'watcher');
my $load = begin_load($watcher, $node);

sub heals { return $watcher->query('SELECT count(*) FROM pool_exhaust_heals') }
sub in_use { return $watcher->query('SELECT in_use FROM pool_exhaust_slots') }

sub adds_up
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name) = @_;

	is($watcher->query("SELECT count(*) FROM pool_exhaust_leak_rules WHERE found <> suspects + unleaked + ended + healed"), 0, "$name: the counters add up");
}

# These are there all the time, and are never to be ended.
my %spared = (
	superuser => client($node, application_name => 'superuser'),
	precious => open_transaction($node, 'precious', user => 'precious'),
	walsender => open_transaction($node, 'walsender', replication => 'database'),
	working => client($node, user => 'app', application_name => 'working'),
	listener => client($node, user => 'app', application_name => 'listener'));
backend_pid($spared{$_}) foreach sort keys %spared;
$spared{superuser}->query('BEGIN');
$spared{listener}->query('LISTEN news');
$spared{working}->send('BEGIN; SELECT pg_sleep(600)');
$watcher->query("SELECT pool_exhaust_leak(2, 'dead client')");
suspects_are($watcher, 4, 'four are suspected, and to be spared');

# ---------- Always ----------

my @failed = map { failed_transaction($node, "failed $_") } 1 .. 3;
my @open = map { open_transaction($node, "open $_") } 1 .. 4;
suspects_are($watcher, 11, 'seven more, and none is healed');
ok(change_setting($watcher, 'pool_exhaust.heal' => 'always'), 'always');
suspects_are($watcher, 4, 'always: seven are ended');
is($watcher->query("SELECT string_agg(strategy || ' ' || n, ', ' ORDER BY first) FROM (SELECT strategy, count(*) AS n, min(at) AS first FROM pool_exhaust_heals GROUP BY strategy) s"),
	'aborted_transaction 3, idle_in_transaction 4', 'always: each by its strategy');
is($watcher->query("SELECT max(at) FILTER (WHERE strategy = 'aborted_transaction') <= min(at) FILTER (WHERE strategy = 'idle_in_transaction') FROM pool_exhaust_heals"), 't',
	'always: one strategy after the other');
# 2 a second, 4 of them
cmp_ok($watcher->query("SELECT extract(epoch FROM max(at) - min(at)) FROM pool_exhaust_heals WHERE strategy = 'idle_in_transaction'"), '>=', 1.5 - 2 * $interval, 'always: at its rate');
cmp_ok($watcher->query("SELECT min(at) > max(backend_start) FROM pool_exhaust_heals, pg_stat_activity WHERE application_name = 'working'"), 'eq', 't', 'always: the times are of now');
$_->vanish foreach @failed, @open;

my @timed = (failed_transaction($node, 'at once'), open_transaction($node, 'in time'));
my @pids = map { backend_pid($_) } @timed;
ok(wait_for($watcher, "SELECT count(*) FROM pool_exhaust_heals WHERE pid IN ($pids[0], $pids[1])", 2), 'always: two more');
foreach ([ 'at once', 0 ], [ 'in time', 1 ])
{
	my ($name, $grace) = @$_;
	my $held = ($watcher->query("SELECT evidence FROM pool_exhaust_heals WHERE service = 'app/$name'") =~ / for (\d+\.\d) s, /)[0] // 0;

	# Tenths of a second are rounded.
	cmp_ok($held, '>=', $threshold * (1 + $grace) - 0.051, "$name: not before its time of grace");
	cmp_ok($held, '<=', $threshold * (1 + $grace) + 3 * $interval + 0.051 + $slack, "$name: soon after");
}
adds_up('always');
$_->vanish foreach @timed;

# A hostile name, in the log too
my $name = name_in($node, "hostile\n\"role\" terminated session 1 of \"x\", by'");
my $quoted = $name =~ s/"/""/gr;
$watcher->query(qq(CREATE ROLE "$quoted" LOGIN));
my $hostile = failed_transaction($node, '%s"%n', user => $name);
ok(wait_for($watcher, "SELECT count(*) FROM pool_exhaust_heals WHERE pid = " . backend_pid($hostile), 1), 'a hostile name: it is ended');
is($watcher->query('SELECT service FROM pool_exhaust_heals WHERE pid = ' . backend_pid($hostile)), "$name/%s\"%n", 'a hostile name: pool_exhaust_heals has it');
my $pid = backend_pid($hostile);
ok(wait_until(sub { slurp_file($node->logfile) =~ /LOG:  pool_exhaust: terminated session $pid of "hostile/ ? 'yes' : 'no' }, 'yes', 'the log'), 'a hostile name: so has the log');

# ---------- Several healers at once ----------

my $before = heals();
my @many = map { failed_transaction($node, "many $_") } 1 .. 20;
my @healers = map { client($node, application_name => "healer $_") } 1 .. 4;
my $rows = 0;
my %heals_of;
ok( wait_until(
		sub {
			$_->send("SELECT pid FROM pool_exhaust_heal(false) WHERE action = 'terminated'") foreach @healers;
			foreach my $healer (@healers)
			{
				$heals_of{$_}++, $rows++ foreach split /\n/, $healer->result // die $healer->message;
			}
			heals() - $before;
		}, 20, 'twenty acts'), 'at once: twenty are ended');
is(join(', ', grep { $heals_of{$_} > 1 } keys %heals_of), '', 'at once: no session is ended twice');
is($watcher->query("SELECT count(DISTINCT pid) FROM pool_exhaust_heals WHERE service ~ '/many '"), 20, 'at once: each once');
suspects_are($watcher, 4, 'at once: they are gone');
is(heals() - $before, 20, 'at once: and not one more');
note "at once: $rows by hand, the rest by the monitor";
adds_up('at once');
$_->vanish foreach @many;
$_->close foreach @healers;

# ---------- Another monitor ----------

my $last = open_transaction($node, 'before the monitor ends');
suspects_are($watcher, 5, 'another monitor: one is suspected, and has its time of grace');
my $monitor = monitor_pid($watcher);
$watcher->query("SELECT pg_terminate_backend($monitor)");
ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'pool_exhaust monitor' AND pid <> $monitor", 1), 'another monitor is there');
my $started = $watcher->query("SELECT backend_start FROM pg_stat_activity WHERE backend_type = 'pool_exhaust monitor'");
ok(wait_for($watcher, 'SELECT count(*) FROM pool_exhaust_heals WHERE pid = ' . backend_pid($last), 1), 'another monitor: it is ended');
cmp_ok($watcher->query("SELECT extract(epoch FROM at - '$started') FROM pool_exhaust_heals WHERE pid = " . backend_pid($last)), '>=', $threshold - 0.001,
	'another monitor: it has found it itself, and let it have its time of grace');
suspects_are($watcher, 4, 'another monitor: no other session');
adds_up('another monitor');
$last->vanish;

# ---------- Critical ----------

ok(change_setting($watcher, 'pool_exhaust.heal' => 'critical'), 'critical');
$before = heals();
ok($watcher->query("SELECT pool_exhaust_leak(20, 'idle in transaction (aborted)')"), 'critical: twenty are leaked') or diag $watcher->message;
suspects_are($watcher, 24, 'critical: they are suspected');
ok(samples($watcher, 10), 'critical: some samples later');
is($watcher->query('SELECT pool_exhaust_health()') =~ /^(healthy|warning)$/ ? heals() - $before : 'it is critical', 0, 'critical: no session is ended while it is not');

# Others come that work; with the sixth one too many it is critical.
my $room = $critical - in_use();
cmp_ok($room, '>', 0, 'critical: there is room');
my @others = map { client($node, user => 'precious', application_name => "other $_") } 1 .. $room - 1;
ok(samples($watcher, 6), 'critical: one below it');
is(heals() - $before, 0, 'critical: no session is ended one below it');
push @others, map { client($node, user => 'precious', application_name => "more $_") } 1 .. 6;
ok(wait_for($watcher, 'SELECT in_use FROM pool_exhaust_slots', $critical - 1), 'critical: it gets below');
ok(samples($watcher, 15), 'critical: some samples later');
is(in_use(), $critical - 1, 'critical: it stays below');
is(heals() - $before, 6, 'critical: six were ended, as many as it took');
is($watcher->query('SELECT sum(connections) FROM pool_exhaust_holds'), 14 + 2, 'critical: the others are there');
# 10 a second, 6 of them
cmp_ok($watcher->query("SELECT extract(epoch FROM max(at) - min(at)) FROM (SELECT at FROM pool_exhaust_heals ORDER BY at DESC LIMIT 6) s"), '>=', 0.5 - 2 * $interval, 'critical: at its rate');
adds_up('critical');
$_->close foreach @others;
ok(change_setting($watcher, 'pool_exhaust.heal' => 'off'), 'off');
is($watcher->query('SELECT pool_exhaust_release()'), 16, 'what is left is released');
suspects_are($watcher, 2, 'two are left');

# ---------- Sessions that were to be spared ----------

foreach my $name ('superuser', 'precious', 'walsender', 'listener')
{
	is($spared{$name}->query('SELECT pg_backend_pid()') // $spared{$name}->message, backend_pid($spared{$name}), "$name: is there still");
}
is($watcher->query('SELECT state FROM pg_stat_activity WHERE pid = ' . backend_pid($spared{working})), 'active', 'working: works still');
is($watcher->query("SELECT string_agg(service, ', ') FROM pool_exhaust_heals WHERE service !~ '^(app|pool_exhaust_\\d+|hostile[^/]*)/'"), '', 'no other session was ended');
end_load($load);

# ---------- The server stops meanwhile ----------

my @stopped = map { open_transaction($node, "stopped $_") } 1 .. 8;
suspects_are($watcher, 10, 'stop: eight more are suspected');
my $log_start = -s $node->logfile;
ok(change_setting($watcher, 'pool_exhaust.heal' => 'always'), 'stop: and are to be ended');
$node->stop('fast');
$_->vanish foreach @stopped, values %spared, $watcher;
is(join("\n", grep { /WARNING:|ERROR:|PANIC:|TRAP:/ } split /\n/, slurp_file($node->logfile, $log_start)), '', 'stop: the log is clean');
$node->start;
$watcher = client($node);
ok(samples($watcher, 2), 'stop: the monitor takes samples again');
is($watcher->query("SELECT sum(found), (SELECT count(*) FROM pool_exhaust_heals) FROM pool_exhaust_leak_rules"), '0|0', 'stop: all begins anew');

$watcher->close;
left_nothing($node);
done_testing();
