# What poolers answer, compared with the table of docs/poolers.md: each event of
# the table is brought about, and each event that is brought about stands there.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PoolExhaust;
use Pooler;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time);

my %programs = (PgBouncer => 'pgbouncer', 'Pgpool-II' => 'pgpool', pgagroal => 'pgagroal', Odyssey => 'odyssey');
my %versions = map { $_ => Pooler::version($programs{$_}) } keys %programs;
my @present = grep { defined $versions{$_} } sort keys %versions;

plan skip_all => 'there is no pooler here' if !@present;
note "$_ $versions{$_}" foreach @present;

# Timeouts that are to run out, and those that are not, in seconds
my $soon = 1;
my $late = 100;

my $node = new_server('behind', conf => "listen_addresses = '127.0.0.1'\nmax_connections = 12\nrestart_after_crash = on\n");
my $me = getpwuid $>;
my $server = 'host=' . $node->host . ' port=' . $node->port;
my $nowhere = '127.0.0.1 port=' . PostgreSQL::Test::Cluster::get_free_port();
$node->safe_psql('postgres', $_) foreach 'CREATE ROLE limited LOGIN CONNECTION LIMIT 1', 'CREATE ROLE bob LOGIN';

# ---------- Clients ----------

# What the event under way has opened: poolers and clients, ended with it
my (@poolers, @clients);

sub pooler
{
	my ($kind, %params) = @_;

	push @poolers, Pooler->new($kind, node => $node, %params);
	return $poolers[-1];
}

# A client that must get in, and hold a server's connection if "sql" is given.
sub member
{
	my ($at, %params) = @_;
	my $sql = delete $params{sql};
	my $client = client($at, tcp => 1, %params);

	$client->query($sql) // die $client->message if $sql;
	push @clients, $client;
	return $client;
}

# Does this with a client, and says what came of it and how long it took.
sub outcome
{
	my ($act) = @_;
	my $start = time;
	my $client = eval { $act->() };
	my $died = $@;
	my %outcome = (elapsed => time - $start, client => $client);

	if (!$client)
	{
		$outcome{sqlstate} = $died =~ /Connection refused/ ? 'refused' : $died =~ /timed out waiting/ ? 'waits' : die $died;
		return \%outcome;
	}
	push @clients, $client;
	my $error = $client->{error} // {};
	$outcome{sqlstate} = defined $error->{S} ? $error->{C} : $client->{error} ? 'none' : '00000';
	$outcome{message} = defined $error->{S} ? $error->{M} : '';
	$outcome{routine} = $error->{R};
	return \%outcome;
}

# A login, and a query if "sql" is given.
sub attempt
{
	my ($at, %params) = @_;
	my $sql = delete $params{sql};

	return outcome(
		sub {
			my $client = login($at, tcp => 1, %params);
			$client->query($sql) if $sql && !$client->{error};
			return $client;
		});
}

# A query of a client that is in, or the end of the one that it has sent.
sub ask
{
	my ($client, $sql) = @_;

	return outcome(sub { $sql ? $client->query($sql) : $client->result; return $client });
}

# A wrong password, or none, for a server that asks for one in clear text
sub password
{
	my ($at, $password, %params) = @_;
	my $client = login($at, tcp => 1, %params);

	return outcome(
		sub {
			$client->_write('p' . pack('N', 5 + length $password) . "$password\0") if defined $password;
			$client->_read_until_ready;
			return $client;
		}) if $client->{stalled};
	die 'no password was asked for: ' . $client->message;
}

# A client that waits for a place: nothing comes until the place is free, and
# then it is served.
sub waits
{
	my ($at, $arrived, $free, %params) = @_;
	my $pid = fork // die "could not fork: $!";

	if (!$pid)
	{
		my $client = eval { login($at, tcp => 1, %params) };
		my $answer = $client && !$client->{error} ? $client->query('SELECT 42') : undef;
		POSIX::_exit(defined $answer && $answer eq '42' ? 0 : 1);
	}
	$arrived->();
	my $waited = waitpid($pid, POSIX::WNOHANG) == 0;
	$free->();
	waitpid $pid, 0 if $waited;
	return { sqlstate => $waited && $? == 0 ? 'waits' : 'no wait, or not served after it', elapsed => 0 };
}

