# What a run keeps of where it ran: what two runs must have in common to be compared,
# and how fast the machine was.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('environment', conf => "max_connections = 20\npool_exhaust.calibration = on");
my $client = client($node);

# Runs it on a role, unless "target" says another; its row.
sub row_of
{
	my ($scenario, %options) = @_;
	my $id = run_scenario($client, $scenario, delete $options{target} // 'role', %options);

	return JSON::PP::decode_json($client->query("SELECT to_jsonb(r) FROM pool_exhaust_runs r WHERE id = $id"));
}

sub same
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($run, $other, $name) = @_;

	is_deeply($run->{environment}, $other->{environment}, $name);
}

# ---------- The environment ----------

my $run = row_of('saturation', role_limit => 1);
my $environment = $run->{environment};
my $cores = delete $environment->{cores};
cmp_ok($cores, '>=', 1, 'cores: there is one');
cmp_ok($cores, '<=', `nproc --all`, 'cores: no more than there are');
is($run->{verdict}, 'pass', 'a run with a calibration passes') or diag $run->{reason};
is_deeply(
	$environment,
	{
		server_version => $client->query('SHOW server_version'), server_version_num => $client->query('SHOW server_version_num'),
		extension_version => $run->{extension_version}, max_connections => 20, target => 'role', kind => 'role',
		way_in => 'unix socket', sub_run => JSON::PP::false, profile => 'quick', options => { role_limit => 1 }
	},
	'all of it');
$environment->{cores} = $cores;

# What a run is judged on, and what it does wrong on purpose, leave it as it is.
same(row_of('saturation', role_limit => 1, seed => 7, timeout_ms => 50000, on_fail => 'report', bystanders => 'ignore', attempts => 10),
	$run, 'options that do not matter, and one that is given as it would be anyway');
my $fault = row_of('saturation', role_limit => 1, fault => 'miscount');
is($fault->{verdict}, 'fail', 'a deliberate fault');
same($fault, $run, 'can be compared with a run without one');
my $judged = row_of('queue', target => 'pool', tolerance_ms => 3000, long_ms => 300, pool_timeout_ms => 1500);
same(row_of('queue', target => 'pool', tolerance_ms => 3001, long_ms => 300, pool_timeout_ms => 1500), $judged, 'nor do limits');
is_deeply($judged->{environment}{options}, { long_ms => 300, pool_timeout_ms => 1500 }, 'options that change what is measured');
is(row_of('saturation', role_limit => 1, handshakes => 2)->{environment}{options}{handshakes}, 2, 'so do handshakes');

# ---------- The calibration ----------

cmp_ok($run->{calibration}{$_}, '>', 0, "it has $_") foreach qw(logins_per_s loops_per_s);
is($run->{summary}{pools}[0]{granted}, 2, 'its logins are not counted in the story: one fills the role, one comes after the release');
like($run->{summary}{phases}[0]{note}, qr/^0 of 1 /, 'none of them is left when that begins');
cmp_ok($run->{summary}{phases}[0]{began_ms}, '>=', 200, 'it comes before that');

# It comes after the trial of a workload: what is unfit for a run is not measured for.
my %one_client = (target => 'pool', pool_size => 1, max_overflow => 0, long_operations => 1, long_ms => 1, pool_timeout_ms => 1000, tolerance_ms => 5000);
my $fit = row_of('queue', %one_client, workload => 'SELECT 1');
my ($trial, $story) = @{ $fit->{summary}{phases} };
is($trial->{phase}, 'trial', 'a workload is tried first');
cmp_ok($fit->{calibration}{logins_per_s}, '>', 0, 'then the machine is measured');
cmp_ok($story->{began_ms} - $trial->{began_ms} - $trial->{elapsed_ms}, '>=', 200, 'which is no part of the trial');
is(row_of('queue', %one_client, workload => 'SELECT 1/0')->{calibration}, undef, 'nor of a run whose workload fails');

# A service is no place to log in to; its secrets are not in the row.
$client->query($_) foreach q(CREATE SERVER service FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'http', url 'http://127.0.0.1:1/secret')),
  q(CREATE USER MAPPING FOR PUBLIC SERVER service OPTIONS (user 'me', password 'secret'));
my $foreign = row_of('backpressure', target => 'service', response_limit_ms => 1000);
is($foreign->{environment}{kind}, 'http', 'a foreign server: its kind');
is($foreign->{environment}{target}, 'service', 'a foreign server: its name');
is($foreign->{environment}{way_in}, undef, 'a foreign server: no way in to this one');
is($foreign->{calibration}{logins_per_s}, undef, 'a foreign server: no logins to this one');
cmp_ok($foreign->{calibration}{loops_per_s}, '>', 0, 'a foreign server: the loop');
unlike(JSON::PP::encode_json($foreign->{environment}), qr/secret|127/, 'a foreign server: nothing else of it');

# It ends when the run must end.
my $late = row_of('saturation', timeout_ms => 100);
is("$late->{verdict}: $late->{reason}", 'aborted: not over within 100 ms (option timeout_ms)', 'a run that has no more time than it takes');
is(join(', ', map { $_->{phase} } @{ $late->{summary}{phases} }), 'clean up', 'its story has not begun');
is($late->{calibration}, undef, 'and there is no calibration');
my $id = $client->query(q(SELECT pool_exhaust_start('saturation', 'role')));
is($client->query('SELECT pool_exhaust_stop()'), 1, 'a run that is stopped at once');
run_ends($client, $id, 'aborted: stopped by pool_exhaust_stop()', 'it');

# Without it
ok(change_setting($client, 'pool_exhaust.calibration' => 'off'), 'it is switched off');
my $without = row_of('saturation', role_limit => 1);
is($without->{calibration}, undef, 'there is none');
same($without, $run, 'the environment is there, and the same');

# ---------- What is kept ----------

my $rows = "SELECT (SELECT count(*) FROM pool_exhaust_runs WHERE id = $without->{id}), " . join ', ',
  map { "(SELECT count(*) > 0 FROM pool_exhaust_$_ WHERE run_id = $without->{id})" } qw(checks samples histograms);
is($client->query($rows), '1|t|t|t', 'all tables have something of a run');
ok(change_setting($client, 'pool_exhaust.history_retention' => "'1d'"), 'results are kept for a day');
$client->query("UPDATE pool_exhaust_runs SET finished_at = now() - interval '2 days' WHERE id = $without->{id}");
my $next = row_of('saturation', role_limit => 1);
is($client->query($rows), '0|f|f|f', 'of one that is older nothing is left after the next run');
is($client->query("SELECT count(*) FROM pool_exhaust_runs WHERE id IN ($run->{id}, $next->{id})"), 2, 'others stay');

$client->close;
left_nothing($node);
done_testing();
