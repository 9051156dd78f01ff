# Real poolers for the suites in this directory: each runs as the user that runs
# the tests, on loopback and a free port, configured in a directory of its own,
# and ends with the test, however that ends.
package Pooler;

use strict;
use warnings FATAL => 'all';

use File::Basename qw(basename);
use IO::Socket::INET;
use IO::Socket::UNIX;
use IPC::Run ();
use POSIX ();
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils ();
use Socket qw(SOCK_STREAM);
use Time::HiRes qw(time);

# "version" finds the version in what the program says of itself; "configure"
# writes the files and returns the command; "stop" is the signal that ends the
# pooler although clients are connected.
my %kinds = (
	pgbouncer => {
		version   => qr/^PgBouncer (?:version )?([\d.]+)/mi,
		configure => \&_configure_pgbouncer,
		# From 1.23 on SIGTERM waits for the clients; before, SIGQUIT was not handled.
		stop => sub { _at_least($_[0]->{version}, 1, 23) ? 'QUIT' : 'TERM' },
	},
	pgpool => {
		version   => qr/version ([\d.]+)/,
		configure => \&_configure_pgpool,
		stop      => sub { 'INT' },
	},
	pgagroal => {
		version   => qr/pgagroal ([\d.]+)/,
		configure => \&_configure_pgagroal,
		stop      => sub { 'TERM' },
	},
	odyssey => {
		version   => qr/(\d+\.\d+(?:\.\d+)?)/,
		configure => \&_configure_odyssey,
		stop      => sub { 'KILL' },
	});

my %running;

# What can be had here: the version of a kind of pooler, undef where there is none.
sub version
{
	my ($kind) = @_;
	my $output = '';

	# Debian has them where only root's PATH leads.
	local $ENV{PATH} = "$ENV{PATH}:/usr/sbin";
	eval { IPC::Run::run([ $kind, '--version' ], '<', \undef, '>&', \$output, IPC::Run::timeout(60)); };
	return $output =~ $kinds{$kind}{version} ? $1 : undef;
}

# A pooler that is started; client() and login() of PoolExhaust take it like a
# server. Parameters:
#   node        the server behind it
#   settings    hash of settings of the pooler, beside those made up here
#   databases   hash, name to what PgBouncer is to connect to; by default all, on the node
#   users       hash, user to password (as the pooler keeps it), beside the user that runs the tests
#   route       Odyssey: hash of settings of the default route, beside those made up here
#   console     Odyssey: the users of its console
sub new
{
	my ($class, $kind, %params) = @_;
	my $self = bless { kind => $kind, version => version($kind), %params }, $class;

	$self->{port} = $kind eq 'pgagroal' ? _short_port() : PostgreSQL::Test::Cluster::get_free_port();
	# Short: the path of a socket may have 107 bytes.
	$self->{dir} = PostgreSQL::Test::Utils::tempdir_short();
	(my $test = basename($0)) =~ s/\.[^.]+$//;
	$self->{log} = "$PostgreSQL::Test::Utils::log_path/${test}_${kind}_$self->{port}.log";
	$self->start;
	return $self;
}

sub host { return $_[0]->{dir} }
sub port { return $_[0]->{port} }
sub name { return $_[0]->{kind} }
sub logfile { return $_[0]->{log} }

# Starts it with the settings as they are now, and returns when it answers.
sub start
{
	my ($self) = @_;
	my @command = $kinds{ $self->{kind} }{configure}->($self);

	local $ENV{PATH} = "$ENV{PATH}:/usr/sbin";
	$self->{pid} = fork // die "could not fork: $!";
	if (!$self->{pid})
	{
		# In a process group of its own: some fork a process for each client.
		POSIX::setpgid(0, 0);
		chdir $self->{dir};
		open STDIN,  '<',  '/dev/null';
		open STDOUT, '>>', $self->{log};
		open STDERR, '>&', \*STDOUT;
		{ no warnings; exec @command; }
		POSIX::_exit(127);
	}
	$running{ $self->{pid} } = $self;
	$self->_wait(
		sub {
			die "the $self->{kind} of $self->{log} has ended" if $self->_ended;
			return $self->_answers;
		},
		'answer');
	return $self;
}

# Ends it at once, whatever is connected, and returns when it is gone.
sub stop
{
	my ($self) = @_;

	$self->signal($kinds{ $self->{kind} }{stop}->($self));
	$self->gone;
}

