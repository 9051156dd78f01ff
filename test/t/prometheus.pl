# Prometheus itself reads what the monitor says, also while the server is full.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

foreach my $program ('promtool', 'prometheus')
{
	plan skip_all => "$program is not installed" if !grep { -x "$_/$program" } split /:/, $ENV{PATH};
}

my ($port, $prometheus_port) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
my $contrib = "$FindBin::RealBin/../../contrib/prometheus";

# 8 = 5 regular + 3 superuser
my $node = new_server('observed', conf => qq(
max_connections = 8
superuser_reserved_connections = 3
autovacuum = off
pool_exhaust.http_port = $port
pool_exhaust.sample_interval = 20ms
));
$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
my $watcher = client($node);

# promtool says nothing when all is well.
sub promtool
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $input, @command) = @_;

	IPC::Run::run([ 'promtool', @command ], '<', \$input, '>', \my $stdout, '2>', \my $stderr);
	is($?, 0, $name) or diag "$stdout$stderr";
	return "$stdout$stderr";
}

sub page_is_good
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name) = @_;

	is(promtool($name, http($port, '/metrics')->{content}, 'check', 'metrics'), '', "$name: and nothing to complain of");
}

ok(wait_until(sub { http($port, '/livez')->{status} }, 200, '/livez'), 'the monitor answers');

# ---------- Files ----------

