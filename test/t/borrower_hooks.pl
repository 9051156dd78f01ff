# The hooks of contrib/borrower, each with the real library: a connection that an
# application has taken from its pool says which line has it, as long as it does.
# The clients are those of bench/stacks. What is not installed is skipped.
use strict;
use warnings FATAL => 'all';

use FindBin;
use IPC::Run ();
use lib $FindBin::RealBin;
use PoolExhaust;
use Pooler;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $clients = "$top/bench/clients";
my $build = PostgreSQL::Test::Utils::tempdir;
my @python = ('/usr/bin/python3', '-B');    # the system's own, which has the packages
my $jars = join ':', map { "/usr/share/java/$_.jar" } qw(HikariCP commons-dbcp2 commons-pool2 commons-logging slf4j-api postgresql);

# Debian's modules of Node are there.
$ENV{NODE_PATH} = join ':', grep { defined } $ENV{NODE_PATH}, '/usr/share/nodejs';

# "needs" is a command that succeeds where the library is; "build" makes the program.
# "with" says that what the hook says goes with the first statement, and not before it;
# "line" is the file that takes the connection.
my %stacks = (
	'SQLAlchemy'    => { needs => [ @python, '-c', 'import sqlalchemy, psycopg2' ], command => [ @python, "$clients/with_sqlalchemy.py" ], line => 'common.py', with => 1 },
	'psycopg_pool'  => { needs => [ @python, '-c', 'import psycopg_pool' ], command => [ @python, "$clients/with_psycopg_pool.py" ], line => 'common.py' },
	'node-postgres' => { needs => [ 'node', '-e', 'require("pg")' ], command => [ 'node', "$clients/with_node_postgres.js" ], line => 'common.js', with => 1 },
	'ActiveRecord'  => { needs => [ 'ruby', '-e', 'require "active_record"; require "pg"' ], command => [ 'ruby', "$clients/with_active_record.rb" ], line => 'with_active_record.rb' },
	'HikariCP'      => java('WithHikariCP'),
	'DBCP2'         => java('WithDbcp2'),
	'pgxpool'       => {
		needs   => [ 'sh', '-c', 'go version && test -d /usr/share/gocode/src/github.com/jackc/pgx/v4' ],
		build   => \&build_go,
		command => ["$build/with_pgx"],
		line    => 'with_pgx.go' });

sub java
{
	my ($program) = @_;

	return { needs => [ 'sh', '-c', "javac -version && java -version && ls $jars" =~ tr/:/ /r ], build => \&build_java, command => [ 'java', '-Xmx64m', '-cp', "$build/java:$jars", $program ], line => 'Jdbc.java' };
}

sub build_java { return [ 'javac', '-d', "$build/java", '-cp', $jars, "$top/contrib/borrower/BorrowerDataSource.java", glob "$clients/*.java" ] }

# Without modules: Debian has the packages as sources.
sub build_go
{
	mkdir "$build/$_" foreach qw(go go/src go/src/borrower);
	PostgreSQL::Test::Utils::system_or_bail('cp', "$top/contrib/borrower/pgx_borrower.go", "$build/go/src/borrower");
	return [ 'env', 'GO111MODULE=off', "GOPATH=$build/go:/usr/share/gocode", 'go', 'build', '-o', "$build/with_pgx", "$clients/common.go", "$clients/with_pgx.go" ];
}

# What a command says, or undef if it fails or is not there.
sub output_of
{
	my @command = @_;
	my $output = '';

	return eval { IPC::Run::run([@command], '<', \undef, '>&', \$output) } ? $output : undef;
}

my $node = new_server('borrowers', conf => q(
listen_addresses = '127.0.0.1'
log_statement = all
));
my $watcher = client($node, application_name => 'watcher');

if (!$watcher->query(q(SELECT count(*) FROM pg_settings WHERE name = 'pool_exhaust.borrower')))
{
	$watcher->close;
	plan skip_all => 'this server has no setting pool_exhaust.borrower';
}
$watcher->query('CREATE ROLE app LOGIN');

# ---------- A program that does what it is told ----------

my $program;

sub begin
{
	my ($stack, $dialogue, $at) = @_;
	my $uri = sprintf 'postgresql://app@127.0.0.1:%d/postgres?application_name=%s', $at, $stack =~ tr/A-Za-z/_/cr;

	$program = { in => '', out => '', errors => '' };
	$program->{run} = IPC::Run::start([ @{ $stacks{$stack}{command} }, $dialogue, $uri, 1 ], '<', \$program->{in}, '>', \$program->{out}, '2>', \$program->{errors},
		IPC::Run::timeout($PostgreSQL::Test::Utils::timeout_default));
	return;
}

# Does all that, step by step; the last step has ended when it returns.
sub follow
{
	foreach my $step (@_)
	{
		$program->{in} .= "$step\n";
		$program->{run}->pump while $program->{out} !~ /done\n/ && $program->{run}->pumpable;
		$program->{out} =~ s/.*?done\n//s or die "no answer to $step: $program->{errors}";
	}
	return;
}

