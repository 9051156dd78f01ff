#!/usr/bin/perl
# Takes clusters of an older PostgreSQL, with everything that pool_exhaust keeps in
# them, to the one that test/sandbox has: by pg_upgrade, whose new cluster preloads
# the extension or does not, and by a dump. The results are the same there, and runs
# pass. test/pg_upgrade starts it.
#
#   test/sandbox run perl test/pg_upgrade.pl DIRECTORY
#
# DIRECTORY is that of the older PostgreSQL, with its bin/ and lib/, where
# pool_exhaust is installed too.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/t";
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $older = shift // die "usage: $0 DIRECTORY\n";

# Databases of the old cluster, and the version of the extension in each.
my %version = (postgres => '1.1', odd => '1.1', aged => '1.0');
my $extversion = q(SELECT extversion FROM pg_extension WHERE extname = 'pool_exhaust');

# What must be the same on the other side: rows, in which newer columns are empty if they
# are old; foreign servers, with the options of their users; and what was granted.
my $rows = q(SELECT concat_ws(' ', '%1$s', count(*), md5(string_agg(row, E'\n' ORDER BY row)))
	FROM (SELECT jsonb_strip_nulls(to_jsonb(t))::text FROM pool_exhaust_%1$s AS t) AS rows(row));
my $kept = join ' UNION ALL ', (map { sprintf $rows, $_ } qw(runs checks samples)), q(
	SELECT concat_ws(' ', 'server', srvname, srvowner::regrole, (SELECT array_agg(o ORDER BY o) FROM unnest(srvoptions) AS o),
		has_server_privilege('app', oid, 'USAGE')) FROM pg_foreign_server), q(
	SELECT concat_ws(' ', 'mapping', srvname, usename, (SELECT array_agg(o ORDER BY o) FROM unnest(umoptions) AS o)) FROM pg_user_mappings), q(
	SELECT concat_ws(' ', 'schema', extnamespace::regnamespace, 'granted', has_foreign_data_wrapper_privilege('tester', extname, 'USAGE'),
		has_table_privilege('tester', 'pool_exhaust_runs', 'SELECT')) FROM pg_extension WHERE extname = 'pool_exhaust');
my $latencies = sprintf $rows, 'histograms';    # version 1.0 had none

# A cluster without calibrations, started if asked to; preloaded with the extension or not.
sub cluster
{
	my ($name, $preloads, %params) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name, %params);

	$node->init;
	$node->append_conf('postgresql.conf', "max_connections = 20\nautovacuum = off\nlisten_addresses = '127.0.0.1'");
	preload($node) if $preloads;
	return $node;
}

sub preload
{
	my ($node) = @_;

	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'pool_exhaust'\npool_exhaust.calibration = off");
}

# The tables and views of the extension are in the search path, whatever its schema is.
sub sql
{
	my ($node, $database, $sql) = @_;

	return $node->safe_psql($database, "SET search_path = public, odd; SET client_min_messages = warning; $sql");
}

# A run passes; again if the machine was too busy to tell.
sub runs
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($node, $database, $target, $name) = @_;
	# The foreign server is this server, to which the session that runs it is another's.
	my $options = $target eq 'itself' ? '{"bystanders": "ignore"}' : '{}';
	my $report;

	foreach (1 .. 3)
	{
		$report = sql($node, $database, "SELECT pool_exhaust_run('saturation', '$target', '$options')");
		last if $report !~ /\A ?INVALID/;
		diag $report;
	}
	like($report, qr/\A ?PASS +saturation on $target/, $name);
}

# The old cluster: runs with samples and latencies, one of them failed; foreign servers,
# one of another owner, with mappings; the extension in another schema; and an old
# version of it, with a run as that recorded it.
sub populate
{
	my ($node) = @_;

	$node->safe_psql('postgres', "CREATE DATABASE $_") foreach grep { $_ ne 'postgres' } sort keys %version;
	$node->safe_psql('odd', 'CREATE SCHEMA odd');
	sql($node, $_, "CREATE EXTENSION pool_exhaust VERSION '$version{$_}'" . ($_ eq 'odd' ? ' SCHEMA odd' : '')) foreach sort keys %version;
	sql($node, 'postgres', sprintf q(
		CREATE ROLE app LOGIN PASSWORD 'secret' IN ROLE pg_read_all_stats;
		CREATE ROLE tester;
		GRANT SELECT ON pool_exhaust_runs TO tester;
		GRANT USAGE ON FOREIGN DATA WRAPPER pool_exhaust TO tester;
		CREATE SERVER itself FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'postgres', host '%s', port '%s', dbname 'postgres');
		CREATE USER MAPPING FOR CURRENT_USER SERVER itself OPTIONS (user 'app', password 'secret');
		CREATE SERVER bouncer FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'pgbouncer', host '127.0.0.1', port '6432', dbname 'app');
		CREATE USER MAPPING FOR tester SERVER bouncer OPTIONS (user 'app', password 'secret', console_user 'stats', console_password 'secret');
		GRANT USAGE ON FOREIGN SERVER bouncer TO app;
		ALTER SERVER bouncer OWNER TO tester), $node->host, $node->port);
	runs($node, 'postgres', 'role',   'old cluster: a run on a role');
	runs($node, 'postgres', 'server', 'old cluster: a run on the server');
	runs($node, 'postgres', 'itself', 'old cluster: a run on a foreign server');
	sql($node, 'postgres', q(SELECT pool_exhaust_run('saturation', 'role', '{"fault": "miscount"}')));
	runs($node, 'odd', 'role', 'old cluster: a run of another schema');
	sql($node, 'aged', q(
		INSERT INTO pool_exhaust_runs (scenario, target, options, verdict, reason, started_at, finished_at, seed, server_version, extension_version, summary)
		VALUES ('saturation', 'role', '{"seed": 7}', 'fail', 'failed: held connections', now(), now(), 7, '15.0', '1.0', '{"capacity": 4, "elapsed_ms": 120}');
		INSERT INTO pool_exhaust_checks VALUES (1, 1, 'fill', 'held connections', 'fail', '4', '3', NULL, 'one is missing');
		INSERT INTO pool_exhaust_samples VALUES (1, now(), 3, 0, 3, 0, 0, 1, 2, 'healthy')));
}

