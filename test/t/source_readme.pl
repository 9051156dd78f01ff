# src/README.md names files and functions: each of them is there.
use strict;
use warnings FATAL => 'all';

use File::Find qw(find);
use FindBin;
use Test::More;

my $top = "$FindBin::RealBin/../..";

sub slurp
{
	my ($file) = @_;

	open my $handle, '<', $file or die "could not read $file: $!\n";
	local $/;
	return scalar <$handle>;
}

my $readme = slurp("$top/src/README.md");
my (%sources, %seen);

find(sub { $sources{$File::Find::name} = slurp($_) if /\.[ch]$/ }, "$top/src");
foreach my $code (grep { !$seen{$_}++ } $readme =~ /`([^`\n]+)`/g)
{
	if ($code =~ m{^((?:src|test|docs|expected)/[\w/.]*)$} || $code =~ /^(pool_exhaust\.c)$/)
	{
		ok(-e "$top/$1", "$1 exists") if $1 !~ /NAME/;
	}
	elsif ($code =~ /^(\w+)\(\)$/)
	{
		my $name = $1;

		# A definition: its name begins a line, and an SQL function has its macro
		ok(scalar(grep { /^\Q$name\E\(/m } values %sources), "function $name() is defined");
	}
	elsif ($code =~ /^([A-Z][A-Z_]+S|[A-Z_]+_LIST)$/)
	{
		my $name = $1;

		ok(scalar(grep { /^#define \Q$name\E\(/m } values %sources), "list $name is defined");
	}
}

# A function that a step names beside a file is in that file.
my $pairs = 0;
while ($readme =~ /`(\w+)\(\)`\s+in\s+`(src\/[\w\/]+\.[ch])`/g)
{
	my ($name, $file) = ($1, $2);

	like($sources{"$top/$file"} // '', qr/^\Q$name\E\(/m, "$name() is in $file");
	$pairs++;
}
cmp_ok($pairs, '>', 10, 'the walks name functions with their files');

# Each room is in the table, and nothing else.
my %rooms = map { $_ => 1 } $readme =~ /^\| `(src\/[\w\/]+)\/` \|/gm;
# A directory without sources is what a build has left of an older tree.
foreach my $room (map { s{^\Q$top\E/}{}r } grep { my $room = $_; -d && grep { index($_, "$room/") == 0 } keys %sources } glob("$top/src/*"))
{
	ok($rooms{$room} || grep({ index($_, "$room/") == 0 } keys %rooms), "$room is in the table of rooms");
}

# Messages name no document: those are not installed with the extension.
foreach my $file (sort keys %sources)
{
	my @named = $sources{$file} =~ /("[^"\n]*(?:\bdocs\/|\.md\b)[^"\n]*")/g;

	is("@named", '', $file =~ s{^\Q$top\E/}{}r . ' names no document in its messages') if @named;
}
pass('messages name no document');

done_testing();
