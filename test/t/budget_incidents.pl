# Published incidents, as numbers: the budget of each fails, with the right limit
# first, and passes when it is repaired as its report says, or as its numbers allow.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use JSON::PP ();
use PoolExhaust;
use Test::More;

# Each has its source, max_connections, the services (with the pooler that they go by,
# if any), the limit that is hit first with the situation, and what repairs it: columns
# of services, or another setting.  superuser_reserved_connections is 3.
my @incidents = (
	{   source => 'github.com/sapcc/helm-charts/pull/746: 6 PgBouncers with 50 + 25 connections and a surge of 1, of 500',
		max_connections => 500,
		services => { pgbouncer => { replicas => 6, surge => 1, pool_size => 50, max_overflow => 25 } },
		hit => 'server, deploy',
		repair => { pgbouncer => { max_overflow => 20 } } },
	{   source => 'github.com/mozilla-services/cliquet/issues/176: pools of 50 x 2 in 3 processes, of less than 300',
		max_connections => 300,
		services => { cliquet => { processes => 3, pool_size => 50, max_overflow => 50 } },
		hit => 'server, at rest',
		repair => { cliquet => { pool_size => 25, max_overflow => 15 } } },
	{   source => 'github.com/mitodl/ol-infrastructure/pull/5426: 6 PgBouncers in session mode with 1500 connections each and no max_db_connections, of 5000',
		max_connections => 5000, reserved => 11,
		services => { dagster => { replicas => 9000, pool_size => 1, via => 'pgbouncer' } },
		pooler => [ 'processes 6', 'max_client_conn 3000', 'default_pool_size 1500', 'pool_mode session' ],
		hit => 'server, at rest',
		repair => { dagster => { replicas => 4499 } }, repair_pooler => ['max_db_connections 750'] },
	{   source => 'github.com/railwayapp-templates/postgres-ssl/pull/102: 3 PgBouncers with pools of 20 leave 37 of 100 to all others',
		max_connections => 100,
		services => { clients => { replicas => 200, pool_size => 1, via => 'pgbouncer' }, direct => { replicas => 40, pool_size => 1 } },
		pooler => [ 'processes 3', 'max_client_conn 100', 'default_pool_size 20', 'pool_mode transaction' ],
		hit => 'server, at rest',
		repair => {}, repair_max_connections => 500 },
	{   source => 'github.com/guardian/typerighter/pull/480: 3 instances that double in a deploy, with a pool of 7 and a second one of 10 for evolutions, of 81 with 5 reserved',
		max_connections => 81, reserved => 2,
		services => { app => { replicas => 3, surge => 3, pool_size => 7 }, evolutions => { replicas => 3, surge => 3, pool_size => 10 } },
		hit => 'server, deploy',
		repair => { evolutions => { pool_size => 2 } } },
	{   source => 'github.com/uberswe/createmod.com/pull/1482: 25 connections of each of 2 to 6 pods and their surge, of 200 that ten applications share',
		max_connections => 200,
		services => { createmod => { replicas => 2, replicas_max => 6, surge => 2, pool_size => 25 }, tenants => { replicas => 9, pool_size => 10 } },
		hit => 'server, deploy',
		repair => { createmod => { pool_size => 10 } } },
	{   source => 'github.com/treasure-data/digdag/issues/478: a pool of 32 x 32 processors, of 100',
		max_connections => 100,
		services => { digdag => { pool_size => 1024 } },
		hit => 'server, at rest',
		repair => { digdag => { pool_size => 10 } } },
	{   source => 'github.com/MTES-MCT/ecobalyse/pull/1928: 2 workers with 10 + 15 connections, of the 30 of the plan',
		max_connections => 100, role_limit => 30,
		services => { ecobalyse => { processes => 2, pool_size => 10, max_overflow => 15 } },
		hit => 'role app, at rest',
		repair => { ecobalyse => { pool_size => 4, max_overflow => 3 } } },
	{   source => 'github.com/fastapi/full-stack-fastapi-template/issues/1: 96 workers with an asyncpg pool of 10, of 100',
		max_connections => 100,
		services => { fastapi => { processes => 96, pool_size => 10 } },
		hit => 'server, at rest',
		repair => { fastapi => { processes => 4 } } },
	{   source => 'github.com/n8n-io/terraform-aws-n8n/pull/106: 460 pods with 20 connections, of the 2 x 3000 clients of PgBouncer',
		max_connections => 500,
		services => { n8n => { replicas => 460, pool_size => 20, via => 'pgbouncer' } },
		pooler => [ 'processes 2', 'max_client_conn 3000', 'default_pool_size 100', 'pool_mode transaction' ],
		hit => 'pooler pgbouncer, clients, at rest',
		repair => { n8n => { replicas => 290 } } });

