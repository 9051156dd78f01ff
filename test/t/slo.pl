# The service level of a month, against forty lines of Python: what was measured, what
# was good of it, how fast the budget burns, and what runs and gaps leave out.
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use JSON::PP ();
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $seed = $ENV{SEED} // int(rand 1e6);
note "SEED=$seed";

# What a command prints.
sub output_of
{
	my ($input, @command) = @_;

	my ($stdout, $stderr);

	IPC::Run::run(\@command, '<', $input, '>', \$stdout, '2>', \$stderr) or die "@command: $stderr";
	return $stdout;
}

# The program that makes a recorder's file
my $directory = PostgreSQL::Test::Utils::tempdir();
chomp(my ($include, $libraries) = map { scalar qx(pg_config --$_) } 'includedir-server', 'pkglibdir');
plan skip_all => 'no C compiler, or no libpgport'
  if system("cc -O1 -I'$top/src' -I'$include' -o '$directory/bytes' '$top/test/recorder_bytes.c' '$top'/src/base/recorder/*.c -L'$libraries' -lpgcommon -lpgport -lm >'$directory/cc.log' 2>&1") != 0;

my $node = new_server('slo', conf => 'pool_exhaust.recorder_size = 0');
my $watcher = client($node);
my $system = $watcher->query('SELECT system_identifier FROM pg_control_system()');
mkdir $node->data_dir . '/pool_exhaust', oct '700';

# Milliseconds since 2000, in SQL and now
my $ms = q(1000 * extract(epoch FROM statement_timestamp() - '2000-01-01 00:00:00+00'));
sub now_ms { return int $watcher->query("SELECT $ms") }

# Puts a recording of these seconds into the place of the recorder's file.
sub record
{
	my ($seconds) = @_;

	return output_of(\$seconds, "$directory/bytes", 'seconds', $node->data_dir . '/pool_exhaust/recorder', $system);
}

# ---------- A month ----------

my $end = now_ms();
record(output_of(\undef, 'python3', "$top/test/slo.py", 'month', $seed, $end));

