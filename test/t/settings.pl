# Whatever is set for the server, the database or all roles: a scenario passes, and a
# run takes no time that its story does not need.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

# For the server
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $node = new_server('settings', heals => qr{^pool_exhaust_\d+/pool_exhaust$}, conf => qq(
pool_exhaust.http_port = $port
max_connections = 60
track_activities = off
client_connection_check_interval = 20ms
default_transaction_isolation = 'serializable'
));

# For all roles, and for the database
my $admin = client($node);
$admin->query('CREATE DATABASE hostile');
foreach ('ALL SET lock_timeout = 10', 'ALL IN DATABASE hostile SET exit_on_error = on', 'ALL IN DATABASE hostile SET idle_session_timeout = 50')
{
	$admin->query("ALTER ROLE $_");
	is(sqlstate($admin), '00000', "ALTER ROLE $_") or diag $admin->message;
}
my %settings = (
	statement_timeout => 50,
	idle_in_transaction_session_timeout => 50,
	default_transaction_read_only => 'on',
	default_transaction_deferrable => 'on');
$settings{transaction_timeout} = 50 if $node->pg_version >= 17;

# What a client gives itself comes before all of these.
sub caller_of
{
	my ($database) = @_;

	return client($node, database => $database, options => join ' ', map { "-c $_" }
	  qw(statement_timeout=0 lock_timeout=0 idle_session_timeout=0 idle_in_transaction_session_timeout=0
	  default_transaction_read_only=off exit_on_error=off), $node->pg_version >= 17 ? 'transaction_timeout=0' : ());
}
my $caller = caller_of('hostile');
$caller->query('CREATE EXTENSION pool_exhaust');
$admin->query("ALTER DATABASE hostile SET $_ = $settings{$_}") foreach sort keys %settings;
is(sqlstate($admin), '00000', 'settings of the database') or diag $admin->message;
$admin->close;

# They are in force for others, but not for the sessions of runs.
{
	my $other = client($node, database => 'hostile');
	$other->query('SELECT pg_sleep(10)');
	like(sqlstate($other), qr/57014|25P04/, 'they are in force for others');
	$other->vanish;
}
sub outcome_of
{
	my $run_id = run_scenario($caller, @_);
	my $outcome = run_outcome($caller, $run_id);

	diag $caller->query("SELECT pool_exhaust_report($run_id)") if $outcome =~ /^fail/;
	return $outcome;
}

is(outcome_of($_), 'pass', $_) foreach qw(isolation backpressure);

# What the leak rules cannot see proves nothing of them.
sub blind { return "invalid: track_activities is off for $_[0], so no leak can be found: set it to on" }

is(outcome_of($_), blind('the server'), "$_ without track_activities") foreach qw(leak recovery endtoend);
ok(change_setting($caller, track_activities => 'on'), 'on for the server');
ok(samples($caller, 2), 'the monitor knows');
$caller->query('ALTER ROLE ALL SET track_activities = off');
is(outcome_of('leak'), blind('all roles'), 'off for all roles');
$caller->query('ALTER DATABASE hostile SET track_activities = off');
is(outcome_of('leak'), blind('the database'), 'off for the database');
$caller->query('ALTER DATABASE hostile SET track_activities = on');
is(outcome_of($_), 'pass', "$_ with it") foreach qw(leak recovery);

# What the server log does not get is not in the ledger: the views say so, and runs that need it prove nothing.
sub unseen { return $caller->query("SELECT coalesce(string_agg(cause, ' '), 'none') FROM pool_exhaust_refusals WHERE $_[0]") }
sub blind_to
{
	my $metrics = http_metrics($port);

	return join ' ', map { exists $metrics->{qq(ledger_blind_since_time_seconds{process="$_"})} ? ($_) : () }
	  grep { $metrics->{qq(ledger_blind{process="$_"})} } qw(backend walsender);
}
my $walsenders = 'child_processes walsender_limit not_accepting other_limit';
my $clients = 'child_processes too_many_clients reserved_slots role_limit database_limit not_accepting other_limit';
my $all = 'child_processes too_many_clients reserved_slots role_limit database_limit walsender_limit not_accepting other_limit';
my %levels = (fatal => [ 'none', '' ], panic => [ $all, 'backend walsender' ],
	$node->pg_version < '19devel' ? () : ("'warning, backend:panic'" => [ $clients, 'backend' ], "'warning, walsender:panic'" => [ $walsenders, 'walsender' ],
		"'panic, backend:fatal'" => [ $walsenders, 'walsender' ], "'warning, bgworker:panic'" => [ 'none', '' ]));
foreach my $level (sort keys %levels)
{
	my ($causes, $processes) = @{ $levels{$level} };
	my $from = $caller->query('SELECT clock_timestamp()');
	my $is = $processes =~ /backend/ ? qr/^invalid: log_min_messages keeps refusals out of the server log, and so out of the ledger: set it to fatal, or a level before it, for backends$/ : qr/^pass$/;

	ok(change_setting($caller, log_min_messages => $level), "log_min_messages = $level");
	ok(wait_until(\&blind_to, $processes, '/metrics'), "$level: /metrics");
	is(unseen('blind_since IS NOT NULL'), $causes, "$level: causes");
	is(unseen("blind_since NOT BETWEEN '$from' AND clock_timestamp()"), 'none', "$level: since when");
	like(http($port, '/report')->{content}, $processes =~ /backend/ ? qr/None is counted since/ : qr/\A(?!.*None is counted since)/s, "$level: /report");
	like(outcome_of('saturation', $_), $is, "$level: saturation on $_") foreach 'role', $level eq 'panic' ? 'server' : ();
	is(outcome_of('queue'), 'pass', "$level: a run that does not need it") if $level eq 'panic';
	change_setting($caller, log_min_messages => 'warning');
	ok(wait_until(\&blind_to, '', '/metrics'), "$level: it is over");
}
is($caller->query("SELECT count(*) FROM pool_exhaust_checks WHERE name = 'refusals in the ledger' AND outcome = 'skip'"), scalar(grep { $_->[1] =~ /backend/ } values %levels), 'the check of the ledger is skipped');
is($caller->query('SELECT count(*) FROM pg_db_role_setting s WHERE setrole <> 0'), 0, 'no setting is left of the roles of runs');
$caller->close;

# In a database of another encoding, too, errors of others' making are legible.
{
	my $maker = client($node);
	$maker->query("CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
	$maker->close;
	my $utf8 = "\xc3\xa9l\xc3\xa8ve";	# the bytes, as a client of UTF8 sends them
	my $latin = client($node, database => 'latin', client_encoding => 'UTF8', application_name => $utf8, options => '-c lock_timeout=0');
	$latin->query('CREATE EXTENSION pool_exhaust');
	my $workload = "SELECT CAST('$utf8' AS integer)";
	my $id = $latin->query("SELECT pool_exhaust_start('queue', options => jsonb_build_object('workload', \$\$$workload\$\$::text))");
	is(sqlstate($latin), '00000', 'LATIN1: a run begins') or diag $latin->message;
	is(verdict_of($latin, $id), 'invalid', 'LATIN1: a workload that fails');
	foreach my $format (qw(text json tap))
	{
		like($latin->query("SELECT string_agg(line, E'\\n') FROM pool_exhaust_report($id, '$format') AS line"), qr/\Q$utf8\E/, "LATIN1: its error in $format");
	}
	is(run_outcome($latin, run_scenario($latin, 'saturation', 'role')), 'pass', 'LATIN1: a run passes');
	$latin->close;
}

left_nothing($node);
done_testing();
