# Pgpool-II as a target of kind postgres: it refuses a client that comes when
# all its children are in use, or lets it wait, as reserved_connections says.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;

use PoolExhaust;
use Pooler;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Target;
use Test::More;

plan skip_all => 'there is no Pgpool-II here' if !Pooler::version('pgpool');

my $node = new_server('runs');
my $behind = Target::server_behind('behind');
my $watcher = client($node);

# Eight clients at once, and a ninth child to refuse the others
my $pgpool = Pooler->new('pgpool', node => $behind,
	settings => { num_init_children => 9, reserved_connections => 1, max_pool => 1, child_life_time => 0 });

sub aim
{
	my (%options) = @_;

	Target::make($watcher, 'pgpool', { kind => 'postgres', host => '127.0.0.1', port => $pgpool->port, dbname => 'postgres', %options }, { user => 'app', password => 'secret' });
}

aim(capacity => 8);
{
	my $run_id = Target::run_is($watcher, 'refused', 'pass', '', 'saturation', 'pgpool', attempts => 5);
	Target::report_has($watcher, $run_id, qr/^attempt +5 refused +pooler_clients 5 +53300 Sorry, too many clients already$/m, 'refused: in its own words');
	Target::report_has($watcher, $run_id, qr/^skip +refusals by cause/m, 'refused: what it cannot claim');
}
Target::run_is($watcher, 'storm', 'pass', '', 'storm', 'pgpool');

# By hand: all or nothing.  A login that was tried before may still be on its
# way out, so the last place is left.
{
	my $hold = $watcher->query(q(SELECT pool_exhaust_hold(7, 'pgpool'))) // diag $watcher->message;
	my $eighth;
	ok(wait_until(sub { sqlstate($eighth = login($pgpool, tcp => 1, user => 'app')) }, '00000', 'the last place'), 'hold: seven are held, and there is room for one more');
	is(sqlstate(login($pgpool, tcp => 1, user => 'app')), '53300', 'hold: but not for two');
	is($watcher->query("SELECT pool_exhaust_release($hold)"), 7, 'hold: seven are released');
	$eighth->close;
	fails_with($watcher, q(SELECT pool_exhaust_hold(9, 'pgpool')), '53300', [qr/pooler_clients/], 'hold: nine are too many');
	ok(Target::none_behind($behind), 'hold: no session is left in the server behind');
}

# ---------- As it should not be ----------

aim(capacity => 12);
Target::run_is($watcher, 'less than promised', 'fail', qr/held connections/, 'saturation', 'pgpool');
aim(capacity => 6);
Target::run_is($watcher, 'more than promised', 'fail', qr/refused attempts/, 'saturation', 'pgpool');

# The limits of the server behind are not the capacity of Pgpool-II.
aim();
$behind->safe_psql('postgres', 'GRANT pg_read_all_stats TO app');
Target::run_is($watcher, 'asked, it speaks of the server behind', 'fail', qr/held connections/, 'saturation', 'pgpool');

# Another client waits now.
aim(capacity => 8);
$pgpool->{settings}{num_init_children} = 8;
$pgpool->{settings}{reserved_connections} = 0;
$pgpool->restart;
Target::run_is($watcher, 'never refused', 'invalid', qr/nothing was refused: 1 attempts beyond 8 connections in use got no answer/, 'saturation', 'pgpool', attempts => 1);

$behind->stop;
Target::run_is($watcher, 'server behind down', 'invalid', qr/could not log in to pgpool: XX000 pooler_server_down, failed to create a backend/, 'saturation', 'pgpool');
$behind->start;
$pgpool->stop;
Target::run_is($watcher, 'down', 'invalid', qr/could not log in to pgpool: .*Connection refused/, $_, 'pgpool') foreach qw(saturation storm);

$watcher->close;
left_nothing($node);
$behind->stop;
done_testing();
