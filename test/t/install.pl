# What is installed, and from where: a build in another directory installs what
# one in the sources does, with documents whose links lead somewhere; one version
# is in all files; bad input gets one sentence.  Objects are copied from the build
# under test, but for one room, so that this takes seconds.
use strict;
use warnings FATAL => 'all';

use File::Basename qw(dirname);
use File::Copy ();
use File::Path qw(make_path);
use File::Temp qw(tempdir);
use FindBin;
use IPC::Run ();
use JSON::PP ();
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $room = 'src/observe/monitor/http';

# Not those of the make that runs the tests
delete @ENV{qw(MAKEFLAGS MFLAGS MAKELEVEL)};

# What a command says, both ways; its status is in $?.
sub output
{
	my @command = @_;
	my $output = '';

	IPC::Run::run(\@command, '<', \undef, '>&', \$output);
	return $output;
}

sub succeeds
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name, @command) = @_;
	my $output = output(@command);

	is($?, 0, $name) or diag($output);
}

# The files below a directory.
sub files
{
	my ($directory) = @_;

	return [ sort split /\n/, output('sh', '-c', 'cd "$0" && find . -type f', $directory) ];
}

# The functions that a library exports.
sub symbols
{
	my ($directory, $files) = @_;
	my ($library) = grep { m{/pool_exhaust\.so$} } @$files;

	return [ map { /\s([A-Z])\s(\w+)$/ ? $2 : () } split /\n/, output('nm', '-D', '--defined-only', "$directory/$library") ];
}

my $sources = tempdir(CLEANUP => 1);
my $to = tempdir(CLEANUP => 1);

# A build elsewhere
succeeds('installed from the sources', 'make', '-s', '-C', $top, 'install', "DESTDIR=$to/here");
succeeds('sources without a build', 'sh', '-c', 'tar -C "$0" -c --exclude "*.o" --exclude "*.so" Makefile META.json LICENSE README.md CHANGELOG.md pool_exhaust* src docs contrib | tar -C "$1" -x', $top, $sources);
foreach my $object (map { s{^\./}{}r } grep { /\.o$/ && !/\Q$room\E/ } @{ files($top) })
{
	next if $object !~ m{^(src/|pool_exhaust\.o)};
	make_path(dirname("$sources/b/$object"));
	File::Copy::copy("$top/$object", "$sources/b/$object") or die "could not copy $object: $!";
}
ok(!-e "$sources/b/$room", 'a directory of objects is missing');
succeeds('installed from elsewhere', 'make', '-s', '-C', "$sources/b", '-f', '../Makefile', 'VPATH=..', 'install', "DESTDIR=$to/else where");
my $here = files("$to/here");
cmp_ok(scalar(grep { /\.sql$/ } @$here), '>=', 3, 'the SQL files are installed');
is_deeply(files("$to/else where"), $here, 'and it is the same that is installed');
my $symbols = symbols("$to/here", $here);
ok((grep { $_ eq 'Pg_magic_func' } @$symbols), 'the library has symbols');
is_deeply(symbols("$to/else where", $here), $symbols, 'and that from elsewhere the same');
is_deeply([ grep { !m{^\./b/} && /\.(o|so)$/ } @{ files($sources) } ], [], 'nothing is built in the sources');
succeeds('uninstalled', 'make', '-s', '-C', "$sources/b", '-f', '../Makefile', 'VPATH=..', 'uninstall', "DESTDIR=$to/else where");
is_deeply(files("$to/else where"), [], 'nothing is left');

