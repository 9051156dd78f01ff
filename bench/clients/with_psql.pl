#!/usr/bin/perl
# psql and pg_dump; see common.py.
use strict;
use warnings;

use IO::Handle;
use IPC::Open2;
use POSIX ();

my ($name, $conninfo, $threshold_s) = @ARGV;
$| = 1;
delete @ENV{qw(PGAPPNAME PGOPTIONS)};

# The end of standard input ends the program, also in a rest.
sub rest
{
	my ($thresholds) = @_;
	my $ready = '';
	vec($ready, fileno(STDIN), 1) = 1;
	exit if select($ready, undef, undef, $thresholds * $threshold_s) > 0;
	return;
}

# A psql that is open.
sub console
{
	my %console;
	$console{os_pid} = open2($console{out}, $console{in}, 'psql', '-XAqt', $conninfo);
	$console{pid} = ask(\%console, 'SELECT pg_backend_pid()');
	return \%console;
}

sub ask
{
	my ($console, $sql) = @_;
	print { $console->{in} } "$sql;\n";
	my $value = readline $console->{out};
	chomp $value;
	return $value;
}

my %workloads = (
	# Eight people; two of them work now and then, and the others leave theirs open.
	consoles => sub {
		my @open;
		print "ready\n";
		for my $turn (0 .. 1e6)
		{
			push @open, console() if $turn < 16 && $turn % 2 == 0;
			ask($_, 'SELECT 1') foreach grep { $_ } @open[ 0, 1 ];
			rest(0.5);
		}
	},

	# A console of the same role and without a name, as a pool has that came later.
	console_beside_pool => sub {
		my $person = console();
		print "ready\n";
		rest(2);
		my @pool = map { console() } 1 .. 5;
		for my $turn (1 .. 1e6)
		{
			ask($_, 'SELECT 1') foreach @pool;
			ask($person, 'SELECT 1') if $turn % 60 == 0;
			rest(0.25);
		}
	},

	# BEGIN, and then lunch.
	transaction => sub {
		my @open;
		print "ready\n";
		for my $turn (1 .. 3)
		{
			rest(2);
			push @open, console();
			print { $open[-1]{in} } "BEGIN;\n";
			print ask($open[-1], 'SELECT pg_backend_pid()'), " leaked transaction\n";
		}
		rest(1e6);
	},

	# Killed in their statements.
	killed => sub {
		my @open = map { console() } 1 .. 3;
		print "ready\n";
		print { $_->{in} } "SELECT pg_sleep(600);\n" foreach @open;
		rest(3);
		foreach (@open)
		{
			kill KILL => $_->{os_pid};
			waitpid $_->{os_pid}, 0;
			print "$_->{pid} leaked dead client\n";
		}
		rest(1e6);
	},

	# Each table takes long; the leader waits for its workers.
	dump => sub {
		print "ready\n";
		my $n = 0;
		while (1)
		{
			rest(1);
			my $directory = "dump.$$." . $n++;
			my $pid = fork // die "fork: $!\n";
			exec 'pg_dump', '-j2', '-Fd', '--enable-row-security', '-t', 'slow*', '-f', $directory, '-d', $conninfo or die "pg_dump: $!\n" if !$pid;
			rest(0.1) until waitpid($pid, POSIX::WNOHANG()) == $pid;
			die "pg_dump failed\n" if $?;
		}
	});

$workloads{$name}->();