# The same whatever state it is in, without ceremony.
sub end
{
	my ($self) = @_;

	return if $self->_ended;
	# Only Pgpool-II would leave something behind, in shared memory.
	$self->{kind} eq 'pgpool' ? $self->stop : do { $self->signal('KILL'); $self->gone };
}

# Returns when it has ended by itself, and its processes have let go of the port.
sub gone
{
	my ($self) = @_;

	$self->_wait(sub { $self->_ended && !$self->_listens }, 'end');
}

# Has its first process ended?  Then what that has left behind ends too.
sub _ended
{
	my ($self) = @_;
	my $pid = $self->{pid} // return 1;

	return 0 if waitpid($pid, POSIX::WNOHANG) == 0;
	kill 'KILL', -$pid;
	delete $running{$pid};
	delete $self->{pid};
	return 1;
}

sub restart
{
	my ($self) = @_;

	$self->stop;
	$self->start;
}

# Sends a signal to the pooler's first process.
sub signal
{
	my ($self, $signal) = @_;

	kill $signal, $self->{pid} if $self->{pid};
}

# A command of PgBouncer's console; what psql -At makes of its answer.
sub console
{
	my ($self, $command) = @_;
	# Over the socket the user that runs PgBouncer is accepted by this name, whatever auth_type is.
	my $client = PoolExhaust::Client->new($self, user => 'pgbouncer', database => 'pgbouncer');
	my $answer = $client->query($command);

	die "the console answers $command with: " . $client->message if $client->{error};
	$client->close;
	return $answer;
}

# The rows of SHOW something, each a hash by column.
sub show
{
	my ($self, $what) = @_;
	my $client = PoolExhaust::Client->new($self, user => 'pgbouncer', database => 'pgbouncer');
	my $answer = $client->query("SHOW $what") // die $client->message;
	my @columns = @{ $client->{columns} };

	$client->close;
	return map { my %row; @row{@columns} = split /\|/, $_, -1; \%row } split /\n/, $answer;
}

# Is the version at least this one?
sub at_least
{
	my ($self, @wanted) = @_;

	return _at_least($self->{version}, @wanted);
}

sub _at_least
{
	my ($version, @wanted) = @_;
	my @have = split /\./, $version;

	foreach (@wanted)
	{
		my $have = shift @have // 0;
		return $have > $_ if $have != $_;
	}
	return 1;
}

sub _wait
{
	my ($self, $condition, $what) = @_;
	my $end = time + $PostgreSQL::Test::Utils::timeout_default;

	while (!$condition->())
	{
		die "the $self->{kind} of $self->{log} does not $what" if time > $end;
		select undef, undef, undef, 0.01;
	}
}

# Its port takes a connection, and the socket of PgBouncer's console another.
sub _answers
{
	my ($self) = @_;

	return 0 if !$self->_listens;
	return $self->{kind} ne 'pgbouncer' || IO::Socket::UNIX->new(Type => SOCK_STREAM, Peer => "$self->{dir}/.s.PGSQL.$self->{port}");
}

sub _listens
{
	my ($self) = @_;

	return IO::Socket::INET->new(Proto => 'tcp', PeerAddr => '127.0.0.1', PeerPort => $self->{port});
}

sub _write
{
	my ($self, $name, @lines) = @_;
	my $path = "$self->{dir}/$name";

	open my $file, '>', $path or die "could not write $path: $!";
	print $file map { "$_\n" } @lines;
	close $file;
	chmod 0600, $path;
	return $path;
}

