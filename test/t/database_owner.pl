# The owner of a database owns schema public there, and so what names stand for.
# A run of a superuser in that database writes its results as a superuser: nothing
# that the owner puts in the way may run with such rights, at no moment, and the
# results are those of the extension's own tables.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = new_server('owner', conf => q(
max_connections = 60
max_worker_processes = 20
autovacuum = off
));
my $superuser = getpwuid($>);

$node->safe_psql('postgres', 'CREATE ROLE owner LOGIN; CREATE DATABASE shop OWNER owner');
$node->safe_psql('shop', 'CREATE EXTENSION pool_exhaust; CREATE TABLE public.blocker (); ALTER TABLE public.blocker OWNER TO owner;
	CREATE TABLE public.pattern (LIKE pool_exhaust_runs INCLUDING ALL); ALTER TABLE public.pattern OWNER TO owner');

my $watcher = client($node, database => 'shop');
my $runs = $watcher->query("SELECT 'pool_exhaust_runs'::regclass::oid");
my $run = q[pool_exhaust_run('saturation', 'role', '{"attempts": 1, "role_limit": 2}')];

# What runs with the rights of the role that touches the object that it stands in.
my $trap = q(
	CREATE FUNCTION public.trap() RETURNS boolean LANGUAGE plpgsql AS $$
	BEGIN
		IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
			ALTER ROLE owner SUPERUSER;
		END IF;
		RETURN true;
	END $$;
	CREATE FUNCTION public.trigger() RETURNS trigger LANGUAGE plpgsql AS $$
	BEGIN
		PERFORM public.trap();
		RETURN NEW;
	END $$;
	GRANT USAGE ON SCHEMA public TO PUBLIC;
);
my $like = 'CREATE TABLE TABLE_HERE (LIKE old.pattern INCLUDING ALL EXCLUDING CONSTRAINTS)';

# Objects that stand where a table of ours stood, TABLE_HERE.
my %objects = (
	'a table with a trigger' => "$like; CREATE TRIGGER t BEFORE INSERT OR UPDATE ON TABLE_HERE FOR EACH ROW EXECUTE FUNCTION public.trigger()",
	'a table with a statement trigger' => "$like; CREATE TRIGGER t BEFORE INSERT OR UPDATE OR DELETE ON TABLE_HERE EXECUTE FUNCTION public.trigger()",
	'a table with a default' => "$like; ALTER TABLE TABLE_HERE ADD trap boolean DEFAULT public.trap()",
	'a table with a constraint' => "$like; ALTER TABLE TABLE_HERE ADD CHECK (public.trap())",
	'a table with an index' => "CREATE FUNCTION public.fixed() RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT public.trap()';
		$like; CREATE INDEX ON TABLE_HERE ((public.fixed()))",
	'a table with a policy' => "$like; ALTER TABLE TABLE_HERE ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON TABLE_HERE USING (public.trap()) WITH CHECK (public.trap())",
	'a table with a rule' => "$like; CREATE RULE r AS ON INSERT TO TABLE_HERE DO ALSO SELECT public.trap(); CREATE RULE u AS ON UPDATE TO TABLE_HERE DO ALSO SELECT public.trap()",
	'a view' => 'CREATE VIEW TABLE_HERE AS SELECT r.* FROM old.pattern r, (SELECT public.trap()) AS t',
	'a view with a trigger' => 'CREATE VIEW TABLE_HERE AS SELECT * FROM old.pattern WHERE public.trap();
		CREATE TRIGGER t INSTEAD OF INSERT OR UPDATE ON TABLE_HERE FOR EACH ROW EXECUTE FUNCTION public.trigger()',
	'a partitioned table' => 'CREATE TABLE TABLE_HERE (LIKE old.pattern) PARTITION BY LIST ((public.trap()))',
	'nothing' => 'SELECT 1');

# Puts an object into the place of a table while a statement waits for that:
# DROP TABLE locks the first table, and waits for the second before it fails.
# "use" is sent to a session of the superuser; "waits" tells that it has come so far.
sub swapped
{
	my ($object, $use) = @_;
	my ($blocker, $dropper, $owner, $user) = (
		(map { client($node, database => 'shop', user => 'owner') } 1 .. 3),
		client($node, database => 'shop'));

	$blocker->query('BEGIN; LOCK TABLE public.blocker');
	$dropper->send('DROP TABLE public.pool_exhaust_runs, public.blocker');
	wait_for($watcher, "SELECT count(*) FROM pg_locks WHERE relation = $runs AND mode = 'AccessExclusiveLock' AND granted", 1);
	$use->($user);
	wait_for($watcher, "SELECT count(*) > 0 FROM pg_locks WHERE relation = $runs AND NOT granted", 't');
	$owner->query('ALTER SCHEMA public RENAME TO old; CREATE SCHEMA public') // die $owner->message;
	$owner->query($trap) // die $owner->message;
	$owner->query($objects{$object} =~ s/TABLE_HERE/public.pool_exhaust_runs/gr) // diag $owner->message;
	$blocker->query('ROLLBACK');
	$dropper->result;
	my $result = $user->result // $user->message;
	$_->close foreach $blocker, $dropper, $owner, $user;
	return $result;
}

# Back to how it was.
sub swap_back
{
	$watcher->query('DROP SCHEMA public CASCADE');
	$watcher->query('ALTER SCHEMA old RENAME TO public');
	return;
}

sub is_no_superuser
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($name) = @_;

	is($watcher->query("SELECT rolsuper FROM pg_roles WHERE rolname = 'owner'"), 'f', "$name: the owner is no superuser");
	$watcher->query('ALTER ROLE owner NOSUPERUSER');
	return;
}

