# The bytes of the recorder, without a server: what is written is read, and what is
# damaged does no harm. ROUNDS says how many blocks are damaged, SEED which.
use strict;
use warnings FATAL => 'all';

use FindBin;
use PostgreSQL::Test::Utils;
use Test::More;

my $top = "$FindBin::RealBin/../..";
my $dir = PostgreSQL::Test::Utils::tempdir();
my $rounds = $ENV{ROUNDS} // 5000;
my $seed = $ENV{SEED} // 1;
chomp(my $include = `pg_config --includedir-server`);
chomp(my $libraries = `pg_config --pkglibdir`);

sub compiled
{
	my ($program, @options) = @_;

	return system("cc -g -O1 @options -I'$top/src' -I'$include' -o '$dir/$program' '$top/test/recorder_bytes.c' '$top'/src/base/recorder/*.c -L'$libraries' -lpgcommon -lpgport -lm >'$dir/cc.log' 2>&1") == 0;
}

plan skip_all => 'no C compiler, or no libpgport' if !compiled('plain');
my $program = compiled('sanitized', '-fsanitize=address,undefined', '-fno-sanitize-recover=undefined') ? 'sanitized' : 'plain';
note "with $program";

local $ENV{ASAN_OPTIONS} = 'detect_leaks=0';
is(`'$dir/$program' prove $rounds $seed 2>&1`, "ok: $rounds blocks were damaged\n", "seed $seed: what is written is read, and what is damaged does no harm");
like(`'$dir/plain' file '$dir/file' 7200 1 1700000000`, qr/^(\d+)\.\d bytes a second$/, 'two hours of a busy server');
my $size = -s "$dir/file";
my $bytes_s = $size / 7200;
cmp_ok($bytes_s, '<', 128 * 1024 * 1024 / (7 * 24 * 3600), "seven days of it fit into 128 MB: $bytes_s bytes a second");

done_testing();
