# The order of the sources (test/arrows), and that each of its rules can be broken.
use strict;
use warnings FATAL => 'all';

use File::Temp qw(tempdir);
use FindBin;
use Test::More;

my $top = "$FindBin::RealBin/../..";
is(qx($top/test/arrows 2>&1), '', 'the sources are in order');

# What breaks: the file, what is added to it, what is said of that
my @rules = (
	[ 'an include upwards', 'load/pool/pool.h', '#include "story/story.h"', qr{^load/pool/pool.h: includes story/story.h, which is before it$}m ],
	[ 'within observe', 'observe/slots/slot.h', '#include "observe/hooks/hooks.h"', qr{^observe/slots/slot.h: includes observe/hooks/hooks.h,}m ],
	[ 'the base', 'base/text.h', '#include "shmem/shared.h"', qr{^base/text.h: includes shmem/shared.h, which}m ],
	[ 'no room', 'load/pool/pool.h', '#include "arrival.h"', qr{^load/pool/pool.h: includes arrival.h without its room$}m ],
	[ 'a room of another name', 'attic/old.h', '', qr{^attic/old.h: is in no room}m ],
	[ 'a version', 'api/run.c', '#if PG_VERSION_NUM < 180000', qr{^api/run.c:\d+: PG_VERSION_NUM belongs in base/compat.h$}m ],
	[ 'a circle', 'base/text.h', '#include "base/health.h"', qr{^a circle: base/health > base/text > base/health$}m, 'base/health.c', '#include "base/text.h"' ],
	[ 'a longer circle', 'base/text.h', '#include "base/cause.h"', qr{^a circle: base/cause > base/health > base/text > base/cause$}m,
		'base/cause.h', '#include "base/health.h"', 'base/health.c', '#include "base/text.h"' ]);

foreach (@rules)
{
	my ($name, $file, $line, $pattern, @more) = @$_;
	my $copy = tempdir(CLEANUP => 1);

	system('cp', '-r', "$top/src", $copy) == 0 or die 'could not copy the sources';
	for (my @additions = ($file, $line, @more); @additions;)
	{
		my ($path, $text) = splice @additions, 0, 2;
		mkdir "$copy/src/attic" if $path =~ /^attic/;
		open my $source, '>>', "$copy/src/$path" or die "could not write $path: $!";
		print $source "$text\n";
	}
	my $said = qx($top/test/arrows $copy 2>&1);
	isnt($?, 0, "$name: found");
	like($said, $pattern, "$name: and named");
}

done_testing();