sub verdicts { return $watcher->query("SELECT count(*) || ' ' || count(verdict) FROM old.pool_exhaust_runs") }

my $n = 0;
foreach my $object (sort keys %objects)
{
	my $name = "$object, as a run begins";
	my $result = swapped($object, sub { $_[0]->send("SET pool_exhaust.progress = off; SELECT $run") });

	$n++;
	is_no_superuser($name);
	is(verdicts(), "$n $n", "$name: the results are in the extension's own table") or diag $result;
	swap_back();

	$name = "$object, as a run ends";
	my $run_id = $watcher->query(q[SELECT public.pool_exhaust_start('saturation', 'role', '{"attempts": 10000, "role_limit": 1, "timeout_ms": 60000}')]);
	wait_for($watcher, "SELECT count(*) FROM public.pool_exhaust_progress WHERE phase = 'attempt'", 1);
	$result = swapped($object, sub { $_[0]->send("SELECT public.pool_exhaust_stop($run_id)") });
	$n++;
	is_no_superuser($name);
	is(verdicts(), "$n $n", "$name: the results are in the extension's own table") or diag $result;
	swap_back();

	$name = "$object, as a report is read";
	$result = swapped($object, sub { $_[0]->send("SELECT public.pool_exhaust_report($run_id)") });
	is_no_superuser($name);
	like($result, qr/^ABORTED +saturation on role/, "$name: it is that of the extension's own table");
	swap_back();
}

# A trigger on the extension's own table, by a role that was granted that.
$watcher->query('GRANT TRIGGER ON pool_exhaust_runs TO owner; CREATE SCHEMA theirs AUTHORIZATION owner') // die $watcher->message;
my $owner = client($node, database => 'shop', user => 'owner');
$owner->query($trap =~ s/public/theirs/gr) // die $owner->message;
$owner->query('CREATE TRIGGER t BEFORE INSERT ON public.pool_exhaust_runs FOR EACH ROW EXECUTE FUNCTION theirs.trigger()') // die $owner->message;
fails_with($watcher, "SELECT $run", '55000', [qr/relation "pool_exhaust_runs" has a trigger, so it is not used/], 'a trigger on the table itself');
is_no_superuser('a trigger on the table itself');
$owner->close;

$watcher->close;
left_nothing($node);
done_testing();