promtool("$_.yml has rules", '', 'check', 'rules', "$contrib/$_.yml") foreach 'alerts', 'slo';
promtool("what $_.yml says of alerts is so", '', 'test', 'rules', "$contrib/$_.yml") foreach 'alerts_test', 'slo_test', 'slo_days_test';
promtool('the example is a configuration', '', 'check', 'config', "$contrib/prometheus.yml");
my $page = http($port, '/metrics')->{content};
my %used = map { $_ => 1 } map { /\b(pool_exhaust_\w+)[\{\[]/g, /^\s+(?:and|unless on \(job, instance\)) (pool_exhaust_\w+)/mg }
  map { slurp_file("$contrib/$_") } 'alerts.yml', 'slo.yml', 'openslo.yml';
cmp_ok(scalar(keys %used), '>=', 9, 'rules are about metrics');
like($page, qr/^# TYPE $_ /m, "/metrics has $_") foreach sort keys %used;

# ---------- A server of Prometheus ----------

# Its first scrape comes after some seconds.
my $directory = PostgreSQL::Test::Utils::tempdir();
append_to_file("$directory/prometheus.yml", <<"YAML");
global: {scrape_interval: 200ms, scrape_timeout: 200ms, evaluation_interval: 200ms}
rule_files: ['$contrib/alerts.yml', '$contrib/slo.yml']
scrape_configs: [{job_name: pool_exhaust, static_configs: [{targets: ['127.0.0.1:$port']}]}]
YAML
$ENV{GOMAXPROCS} = 1;
my $prometheus = IPC::Run::start(
	[
		'prometheus', "--config.file=$directory/prometheus.yml", "--storage.tsdb.path=$directory/data",
		'--storage.tsdb.retention.size=50MB', '--log.level=warn', "--web.listen-address=127.0.0.1:$prometheus_port"
	],
	'<', \undef, '>', "$directory/log", '2>', "$directory/errors");

END
{
	local $?;
	$prometheus->kill_kill if $prometheus;
}

# ---------- What it sees ----------

# What an expression says now.
sub value
{
	my ($expression) = @_;
	my $query = $expression =~ s/([^\w])/sprintf '%%%02X', ord $1/ger;
	my $answer = http_json($prometheus_port, "/api/v1/query?query=$query");

	return 'no answer' if !$answer || $answer->{status} ne 'success';
	return join ' ', map { $_->{value}[1] } @{ $answer->{data}{result} };
}

sub value_becomes
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($expression, $expected, $name) = @_;

	ok(wait_until(sub { value($expression) }, $expected, $expression), $name) or diag slurp_file("$directory/errors"),
	  map { $_->{lastError} } @{ (http_json($prometheus_port, '/api/v1/targets') // {})->{data}{activeTargets} };
}

my $in_use = 'pool_exhaust_pool_in_use_connections{kind="server"}';
value_becomes('up', 1, 'the monitor is up');
value_becomes($in_use, 1, 'one slot is in use');
page_is_good('empty');

# Full: no session can be opened any more.
my @clients = ((map { client($node, user => 'app') } 1 .. 4), map { client($node) } 1 .. 3);
login($node, user => 'app')->vanish foreach 1 .. 3;
value_becomes($in_use, 8, 'all slots are in use');
value_becomes('up', 1, 'the monitor is up as before');
value_becomes('sum(pool_exhaust_slots)', 8, 'by state too');
value_becomes('pool_exhaust_pool_utilization_ratio{kind="server"}', 1.6, 'utilization');
value_becomes('pool_exhaust_pool_health{kind="server"}', 3, 'health');
value_becomes('pool_exhaust_refusals_total{cause="too_many_clients"}', 3, 'refusals');
value_becomes('pool_exhaust_role_connections{role="app"}', 4, 'a role');
value_becomes('ALERTS{alertname="PoolExhaustSlotsExhausted",alertstate="pending"}', 1, 'an alert is on its way');
page_is_good('full');
is(value('changes(pool_exhaust_start_time_seconds[1m])'), 0, 'the counters began once');
my ($before, $now) = map { value($_) } 'min_over_time(pool_exhaust_monitor_cpu_seconds_total[1m])', 'pool_exhaust_monitor_cpu_seconds_total';
cmp_ok($now, '>=', $before, 'CPU time does not go back');
cmp_ok($now, '<', 10, 'and is not much');

# One is closed, one is opened; no session is counted twice.
my $opened = value('pool_exhaust_opened_connections_total');
(pop @clients)->close;
value_becomes($in_use, 7, 'one let go');
push @clients, client($node);
value_becomes($in_use, 8, 'one came');
value_becomes('pool_exhaust_opened_connections_total', $opened + 1, 'one was opened');
value_becomes('pool_exhaust_pool_retry_after_seconds{kind="server"} >= bool 1', 1, 'the next is to be expected');
page_is_good('with a release');

$_->close foreach @clients;
value_becomes($in_use, 1, 'all let go');
value_becomes('pool_exhaust_pool_health{kind="server"}', 0, 'healthy again');
value_becomes('count(ALERTS{alertname=~"PoolExhaustSlots.*"}) or vector(0)', 0, 'no alert about slots any more');
# A scrape may take longer than its 200 ms where the machine is busy; the server was full for much longer.
value_becomes('avg_over_time(up[5m]) >= bool 0.95', 1, 'it was up all the time');
value_becomes('count_over_time((up == 0 and scrape_duration_seconds < 0.19)[5m:200ms]) or vector(0)', 0, 'no scrape failed but for its time');
value_becomes('max_over_time(pool_exhaust_pool_peak_in_use_connections{kind="server"}[5m])', 8, 'the peak');

# A run fills the server: its logins are counted apart, and its refusals.
sub counted
{
	return map { value($_) } qw(sum(pool_exhaust_refusals_total) pool_exhaust_opened_connections_total);
}
my @before = counted();
my ($refused, $let_in) = map { value($_) } qw(sum(pool_exhaust_run_refusals_total) pool_exhaust_run_opened_connections_total);
is("$refused $let_in", '0 0', 'no run yet');
like($watcher->query(q(SELECT pool_exhaust_run('saturation', options => '{"bystanders": "ignore"}'))), qr/PASS/, 'a run');
value_becomes('sum(pool_exhaust_run_refusals_total)', 10, 'the refusals of the run');
value_becomes('sum(pool_exhaust_refusals_total)', $before[0] + 10, 'which are among all');
value_becomes("pool_exhaust_opened_connections_total - pool_exhaust_run_opened_connections_total <= bool $before[1] + 1", 1,
	'its own logins are told from the others');
cmp_ok(value('pool_exhaust_run_opened_connections_total'), '>=', 4, 'and counted');
page_is_good('after a run');

# What others made of OpenSLO asks the same.
my @queries = slurp_file("$contrib/openslo.yml") =~ /^\s+query: >-\n((?:^ {16}.*\n)+)/mg;
my ($bad, $total) = map { value(s/\s+/ /gr) } @queries;
is(scalar(@queries), 2, 'OpenSLO: two queries');
is($bad, $before[0], 'OpenSLO: what was refused to others than the run');
cmp_ok($total, '>', $bad, 'OpenSLO: more was let in');

# Each rule is evaluated without trouble; on a busy machine Prometheus now and then evaluates one
# twice at the same moment, and says so until the next time.
sub rules { return map { @{ $_->{rules} } } @{ http_json($prometheus_port, '/api/v1/rules')->{data}{groups} } }
sub rules_in_trouble { return join "\n", map { "$_->{name}: $_->{health} " . ($_->{lastError} // '') } grep { $_->{health} ne 'ok' } rules() }
cmp_ok(scalar(@{ [ rules() ] }), '>=', 5, 'there are rules');
ok(wait_until(\&rules_in_trouble, '', 'rules'), 'all of them work') or diag rules_in_trouble();

# Names of all kinds do not blind it.
$watcher->query(name_in($node, qq(CREATE ROLE "a\\\\ ""b""\n{c=\xc3\xa9} 1" LOGIN CONNECTION LIMIT 2)));
value_becomes('pool_exhaust_pool_capacity_connections{kind="role"}', 2, 'a role with a name');
page_is_good('names');
$watcher->query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
my $latin = client($node, database => 'latin', client_encoding => 'LATIN1');
$latin->query(qq(CREATE ROLE "caf\xe9" LOGIN CONNECTION LIMIT 2));
value_becomes('count(pool_exhaust_pool_capacity_connections{kind="role"})', 2, 'a role with a name in another encoding');

# The pool of a run under way; its name is not the run's number, which grows
foreach my $round (1, 2)
{
	my $run_id = $watcher->query(q(SELECT pool_exhaust_start('queue', 'pool', '{"pool_size": 1, "max_overflow": 0,
		"long_ms": 100000, "pool_timeout_ms": 100000, "timeout_ms": 300000}'))) // diag $watcher->message;
	my %expected = (in_use_connections => 1, capacity_connections => 1, peak_in_use_connections => 1, utilization_ratio => 1, health => 3);

	value_becomes(qq(pool_exhaust_pool_$_\{kind="pool",pool="run/1/1"}), $expected{$_}, "run $run_id: $_") foreach sort keys %expected;
	is(value('pool_exhaust_pool_health{kind="server"}'), 0, "run $run_id: the server is healthy");
	page_is_good("run $run_id");
	$watcher->query('SELECT pool_exhaust_stop()');
	value_becomes('count(pool_exhaust_pool_capacity_connections{kind="pool"}) or vector(0)', 0, "run $run_id: its pool is gone");
}

# Leaks: a gauge of those that are, counters of what became of them
$watcher->query("ALTER SYSTEM SET pool_exhaust.leak_threshold = '100ms'");
$watcher->query('SELECT pg_reload_conf()');
my $leaked = client($node, user => 'app');
my $rule = '{rule="idle in transaction"}';
$leaked->query('BEGIN');
value_becomes('pool_exhaust_leak_suspects{rule="idle in transaction",certainty="likely"}', 1, 'a leak');
value_becomes('sum(pool_exhaust_leak_suspects)', 1, 'a leak: by one rule');
value_becomes("pool_exhaust_leaks_found_total$rule", 1, 'a leak: it was found');
page_is_good('a leak');
$leaked->query('COMMIT');
value_becomes("pool_exhaust_leaks_unleaked_total$rule", 1, 'a leak: it came back to life');
$leaked->query('BEGIN');
value_becomes("pool_exhaust_leaks_found_total$rule", 2, 'a leak: found again');
$leaked->close;
value_becomes("pool_exhaust_leaks_ended_total$rule", 1, 'a leak: it ended');
value_becomes('sum(pool_exhaust_leak_suspects)', 0, 'a leak: none is left');
value_becomes('sum(pool_exhaust_leaks_healed_total)', 0, 'a leak: none was healed');
value_becomes('count(pool_exhaust_leaks_found_total)', 5, 'five rules');

$_->close foreach $latin, $watcher;
left_nothing($node);
done_testing();
