#!/usr/bin/perl
# A server that finds pool_exhaust in the tree of the extension image, and nowhere
# else. test/image starts it.
#
#   perl test/image.pl DIRECTORY
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib "$FindBin::RealBin/t";
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $image = shift // die "usage: $0 DIRECTORY\n";
my %licensed = map { m{([^/]+)$} => 1 } glob "$image/licenses/*";

# ---------- The tree ----------

my ($shared, $installed) = map { qx(pg_config $_) =~ s/\n//r } '--sharedir', '--pkglibdir';
is(join(' ', glob "$shared/extension/pool_exhaust* $installed/pool_exhaust*"), '', 'the system has nothing of the extension');
is(join(' ', map { s{^\Q$image\E/}{}r } grep { !/--/ } glob "$image/{lib,share,share/extension}/*"),
	'lib/pool_exhaust.so share/extension share/extension/pool_exhaust.control', 'library and control file');
is(scalar(grep { !-r } glob "$image/*/*"), 0, 'all of it can be read');
my @libraries = glob "$image/system/*";
foreach my $library (qw(libuv libmicrohttpd))
{
	is(scalar(grep { m{/\Q$library\E[.-]} } @libraries), 1, "$library is in the image");
	is(scalar(grep { /^\Q$library\E/ } keys %licensed), 1, 'and so is its licence');
}
ok($licensed{pool_exhaust}, 'and that of the extension');
is(join(' ', map { m{([^/]+)$} } grep { m{/lib(?:pq|c|ssl|crypto)\.so} } @libraries), '', 'what the server has by itself is not');

# ---------- The server ----------

# Without the directory for LD_LIBRARY_PATH there is no such library.
my ($out, $error) = run_command([ 'env', 'LD_BIND_NOW=1', 'ldd', "$image/lib/pool_exhaust.so" ]);
like("$out\n$error", qr/libuv\S* => not found|libuv\S*.*(?:too short|error)/i, 'the system has not the libraries of the image');

$ENV{LD_LIBRARY_PATH} = "$image/system";
my $node = new_server('image', conf => qq(
	max_connections = 20
	extension_control_path = '\$system:$image/share'
	dynamic_library_path = '\$libdir:$image/lib'));

my $session = client($node);    # a process that ends has no libraries any more
my %mapped = map { m{\s(/\S+\.so\S*)$} ? ($1 => 1) : () } split /\n/, slurp_file('/proc/' . backend_pid($session) . '/maps');
$session->close;
is($mapped{$_}, 1, "loaded: $_") foreach "$image/lib/pool_exhaust.so", @libraries;

# pg_upgrade loads what functions name, $libdir and all.
is($node->safe_psql('postgres', q(SELECT DISTINCT probin FROM pg_proc WHERE probin LIKE '%pool\_exhaust')), '$libdir/pool_exhaust', 'the library by the name that functions have');
foreach my $target (qw(role server))
{
	my $client = client($node);

	is(until_proved(sub { report_of($client, 'saturation', $target) })->{verdict}, 'pass', "a run on $target");
	$client->close;
}
$node->safe_psql('postgres', 'CREATE DATABASE aged');
$node->safe_psql('aged', q(CREATE EXTENSION pool_exhaust VERSION '1.0'; ALTER EXTENSION pool_exhaust UPDATE));
is( $node->safe_psql('aged', q(SELECT extversion FROM pg_extension WHERE extname = 'pool_exhaust')),
	$node->safe_psql('postgres', q(SELECT extversion FROM pg_extension WHERE extname = 'pool_exhaust')), 'an older version updates');
($out, $error) = ($node->psql('postgres', q(LOAD '$libdir/pool_exhaust')))[1, 2];
note "LOAD with \$libdir: $error";

left_nothing($node);
done_testing();