# The documents: what they link to is there, or only in the sources.
my ($readme) = grep { m{/pool_exhaust/README\.md$} } @$here;
my $documents = "$to/here/" . dirname($readme);
my @broken;
foreach my $document (grep { /\.md$/ } @{ files($documents) })
{
	my $from = dirname("$documents/$document");

	foreach my $link (slurp_file("$documents/$document") =~ /\]\((?!https?:)([^)#\s]+)/g)
	{
		push @broken, "$document: $link" if !-e "$from/$link" && $link !~ m{^(\.\./)?(src|bench|research)/};
	}
}
is_deeply(\@broken, [], 'the links of the documents lead to what is installed');

# One version
my ($version) = slurp_file("$top/pool_exhaust.control") =~ /^default_version = '(.*)'$/m;
my $meta = JSON::PP::decode_json(slurp_file("$top/META.json"));
my $provides = $meta->{provides}{pool_exhaust};
is($meta->{version}, "$version.0", 'the version of META.json');
is($provides->{version}, $meta->{version}, 'of what it provides');
is($provides->{file}, "pool_exhaust--$version.sql", 'and the file of that');
ok(-e "$top/$provides->{file}", 'which exists');
like(slurp_file("$top/CHANGELOG.md"), qr/\A# Changelog\n\n## \Q$version\E /, 'the first version of CHANGELOG.md');
like(slurp_file("$top/debian/changelog"), qr/\Apool-exhaust \(\Q$meta->{version}\E\) /, 'and of debian/changelog');
ok(scalar(() = glob("$top/pool_exhaust--*--$version.sql")), 'an upgrade leads to it');

# META.json has what version 1.0.0 of the PGXN Meta Spec asks for
ok(defined $meta->{$_} && $meta->{$_} ne '', "META.json: $_") foreach qw(name version abstract maintainer license provides meta-spec);
ok($meta->{name} =~ m{^[^\s/\\]{2,}$}, 'META.json: no name with blanks or slashes');
like($meta->{'meta-spec'}{version}, qr/^1\.0\.\d+$/, 'META.json: the version of the specification');
like($_, qr/^\d+\.\d+\.\d+$/, "META.json: $_ is a semantic version") foreach $meta->{version}, $provides->{version}, map { values %{ $_->{requires} } } values %{ $meta->{prereqs} };
ok((grep { $_ eq $meta->{release_status} } qw(stable testing unstable)), 'META.json: release_status');
my $resources = $meta->{resources};
is_deeply([ sort keys %$resources ], [qw(bugtracker homepage repository)], 'META.json: resources');
like($_, qr{^https://[^/\s]+(/\S*)?$}, "META.json: $_ is a URI") foreach $resources->{homepage}, $resources->{bugtracker}{web}, @{ $resources->{repository} }{qw(url web)};
is($resources->{repository}{type}, 'git', 'META.json: type of the repository');

# The archive for PGXN
SKIP:
{
	skip 'no git here', 2 if !eval { output('git', '--version') };
	my @git = ('git', '-C', $sources, '-c', 'user.name=x', '-c', 'user.email=x@example.org');
	output('rm', '-rf', "$sources/b");
	output(@git, 'init', '-q');
	output(@git, 'add', '.');
	output(@git, 'commit', '-qm', 'x');
	succeeds('make dist', 'make', '-s', '-C', $sources, 'dist', 'PG_CONFIG=false');
	my ($zip) = glob("$sources/*.zip");
	like($zip, qr{/pool_exhaust-\Q$meta->{version}\E\.zip$}, 'makes an archive with name and version');
}

# A pg_config with these answers, and the environment variable that names it.
sub pg_config
{
	my (%answers) = @_;
	my $file = "$to/pg_config";

	append_to_file("$file.new", join("\n", '#!/bin/sh', 'case $1 in', (map { "--$_) echo '$answers{$_}' ;;" } sort keys %answers), 'esac', ''));
	chmod 0755, "$file.new";
	rename "$file.new", $file or die "could not rename $file.new: $!";
	return "PG_CONFIG=$file";
}

make_path("$to/headers", "$to/none");
append_to_file("$to/headers/postgres.h", '');
append_to_file("$to/headers/pg_config.h", qq{#define PG_MAJORVERSION "17"\n});
my @bad = (
	[ 'an old PostgreSQL', qr/is that of PostgreSQL 14, and pool_exhaust needs 15 or newer: name the pg_config /, pg_config => { version => 'PostgreSQL 14.9 (Debian)' } ],
	[ 'no headers', qr/no PostgreSQL server headers: install postgresql-server-dev-NN,/, pg_config => { version => 'PostgreSQL 18rc1', 'includedir-server' => "$to/none" } ],
	[ 'no PostgreSQL', qr/no PostgreSQL server headers: install postgresql-server-dev-NN,/, arguments => ['PG_CONFIG=/none'] ],
	[ 'headers of another version', qr{is that of PostgreSQL 16, and the headers in \Q$to\E/headers are those of 17: install postgresql-server-dev-16},
		pg_config => { version => 'PostgreSQL 16.4', 'includedir-server' => "$to/headers" } ],
	[ 'no libraries', qr/no headers of libuv libmicrohttpd libcurl, or no pkg-config to find them: install pkg-config, libuv1-dev/, environment => { PKG_CONFIG_LIBDIR => "$to/none" } ],
	[ 'no sources', qr/no sources of pool_exhaust in "nowhere": name their directory with VPATH=/, arguments => ['VPATH=nowhere'] ],
	[ 'a path with a blank', qr/or build in it if there is a blank in its path/, arguments => ["VPATH=$to/else where"] ],
	[ 'a build in the sources', qr/there is a build in \Q$top\E: run "make clean" there/, arguments => [ '-C', "$to/none", "VPATH=$top" ] ]);
foreach (@bad)
{
	my ($name, $pattern, %with) = @$_;
	local %ENV = (%ENV, %{ $with{environment} // {} });
	my $said = output('make', '-n', '--no-print-directory', '-f', "$top/Makefile", @{ $with{arguments} // [] }, $with{pg_config} ? pg_config(%{ $with{pg_config} }) : ());

	isnt($?, 0, "$name: an error");
	like($said, $pattern, "$name: and what to do");
	is(() = $said =~ /\n/g, 1, "$name: in one line");
}

done_testing();
