# The examples of contrib/ci, so that they do not rot: their YAML is YAML, both
# CI systems do the same, and what they do works here, on the same stack without
# containers: this server, PgBouncer and the web service with their own files, in
# which only hosts and ports are replaced.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use HTTP::Tiny;
use IPC::Run ();
use PoolExhaust;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $ci = "$FindBin::RealBin/../../contrib/ci";
my $python = '/usr/bin/python3';    # the system's own, which has the packages
my %file = map { $_ => slurp_file("$ci/$_") }
  qw(docker-compose.yml github.yml gitlab-ci.yml targets.sql budget.sh services.csv run.sh report.sh db/Dockerfile pgbouncer/pgbouncer.ini pgbouncer/users.txt service/app.py);

# Debian has PgBouncer where only root's PATH leads.
$ENV{PATH} = "$ENV{PATH}:/usr/sbin";

# What a program says, both ways; its status is in $?.
sub output
{
	my ($input, @command) = @_;

	my $output = '';
	eval { IPC::Run::run(\@command, '<', \$input, '>&', \$output) } // ($? = -1);
	return $output;
}

# An example with other hosts and ports; each must have been there.
sub replaced
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, %with) = @_;
	my $text = $file{$name};

	foreach my $old (sort keys %with)
	{
		ok($text =~ s/\Q$old\E/$with{$old}/, "$name has: $old");
	}
	return $text;
}

# ---------- The files ----------

SKIP:
{
	output('', $python, '-c', 'import yaml');
	skip "$python has no yaml", 3 if $? != 0;
	foreach my $name (grep { /\.yml$/ } sort keys %file)
	{
		my $complaint = output($file{$name}, $python, '-c', 'import sys, yaml; yaml.safe_load(sys.stdin)');
		is($complaint, '', "$name is YAML");
	}
}

my %commands = map { $_ => join "\n", $file{$_} =~ /(docker compose (?:up|exec) .*)/g } 'github.yml', 'gitlab-ci.yml';
like($commands{'github.yml'}, qr/up .*--wait\n.* < targets\.sql\n.* psql .*\n.* < run\.sh\n.* < report\.sh > /, 'the stack, the targets, the budget, the runs, the reports');
is($commands{'gitlab-ci.yml'}, $commands{'github.yml'}, 'GitLab does what GitHub does');

# Comments and strings aside, what services there are, and where.
is(join(' ', $file{'docker-compose.yml'} =~ /^  (\w+):$/mg), 'db pgbouncer service', 'the services of the stack');
foreach my $library (slurp_file("$FindBin::RealBin/../../Makefile") =~ /^LIBRARIES *= *(.*)$/m ? split ' ', $1 : ())
{
	like($file{'db/Dockerfile'}, qr/ $library\S*-dev /, "the image of the server has what it takes to build with $library");
}
is(output($file{$_}, 'sh', '-n', '-s'), '', "$_ is a script") foreach 'budget.sh', 'run.sh', 'report.sh';

# The files that reports are written to, by format, are those that are kept.
my %report_of = $commands{'github.yml'} =~ / -s (\w+) < report\.sh > (\S+)$/mg;
my %kept = map { my $name = $_; $name => join ' ', sort keys %{ { map { $_ => 1 } $file{$name} =~ m{^ *(?:- |junit: )?contrib/ci/(\S+\.\S+)$}mg } } } keys %commands;
is($kept{$_}, join(' ', sort values %report_of), "$_ keeps the reports") foreach sort keys %kept;

# ---------- The project's own ----------