sub connected
{
	my ($port) = @_;
	my $hex = sprintf '%04X', $port;

	# Established connections at this port, accepted or not
	return scalar grep { /^\s*\d+: \w+:$hex \w+:\w+ 01 / } split /\n/, slurp_file('/proc/net/tcp');
}

# Someone comes to the port of a pooler that has nothing to say of its clients.
sub one_more
{
	my ($at) = @_;
	my $before = connected($at->port);

	return sub { wait_until(sub { connected($at->port) > $before ? 1 : 0 }, 1, 'a further client') };
}

# PgBouncer shows a client that waits.
sub queued
{
	my ($at, $n) = @_;

	return sub { wait_until(sub { my $sum = 0; $sum += $_->{cl_waiting} foreach $at->show('POOLS'); $sum }, $n // 1, 'a client in the queue') };
}

# Sessions that use up the server's regular slots, or what the pooler has left
sub fill_server
{
	for (;;)
	{
		my $client = login($node, user => 'bob');
		return if $client->{error};
		push @clients, $client;
	}
}

my $busy = 'SELECT pg_sleep(600)';

# A member in the middle of a query; its backend
sub busy_member
{
	my ($at, %params) = @_;
	my $client = member($at, sql => 'SELECT 1', %params);

	$client->send($busy);
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE query = '$busy' AND state = 'active'") or die;
	return ($client, $node->safe_psql('postgres', "SELECT pid FROM pg_stat_activity WHERE query = '$busy'"));
}

# ---------- PgBouncer ----------

my %patient = (query_wait_timeout => $late, client_login_timeout => $late, server_login_retry => $late);

sub bouncer
{
	my (%params) = @_;

	$params{settings} = { %patient, default_pool_size => 1, %{ $params{settings} // {} } };
	$params{users} = { map { $_ => '' } qw(limited bob) } if !$params{users};
	return pooler('pgbouncer', %params);
}

my %events;

$events{PgBouncer} = {
	'max_client_conn reached' => sub {
		my $p = bouncer(settings => { max_client_conn => 2 });
		member($p) foreach 1, 2;
		return attempt($p);
	},
	'max_user_client_connections reached' => sub {
		my $p = bouncer(settings => { max_user_client_connections => 1 });
		member($p);
		return attempt($p);
	},
	'max_db_client_connections reached' => sub {
		my $p = bouncer(settings => { max_db_client_connections => 1 });
		member($p);
		return attempt($p, user => 'bob');
	},
	'pool in use' => sub {
		my $p = bouncer();
		my $holder = member($p, sql => 'BEGIN');
		return waits($p, queued($p), sub { $holder->close });
	},
	'pool in use, query_wait_timeout' => sub {
		my $p = bouncer(settings => { query_wait_timeout => $soon });
		member($p, sql => 'BEGIN');
		return attempt($p, sql => 'SELECT 1');
	},
	'PAUSE' => sub {
		my $p = bouncer();
		member($p, sql => 'SELECT 1')->close;
		$p->console('PAUSE');
		return waits($p, queued($p), sub { $p->console('RESUME') });
	},
	'PAUSE, query_wait_timeout' => sub {
		my $p = bouncer(settings => { query_wait_timeout => $soon });
		member($p, sql => 'SELECT 1')->close;
		$p->console('PAUSE');
		return attempt($p, sql => 'SELECT 1');
	},
	'DISABLE' => sub {
		my $p = bouncer(databases => { db => "$server dbname=postgres" });
		$p->console('DISABLE db');
		return attempt($p, database => 'db');
	},
	'KILL, idle session' => sub {
		my $p = bouncer(databases => { db => "$server dbname=postgres" });
		my $member = member($p, database => 'db', sql => 'SELECT 1');
		$p->console('KILL db');
		return ask($member, 'SELECT 1');
	},
	'KILL, session in a query' => sub {
		my $p = bouncer(databases => { db => "$server dbname=postgres" });
		my ($member) = busy_member($p, database => 'db');
		$p->console('KILL db');
		return ask($member);
	},
	'server down, first login' => sub {
		return attempt(bouncer(databases => { db => "host=$nowhere" }, settings => { client_login_timeout => $soon }), database => 'db');
	},
	'server down, query_wait_timeout' => sub {
		return attempt(bouncer(databases => { db => "host=$nowhere" }, settings => { query_wait_timeout => $soon }), database => 'db');
	},
	'server down, within server_login_retry' => sub {
		my $p = bouncer(settings => { query_wait_timeout => $soon });
		member($p, sql => 'SELECT 1');
		$node->stop('fast');
		attempt($p, sql => 'SELECT 1');
		my $outcome = attempt($p, sql => 'SELECT 1');
		$node->start;
		return $outcome;
	},
	q(session's backend crashes) => sub {
		my ($member, $pid) = busy_member(bouncer());
		kill 'KILL', $pid;
		my $outcome = ask($member);
		server_is_back($node);
		return $outcome;
	},
	'server full, first login' => sub {
		my $p = bouncer();
		fill_server();
		return attempt($p, user => 'bob', sql => 'SELECT 1');
	},
	q(role's CONNECTION LIMIT, first login) => sub {
		my $p = bouncer();
		member($node, tcp => 0, user => 'limited');
		return attempt($p, user => 'limited', sql => 'SELECT 1');
	},
	q(role's CONNECTION LIMIT, within server_login_retry) => sub {
		my $p = bouncer(settings => { query_wait_timeout => $soon });
		member($p, user => 'limited', sql => 'SELECT 1')->close;
		# The pool's own connection goes, and its place is taken.
		$node->safe_psql('postgres', q(SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'limited'));
		wait_until(sub { push @clients, login($node, user => 'limited'); sqlstate($clients[-1]) }, '00000', 'the place of limited');
		wait_until(sub { my ($pool) = grep { $_->{user} eq 'limited' } $p->show('POOLS'); $pool->{sv_idle} + $pool->{sv_used} }, 0, 'the connection lost');
		attempt($p, user => 'limited', sql => 'SELECT 1');
		return attempt($p, user => 'limited', sql => 'SELECT 1');
	},
	q(role's CONNECTION LIMIT, below pool_size) => sub {
		my $p = bouncer(settings => { default_pool_size => 2, query_wait_timeout => $soon });
		member($p, user => 'limited', sql => 'BEGIN');
		return attempt($p, user => 'limited', sql => 'SELECT 1');
	},
	'no such database in the server' => sub { return attempt(bouncer(), database => 'missing') },
	'no such database in PgBouncer'  => sub { return attempt(bouncer(databases => { db => $server }), database => 'missing') },
	'wrong password' => sub {
		return password(bouncer(settings => { auth_type => 'plain' }, users => { bob => 'secret' }), 'wrong', user => 'bob');
	},
	'no password sent' => sub {
		return password(bouncer(settings => { auth_type => 'plain', client_login_timeout => $soon }, users => { bob => 'secret' }), undef, user => 'bob');
	},
	'transaction in statement mode' => sub { return attempt(bouncer(settings => { pool_mode => 'statement' }), sql => 'BEGIN') },
	'console, no right to it'       => sub { return attempt(bouncer(), user => 'bob', database => 'pgbouncer') },
	'immediate shutdown' => sub {
		my $p = bouncer();
		my ($member) = busy_member($p);
		$p->signal($p->at_least(1, 23) ? 'QUIT' : 'TERM');
		return ask($member);
	},
	'shutdown with clients, one that waits' => sub {
		my $p = bouncer();
		busy_member($p);
		my $waiting = member($p);
		$waiting->send('SELECT 1');
		queued($p)->();
		$p->signal('INT');
		return ask($waiting);
	},
	'shutdown with clients, new login' => sub {
		my $p = bouncer();
		busy_member($p);
		$p->signal('INT');
		wait_until(sub { attempt($p)->{sqlstate} }, 'refused', 'the port closed');
		return attempt($p);
	} };

# ---------- Pgpool-II ----------

# The children that are to serve at once; reserved_connections come on top.
sub pgpool
{
	my ($children, $reserved) = @_;

	return pooler('pgpool',
		settings => { num_init_children => $children + ($reserved // 0), reserved_connections => $reserved // 0, max_pool => 1, child_life_time => 0 });
}

$events{'Pgpool-II'} = {
	'children in use, reserved_connections = 0' => sub {
		my $p = pgpool(1);
		my $holder = member($p, sql => 'SELECT 1');
		return waits($p, one_more($p), sub { $holder->close });
	},
	'children in use, reserved_connections = 1' => sub {
		my $p = pgpool(1, 1);
		member($p, sql => 'SELECT 1');
		return attempt($p);
	},
	'server down' => sub {
		my $p = pgpool(2);
		$node->stop;
		my $outcome = attempt($p);
		$node->start;
		return $outcome;
	},
	'server full' => sub {
		my $p = pgpool(2);
		fill_server();
		return attempt($p, user => 'bob');
	},
	q(role's CONNECTION LIMIT) => sub {
		my $p = pgpool(2);
		member($p, user => 'limited', sql => 'BEGIN');
		return attempt($p, user => 'limited');
	},
	'no such database' => sub { return attempt(pgpool(2), database => 'missing') },
	'shutdown, session in a query' => sub {
		my $p = pgpool(2);
		my ($member) = busy_member($p);
		$p->signal('INT');
		return ask($member);
	} };

# ---------- pgagroal ----------

sub agroal
{
	my ($connections, $timeout) = @_;

	return pooler('pgagroal', settings => { max_connections => $connections, blocking_timeout => $timeout // $late });
}

$events{pgagroal} = {
	'max_connections reached' => sub {
		my $p = agroal(1, $soon);
		member($p);
		return attempt($p);
	},
	'max_connections reached, blocking_timeout = 0' => sub {
		my $p = agroal(1, 0);
		member($p);
		return attempt($p);
	},
	'server down' => sub {
		my $p = agroal(2);
		$node->stop;
		my $outcome = attempt($p);
		$node->start;
		return $outcome;
	},
	'server full' => sub {
		my $p = agroal(2);
		fill_server();
		return attempt($p, user => 'bob');
	},
	q(role's CONNECTION LIMIT) => sub {
		my $p = agroal(2);
		member($p, user => 'limited');
		return attempt($p, user => 'limited');
	},
	'no such database' => sub { return attempt(agroal(2), database => 'missing') },
	'shutdown, idle session' => sub {
		my $p = agroal(2);
		my $member = member($p, sql => 'SELECT 1');
		$p->stop;
		return ask($member, 'SELECT 1');
	} };

# ---------- Odyssey ----------

sub odyssey
{
	my ($route, $settings) = @_;

	return pooler('odyssey', route => { pool_timeout => 1000 * $late, %$route }, settings => $settings);
}

$events{Odyssey} = {
	'pool_size in use' => sub {
		my $p = odyssey({ pool_size => 1, pool_timeout => 1000 * $soon });
		member($p, sql => 'SELECT 1');
		return attempt($p, sql => 'SELECT 1');
	},
	'pool_size in use, pool_timeout = 0' => sub {
		my $p = odyssey({ pool_size => 1, pool_timeout => 0 });
		my $holder = member($p, sql => 'SELECT 1');
		return waits($p, one_more($p), sub { $holder->close });
	},
	'client_max reached' => sub {
		my $p = odyssey({}, { client_max => 2 });
		my $last;
		for (1 .. 4)
		{
			$last = attempt($p);
			return $last if $last->{sqlstate} ne '00000';
		}
		return $last;
	},
	'client_max of the route reached' => sub {
		my $p = odyssey({ client_max => 1 });
		member($p);
		return attempt($p);
	},
	'server down' => sub {
		my $p = odyssey({ pool_timeout => 0 });
		$node->stop;
		my $outcome = attempt($p);
		$node->start;
		return $outcome;
	},
	'server full, pool_timeout = 0' => sub {
		my $p = odyssey({ pool_timeout => 0 });
		fill_server();
		return attempt($p, user => 'bob');
	},
	q(role's CONNECTION LIMIT) => sub {
		my $p = odyssey({ pool_size => 3, pool_timeout => 1000 * $soon });
		member($p, user => 'limited', sql => 'SELECT 1');
		return attempt($p, user => 'limited', sql => 'SELECT 1');
	},
	q(role's CONNECTION LIMIT, pool_timeout = 0) => sub {
		my $p = odyssey({ pool_size => 3, pool_timeout => 0 });
		member($p, user => 'limited', sql => 'SELECT 1');
		return attempt($p, user => 'limited', sql => 'SELECT 1');
	},
	q(role's CONNECTION LIMIT, client_fwd_error no) => sub {
		my $p = odyssey({ pool_size => 3, pool_timeout => 0, client_fwd_error => 'no' });
		member($p, user => 'limited', sql => 'SELECT 1');
		return attempt($p, user => 'limited', sql => 'SELECT 1');
	},
	'no such database' => sub { return attempt(odyssey({}), database => 'missing', sql => 'SELECT 1') },
	'wrong password' => sub {
		return password(odyssey({ authentication => '"clear_text"', password => '"secret"' }), 'wrong', user => 'bob');
	},
	'shutdown, idle session' => sub {
		my $p = odyssey({});
		my $member = member($p, sql => 'SELECT 1');
		$p->signal('INT');
		return outcome(sub { $member->result; return $member });
	} };

# ---------- The table ----------

# Its rows, each a hash by column, those of the poolers and versions that are here
sub table
{
	my @lines = split /\n/, slurp_file("$FindBin::RealBin/../../docs/poolers.md");
	my @columns = qw(pooler versions event when sqlstate message cause http);
	my @rows;

	foreach (@lines)
	{
		my ($cells) = /^\| ((?:PgBouncer|Pgpool-II|pgagroal|Odyssey) \| .*) \|$/ or next;
		my @cells = map { s/^\s+|\s+$//gr } split /\|/, $cells, -1;
		my %row;
		next if @cells != @columns;
		@row{@columns} = @cells;
		push @rows, \%row;
	}
	return @rows;
}

# Is the version that is here one of the row's?
sub concerns
{
	my ($row) = @_;
	my $version = $versions{ $row->{pooler} } // return 0;
	my ($bound, $major, $minor) = $row->{versions} =~ /^(from|to) (\d+)\.(\d+)$/;

	return 1 if $row->{versions} eq 'all';
	return index($version, "$row->{versions}.") == 0 if $row->{versions} =~ /^\d+\.\d+$/;
	die "docs/poolers.md: versions $row->{versions}" if !$bound;
	return Pooler::_at_least($version, $major, $minor) if $bound eq 'from';
	return !Pooler::_at_least($version, $major, $minor + 1);
}

# The cause that pool_exhaust gives this answer, and its HTTP status, by the
# tables of src/base/cause.c and cause.h
my $source = slurp_file("$FindBin::RealBin/../../src/base/cause.c");
my $list = slurp_file("$FindBin::RealBin/../../src/base/cause.h");
my @pooler_rules = $source =~ /\{(NULL|"\w{5}"), "([^"]+)", CAUSE_(\w+)\},/g;
my %http = $list =~ /ROW\(CAUSE_\w+, "(\w+)", "\w+", (\d+)/g;
my %by_routine = (InitPostgres => 'reserved_slots', InitializeSessionUserId => 'role_limit');

sub cause
{
	my ($outcome) = @_;
	my ($sqlstate, $routine, $message) = @$outcome{qw(sqlstate routine message)};

	return $sqlstate eq '53300' ? $by_routine{$routine} : undef if defined $routine;
	for (my $i = 0; $i < @pooler_rules; $i += 3)
	{
		my ($state, $text, $cause) = @pooler_rules[ $i .. $i + 2 ];

		next if $state eq 'NULL' ? $sqlstate !~ /^(?:08P01|53300)$/ : $state ne qq("$sqlstate");
		return lc $cause if index($message, $text) >= 0;
	}
	return undef;
}

sub check
{
	my ($row, $outcome) = @_;
	my $name = "$row->{pooler}: $row->{event}";

	is($outcome->{sqlstate}, $row->{when} eq 'waits' ? 'waits' : $row->{sqlstate} =~ s/`//gr, "$name: SQLSTATE");
	return if $row->{when} eq 'waits' || $row->{sqlstate} =~ /none|refused/;

	my $pattern = join '.*', map { quotemeta } split /…/, $row->{message}, -1;
	like($outcome->{message}, qr/^$pattern$/, "$name: message");
	ok(eof_soon($outcome->{client}), "$name: the connection is closed") if $row->{when} !~ /left open/;
	my $cause = cause($outcome) // '—';
	is($cause, $row->{cause}, "$name: cause");
	is($http{$cause} // '—', $row->{http}, "$name: HTTP status");

	# pgagroal counts whole seconds, and checks them twice a second.
	my $earliest = $row->{when} =~ /^at once/ ? 0 : $row->{pooler} eq 'pgagroal' ? 0.4 * $soon : 0.95 * $soon;
	like($row->{when}, qr/^at once(?:, left open)?$|^after \w+$/, "$name: the document says when");
	cmp_ok($outcome->{elapsed}, '>=', $earliest, "$name: not too early");
	cmp_ok($outcome->{elapsed}, '<', $late / 2, "$name: not too late");
}

# Nothing but the end comes, whatever is said before it.
sub eof_soon
{
	my ($client) = @_;

	return eval { 1 while defined(($client->_read_message)[0]); 1 } || diag $@;
}

my @rows = grep { concerns($_) } table();
my %rows;
push @{ $rows{ $_->{pooler} }{ $_->{event} } }, $_ foreach @rows;

# Of an event that only some versions know there may be no row.
my @documented = map { "$_->{pooler}: $_->{event}" } table();
foreach my $pooler (sort keys %events)
{
	my @missing = grep { my $event = $_; !grep { $_ eq "$pooler: $event" } @documented } sort keys %{ $events{$pooler} };
	is(join(', ', @missing), '', "$pooler: each event is in the document");
	@missing = grep { !$events{$pooler}{$_} } map { s/^\Q$pooler\E: //r } grep { /^\Q$pooler\E: / } @documented;
	is(join(', ', @missing), '', "$pooler: each row of the document is tested");
}

my $others = q(backend_type = 'client backend' AND pid <> pg_backend_pid());

# Ends what an event has left: its clients, poolers and sessions.
sub clean_up
{
	eval { $_->vanish } foreach @clients;
	$_->end foreach @poolers;
	@clients = @poolers = ();
	$node->safe_psql('postgres', "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE $others");
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE $others") or die 'sessions are left';
	return;
}

foreach my $pooler (@present)
{
	foreach my $event (sort keys %{ $events{$pooler} })
	{
		my @expected = @{ $rows{$pooler}{$event} // [] };

		is(scalar(@expected), 1, "$pooler: $event: one row of the document is of version $versions{$pooler}") or next if @expected;
		next if !@expected;

		# The login that found the pooler ready may still be in the way of the next.
		my $outcome;
		for (my $try = 0; $try < 3 && !$outcome; $try++)
		{
			clean_up() if $try > 0;
			$outcome = eval { $events{$pooler}{$event}->() };
		}
		ok($outcome, "$pooler: $event: came about") or diag $@;
		check($expected[0], $outcome) if $outcome;
		clean_up();
	}
}

left_nothing($node, killed => $versions{PgBouncer} ? 1 : 0);
done_testing();
