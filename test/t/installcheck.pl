# make installcheck on a server where others are: what it skips and says of that,
# and that it ends what its own files left, and nothing else.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use IPC::Run ();
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $node = new_server('installcheck');
my $client = client($node);
my $pid = backend_pid($client);
my @tests = ('surface', 'see', "$top/test/pool.sql", "$top/test/saturation.sql");

delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL FILL)};
local %ENV = (%ENV, PGHOST => $node->host, PGPORT => $node->port, PGDATABASE => 'postgres');

# What a command prints, and what it says.
sub output
{
	my @command = @_;
	my ($out, $err) = ('', '');

	IPC::Run::run(\@command, '<', \undef, '>', \$out, '2>', \$err);
	return ($out, $err);
}

# The tests that may run are these of the four, and of the others it is said why.
sub runnable
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $indexes, @reasons) = @_;
	my ($out, $err) = output("$top/test/runnable", @tests);

	is($?, 0, $name);
	is_deeply([ split /\n/, $out ], [ @tests[@$indexes] ], "$name: these run");
	is(() = $err =~ /^skipped /mg, scalar @reasons, "$name: the others are named");
	like($err, $_, "$name: and why") foreach @reasons;
}

runnable('beside one other', [ 0, 2 ], map { qr/^skipped \Q$_\E: it fills the server, to which other sessions are connected \(1\); make installcheck FILL=1 runs it$/m } @tests[ 1, 3 ]);
{
	local $ENV{FILL} = 1;
	runnable('told to fill', [ 0 .. 3 ]);

	# Without the module that reads what pgTAP says
	my $bin = PostgreSQL::Test::Utils::tempdir();
	symlink '/bin/false', "$bin/perl" or die "could not make a link: $!";
	local $ENV{PATH} = "$bin:$ENV{PATH}";
	runnable('without pgTAP', [ 0, 1 ], map { qr/^skipped \Q$_\E: there is no module TAP::Parser::SourceHandler::pgTAP for Perl \(lib/m } @tests[ 2, 3 ]);
}

# What a file left, and what is none of its
$node->safe_psql('postgres', 'CREATE DATABASE contrib_regression');
$node->safe_psql('contrib_regression', 'CREATE EXTENSION pool_exhaust');
my $runners = q{SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_stat_activity WHERE backend_type = 'pool_exhaust runner'};
my $start = q{SELECT pool_exhaust_start('queue', options => '{"long_ms": 120000, "pool_timeout_ms": 120000, "timeout_ms": 300000}')};
$node->safe_psql($_, $start) foreach qw(contrib_regression postgres);
is($node->safe_psql('postgres', $runners), 'contrib_regression postgres', 'two runs are under way');
my ($out) = output("$top/test/settled", 'psql', '-XAtc', 'SELECT 5');
is($out, "5\n", 'a psql at rest');
is($node->safe_psql('postgres', $runners), 'postgres', 'the run in the database of the tests has ended, the other has not');
is($client->query('SELECT pg_backend_pid()'), $pid, 'nor has the session of another');
$node->safe_psql('postgres', 'SELECT pool_exhaust_stop()');
$client->close;
left_nothing($node);

# A server of another version
like((output('make', '-s', '-C', $top, 'preloaded', 'MAJORVERSION=99'))[1], qr/^the server is PostgreSQL \d+, and \S+ is that of 99: name the pg_config of that server with PG_CONFIG=$/m,
	'a server of another version');
done_testing();