# What there is to keep, by database.
sub kept_of
{
	my ($node) = @_;

	return map { $_ => sql($node, $_, ($_ eq 'aged' ? $kept : "$kept UNION ALL $latencies") . ' ORDER BY 1') } sort keys %version;
}

sub upgrade
{
	my ($from, $to, $how) = @_;

	chdir PostgreSQL::Test::Utils::tempdir() or die "could not chdir: $!";
	$to->command_ok(
		[
			'pg_upgrade', '--no-sync', '--jobs=2',
			'--old-datadir' => $from->data_dir, '--new-datadir' => $to->data_dir,
			'--old-bindir' => "$older/bin", '--new-bindir' => $to->config_data('--bindir'),
			'--socketdir' => $to->host, '--old-port' => $from->port, '--new-port' => $to->port
		],
		"$how: pg_upgrade");
}

my %last;    # number of the last run in each database, before

# Everything is there, and works once the extension is preloaded.
sub is_whole
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($node, $how, %before) = @_;
	my %after = kept_of($node);
	my $upgraded = $node->safe_psql('postgres', 'SELECT clock_timestamp()');

	is($after{$_}, $before{$_}, "$how: $_ has everything") foreach sort keys %before;
	is(sql($node, 'aged', "ALTER EXTENSION pool_exhaust UPDATE; $extversion"), $version{postgres}, "$how: an old version of the extension updates");
	like(sql($node, 'aged', 'SELECT pool_exhaust_report(1)'), qr/^FAIL  held connections +expected 4, observed 3$/m, "$how: and has its report");
	sql($node, 'postgres', sprintf q(ALTER SERVER itself OPTIONS (SET host '%s', SET port '%s')), $node->host, $node->port);
	runs($node, 'postgres', 'server', "$how: a run on the server");
	runs($node, 'postgres', 'itself', "$how: a run on a foreign server");
	runs($node, $_, 'role', "$how: a run in $_") foreach 'odd', 'aged';
	is(sql($node, $_, "SELECT min(id) FROM pool_exhaust_runs WHERE started_at > '$upgraded'"), $last{$_} + 1, "$how: the next number in $_")
	  foreach sort keys %last;
	is(sql($node, 'postgres', "SELECT min(at) >= pg_postmaster_start_time() - interval '1 s' FROM pool_exhaust_history(now() - interval '20 min', clock_timestamp(), '1 s') WHERE measured > 0"),
		't', "$how: its flight recorder begins anew");
	like(sql($node, 'postgres', q(SELECT pool_exhaust_report(max(id)) FROM pool_exhaust_runs WHERE verdict = 'fail')), qr/\A ?FAIL +saturation on role/, "$how: the report of an old run");
}

my $old = cluster('old', 1, install_path => $older);
$old->start;
note 'from ', $old->safe_psql('postgres', 'SHOW server_version');
populate($old);
my %before = kept_of($old);
%last = map { $_ => sql($old, $_, 'SELECT max(id) FROM pool_exhaust_runs') } sort keys %version;
like($before{postgres}, $_, "there is something to keep: $_")
  foreach qr/^runs [4-9] /m, qr/^checks [1-9]/m, qr/^samples [1-9]/m, qr/^histograms [1-9]/m, qr/^server bouncer tester .* t$/m, qr/^mapping bouncer tester .*console_/m,
  qr/^mapping itself postgres/m, qr/^schema public granted t t$/m;
$old->command_ok([ 'pg_dumpall', '--file', $old->basedir . '/dump', '-h', $old->host, '-p', $old->port ], 'pg_dumpall');
$old->stop;
ok(-s $old->data_dir . '/pool_exhaust/recorder', 'there is a recording');

foreach my $preloads (1, 0)
{
	my $how = $preloads ? 'preloaded' : 'not preloaded';
	my $new = cluster($preloads ? 'preloaded' : 'bare', $preloads);

	upgrade($old, $new, $how);
	$new->start;
	note 'to ', $new->safe_psql('postgres', 'SHOW server_version');
	if (!$preloads)
	{
		my %bare = kept_of($new);
		is($bare{$_}, $before{$_}, "$how: $_ has its results before that, too") foreach sort keys %before;
		preload($new);
		$new->restart;
	}
	is_whole($new, $how, %before);
	left_nothing($new);
	$new->stop;
}

# A dump makes the extension anew, in the version that is installed there.
my $restored = cluster('restored', 1);
$restored->start;
$restored->command_ok([ 'psql', '-Xq', '-f', $old->basedir . '/dump', '-d', 'postgres', '-h', $restored->host, '-p', $restored->port ], 'a dump of the old cluster is restored');
is(sql($restored, $_, $extversion), $version{postgres}, "restored: $_ has the new version")
  foreach sort keys %version;
is_whole($restored, 'restored', %before);
left_nothing($restored);

done_testing();
