# Servers that only seem to be some: what they say, byte by byte, for the suites in
# this directory. Each is a process of the test, with one more for each client, and
# ends with it.
package Fake;

use strict;
use warnings FATAL => 'all';

use Encode ();
use Exporter 'import';
use IO::Socket::INET;
use POSIX ();
use Test::More;

our @EXPORT = qw(endless fake_server is_printable message ready rows say_to serve_with trouble welcome);

my @fakes;

# ---------- What they say ----------

sub message { my ($type, $body) = @_; return $type . pack('N', 4 + length $body) . $body }
sub trouble { my (%fields) = @_; return message('E', join('', map { "$_$fields{$_}\0" } sort keys %fields) . "\0") }

sub ready { return message('Z', 'I') }
sub welcome { return message('R', pack('N', 0)) . ready() }

# The answer to a query: the names of the columns, and each row; undef is NULL.
sub rows
{
	my ($columns, @rows) = @_;
	my $value = sub { defined $_[0] ? pack('N', length $_[0]) . $_[0] : pack('N', 0xffff_ffff) };

	return message('T', pack('n', scalar @$columns) . join('', map { "$_\0" . pack('NnNnNn', 0, 0, 25, 65535, 4294967295, 0) } @$columns))
	  . join('', map { message('D', pack('n', scalar @$_) . join('', map { $value->($_) } @$_)) } @rows)
	  . message('C', "SELECT\0") . ready();
}

# Writes this, and then that again and again, to a client that takes it.
sub endless
{
	my ($first, $again) = @_;

	return sub {
		my ($socket) = @_;
		my ($bytes, $n) = ($first, 0);

		while (length $bytes)
		{
			my $written = syswrite $socket, $bytes or return;
			substr $bytes, 0, $written, '';
			$bytes = ref $again ? $again->($n++) : $again if !length $bytes;
		}
	};
}

# Says it: bytes, or what writes them, for the packet that it answers.
sub say_to
{
	my ($socket, $what, $packet) = @_;

	return ref $what ? $what->($socket, $packet) : syswrite($socket, $what);
}

# ---------- The servers ----------

# A process that listens on loopback and calls "serve" with the socket of each client,
# in a process of its own; returns the port.
sub fake_server
{
	my ($serve) = @_;
	my $listener = IO::Socket::INET->new(Listen => 100, LocalAddr => '127.0.0.1', Proto => 'tcp') or die "could not listen: $!";

	serve_with(
		sub {
			$SIG{CHLD} = 'IGNORE';
			while (1)
			{
				my $socket = $listener->accept or next;
				next if fork // die "could not fork: $!";
				local $SIG{PIPE} = 'IGNORE';
				eval { $serve->($socket) };
				POSIX::_exit(0);
			}
		});
	return $listener->sockport;
}

# Runs that in a process which ends with the test.
sub serve_with
{
	my ($run) = @_;
	my $pid = fork // die "could not fork: $!";

	if (!$pid)
	{
		@fakes = ();
		eval { $run->() };
		warn "a fake server: $@";
		POSIX::_exit(1);
	}
	push @fakes, $pid;
}

END { kill 'KILL', @fakes }

# ---------- What is shown of it ----------

# No control character but line feeds between lines, nothing that is not UTF-8, and
# none of its own that turn directions, separate lines, or are controls.
sub is_printable
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($text, $name) = @_;
	my $characters = eval { Encode::decode('UTF-8', my $copy = $text, Encode::FB_CROAK) };

	ok(defined $characters, "$name: is UTF-8");
	is(join(' ', map { sprintf '%02x', ord } ($characters // '') =~ /[^\P{Cc}\n]|[\x{61c}\x{200e}\x{200f}\x{2028}-\x{202e}\x{2066}-\x{2069}]/g), '', "$name: is printable");
}

1;
