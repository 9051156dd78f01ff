# On a server that is slow to log in what no option limits gets more time; and a
# phase that takes long says how far it is.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use Test::More;

my $node = new_server('patience', conf => 'max_connections = 30');
my $watcher = client($node);
my $caller = client($node);

# A churn of 11 s.  Two operations of the first level are all that comes before.
$caller->send(q(SELECT pool_exhaust_run('accuracy', options =>
	'{"levels": [0], "pool_size": 2, "max_overflow": 0, "churn_ms": 11000, "rate": 50}')));
in_progress($watcher, 'churn', 'the churn has begun');

# Each login takes 4 s from now on, and there is one at a time: three of them are not
# through in the 10 s that they have on a fast server.
$node->append_conf('postgresql.conf', 'post_auth_delay = 4');
$node->reload;
my $slow = client($node);
$slow->query('SET pool_exhaust.progress = off');
my $run_id = $slow->query(q(SELECT pool_exhaust_run('accuracy', options =>
	'{"levels": [100], "pool_size": 3, "max_overflow": 0, "handshakes": 1, "pool_timeout_ms": 30000, "churn_ms": 200}', format => 'json')::jsonb->'run_id')) // die $slow->message;
# A leak finds the sessions that go on beside it however slowly they log in, one by one.
$node->append_conf('postgresql.conf', "post_auth_delay = 1\npool_exhaust.leak_threshold = 500ms");
$node->reload;
$node->poll_query_until('postgres', "SELECT setting = '1' FROM pg_settings WHERE name = 'post_auth_delay'") or die 'no second for each login';
$slow->query(q(SELECT pool_exhaust_leak(1, 'abandoned', options => '{"handshakes": 1, "hold_ms": 600000}'))) // die $slow->message;
$node->append_conf('postgresql.conf', 'post_auth_delay = 0');
$node->reload;
ok(wait_for($slow, "SELECT count(*) FROM pool_exhaust_leaks WHERE rule = 'abandoned'", 1), 'slow logins: a leak is named');
$slow->query('SELECT pool_exhaust_release(hold_id) FROM pool_exhaust_holds') // die $slow->message;
is(run_outcome($watcher, $run_id), 'pass', 'slow logins: verdict') or diag $watcher->query("SELECT pool_exhaust_report($run_id)");
like($watcher->query("SELECT pool_exhaust_report($run_id)"), qr/^machine +the loop woke up .* and the first login took 4\d\d\d ms/m,
	'slow logins: the report says so');

$caller->result;
my @progress = grep { /so far/ } $caller->notices;
is(@progress, 1, 'progress: one line in 11 s') or diag join "\n", @progress;
like($progress[0], qr/^churn +\d+ of \d+, 10 s so far, 1 s left$/, 'progress: how far it is, and the time that is left');

$_->close foreach $watcher, $caller, $slow;
left_nothing($node);
done_testing();
