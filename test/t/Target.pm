# What suites share that aim runs at foreign servers.
package Target;

use strict;
use warnings FATAL => 'all';

use JSON::PP ();
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use Test::More;

# A server for poolers to stand before, with the roles app and other.
sub server_behind
{
	my ($name) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);

	$node->init;
	$node->append_conf('postgresql.conf', "max_connections = 40\nlisten_addresses = '127.0.0.1'\n");
	$node->start;
	$node->safe_psql('postgres', "CREATE ROLE $_ LOGIN PASSWORD 'secret'") foreach 'app', 'other';
	return $node;
}

sub _options
{
	my ($options) = @_;

	return 'OPTIONS (' . join(', ', map { "$_ '$options->{$_}'" } sort keys %$options) . ')';
}

# Makes a foreign server anew, with a mapping for the client's user.
sub make
{
	my ($client, $name, $options, $mapping) = @_;

	foreach ("DROP SERVER IF EXISTS $name CASCADE",
		"CREATE SERVER $name FOREIGN DATA WRAPPER pool_exhaust " . _options($options),
		"CREATE USER MAPPING FOR CURRENT_USER SERVER $name " . _options($mapping))
	{
		$client->query($_);
		die $client->message if $client->{error};
	}
}

# The SQL that runs a scenario there, by this function.
sub sql
{
	my ($function, $scenario, $target, %options) = @_;

	return "SELECT $function('$scenario', '$target', '" . JSON::PP->new->canonical->encode(\%options) . "')";
}

# Runs it, with "meanwhile" once it has come to a phase, and returns its id.
sub run_it
{
	my ($client, $scenario, $target, %options) = @_;
	my ($phase, $meanwhile) = @{ delete $options{meanwhile} // [] };
	my $run_id = $client->query(sql('pool_exhaust_start', $scenario, $target, %options)) // die $client->message;

	if ($phase)
	{
		wait_for($client, "SELECT count(*) FROM pool_exhaust_progress WHERE run_id = $run_id AND phase = '$phase'", 1);
		$meanwhile->();
	}
	$client->query("SELECT pool_exhaust_wait($run_id)");
	return $run_id;
}

# It ends with this verdict, once it proves something; "why" are the checks that fail, or a pattern of the
# reason.  Returns the run's id.
sub run_is
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $name, $verdict, $why, $scenario, $target, %options) = @_;
	my $measure = sub {
		my $id = run_it($client, $scenario, $target, %options);

		return JSON::PP::decode_json($client->query("SELECT pool_exhaust_report($id, 'json')"));
	};
	my $report = $verdict eq 'invalid' ? $measure->() : until_proved($measure);
	my ($run_id, $is, $reason) = @{$report}{qw(run_id verdict reason)};
	my $failed = $client->query("SELECT coalesce(string_agg(name, ', ' ORDER BY seq), '') FROM pool_exhaust_checks WHERE run_id = $run_id AND outcome = 'fail'");

	my $ok = is($is, $verdict, "$name: verdict of $scenario");
	$ok &= ref $why ? like($reason, $why, "$name: reason") : is($failed, $why, "$name: the checks that fail");
	diag $client->query("SELECT pool_exhaust_report($run_id)") if !$ok;
	return $run_id;
}

sub report_has
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($client, $run_id, $pattern, $name) = @_;

	like($client->query("SELECT pool_exhaust_report($run_id)"), $pattern, $name);
}

# No session of a run is in a server behind a pooler that keeps none by itself.
sub none_behind
{
	my ($node) = @_;

	return $node->poll_query_until('postgres',
		q(SELECT count(*) = 0 FROM pg_stat_activity WHERE state <> 'idle' AND application_name LIKE 'pool_exhaust%'));
}

1;