# What the workflow runs is a goal of make that exists, and nothing else but what a
# bare container lacks for that; and it runs every check. They take minutes to hours, so
# here it is seen that there are such goals, and by each of them that it works.
SKIP:
{
	my $top = "$FindBin::RealBin/../..";
	skip 'this is no clone of the repository', 1 if !-d "$top/.github";
	my $workflow = slurp_file("$top/.github/workflows/check.yml");
	my ($goals) = slurp_file("$top/Makefile") =~ /^SANDBOXED = (.*)$/m;
	my @commands = grep { !/^\$\{\{/ } map { /^\[(.*)\]$/ ? split(/, /, $1) : $_ } $workflow =~ /^.*\brun: (.*?)(?: \}|)$/mg;
	my %run = map { /^make ([\w-]+)(?: [A-Z]+=\w+)*$/ ? ($1 => 1) : () } @commands;

	is(join(', ', grep { !/^make / } sort { $a cmp $b } keys %{ { map { $_ => 1 } @commands } }), 'apt-get update && apt-get -qy install make', 'what is not make');
	my %goal = map { $_ => 1 } split ' ', $goals;
	is(join(' ', sort keys %run), join(' ', sort grep { /^check/ } keys %goal), 'the workflow runs every check that the Makefile has');
	foreach my $document (qw(README.md docs/install.md contrib/image/README.md))
	{
		ok($goal{$_}, "$document: make $_ is there") foreach slurp_file("$top/$document") =~ /`make (check[\w-]*)/g;
	}
	is(join(' ', $workflow =~ /name: PostgreSQL (\d+)/g), '15 16 17 18 19', 'on every version');
	if (!system qq($python -c 'import yaml' 2>/dev/null))
	{
		is(output($workflow, $python, '-c', 'import sys, yaml; yaml.safe_load(sys.stdin)'), '', 'it is YAML');
	}
}

# ---------- The stack ----------

my @running;

# Ends with the suite, however that ends.
sub start
{
	my (@command) = @_;
	my $log = PostgreSQL::Test::Utils::tempdir() . "/$command[0].log";

	push @running, IPC::Run::start(\@command, '<', \undef, '>&', $log);
	return $log;
}

sub stop_all
{
	my $status = $?;
	$_->kill_kill foreach splice @running;
	$? = $status;
}

END { stop_all() }

# What is missing to start the stack here; undef if nothing is.
sub missing
{
	foreach my $program ('pgbouncer', 'gunicorn')
	{
		return "no $program" if !grep { -x "$_/$program" } split /:/, $ENV{PATH};
	}
	output('', $python, '-c', 'import flask, psycopg, sqlalchemy');
	return $? == 0 ? undef : "$python has no flask, psycopg or sqlalchemy";
}

sub start_stack
{
	my ($node, $pgbouncer_port, $service_port) = @_;
	my $directory = PostgreSQL::Test::Utils::tempdir_short();

	append_to_file("$directory/users.txt", $file{'pgbouncer/users.txt'});
	append_to_file("$directory/pgbouncer.ini", replaced('pgbouncer/pgbouncer.ini',
		'host=db port=5432'        => 'host=' . $node->host . ' port=' . $node->port,
		'listen_addr = *'          => 'listen_addr = 127.0.0.1',
		'listen_port = 6432'       => "listen_port = $pgbouncer_port",
		'/etc/pgbouncer/users.txt' => "$directory/users.txt"));
	start('pgbouncer', "$directory/pgbouncer.ini");

	# The command line of the image, and the environment of the stack.
	my ($command) = slurp_file("$ci/service/Dockerfile") =~ /^CMD \[(.*)\]$/m;
	my @command = $command =~ /"(.*?)"/g;
	my %environment = $file{'docker-compose.yml'} =~ /^      (PG\w+): (\S+)$/mg;
	is(scalar(grep { s/0\.0\.0\.0:8000/127.0.0.1:$service_port/ } @command), 1, 'the service listens on port 8000');
	is(delete $environment{PGHOST}, 'pgbouncer', 'the service reaches the database through PgBouncer');
	is(delete $environment{PGPORT}, 6432, 'on its port');
	local @ENV{ 'PGHOST', 'PGPORT', keys %environment } = ('127.0.0.1', $pgbouncer_port, values %environment);
	return start($command[0], "--chdir=$ci/service", @command[ 1 .. $#command ]);
}

sub status_of
{
	my ($url) = @_;

	return HTTP::Tiny->new(timeout => 30, proxy => undef, http_proxy => undef)->get($url)->{status};
}

SKIP:
{
	my $missing = missing();
	skip $missing, 1 if defined $missing;
	my ($pgbouncer_port, $service_port) = map { PostgreSQL::Test::Cluster::get_free_port() } 1 .. 2;
	my $url = "http://127.0.0.1:$service_port";
	my $node = new_server('ci', heals => qr{^pool_exhaust_\d+/pool_exhaust$});
	$ENV{PYTHONDONTWRITEBYTECODE} = 1;
	my $log = start_stack($node, $pgbouncer_port, $service_port);
	my $targets = replaced('targets.sql',
		"host 'pgbouncer', port '6432'" => "host '127.0.0.1', port '$pgbouncer_port'",
		'http://service:8000'           => $url);

	$node->safe_psql('postgres', 'DROP EXTENSION pool_exhaust');
	local @ENV{qw(PGHOST PGPORT PGDATABASE)} = ($node->host, $node->port, 'postgres');
	is(output($targets, 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1'), '', 'targets.sql');
	ok(wait_until(sub { status_of("$url$_") }, 200, "$url$_"), "$_ answers") foreach '/livez', '/about', '/report';

	# The budget of the example passes; that of a pool that is too large fails the job.
	my $budget = output('', 'sh', '-c', "sh $ci/budget.sh | psql -XAtq -v ON_ERROR_STOP=1");
	is($?, 0, 'budget.sh: the example passes') or diag $budget;
	like($budget, qr/^PASS +budget on server /m, 'budget.sh: and says so');
	my $copy = PostgreSQL::Test::Utils::tempdir();
	mkdir "$copy/pgbouncer";
	append_to_file("$copy/$_", $file{$_} =~ s/,2,1$/,50,1/mr) foreach 'budget.sh', 'services.csv', 'pgbouncer/pgbouncer.ini';
	$budget = output('', 'sh', '-c', "sh $copy/budget.sh | psql -XAtq -v ON_ERROR_STOP=1");
	isnt($?, 0, 'budget.sh: a pool of 50 fails');
	like($budget, qr/pooler pgbouncer, clients, deploy: expected <= 200 connections, observed 255 connections/, 'budget.sh: and says where');

	my $reports = output($file{'run.sh'}, 'sh', '-s');
	is($?, 0, 'every run passes') or diag $reports, slurp_file($log);
	foreach my $name ($targets =~ /^CREATE SERVER (\w+)/mg)
	{
		next if $file{'run.sh'} !~ / $name$/m;
		is($node->safe_psql('postgres', "SELECT DISTINCT verdict FROM pool_exhaust_runs WHERE target = '$name'"),
			'pass', "$name is aimed at");
	}

	# Each run in each document, once.
	my @ids = split /\n/, $node->safe_psql('postgres', 'SELECT id FROM pool_exhaust_runs ORDER BY id');
	foreach my $format (sort keys %report_of)
	{
		my $report = output($file{'report.sh'}, 'sh', '-s', $format);
		is($?, 0, "report.sh $format");
		like($report, qr/(?:\brun|\|) $_\b/, "$format: run $_") foreach @ids;
	}

	# A run that fails must fail the job, and be reported.
	my $runs = $file{'run.sh'};
	ok($runs =~ s/"on_fail": "error"/$&, "fault": "miscount"/, 'run.sh has options');
	ok($runs =~ s/^run .*\n//mg, 'and runs');
	$runs =~ s/^failed=0\n\K/run saturation role\nrun saturation role\n/m;
	$reports = output($runs, 'sh', '-s');
	is($? >> 8, 1, 'a run that fails fails the job');
	is(scalar(() = $reports =~ /^ERROR: .*: fail$/mg), 2, 'with an error each') or diag $reports;
	is(scalar(() = $reports =~ /^not ok .*refusals in the ledger/mg), 2, 'and their reports');
	stop_all();
	left_nothing($node);
}

done_testing();
