# A Flask service with SQLAlchemy's QueuePool under gunicorn: as people write it,
# and with its backpressure repaired.  The report says what is wrong with it.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use IO::Socket::INET;
use IPC::Run ();
use JSON::PP ();
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

# The system's own, which has the packages, whatever comes first in PATH.
my $python = '/usr/bin/python3';
my $services = "$FindBin::RealBin/../../contrib/flask";

plan skip_all => "there is no $python" if !-x $python;
foreach my $module ('flask', 'gunicorn', 'sqlalchemy', 'psycopg')
{
	IPC::Run::run([ $python, '-c', "import $module" ], '>&', \my $output)
	  or plan skip_all => "$python has no module $module";
}

my $node = new_server('flask', conf => "max_connections = 60\nautovacuum = off\n");
my $watcher = client($node);
my %gunicorns;

END
{
	my $status = $?;
	$_->{run}->kill_kill foreach grep { $_->{run} } values %gunicorns;
	$? = $status;
}

# Starts a service, and makes it a foreign server of that name.
sub serve
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, $module, @how) = @_;
	my $port = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')->sockport;
	my $log = PostgreSQL::Test::Utils::tempdir() . "/$name.log";

	local $ENV{DATABASE_URL} = 'dbname=postgres application_name=flask host=' . $node->host . ' port=' . $node->port;
	$gunicorns{$name}{log} = $log;
	$gunicorns{$name}{run} = IPC::Run::start(
		[
			$python, '-B', '-m', 'gunicorn', '--bind', "127.0.0.1:$port", '--chdir', $services,
			'--worker-tmp-dir', PostgreSQL::Test::Utils::tempdir(), @how, "$module:app"
		],
		'<', \undef, '>&', $log);
	ok(wait_until(sub { http($port, '/healthz')->{status} }, 200, "gunicorn: see $log"), "$name: it is up")
	  or BAIL_OUT(slurp_file($log));
	$watcher->query("CREATE SERVER $name FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'http', url 'http://127.0.0.1:$port',
		path '/orders', liveness_path '/healthz', other_path '/version')");
	die $watcher->message if $watcher->{error};
}

sub judge
{
	my ($name, %options) = @_;
	my $run_id = $watcher->query("SELECT pool_exhaust_start('backpressure', '$name', '" . JSON::PP->new->encode(\%options) . "')")
	  or return $watcher->message;

	verdict_of($watcher, $run_id);
	return run_outcome($watcher, $run_id);
}

sub report
{
	return $watcher->query('SELECT pool_exhaust_report()');
}

# ---------- Before: threads ----------

serve('before', 'before', '--threads', 32);
my $verdict = judge('before');
my $report = report();
note $report;
like($verdict, qr/^fail: /, 'before: it fails');
like($verdict, qr/\Q$_\E/, "before: $_") foreach 'server errors (5xx but 503)', 'errors as HTML pages', 'liveness: not 200';
like($report, qr/expected 0, observed \d+\n +an error that was not caught.* answer 503 with Retry-After; the first: 500 text\/html: <!doctype html>/,
	'before: the report says what is wrong, and shows it');
like($report, qr/it must not need the database/, 'before: and what is wrong with liveness');

# ---------- Before: one process for each request ----------

# Each has a pool of its own, so none is ever full; all wait in the kernel's queue,
# and so does a request to the liveness check.
serve('processes', 'before', '--workers', 3);
$verdict = judge('processes', response_limit_ms => 1500);
note report();
like($verdict, qr/^fail: /, 'processes: it fails');
like($verdict, qr/\Q$_\E/, "processes: $_") foreach 'requests without an answer', 'liveness: not 200';

# ---------- After ----------

serve('after', 'after', '--threads', 16);
is(judge('after'), 'pass', 'after: it passes') or diag report();
like(report(), $_, "after: $_") foreach qr/press .* 503 \d+/, qr/retry .* \/orders answers 200/, qr/one format of errors +application\/json \{error, message\}/;

foreach my $name (sort keys %gunicorns)
{
	my $gunicorn = delete $gunicorns{$name};

	$gunicorn->{run}->signal('TERM');
	$gunicorn->{run}->finish;
	unlike(slurp_file($gunicorn->{log}), qr/WORKER TIMEOUT|SIGKILL/, "$name: it ends at SIGTERM, without a kill");
}
ok(wait_for($watcher, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'flask'", 0), 'no session of theirs is left');
$watcher->close;
left_nothing($node);
done_testing();
