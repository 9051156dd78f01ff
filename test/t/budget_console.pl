# pool_exhaust_budget_import() of kind console: a live PgBouncer declares what its
# pgbouncer.ini would declare; and a console that lies, says nothing, or never ends is
# an ERROR in time, which leaves what was declared, and no connection.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use Fake;
use JSON::PP ();
use PoolExhaust;
use Pooler;
use PostgreSQL::Test::Utils;
use Target;
use Test::More;
use Time::HiRes qw(time);

my $node = new_server('budget_console', conf => "max_connections = 40\nautovacuum = off\n");
my $client = client($node);

# The hints of messages name the options to look at.
my $look = qr/see host, port and console of the foreign server/;

sub import_sql { my ($server, $kind) = @_; return "SELECT pool_exhaust_budget_import('$server', '" . ($kind // 'console') . "')" }

# What is declared of poolers: "section name setting" to value.
sub declared
{
	my ($where) = @_;
	my $json = $client->query('SELECT coalesce(jsonb_object_agg(concat_ws($$ $$, section, name, setting), value), $${}$$) FROM pool_exhaust_declared_poolers WHERE ' . ($where // 'true'));

	return JSON::PP::decode_json($json // die $client->message);
}

sub budget
{
	my $json = $client->query("SELECT pool_exhaust_budget('json')");

	return defined $json ? JSON::PP::decode_json($json) : die $client->message;
}

# Its checks, but for those of the memory of that moment.
sub checks { return { map { $_->{name} => "$_->{outcome} $_->{observed_num} of $_->{expected_num}" } grep { $_->{name} !~ /^memory/ && $_->{outcome} ne 'skip' } @{ budget()->{checks} } } }

sub count_is { my ($sql, $n, $name) = @_; is($client->query("SELECT count(*) FROM $sql"), $n, $name) }

$client->query($_) // die $client->message
  foreach 'CREATE ROLE app LOGIN', 'CREATE ROLE tester LOGIN', 'CREATE DATABASE shop', 'GRANT EXECUTE ON FUNCTION pool_exhaust_budget_import(text, text) TO tester';

# ---------- A real one ----------

SKIP:
{
	skip 'no PgBouncer', 1 if !Pooler::version('pgbouncer');

	my $behind = 'host=' . $node->host . ' port=' . $node->port;
	my $pooler = Pooler->new('pgbouncer', node => $node,
		databases => {
			shop  => "$behind pool_size=8 max_db_connections=4",
			front => "$behind dbname=shop user=app pool_mode=transaction min_pool_size=2 reserve_pool=3",
			'odd-db' => "$behind dbname=postgres",
			back  => "$behind dbname=postgres",
			'*'   => $behind },
		settings => {
			stats_users => 'stats', pool_mode => 'transaction', max_client_conn => 50, default_pool_size => 12, reserve_pool_size => 2,
			reserve_pool_timeout => 2.5, query_wait_timeout => 10, max_user_connections => 30, auth_type => 'md5' },
		users => { app => 'app_s3cret', stats => 'stats_s3cret' });
	my %server = (kind => 'pgbouncer', host => '127.0.0.1', port => $pooler->port, dbname => 'shop');
	my %mapping = (user => 'app', password => 'app_s3cret', console_user => 'stats', console_password => 'stats_s3cret');
	my $ini = slurp_file($pooler->host . '/pgbouncer.ini') . "[users]\napp = pool_mode=session\n";
	append_to_file($pooler->host . '/pgbouncer.ini', "[users]\napp = pool_mode=session\n");
	$pooler->console('RELOAD');

	$client->query($_) // die $client->message foreach
	  q(INSERT INTO pool_exhaust_declared (service, role, database, via, pool_size) VALUES ('a', 'app', 'shop', 'pb', 9), ('b', 'app', 'front', 'pb', 40)),
	  q(INSERT INTO pool_exhaust_declared_poolers (pooler, section, setting, value) VALUES ('pb', 'pgbouncer', 'processes', '2'));
	$client->query("SELECT pool_exhaust_budget_import(\$\$$ini\$\$, 'pgbouncer:pb')") // die $client->message;
	my ($of_ini, $checks_of_ini) = (declared(), checks());
	Target::make($client, 'bouncer', \%server, \%mapping);
	my $n = $client->query(import_sql('bouncer', 'console:pb')) // die $client->message;
	my $of_console = declared();

	# "*" is not shown, and what nothing sets is.
	my %defaults = map { ("pgbouncer  $_->{key}" => $_->{value}) } grep { $_->{value} eq ($_->{default} // $_->{value}) } $pooler->show('CONFIG');
	my %expected = %$of_ini;
	delete $expected{'databases * dbname'};
	$expected{$_} //= $defaults{$_} foreach grep { exists $defaults{$_} } keys %$of_console;
	is_deeply($of_console, \%expected, 'PgBouncer: as its pgbouncer.ini declares it, and the defaults in [pgbouncer]');
	cmp_ok(scalar(grep { !exists $of_ini->{$_} } keys %$of_console), '>', 0, 'PgBouncer: there are such defaults');
	is_deeply(checks(), $checks_of_ini, 'PgBouncer: the budget is the same');
	is(join(' ', grep { / pgbouncer / } keys %$of_console), '', 'PgBouncer: the console itself is no database of it');
	count_is("pool_exhaust_declared_poolers WHERE source = 'console:pb'", $n, 'PgBouncer: so many rows are returned');
	count_is(q(pool_exhaust_declared_poolers WHERE source = 'pgbouncer:pb'), 0, 'PgBouncer: they take the place of those of its file');
	is($of_console->{'pgbouncer  processes'}, 2, 'PgBouncer: what was declared by hand stays');
	my %lints = map { ($_->{name} => $_) } grep { $_->{phase} eq 'poolers' } @{ budget()->{checks} };
	like($lints{'pooler pb, pool_size of shop'}{detail}, qr/^warning: it is never reached: max_db_connections is smaller/, 'PgBouncer: lint');
	$client->query("SELECT pool_exhaust_budget_import(\$\$$ini\$\$, 'pgbouncer:pb')") // die $client->message;
	is_deeply(declared(), $of_ini, 'PgBouncer: and its file takes the place of the console');

	# What is in force, whatever the file says
	$pooler->console('SET default_pool_size = 7');
	$client->query(import_sql('bouncer')) // die $client->message;
	is(declared("pooler = 'bouncer' AND source = 'console:bouncer'")->{'pgbouncer  default_pool_size'}, 7, 'PgBouncer: what was set on the console; and it is called as the server');
	is(declared("pooler = 'pb'")->{'pgbouncer  default_pool_size'}, 12, 'PgBouncer: what was imported by another name stands');

	# Databases of "*" are there while they are used
	my $login = client($pooler, tcp => 1, user => 'app', password => 'app_s3cret', database => 'postgres');
	$client->query(import_sql('bouncer')) // die $client->message;
	ok(exists declared("pooler = 'bouncer'")->{'databases postgres dbname'}, 'PgBouncer: a database of "*" that is used');
	$login->close;

	# Over its socket, too
	Target::make($client, 'socket', { %server, host => $pooler->host }, \%mapping);
	is($client->query(import_sql('socket')), $client->query(import_sql('bouncer')), 'PgBouncer: over its socket') or diag $client->message;

	# ---------- Rights ----------

	my $tester = client($node, user => 'tester');
	fails_with($tester, import_sql('bouncer'), '42501', [qr/permission denied for foreign server bouncer/], 'without USAGE');
	$client->query('GRANT USAGE ON FOREIGN SERVER bouncer TO tester');
	fails_with($tester, import_sql('bouncer'), '42704', [ qr/no user mapping for you on foreign server "bouncer"/, qr/CREATE USER MAPPING/ ], 'without a mapping');
	my $map = sub {
		$client->query('DROP USER MAPPING IF EXISTS FOR tester SERVER bouncer');
		$client->query("CREATE USER MAPPING FOR tester SERVER bouncer OPTIONS ($_[0])") // die $client->message;
	};
	$map->(q(user 'stats'));
	fails_with($tester, import_sql('bouncer'), '2F003', [qr/password is required/], 'without a password');
	$map->(q(user 'app', password 'app_s3cret', console_user 'stats'));
	fails_with($tester, import_sql('bouncer'), '2F003', [qr/console_password/], 'without a console_password');
	$map->(q(user 'app', password 'app_s3cret'));
	fails_with($tester, import_sql('bouncer'), '08P01', [ qr/could not log in to the console of bouncer: 08P01 not allowed/, qr/It may be that .* none of stats_users and admin_users there/ ], 'a user without the console');
	$map->(q(user 'stats', password 'wr0ng_s3cret'));
	fails_with($tester, import_sql('bouncer'), '08P01', [qr/could not log in to the console of bouncer: 08P01 .*(?:auth|password)/], 'a wrong password');
	unlike($tester->message, qr/s3cret/, 'a wrong password: it is not shown');
	$map->(q(user 'stats', password 'stats_s3cret'));
	ok(defined $tester->query(import_sql('bouncer')), 'with all that') or diag $tester->message;
	$client->query('REVOKE EXECUTE ON FUNCTION pool_exhaust_budget_import(text, text) FROM tester');
	fails_with($tester, import_sql('bouncer'), '42501', [qr/permission denied for function/], 'without EXECUTE');
	$client->query('GRANT EXECUTE ON FUNCTION pool_exhaust_budget_import(text, text) TO tester');
	$pooler->{settings}{auth_type} = 'trust';
	$pooler->restart;
	fails_with($tester, import_sql('bouncer'), '2F003', [qr/the console of bouncer does not ask for a password/], 'a console that does not ask for it');
	$tester->close;

	# ---------- Nothing is left ----------

	wait_until(sub { scalar grep { $_->{database} eq 'pgbouncer' } $pooler->show('CLIENTS') }, 1, 'PgBouncer: its console has no other client');
	my @descriptors = map {
		$client->query(import_sql('bouncer')) // die $client->message foreach 1 .. 20;
		$client->query(import_sql('absent')) foreach 1 .. 20;
		scalar(() = glob '/proc/' . backend_pid($client) . '/fd/*');
	} 1 .. 2;
	is($descriptors[1], $descriptors[0], 'PgBouncer: no descriptor is left');
	$pooler->stop;
	fails_with($client, import_sql('bouncer'), '08001', [ qr/could not log in to the console of bouncer: .*refused/i, qr/A PgBouncer must listen/ ], 'PgBouncer: it is down');
	count_is(q(pool_exhaust_declared_poolers WHERE pooler = 'bouncer') . q( AND setting = 'default_pool_size'), 1, 'PgBouncer: what was declared stays');
	count_is(q(pool_exhaust_declared_poolers AS p WHERE p::text LIKE '%s3cret%'), 0, 'PgBouncer: no password is kept');
	unlike(slurp_file($node->logfile), qr/(?:could not|console of).*s3cret/, 'PgBouncer: and none logged with an error');
}

# ---------- Consoles that only seem to be some ----------

my %config = (pool_mode => 'session', max_client_conn => 100, default_pool_size => 20, reserve_pool_size => 0, query_wait_timeout => 120);
my @config_columns = qw(key value default changeable);
my @database_columns = qw(name database force_user pool_size pool_mode);

sub config
{
	my %with = (%config, @_);

	return rows(\@config_columns, map { [ $_, $with{$_}, $with{$_}, 'yes' ] } sort keys %with);
}

# By what is shown: how a console answers, unless it says otherwise.
my %usual = (
	CONFIG    => config(),
	DATABASES => rows(\@database_columns, [ 'shop', 'shop', undef, 20, undef ]),
	USERS     => rows([ 'name', 'pool_mode' ], [ 'app', undef ]),
	PEERS     => trouble(S => 'ERROR', C => '08P01', M => q(invalid command 'SHOW PEERS', use SHOW HELP;)) . ready());    # until 1.18

sub console
{
	my %answers = (%usual, @_);

	return sub {
		my ($socket, $packet) = @_;

		say_to($socket, $answers{ ($packet =~ /SHOW (\w+)/)[0] } // trouble(S => 'ERROR', C => '08P01', M => 'what?') . ready());
	};
}

sub databases { return console(DATABASES => rows(\@database_columns, @_)) }

my $long = 0x5fff_ffff;
my $stuff = 'x' x 100_000;
my ($head) = rows([ 'key', 'value' ]) =~ /^(.*?)C\0\0\0/s;
my $hostile = "no\e[31m\e]0;title\a\rPASS\n\x7f\b caf\xc3\xa9 \xe2\x80\xaeevil\xe2\x80\xa8line\xc2\x9b2J";
my $no_hint = qr/\A[^\n]*\z/;
my $invalid = sub { return trouble(S => 'ERROR', C => '08P01', M => "invalid command '$_[0]', use SHOW HELP;") . ready() };

# A row a second, without end
sub trickle
{
	my ($socket) = @_;

	syswrite $socket, $head;
	1 while select(undef, undef, undef, 0.2) == 0 && syswrite $socket, message('D', pack('nN', 2, 1) . 'x' . pack('N', 1) . 'y');
}

# By the name of the console: what it says to a login, what to a query; then the
# SQLSTATE, and patterns of the message.  Without these it is good.
my %consoles = (
	good     => [ welcome(), console() ],
	quiet    => [ '', '', '08001', qr/could not log in to the console of bad: no answer in time/, qr/it has 5 s for a login or an answer, and 20 s for everything/ ],
	closes   => [ undef, '', '08001', qr/could not log in to the console of bad: .*closed the connection/ ],
	web      => [ "HTTP/1.1 400 Bad Request\r\n\r\n", '', '08001', qr/expected authentication request/ ],
	denied   => [ trouble(S => 'FATAL', C => '42501', M => $hostile), '', '42501', qr/console of bad: 42501 no\?\[31m\?\]0;title\? PASS/, qr/stats_users/ ],
	full     => [ trouble(S => 'FATAL', C => '08P01', M => 'no more connections allowed (max_client_conn)'), '', '08P01', qr/max_client_conn/, $no_hint ],
	success  => [ trouble(S => 'FATAL', C => '00000', M => 'all is well'), '', '08001', qr/00000 all is well/ ],
	mute     => [ welcome(), '', '08001', qr/could not ask the console of bad: no answer in time/ ],
	trickle  => [ welcome(), \&trickle, '08001', qr/could not ask the console of bad: no answer in time/ ],
	bytes    => [ welcome(), "\x01" x 1000, '08001', qr/could not ask the console of bad: ./ ],
	dies     => [ welcome(), trouble(S => 'FATAL', C => '57P01', M => 'going'), '57P01', qr/could not ask the console of bad: 57P01 going/, $no_hint ],
	no_users => [ welcome(), console(USERS => $invalid->('SHOW USERS')), '08P01', qr/08P01 SHOW USERS: invalid command/, qr/It may be that .*stats_users/ ],
	no_right => [ welcome(), console(PEERS => trouble(S => 'ERROR', C => '08P01', M => 'admin access needed') . ready()), '08P01', qr/08P01 SHOW PEERS: admin access needed/ ],
	other_state => [ welcome(), console(PEERS => trouble(S => 'ERROR', C => '42601', M => q(invalid command 'SHOW PEERS')) . ready()), '42601', qr/42601 SHOW PEERS: invalid command/, $no_hint ],
	fatal_peers => [ welcome(), console(PEERS => trouble(S => 'FATAL', C => '08P01', M => q(invalid command 'SHOW PEERS')) . ready()), '08P01', qr/08P01 SHOW PEERS: invalid command/ ],
	ends_peers => [ welcome(), console(PEERS => trouble(S => 'FATAL', C => '57P01', M => 'going')), '57P01', qr/could not ask the console of bad: 57P01 going/ ],
	cut_peers => [ welcome(), console(PEERS => trouble(S => 'ERROR', C => '08P01', M => q(invalid command 'SHOW PEERS'))), '08P01', qr/could not ask the console of bad: 08P01 invalid command/ ],
	angry    => [ welcome(), trouble(S => 'ERROR', C => '42501', M => $hostile) . ready(), '42501', qr/42501 SHOW CONFIG: no\?\[31m\?/, qr/stats_users/ ],
	copy     => [ welcome(), message('G', pack 'Cn', 0, 0), '08001', qr/could not ask the console of bad: ./ ],
	no_rows  => [ welcome(), message('C', "SHOW\0") . ready(), '08P01', qr/SHOW CONFIG on the console of bad: there is no column "key"/, $look ],
	empty    => [ welcome(), console(CONFIG => rows(\@config_columns)), '08P01', qr/SHOW CONFIG on the console of bad: there is no pool_mode/, $look ],
	negative => [ welcome(), console(CONFIG => config(default_pool_size => -7)), '08P01', qr/default_pool_size is "-7"/, qr/It must be a number from 0 to 1000000\./ ],
	huge     => [ welcome(), console(CONFIG => config(max_client_conn => '9' x 400)), '08P01', qr/max_client_conn is "9{60}\.\.\."/ ],
	nan      => [ welcome(), console(CONFIG => config(max_client_conn => 'nan')), '08P01', qr/max_client_conn is "nan"/ ],
	null     => [ welcome(), console(CONFIG => config(max_client_conn => undef)), '08P01', qr/max_client_conn is ""/ ],
	mode     => [ welcome(), console(CONFIG => config(pool_mode => $hostile)), '08P01', qr/pool_mode is "no\?\[31m/, qr/one of: session, transaction, statement/ ],
	no_name  => [ welcome(), console(DATABASES => rows(['pool_size'], [1])), '08P01', qr/SHOW DATABASES on the console of bad: there is no column "name"/, $look ],
	sized    => [ welcome(), databases([ 'x', 'x', undef, 'many', undef ]), '08P01', qr/SHOW DATABASES .*: pool_size is "many"/ ],
	many     => [ welcome(), databases(map { [ "d$_", 'x', undef, 20, undef ] } 1 .. 10_001), '54000', qr/more than 10000/, qr/Import its pgbouncer\.ini, as kind pgbouncer/ ],
	user     => [ welcome(), console(USERS => rows([ 'name', 'max_user_connections' ], [ 'app', '-1' ])), '08P01', qr/SHOW USERS on the console of bad: max_user_connections is "-1"/ ],
	rows     => [ welcome(), endless($head, message('D', pack('nN', 2, 20_000) . 'x' x 20_000 . pack('N', 1) . 'y')), '08001', qr/sent more than is kept: at most 64 MB/ ],
	long_row => [ welcome(), endless($head . 'D' . pack('NnN', $long, 2, $long - 20), $stuff), '08001', qr/sent more than is kept/ ],
	columns  => [ welcome(), endless('T' . pack('Nn', $long, 30_000), $stuff), '08001', qr/sent more than is kept/ ],
	notices  => [ welcome(), endless('', message('N', "SNOTICE\0C00000\0M" . 'x' x 1000 . "\0\0") x 100), '08001', qr/no answer in time/ ],
	parameters => [ endless(message('R', pack('N', 0)), sub { message('S', "p$_[0]\0" . 'x' x 20_000 . "\0") }), '', '08001', qr/sent more than is kept/ ],

	# What newer versions show, and what these leave out
	newer => [ welcome(), console(
		CONFIG => config(min_pool_size => 0, max_user_connections => 7, max_db_client_connections => 0, max_user_client_connections => 9),
		DATABASES => rows([qw(name database force_user pool_size min_pool_size reserve_pool_size pool_mode max_connections max_client_connections)],
			[ 'shop', 'other', 'app', 20, 0, 4, 'session', 6, 60 ], [ 'pgbouncer', 'pgbouncer', 'pgbouncer', 2, 0, 0, 'statement', 0, 0 ]),
		USERS => rows([qw(name pool_size reserve_pool_size pool_mode max_user_connections max_user_client_connections)],
			[ 'app', '       20', '        3', 'statement', 8, 9 ], [ 'plain', '', '', undef, 7, 9 ]),
		PEERS => rows([qw(peer_id host port pool_size)], map { [ $_, '/tmp', 6432, 20 ] } 1 .. 3)) ],

	# What cannot be called so here is left out, where it would be something
	named => [ welcome(), console(
		DATABASES => rows(\@database_columns, [ 'shop', 'shop', undef, 20, undef ], [ $hostile, 'x', undef, 1, undef ], [ "caf\xe9", 'x', undef, 1, undef ],
			[ '', 'x', undef, 1, undef ], [ 'x', 'x' x 5_000_000, undef, 1, undef ], [ 'y', 'y', "\e[1m", 1, undef ]),
		USERS => rows([ 'name', 'pool_mode' ], [ 'app', undef ], [ 'u' x 63, 'session' ], [ 'u' x 64, undef ], [ 'u' x 127, undef ], [ 'u' x 100, 'statement' ], [ "\e", undef ])) ]);

my $ended = PostgreSQL::Test::Utils::tempdir() . '/ended';

# Says what that console says, and notes when its client has gone.
sub serve
{
	my ($socket) = @_;

	sysread($socket, my $packet, 65536) or return;
	my ($database) = $packet =~ /\0database\0([^\0]*)\0/ or return;
	my ($login, $query) = @{ $consoles{$database} // return };
	return if !defined $login;
	say_to($socket, $login);
	while (sysread($socket, $packet, 65536))
	{
		last if $packet =~ /^X/;
		say_to($socket, $query, $packet) if $packet =~ /^Q/;
		return if $database eq 'dies' || ($database =~ /^(?:ends|cut)_peers$/ && $packet =~ /SHOW PEERS/);
	}
	append_to_file($ended, "$database\n");
}

sub ends { my ($console) = @_; return -e $ended ? scalar grep { $_ eq $console } split /\n/, slurp_file($ended) : 0 }

my $port = fake_server(\&serve);
my %mapping = (user => 'app', password => 'app_s3cret');

sub aim_at
{
	my ($console, %options) = @_;

	Target::make($client, 'bad', { kind => 'pgbouncer', host => '127.0.0.1', port => $port, dbname => 'shop', console => $console, %options }, \%mapping);
}

$client->query('DELETE FROM pool_exhaust_declared_poolers');
aim_at('good');
is($client->query(import_sql('bad')), 6, 'a good one: its rows') or diag $client->message;
my $before = declared();
is_deeply($before, { 'databases shop dbname' => '', map { ("pgbouncer  $_" => $config{$_}) } keys %config }, 'a good one: what it declares');

my $pid = backend_pid($client);
foreach my $console (sort grep { defined $consoles{$_}[2] } keys %consoles)
{
	my (undef, undef, $sqlstate, @patterns) = @{ $consoles{$console} };

	aim_at($console);
	my $begin = time;
	fails_with($client, import_sql('bad'), $sqlstate, \@patterns, "$console console");
	cmp_ok(time - $begin, '<', 20, "$console console: in time");
	unlike($client->message, qr/s3cret/, "$console console: no password");
	is_printable($client->message, "$console console");
}
is_deeply(declared(), $before, 'what was declared stays');
is(backend_pid($client), $pid, 'in the same session');
my ($peak) = slurp_file("/proc/$pid/status") =~ /^VmHWM:\s+(\d+) kB/m;
cmp_ok($peak, '<', 400_000, 'its memory, in kB, whatever was sent');

aim_at('newer');
ok(defined $client->query(import_sql('bad'))) or diag $client->message;
is_deeply(declared(), {
		'pgbouncer  processes' => 3, 'pgbouncer  min_pool_size' => 0, 'pgbouncer  max_user_connections' => 7, 'pgbouncer  max_db_client_connections' => 0, 'pgbouncer  max_user_client_connections' => 9,
		'databases shop dbname' => 'other', 'databases shop user' => 'app', 'databases shop reserve_pool_size' => 4, 'databases shop pool_mode' => 'session',
		'databases shop max_db_connections' => 6, 'databases shop max_db_client_connections' => 60,
		'users app pool_size' => 20, 'users app reserve_pool_size' => 3, 'users app pool_mode' => 'statement', 'users app max_user_connections' => 8,
		map { ("pgbouncer  $_" => $config{$_}) } keys %config },
	'a newer one: what it declares');

# What is declared by hand stays, and is counted
$client->query("INSERT INTO pool_exhaust_declared_poolers (pooler, section, name, setting, value) VALUES $_") // die $client->message
  foreach q(('hand', 'pgbouncer', '', 'processes', '5')), q(('hand', 'users', 'app', 'max_user_connections', '2')), q(('hand', 'users', 'app', 'pool_mode', 'session')),
  q(('hand', 'users', 'batch', 'max_user_connections', '3')), q(('elsewhere', 'users', 'app', 'pool_size', '1'));
my $shown = $client->query(q(SELECT count(*) FROM pool_exhaust_declared_poolers WHERE source = 'console:bad'));
$client->notices;
foreach my $time ('first', 'again')
{
	is($client->query(import_sql('bad', 'console:hand')), $shown - 3, "by hand, $time: the other rows") or diag $client->message;
	is(join("\n", $client->notices), '3 rows of the document are declared by hand as well, and those of source sql are kept', "by hand, $time: a notice");
	my $hand = declared("pooler = 'hand' AND source = 'sql'");
	is_deeply($hand, { 'pgbouncer  processes' => 5, 'users app max_user_connections' => 2, 'users app pool_mode' => 'session', 'users batch max_user_connections' => 3 }, "by hand, $time: it stays");
	my $of_both = declared("pooler = 'hand'");
	is_deeply($of_both, { %{ declared("pooler = 'bad'") }, %$hand }, "by hand, $time: beside what is imported");
}
$client->query(q(DELETE FROM pool_exhaust_declared_poolers WHERE pooler <> 'bad'));

aim_at('named');
$client->notices;
is($client->query(import_sql('bad')), 7, 'names that are not possible: the other rows') or diag $client->message;
is_deeply(declared(), { %$before, 'users ' . 'u' x 63 . ' pool_mode' => 'session' }, 'names that are not possible: what it declares');
is(join("\n", $client->notices), '6 of 12 databases and users of bad have names that are not possible here, and are left out', 'names that are not possible: a notice');

# ---------- It ends when the caller wants it to ----------

foreach my $end (
	[ statement_timeout => 'mute', sub { $client->query("SET statement_timeout = '300ms'") } ],
	[ cancel => 'trickle', undef, 'pg_cancel_backend' ],
	[ cancel => 'quiet', undef, 'pg_cancel_backend' ])
{
	my ($what, $console, $prepare, $function) = @$end;
	my $name = "$what, $console console";

	aim_at($console);
	my $before = ends($console);
	$prepare->() if $prepare;
	my $begin = time;
	$client->send(import_sql('bad'));
	if ($function)
	{
		my $other = client($node);
		wait_for($other, "SELECT count(*) FROM pg_stat_activity WHERE pid = $pid AND wait_event_type = 'Extension'", 1);
		$other->query("SELECT $function($pid)");
		$other->close;
	}
	$client->result;
	is(sqlstate($client), '57014', "$name: SQLSTATE");
	cmp_ok(time - $begin, '<', 4, "$name: at once");
	$client->query('RESET statement_timeout');
	wait_until(sub { ends($console) > $before ? 1 : 0 }, 1, "$name: the connection is closed") if $console ne 'trickle';
}
{
	my $importer = client($node);
	my $importer_pid = backend_pid($importer);

	aim_at('mute');
	my $before = ends('mute');
	$importer->send(import_sql('bad'));
	wait_for($client, "SELECT count(*) FROM pg_stat_activity WHERE pid = $importer_pid AND wait_event_type = 'Extension'", 1);
	$client->query("SELECT pg_terminate_backend($importer_pid)");
	$importer->result;
	is(sqlstate($importer), '57P01', 'terminated: SQLSTATE');
	ok(wait_until(sub { ends('mute') > $before ? 1 : 0 }, 1, 'the end'), 'terminated: the connection is closed');
	$importer->close;
}

# An ERROR that is caught leaves nothing behind, either.
aim_at('negative');
my @descriptors = map {
	$client->query('DO $$BEGIN FOR i IN 1..20 LOOP BEGIN PERFORM pool_exhaust_budget_import($s$bad$s$, $s$console$s$); EXCEPTION WHEN OTHERS THEN END; END LOOP; END$$');
	scalar(() = glob "/proc/$pid/fd/*");
} 1 .. 2;
is($descriptors[1], $descriptors[0], 'caught errors: no descriptor is left');

# ---------- No console, and no such server ----------

fails_with($client, import_sql('absent'), '42704', [ qr/there is no foreign server "absent" of pool_exhaust/, qr/Name one of kind pgbouncer/ ], 'no such server');
fails_with($client, import_sql(''), '42704', [qr/there is no foreign server "" of pool_exhaust/], 'no name');
fails_with($client, import_sql('x' x 64), '22023', [ qr/must be the name of a foreign server, and is another text, of 64 bytes/, qr/kind pgbouncer/ ], 'a long name');
fails_with($client, q(SELECT pool_exhaust_budget_import('host=x password=s3cret', 'console')), '22023', [qr/is another text, of 22 bytes/], 'no name, but a secret');
unlike($client->message, qr/s3cret/, 'no name, but a secret: it is not shown');
$client->query(q(CREATE SERVER other FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'postgres', host '127.0.0.1')));
$client->query(q(CREATE USER MAPPING FOR CURRENT_USER SERVER other OPTIONS (user 'app')));
fails_with($client, import_sql('other'), '42809', [ qr/foreign server "other" is of kind postgres, which has no console/, qr/Name one of kind pgbouncer/ ], 'another kind');
$client->query('CREATE FOREIGN DATA WRAPPER foreigner');
$client->query('CREATE SERVER foreigner FOREIGN DATA WRAPPER foreigner');
fails_with($client, import_sql('foreigner'), '42704', [qr/no foreign server "foreigner" of pool_exhaust/], 'another wrapper');
aim_at('good', host => 'nowhere.invalid');
fails_with($client, import_sql('bad'), '08001', [qr/could not find the console of bad: host name "nowhere.invalid": /], 'a host that has no address');
aim_at('good', port => PostgreSQL::Test::Cluster::get_free_port());
fails_with($client, import_sql('bad'), '08001', [qr/could not log in to the console of bad: .*refused/i], 'a port where nothing listens');
aim_at('good', host => 'localhost');
ok(defined $client->query(import_sql('bad')), 'a host with several addresses') or diag $client->message;

# Names that look like another text, or that a terminal obeys
my $tester = client($node, user => 'tester');
foreach my $name ('host=x', "odd \e[7m server", name_in($node, "odd \e[7m\nserver"))
{
	my $shown = $name =~ tr/\e\n\x0b/?  /r;
	my $make = sub {
		my ($console) = @_;
		$client->query($_) // die $client->message
		  foreach "DROP SERVER IF EXISTS \"$name\" CASCADE", "CREATE SERVER \"$name\" FOREIGN DATA WRAPPER pool_exhaust OPTIONS (kind 'pgbouncer', host '127.0.0.1', port '$port', console '$console')",
		  "CREATE USER MAPPING FOR CURRENT_USER SERVER \"$name\" OPTIONS (user 'app')";
	};

	$make->('angry');
	fails_with($client, import_sql($name), '42501', [qr/could not ask the console of \Q$shown\E: 42501 SHOW CONFIG/], "server $shown");
	is_printable($client->message, "server $shown");
	$make->('empty');
	fails_with($client, import_sql($name), '08P01', [qr/SHOW CONFIG on the console of \Q$shown\E: /], "server $shown, console empty");
	is_printable($client->message, "server $shown, console empty");
	fails_with($tester, import_sql($name), '42501', [qr/permission denied for foreign server \Q$shown\E/], "server $shown, without USAGE");
	is_printable($tester->message, "server $shown, without USAGE");
	$client->query("GRANT USAGE ON FOREIGN SERVER \"$name\" TO tester");
	fails_with($tester, import_sql($name), '42704', [ qr/no user mapping for you on foreign server "\Q$shown\E"/, qr/SERVER "\Q$shown\E" OPTIONS/ ], "server $shown, without a mapping");
	is_printable($tester->message, "server $shown, without a mapping");
	$make->('named');
	$client->notices;
	is($client->query(import_sql($name)), 7, "server $shown: its rows") or diag $client->message;
	is(join("\n", $client->notices), "6 of 12 databases and users of $shown have names that are not possible here, and are left out", "server $shown: a notice");
	$client->query($_) // die $client->message
	  foreach 'DELETE FROM pool_exhaust_declared', "INSERT INTO pool_exhaust_declared (service, role, database, via, pool_size) VALUES ('a', 'app', 'shop', '$name', 30)";
	my $budget = $client->query(q(SELECT string_agg(t, E'\n') FROM pool_exhaust_budget() AS t));
	like($budget, qr/\Q$shown\E/, "server $shown: the budget names it");
	is_printable($budget, "server $shown: the budget");
	$client->query("DROP SERVER \"$name\" CASCADE");
	fails_with($client, import_sql($name), $name =~ /[=\n]/ ? '22023' : '42704', [qr/is another text|there is no foreign server "\Q$shown\E"/], "server $shown, which is gone");
	is_printable($client->message, "server $shown, which is gone");
}
$tester->close;

$client->close;
left_nothing($node);
done_testing();