my $answer = JSON::PP::decode_json($watcher->query("SELECT jsonb_build_object('to', $ms,
	'rows', jsonb_agg(to_jsonb(s) || jsonb_build_object('in_runs_s', extract(epoch FROM in_runs), 'unmeasured_s', extract(epoch FROM unmeasured))))
	FROM pool_exhaust_slo(0.999, '30 days', 12) AS s"));
my $expected = JSON::PP::decode_json(output_of(\undef, 'python3', "$top/test/slo.py", 'level', $seed, $end, $answer->{to}));
my %row = map { $_->{indicator} => $_ } @{ $answer->{rows} };

sub is_near
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($got, $wanted, $name) = @_;

	# Nothing is known of minutes that were not measured.
	return is($got, $wanted, $name) if !defined $wanted;
	ok(defined $got && abs($got - $wanted) <= 1e-6 * (1 + abs $wanted), $name) or diag 'got ' . ($got // 'NULL') . ", expected $wanted";
}

foreach my $indicator ('logins', 'seconds')
{
	is_near($row{$indicator}{$_}, $expected->{$indicator}{$_}, "$indicator: $_") foreach sort keys %{ $expected->{$indicator} };
	is_near($row{$indicator}{unmeasured_s}, $expected->{unmeasured}, "$indicator: unmeasured");
	is_near($row{$indicator}{in_runs_s}, $expected->{in_runs}, "$indicator: in runs");
	is_deeply($row{$indicator}{runs}, $expected->{runs}, "$indicator: which runs");
	is_near($row{$indicator}{measured}, $row{$indicator}{good} + $row{$indicator}{bad}, "$indicator: measured");
}
is($row{logins}{apart}, "$expected->{apart}[0] refused by limits of roles, databases or walsenders, $expected->{apart}[1] while the server accepted none",
	'refused by decision');
cmp_ok($expected->{unmeasured}, '>', 0.02 * 30 * 86400, 'there are gaps');
cmp_ok(scalar(@{ $expected->{runs} }), '>', 3, 'there are runs');

# ---------- Alerts, and nothing at all ----------

# Makes a recording up to now: pairs of how many seconds, and what each of them has.
sub recorded
{
	my @parts = @_;
	my @seconds;

	while (my ($n, $what) = splice @parts, 0, 2) { push @seconds, ($what) x $n }
	my $at = now_ms() - 1000 * @seconds;
	record(join '', map { sprintf "%d 1000 %s 0\n", $at + 1000 * $_, $seconds[$_] } 0 .. $#seconds);
	return;
}

sub alerts { return $watcher->query(q(SELECT string_agg(indicator || ': ' || coalesce(alert, 'none'), ', ' ORDER BY indicator) FROM pool_exhaust_slo())) }

recorded(7200 => '10 0 0 0');
is(alerts(), 'logins: none, seconds: none', 'calm');
recorded(20_000 => '10 0 0 0', 60 => '5 5 0 0', 900 => '10 0 0 0');
is(alerts(), 'logins: burns slowly, seconds: burns slowly', 'a minute of refusals, a quarter of an hour ago');
recorded(36000 => '10 0 0 0', 3600 => '98 2 0 0');
is(alerts(), 'logins: burns fast, seconds: burns fast', 'an hour of refusals, up to now');
recorded(36000 => '10 0 0 0', 3600 => '98 2 0 0', 400 => '10 0 0 0');
is(alerts(), 'logins: burns, seconds: burns', 'they are over');
recorded(40 => '1 1 0 0');
is(alerts(), 'logins: none, seconds: none', 'fewer than 100 logins');
recorded(3600 => '10 0 5 0');
is(alerts(), 'logins: none, seconds: none', 'limits of roles');

unlink $node->data_dir . '/pool_exhaust/recorder';
is($watcher->query(q(SELECT string_agg(concat_ws(' ', indicator, measured, level_percent, budget_used_percent, burn_3d, alert, cost_low, unmeasured), ', ' ORDER BY indicator)
	FROM pool_exhaust_slo("window" => '1 day'))), 'logins 0 1 day, seconds 0 1 day', 'nothing was recorded');

# ---------- Seconds whose refusals are not counted ----------

sub measured { return $watcher->query(q(SELECT measured FROM pool_exhaust_slo("window" => '1 hour') WHERE indicator = 'seconds')) }

# Until so many more seconds were recorded
sub recorded_on
{
	my ($n) = @_;
	my $since = $watcher->query('SELECT clock_timestamp()');

	return wait_for($watcher, "SELECT coalesce(sum(measured), 0) >= $n FROM pool_exhaust_history('$since', clock_timestamp(), '1 s') WHERE service IS NULL", 't');
}

change_setting($watcher, 'pool_exhaust.recorder_size' => "'2MB'");
recorded_on(2);
change_setting($watcher, log_min_messages => 'panic');
recorded_on(1);
my $seen = measured();
recorded_on(3);
cmp_ok($seen, '>=', 1, 'seconds are measured');
is(measured(), $seen, 'not while refusals are not counted');
change_setting($watcher, log_min_messages => 'warning');
recorded_on(3);
cmp_ok(measured(), '>', $seen + 1, 'and when they are');

# ---------- The alerts of Prometheus are the same ----------

my %windows = ('5m' => 'SLO_5_MINUTES', '30m' => 'SLO_30_MINUTES', '1h' => 'SLO_1_HOUR', '6h' => 'SLO_6_HOURS', '3d' => 'SLO_3_DAYS');
my @rules = slurp_file("$top/contrib/prometheus/slo.yml") =~ /pool_exhaust:slo:burn(\w+) > ([\d.]+)\s+and pool_exhaust:slo:burn(\w+) > \2\s+and pool_exhaust:logins:increase\1 >= (\d+)/g;
my ($least) = slurp_file("$top/src/advise/slo/slo.c") =~ /#define ALERT_LOGINS_MIN\s+(\d+)/;
my (@expected_rules, @our_rules);
while (my ($long, $factor, $short, $logins) = splice @rules, 0, 4) { push @expected_rules, "$factor $windows{$long} $windows{$short} $logins" }
my @alerts = slurp_file("$top/src/advise/slo/slo.c") =~ /\{"burns[ \w]*", ([\d.]+), (\w+), (\w+)\}/g;
while (my @alert = splice @alerts, 0, 3) { push @our_rules, "@alert $least" }
is_deeply(\@our_rules, \@expected_rules, 'factors, windows and logins of slo.yml');
is(scalar(@our_rules), 3, 'three of them');

# ---------- Bad input ----------

fails_with($watcher, "SELECT pool_exhaust_slo($_->[0])", '22023', [ $_->[1] ], "pool_exhaust_slo($_->[0])") foreach
  [ '1', qr/objective 1 is not between 0 and 1/ ], [ '0', qr/objective 0 / ], [ '99.9', qr/99\.9 % is written 0\.999/ ], [ "'nan'", qr/objective NaN/i ],
  [ "0.99, '0'", qr/window is 00:00:00, and must be longer than 0/ ], [ "0.99, '-1 day'", qr/window/ ], [ "0.99, '1 day', -1", qr/price_per_minute -1/ ],
  [ "0.99, '1 day', 'infinity'", qr/price_per_minute/ ];
fails_with($watcher, "SELECT pool_exhaust_slo($_)", '22004', [qr/must not be NULL/], "pool_exhaust_slo($_)") foreach 'NULL', '0.99, NULL';

# ---------- One run ----------

my $id = report_of($watcher, 'saturation', 'role')->{run_id};
my ($bad_s, $used, $low, $high, $sentence) = split /\|/, $watcher->query("SELECT * FROM pool_exhaust_slo_run($id, 0.999, '30 days', 60)");
my $seconds = $watcher->query("SELECT count(DISTINCT date_trunc('second', at)) FROM (SELECT at, refused + timed_out - lag(refused + timed_out, 1, 0::bigint) OVER (ORDER BY at) AS n
	FROM pool_exhaust_samples WHERE run_id = $id) AS s WHERE n > 0");
cmp_ok($seconds, '>=', 1, 'a run that refuses');
is($bad_s, $seconds, 'its bad seconds');
is_near($used, 100 * $seconds / 2592, 'its part of the budget');
is_near($high, $seconds, 'its cost at the most');
cmp_ok($low, '<=', $high, 'its cost at the least');
is($sentence, sprintf("one event like run $id costs %.2f %% of the error budget of 30 days at 99.9 %%: $seconds of 2592 seconds", $used), 'in a sentence');
is($watcher->query('SELECT bad_seconds FROM pool_exhaust_slo_run(-1)'), '', 'no such run');

# The same with samples that are known: a good second, one of which 80 of 100 are bad, one that is all bad
$watcher->query("DELETE FROM pool_exhaust_samples WHERE run_id = $id");
$watcher->query("INSERT INTO pool_exhaust_samples (run_id, at, in_use, waiting, granted, refused, timed_out, health)
	SELECT $id, '2026-01-01 00:00Z'::timestamptz + s.second * interval '1 s', 0, 0, s.granted, s.refused, s.timed_out, 'healthy'
	FROM (VALUES (0, 30, 0, 0), (1.2, 40, 50, 10), (1.7, 50, 60, 20), (2, 50, 110, 20)) AS s (second, granted, refused, timed_out)");
is($watcher->query("SELECT bad_seconds, round(cost_low::numeric, 6), round(cost_high::numeric, 6) FROM pool_exhaust_slo_run($id, 0.999, '30 days', 60)"),
	'2|1.800000|2.000000', 'cost of samples that are known');

$watcher->close;
left_nothing($node);
done_testing();