# "name = value" for each setting, those of the test last.
sub _lines
{
	my ($format, $ours, $theirs) = @_;
	my %settings = (%$ours, %{ $theirs // {} });

	return map { sprintf $format, $_, $settings{$_} } grep { defined $settings{$_} } sort keys %settings;
}

sub _me { return scalar getpwuid $> }

sub _configure_pgbouncer
{
	my ($self) = @_;
	my $node = $self->{node};
	my %databases = %{ $self->{databases} // { '*' => 'host=' . $node->host . ' port=' . $node->port } };
	my %users = (_me() => '', %{ $self->{users} // {} });
	my $users = $self->_write('users', map { qq("$_" "$users{$_}") } sort keys %users);
	my %settings = (
		listen_addr     => '127.0.0.1',
		listen_port     => $self->{port},
		unix_socket_dir => $self->{dir},
		auth_type       => 'trust',
		auth_file       => $users);
	my $ini = $self->_write('pgbouncer.ini',
		'[databases]', (map { "$_ = $databases{$_}" } sort keys %databases),
		'[pgbouncer]', _lines('%s = %s', \%settings, $self->{settings}));

	return ('pgbouncer', $ini);
}

sub _configure_pgpool
{
	my ($self) = @_;
	my $node = $self->{node};
	my $pcp = $self->{pcp_port} //= PostgreSQL::Test::Cluster::get_free_port();
	my %settings = (
		listen_addresses        => '127.0.0.1',
		port                    => $self->{port},
		pcp_listen_addresses    => '',
		pcp_port                => $pcp,
		pcp_socket_dir          => $self->{dir},
		pid_file_name           => "$self->{dir}/pid",
		logdir                  => $self->{dir},
		backend_clustering_mode => 'raw',
		backend_hostname0       => $node->host,
		backend_port0           => $node->port,
		backend_weight0         => 1,
		# A failing login is reported to the client, and is no reason to give up the server.
		backend_flag0             => 'DISALLOW_TO_FAILOVER',
		failover_on_backend_error => 'off');
	$settings{ $self->at_least(4, 4) ? 'unix_socket_directories' : 'socket_dir' } = $self->{dir};
	my $conf = $self->_write('pgpool.conf', _lines("%s = '%s'", \%settings, $self->{settings}));

	return ('pgpool', '-n', '-f', $conf, '-F', $self->_write('pcp.conf'), '-a', $self->_write('pool_hba.conf'));
}

sub _configure_pgagroal
{
	my ($self) = @_;
	my $node = $self->{node};
	my %settings = (
		host            => '127.0.0.1',
		port            => $self->{port},
		log_type        => 'console',
		log_level       => 'info',
		unix_socket_dir => $self->{dir},
		max_connections => 2,
		validation      => 'off',
		update_process_title => 'never');
	# With io_uring the port would stay for a while when the process has ended.
	$settings{ev_backend} = 'epoll' if $self->at_least(2);
	# 2.1 expects the server's socket under a name of its own.
	my $socket = '.s.PGSQL.' . $node->port;
	symlink $node->host . "/$socket", "$self->{dir}/$_" foreach $socket, "$socket.$self->{port}";
	my $conf = $self->_write('pgagroal.conf',
		'[pgagroal]', _lines('%s = %s', \%settings, $self->{settings}),
		'[primary]', "host = $self->{dir}", 'port = ' . $node->port);

	return ('pgagroal', '-c', $conf, '-a', $self->_write('hba', 'host all all all trust'));
}

sub _configure_odyssey
{
	my ($self) = @_;
	my $node = $self->{node};
	my %settings = (
		daemonize      => 'no',
		pid_file       => qq("$self->{dir}/pid"),
		log_to_stdout  => 'yes',
		log_format     => '"%p %t %l [%i %s] (%c) %m\n"',
		log_session    => 'yes',
		unix_socket_dir => qq("$self->{dir}"),
		unix_socket_mode => '"0644"',
		locks_dir      => qq("$self->{dir}"),
		workers        => 1,
		resolvers      => 1);
	my %route = (
		authentication   => '"none"',
		storage          => '"server"',
		pool             => '"session"',
		pool_size        => 2,
		client_fwd_error => 'yes');
	my $conf = $self->_write(
		'odyssey.conf',
		_lines('%s %s', \%settings, $self->{settings}),
		qq(listen {\n\thost "127.0.0.1"\n\tport $self->{port}\n}),
		q(storage "server" {), qq(\ttype "remote"\n\thost "127.0.0.1"\n\tport ) . $node->port, '}',
		'database default {', "\tuser default {", _lines("\t\t%s %s", \%route, $self->{route}), "\t}", '}',
		qq(storage "local" {\n\ttype "local"\n}),
		'database "console" {', "\tuser default {",
		qq(\t\tauthentication "none"\n\t\trole "admin"\n\t\tpool "session"\n\t\tstorage "local"\n\t}), '}');

	return ('odyssey', $conf);
}

# pgagroal has room for four digits, and Debian's build ends where there are more;
# so it reaches the server by its socket, too.
sub _short_port
{
	my $port = 2000 + $$ % 7000;

	$port = $port < 9999 ? $port + 1 : 2000 while !PostgreSQL::Test::Cluster::can_bind('127.0.0.1', $port);
	return $port;
}

# However the test ends.
END
{
	my $status = $?;

	eval { $_->end } foreach values %running;
	kill 'KILL', map { -$_ } keys %running;
	$? = $status;
}

1;