sub end
{
	$program->{run}->kill_kill;
	wait_until(sub { $watcher->query(q(SELECT count(*) FROM pg_stat_activity WHERE usename = 'app')) }, 0, 'the client is gone') if !$_[0];
	return;
}

sub borrowers { return $watcher->query(q(SELECT coalesce(string_agg(borrower, ', '), 'nothing') FROM pool_exhaust_backends WHERE usename = 'app' AND borrower <> '')) }

# After these steps that has the connection. What is said at check-in may come a moment later.
sub borrower_is
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($expected, $name, @steps) = @_;

	follow(@steps);
	ok(wait_until(sub { my $borrower = borrowers(); $borrower =~ /^$expected$/ ? 'as expected' : $borrower }, 'as expected', "borrower $expected"), $name)
	  or diag $program->{errors};
	return;
}

sub log_position { return -s $node->logfile }

# The statements since then, as the server has them.
sub statements
{
	my ($since) = @_;

	return map { s/^.*?LOG:  (?:statement|execute [^:]*): //r } grep { /LOG:  (?:statement|execute)/ && !/ watcher / } split /\n/, slurp_file($node->logfile, $since);
}

# ---------- Each stack ----------

foreach my $stack (sort keys %stacks)
{
	my $its = $stacks{$stack};
	my $name = $stack =~ tr/A-Za-z/_/cr;

  SKIP:
	{
		skip "$stack is not installed", 1 if !defined output_of(@{ $its->{needs} });
		my $built = !$its->{build} || output_of(@{ $its->{build}->() });
		ok(defined $built, "$stack: the program is there") or next;
		my $line = qr/\Q$its->{line}\E:\d+/;

		begin($stack, 'dialogue', $node->port);
		borrower_is($line, "$stack: taken and used", 'take', 'ask');
		borrower_is('nothing', "$stack: given back", 'give');
		my $since = log_position();
		follow('take', 'begin', 'ask', 'commit');
		borrower_is($line, "$stack: still taken after a commit");
		borrower_is('nothing', "$stack: given back after a commit", 'give');
		follow('take', 'begin', 'ask', 'rollback', 'ask');
		borrower_is($line, "$stack: still taken after a rollback");
		borrower_is('nothing', "$stack: given back after a rollback", 'give');
		borrower_is('nothing', "$stack: given back after a transaction in between", 'take', 'ask', 'begin', 'ask', 'rollback', 'give');
		borrower_is($its->{with} ? 'nothing' : $line, "$stack: taken, in a transaction that has failed", 'take', 'begin', 'fail');
		borrower_is($line, "$stack: still taken when that is over", 'rollback', 'ask');
		borrower_is('nothing', "$stack: given back after an error", 'give');
		if ($its->{with})
		{
			ok((grep { /^SET pool_exhaust\.borrower = '$line'; \w/ } statements($since)), "$stack: it goes with the first statement");
			ok(!(grep { /^SET pool_exhaust\.borrower = '[^']+'$/ } statements($since)), "$stack: and never alone");
		}
		end();
	}
}

# ---------- SQLAlchemy, what depends on how it is used ----------

SKIP:
{
	skip 'SQLAlchemy is not installed', 1 if !defined output_of(@{ $stacks{SQLAlchemy}{needs} });
	my $line = qr/common\.py:\d+/;

	begin('SQLAlchemy', 'dialogue_autocommit', $node->port);
	borrower_is($line, 'SQLAlchemy, autocommit: taken and used', 'take', 'ask');
	borrower_is($line, 'SQLAlchemy, autocommit: still taken after an error', 'fail', 'ask');
	borrower_is('nothing', 'SQLAlchemy, autocommit: given back', 'give');
	end();
	begin('SQLAlchemy', 'dialogue', $node->port);
	follow('take', 'ask');
	my $since = log_position();
	borrower_is('nothing', 'SQLAlchemy: given back by a rollback', 'give');
	is_deeply([ statements($since) ], ['ROLLBACK'], 'SQLAlchemy: which says all that is to be said');
	end();

	skip 'there is no PgBouncer here', 1 if !Pooler::version('pgbouncer');
	my $bouncer = Pooler->new('pgbouncer', node => $node, users => { app => '' }, settings => { pool_mode => 'transaction', default_pool_size => 1 });

	begin('SQLAlchemy', 'dialogue_local', $bouncer->port);
	borrower_is($line, 'PgBouncer in transaction mode: said in a transaction', 'take', 'begin', 'ask');
	borrower_is('nothing', 'PgBouncer in transaction mode: not said after it', 'commit');
	borrower_is($line, 'PgBouncer in transaction mode: said in the next one', 'begin', 'ask');
	borrower_is('nothing', 'PgBouncer in transaction mode: given back', 'give');
	end('the server connection stays');
	begin('SQLAlchemy', 'dialogue', $bouncer->port);
	borrower_is($line, 'PgBouncer in transaction mode: what is said without LOCAL stays with the server connection', 'take', 'begin', 'ask', 'commit');
	borrower_is('nothing', 'PgBouncer in transaction mode: until it is emptied', 'give');
	end('the server connection stays');
	$bouncer->stop;
}

$watcher->close;
left_nothing($node);
done_testing();