my $node = new_server('incidents', conf => "superuser_reserved_connections = 3\nautovacuum = off");
my $client;

# Brings the server into the state of an incident.
sub server
{
	my ($max_connections, $reserved) = @_;

	$client->close if $client;
	if ($node->safe_psql('postgres', 'SHOW max_connections') != $max_connections || $node->safe_psql('postgres', 'SHOW superuser_reserved_connections') != 3 + $reserved)
	{
		$node->append_conf('postgresql.conf', "max_connections = $max_connections\nsuperuser_reserved_connections = " . (3 + $reserved));
		$node->restart;
	}
	$client = client($node);
}

sub run
{
	my ($sql) = @_;

	return $client->query($sql) // die $client->message;
}

sub declare
{
	my ($services, $pooler) = @_;

	run('DELETE FROM pool_exhaust_declared');
	run('DELETE FROM pool_exhaust_declared_poolers');
	run(q(INSERT INTO pool_exhaust_declared_poolers VALUES ('pgbouncer', 'databases', '*', 'dbname', ''))) if @$pooler;
	run("INSERT INTO pool_exhaust_declared_poolers VALUES ('pgbouncer', 'pgbouncer', '', '$_->[0]', '$_->[1]')") foreach map { [split] } @$pooler;
	foreach my $name (sort keys %$services)
	{
		my %row = (service => $name, role => 'app', database => 'postgres', %{ $services->{$name} });
		run(sprintf 'INSERT INTO pool_exhaust_declared (%s) VALUES (%s)', join(', ', sort keys %row), join ', ', map { "'$row{$_}'" } sort keys %row);
	}
	return JSON::PP::decode_json(run("SELECT pool_exhaust_budget('json')"));
}

$node->safe_psql('postgres', 'CREATE ROLE app LOGIN');
foreach my $incident (sort { $a->{max_connections} <=> $b->{max_connections} || ($a->{repair_max_connections} // 0) <=> ($b->{repair_max_connections} // 0) } @incidents)
{
	my ($name) = $incident->{source} =~ m{^github\.com/(.*?):};
	my $services = $incident->{services};
	my $pooler = $incident->{pooler} // [];

	server($incident->{max_connections}, $incident->{reserved} // 0);
	run('ALTER ROLE app CONNECTION LIMIT ' . ($incident->{role_limit} // -1));
	my $budget = declare($services, $pooler);
	is("$budget->{verdict}: " . ($budget->{first} ? "$budget->{first}{limit}, $budget->{first}{situation}" : 'none'), "fail: $incident->{hit}", "$name: it fails, and where") or diag $budget->{reason};
	server($incident->{repair_max_connections}, 0) if $incident->{repair_max_connections};
	$budget = declare({ map { $_ => { %{ $services->{$_} }, %{ $incident->{repair}{$_} // {} } } } keys %$services }, [ @$pooler, @{ $incident->{repair_pooler} // [] } ]);
	is($budget->{verdict}, 'pass', "$name: repaired it passes") or diag $budget->{reason};
}

$client->close;
left_nothing($node);
done_testing();
