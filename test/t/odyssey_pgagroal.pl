# Odyssey and pgagroal as targets of kind postgres.
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

plan skip_all => 'there is neither Odyssey nor pgagroal here' if !Pooler::version('odyssey') && !Pooler::version('pgagroal');

my $node = new_server('runs');
my $behind = Target::server_behind('behind');
my $watcher = client($node);

sub aim
{
	my ($pooler, %options) = @_;

	Target::make($watcher, $pooler->name, { kind => 'postgres', host => '127.0.0.1', port => $pooler->port, dbname => 'postgres', %options }, { user => 'app', password => 'secret' });
}

SKIP:
{
	skip 'there is no Odyssey here', 1 if !Pooler::version('odyssey');
	my %route = (client_max => 8, pool_size => 20, authentication => '"clear_text"', password => '"secret"');
	my $odyssey = Pooler->new('odyssey', node => $behind, route => \%route);

	aim($odyssey, capacity => 8);
	my $run_id = Target::run_is($watcher, 'Odyssey', 'pass', '', 'saturation', 'odyssey', attempts => 5);
	Target::report_has($watcher, $run_id, qr/^attempt +5 refused +pooler_user_limit 5 +53300 odyssey: \w+: too many client tcp connections \(client_max for user postgres\.app 8\)$/m,
		'Odyssey: in its own words');
	Target::run_is($watcher, 'Odyssey', 'pass', '', 'storm', 'odyssey');

	aim($odyssey, capacity => 12);
	Target::run_is($watcher, 'Odyssey, less than promised', 'fail', qr/held connections/, 'saturation', 'odyssey');

	# Clients without a connection to the server are accepted all the same, and wait.
	aim($odyssey, capacity => 4);
	$odyssey->{route} = { %route, client_max => 100, pool_size => 4 };
	$odyssey->restart;
	Target::run_is($watcher, 'Odyssey accepts more clients than it has connections', 'invalid', qr/nothing was refused/, 'saturation', 'odyssey');

	$watcher->query(q(ALTER USER MAPPING FOR CURRENT_USER SERVER odyssey OPTIONS (SET password 'wrong')));
	Target::run_is($watcher, 'Odyssey, wrong password', 'invalid', qr/could not log in to odyssey: 28P01 /, 'saturation', 'odyssey');
	$odyssey->end;
	Target::run_is($watcher, 'Odyssey is down', 'invalid', qr/could not log in to odyssey: .*Connection refused/, 'saturation', 'odyssey');
}

SKIP:
{
	skip 'there is no pgagroal here', 1 if !Pooler::version('pgagroal');
	my $agroal = Pooler->new('pgagroal', node => $behind, settings => { max_connections => 8, blocking_timeout => 1 });

	# Its refusals lack their last byte, or bring it later: libpq does not always
	# understand them, and then a run proves nothing.
	aim($agroal, capacity => 12);
	my $run_id = Target::run_it($watcher, 'saturation', 'pgagroal', attempts => 1);
	like($watcher->query("SELECT verdict || ': ' || reason FROM pool_exhaust_runs WHERE id = $run_id"),
		qr/^fail: .*held connections|^invalid: .*received invalid error message/, 'pgagroal, less than promised: does not pass');
	ok(Target::none_behind($behind), 'pgagroal: no session is left in the server behind');

	# A worker of it may crash at the end of its client, also of one that was refused just
	# now, and its connection is never free again then.
	my $hold;
	ok( wait_until(
			sub {
				$agroal->restart;
				$hold = $watcher->query(q(SELECT pool_exhaust_hold(5, 'pgagroal')));
				defined $hold ? 'held' : $watcher->message;
			}, 'held', 'a hold'), 'pgagroal: five are held') or die 'nothing is held';
	is($watcher->query("SELECT pool_exhaust_release($hold)"), 5, 'pgagroal: and released');
	$agroal->end;
	Target::run_is($watcher, 'pgagroal is down', 'invalid', qr/could not log in to pgagroal: .*Connection refused/, 'saturation', 'pgagroal');
}

$watcher->close;
left_nothing($node);
$behind->stop;
done_testing();
