# Every older version of the extension updates to what CREATE EXTENSION makes
# today, and results that an older version has written stay readable.
use strict;
use warnings FATAL => 'all';

use FindBin;
use lib $FindBin::RealBin;
use PoolExhaust;
use PostgreSQL::Test::Utils;
use Test::More;

my $node    = new_server('upgrade', conf => 'max_connections = 20');
my $current = $node->safe_psql('postgres', q(SELECT default_version FROM pg_available_extensions WHERE name = 'pool_exhaust'));
my @older   = grep { $_ ne $current } split /\n/,
	$node->safe_psql('postgres', q(SELECT version FROM pg_available_extension_versions WHERE name = 'pool_exhaust' ORDER BY 1));
is("@older", '1.0', 'the versions before this one');

# Everything about the objects of the extension but their OIDs, a line each.
my $catalogue = q(
	WITH members AS (
		SELECT classid, objid FROM pg_depend
		WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		  AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pool_exhaust')),
	relations AS (SELECT c.* FROM pg_class c JOIN members ON classid = 'pg_class'::regclass AND objid = c.oid)
	SELECT 'object ' || pg_describe_object(classid, objid, 0) FROM members
	UNION ALL SELECT format('function %s owner %s acl %s', CASE prokind WHEN 'a' THEN format('%s parallel %s aggregate %s', p.oid::regprocedure,
		proparallel, (SELECT a::text FROM pg_aggregate a WHERE aggfnoid = p.oid)) ELSE pg_get_functiondef(p.oid) END, proowner::regrole,
		(SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(proacl) AS a))
	FROM pg_proc p JOIN members ON classid = 'pg_proc'::regclass AND objid = p.oid
	UNION ALL SELECT format('relation %s kind %s owner %s persistence %s rls %s options %s acl %s', oid::regclass, relkind,
		relowner::regrole, relpersistence, relrowsecurity, reloptions,
		(SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(relacl) AS a)) FROM relations
	UNION ALL SELECT format('view %s as %s', oid::regclass, pg_get_viewdef(oid)) FROM relations WHERE relkind = 'v'
	UNION ALL SELECT format('column %s.%s no %s type %s collation %s storage %s not null %s identity %s generated %s default %s acl %s',
		r.oid::regclass, attname, attnum, format_type(atttypid, atttypmod), attcollation::regcollation, attstorage, attnotnull,
		attidentity, attgenerated, pg_get_expr(adbin, adrelid), attacl)
	FROM relations r JOIN pg_attribute a ON attrelid = r.oid AND attnum > 0
		 LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	UNION ALL SELECT format('constraint %s on %s: %s', conname, conrelid::regclass, pg_get_constraintdef(c.oid))
	FROM pg_constraint c JOIN relations r ON r.oid = conrelid
	UNION ALL SELECT 'index ' || pg_get_indexdef(indexrelid) FROM pg_index JOIN relations r ON r.oid = indrelid
	UNION ALL SELECT format('trigger %s', pg_get_triggerdef(t.oid)) FROM pg_trigger t JOIN relations r ON r.oid = tgrelid
	WHERE NOT tgisinternal
	UNION ALL SELECT format('rule %s', pg_get_ruledef(w.oid)) FROM pg_rewrite w JOIN relations r ON r.oid = ev_class
	UNION ALL SELECT format('wrapper %s validator %s handler %s options %s acl %s', fdwname, fdwvalidator::regprocedure,
		fdwhandler, fdwoptions, fdwacl)
	FROM pg_foreign_data_wrapper w JOIN members ON classid = 'pg_foreign_data_wrapper'::regclass AND objid = w.oid
	UNION ALL SELECT format('comment on %s is %s', pg_describe_object(d.classoid, d.objoid, d.objsubid), description)
	FROM pg_description d JOIN members ON classid = d.classoid AND objid = d.objoid
	UNION ALL SELECT format('privileges at first of %s are %s', pg_describe_object(i.classoid, i.objoid, i.objsubid),
		(SELECT string_agg(a::text, ' ' ORDER BY a::text) FROM unnest(initprivs) AS a))
	FROM pg_init_privs i JOIN members ON classid = i.classoid AND objid = i.objoid
	UNION ALL SELECT format('dumped %s where %s', t::regclass, extcondition[i]) FROM pg_extension,
		unnest(extconfig) WITH ORDINALITY AS u(t, i) WHERE extname = 'pool_exhaust'
	UNION ALL SELECT format('extension %s version %s relocatable %s', extname, extversion, extrelocatable)
	FROM pg_extension WHERE extname = 'pool_exhaust'
	ORDER BY 1);

# A run as version 1.0 recorded it
my $old_results = q(
	INSERT INTO pool_exhaust_runs (scenario, target, options, verdict, reason, started_at, finished_at, seed,
		server_version, extension_version, summary)
	VALUES ('saturation', 'role', '{"seed": 7}', 'fail', 'failed: held connections', now(), now(), 7, '15.0', '1.0',
		'{"capacity": 4, "elapsed_ms": 120, "phases": [{"phase": "fill", "note": "3 granted"}]}');
	INSERT INTO pool_exhaust_checks
	VALUES (1, 1, 'fill', 'held connections', 'fail', '4', '3', NULL, 'one is missing'),
		   (1, 2, 'fill', 'slowest refusal', 'pass', '<= 1000', '12', 'ms', NULL),
		   (1, 3, '', 'reserve', 'skip', '', '', NULL, 'no slot is reserved');
	INSERT INTO pool_exhaust_samples VALUES (1, now(), 3, 0, 3, 0, 0, 1, 2, 'healthy'));

# Calls of functions with the tables of the extension, which must be those of the
# library, and of functions that do not need them: not the tables, or nothing at all.
my %with_tables = (
	run => q('saturation', 'role'), start => q('saturation', 'role'), report => '1::bigint',
	'report(bigint[],text)' => 'ARRAY[1::bigint]', 'report(text,text)' => q('1'::text), wait => '1', hold => '1', leak => '1', compare => '1, 1', drive => '0, 0, false, 0, 0', drive_open => q('t', 'pool_exhaust 1-1', 1, 1, 1000, '', 1), drive_load => q(0, '', '', '{}', false, 0, 0), drive_stop => '0', drive_crowd => q('stop', 0, 0, 0, 0), budget => '', budget_import => q('', 'csv'));
my %without_tables = (plan => q('queue'), stop => '', release => '', heal => 'true', health => '', headroom => '', explain => '', history => '', incident => '', slo => '', slo_run => '1', reset_stats => '', fdw_validator => q('{}', 0),
	percentile => q('{{1,1}}', 0.5), merge_buckets => q('{{1,1}}', '{{1,1}}'), merge => q('{{1,1}}'),
	mann_whitney => q('{1}', '{2}'), median => q('{1}'), mad => q('{1}'), shifts => q('{1}', '{2}'), run_roles => '', census => '', lock_waits => '',
	map { $_ . '_rows' => '' } qw(scenarios progress holds refusals refused_services services pools timeline leaks leak_rules heals incidents));

# In a database with the SQL objects of another version than the library, those say so,
# and these work.
sub functions_need
{
	local $Test::Builder::Level = $Test::Builder::Level + 1;
	my ($database, $version) = @_;
	my @functions = split /\n/, $node->safe_psql($database, q(SELECT substr(p.oid::regprocedure::text, length('pool_exhaust_') + 1) FROM pg_proc p
		JOIN pg_depend ON classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e' AND refclassid = 'pg_extension'::regclass
		WHERE refobjid = (SELECT oid FROM pg_extension WHERE extname = 'pool_exhaust') ORDER BY 1));

	cmp_ok(scalar(@functions), '>', 20, "$version: there are functions");
	foreach my $signature (@functions)
	{
		my ($function) = $signature =~ /^(\w+)/;
		my $arguments = $with_tables{$signature} // $with_tables{$function} // $without_tables{$function};
		if (!defined $arguments)
		{
			fail("$version: $signature is in neither list");
			next;
		}
		my ($rc, $out, $err) = $node->psql($database, "SELECT pool_exhaust_$function($arguments)");
		my $wanted = exists $with_tables{$function}
		  ? qr/^(?:psql:<stdin>:1: )?ERROR:  extension pool_exhaust is of version \Q$version\E in this database, and its library of version \Q$current\E\nHINT:  Run ALTER EXTENSION pool_exhaust UPDATE/
		  : qr/^$/;
		like($err, $wanted, "$version: $signature");
	}
}

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION pool_exhaust');
my $fresh = $node->safe_psql('fresh', $catalogue);
cmp_ok(scalar(split /\n/, $fresh), '>', 100, 'there is a catalogue to compare');

for my $version (@older)
{
	(my $name = "from_$version") =~ tr/./_/;
	$node->safe_psql('postgres', "CREATE DATABASE $name");
	$node->safe_psql($name, "CREATE EXTENSION pool_exhaust VERSION '$version'");
	isnt($node->safe_psql($name, $catalogue), $fresh, "$version: its catalogue is another one");
	$node->safe_psql($name, $old_results);

	# A dump of that version goes into this one
	my $dump = $node->basedir . "/$name";
	$node->command_ok([ 'pg_dump', '--format', 'custom', '--file', $dump, '-d', $name ], "$version: pg_dump");
	$node->safe_psql('postgres', "CREATE DATABASE restored_$name");
	$node->command_ok([ 'pg_restore', '--exit-on-error', '-d', "restored_$name", $dump ], "$version: pg_restore");
	is($node->safe_psql("restored_$name", $catalogue), $fresh, "$version: restored it is as if made today");

	# A library that is newer than the SQL objects
	functions_need($name, $version);
	is($node->safe_psql($name, "SELECT kind FROM pool_exhaust_pools WHERE name = 'server'"), 'server', "$version: views work meanwhile");
	my @views = split /\n/, $node->safe_psql($name, "SELECT relname FROM pg_class WHERE relname LIKE 'pool\\_exhaust\\_%' AND relkind = 'v' ORDER BY 1");
	cmp_ok(scalar(@views), '>=', 10, "$version: there are views");
	is($node->psql($name, "SELECT * FROM $_"), 0, "$version: $_ works meanwhile") foreach @views;
	$node->safe_psql($name, 'CREATE VIEW mine AS SELECT usename, sum(refusals) FROM pool_exhaust_refused_services GROUP BY 1');

	# A function that is made anew has lost its roles, and says which.
	$node->safe_psql($name, 'CREATE ROLE healing; GRANT EXECUTE ON FUNCTION pool_exhaust_heal(boolean) TO healing');
	my ($updated, undef, $warnings) = $node->psql($name, 'ALTER EXTENSION pool_exhaust UPDATE');
	is($updated, 0, "$version: it is updated");
	like($warnings, qr/^(?:psql:<stdin>:1: )?WARNING:  pool_exhaust_heal\(boolean\) is made anew: GRANT EXECUTE on it again to healing$/m, "$version: roles that have lost a right");
	$node->safe_psql($name, 'DROP ROLE healing');
	is($node->safe_psql($name, $catalogue), $fresh, "$version: updated it is as if made today");
	is($node->safe_psql($name, 'SELECT count(*) FROM mine'), 0, "$version: a view on one of these stays");
	is( $node->safe_psql("restored_$name", 'SELECT pool_exhaust_report(1)'), $node->safe_psql($name, 'SELECT pool_exhaust_report(1)'),
		"$version: and has the same results");
	$node->safe_psql($name, q(COMMENT ON VIEW pool_exhaust_slots IS 'another one'));
	isnt($node->safe_psql($name, $catalogue), $fresh, "$version: a comment of its own would show");

	is($node->safe_psql($name, 'SELECT pool_exhaust_report(1)'), <<'TEXT' =~ s/\n\z//r, "$version: its results as text");
FAIL    saturation on role         1 of 2 checks      0.12 s      run 1
        failed: held connections
fill      3 granted
FAIL  held connections                   expected 4, observed 3
      one is missing
ok    slowest refusal                    12 ms   (<= 1000 ms)
skip  reserve                            no slot is reserved
utilization ▇  peak 75 %
TEXT
	is($node->safe_psql($name, q(SELECT pool_exhaust_report(1, 'tap'))), <<'TAP' =~ s/\n\z//r, "$version: as tap");
1..4
# saturation on role, run 1
not ok 1 - held connections
#   expected: 4
#   observed: 3
#   one is missing
ok 2 - slowest refusal
ok 3 - reserve # SKIP no slot is reserved
not ok 4 - verdict is pass
#   verdict: fail, failed: held connections
TAP
	is( $node->safe_psql($name, q(SELECT r->>'verdict', r#>>'{summary,capacity}', jsonb_array_length(r->'checks'),
			r#>>'{checks,1,expected}', r#>'{checks,1,observed_num}', r#>'{checks,2,phase}', r#>'{checks,2,unit}'
			FROM (SELECT pool_exhaust_report(1, 'json')::jsonb) AS j(r))),
		'fail|4|3|<= 1000|null|""|null', "$version: as json");
	is( $node->safe_psql($name, 'SELECT role, environment, calibration FROM pool_exhaust_runs WHERE id = 1'), '||',
		"$version: what it did not keep is NULL");
	$node->safe_psql($name, q(SET client_min_messages = warning; SELECT pool_exhaust_run('saturation', 'role')));
	is( $node->safe_psql($name, q(SELECT operator, expected_num, tolerance, observed_num FROM pool_exhaust_checks
			WHERE run_id = 2 AND name = 'held connections')), '=|10||10', "$version: new runs keep numbers");
	is($node->safe_psql($name, q(SELECT DISTINCT run_id, metric FROM pool_exhaust_histograms)), '2|grant', "$version: and latencies");
	is( $node->safe_psql($name, 'SET extra_float_digits = -15; SELECT pool_exhaust_report(2)'),
		$node->safe_psql($name, 'SELECT pool_exhaust_report(2)'), "$version: which no setting rounds");
}

# A library that is older than the SQL objects: those have another version, and rows
# with more columns than it knows.
$node->safe_psql('fresh', q(UPDATE pg_extension SET extversion = '9.9' WHERE extname = 'pool_exhaust'));
functions_need('fresh', '9.9');
$node->safe_psql('fresh', q(CREATE FUNCTION newer(OUT a text, OUT b text, OUT c text, OUT d text, OUT e text, OUT f text, OUT g text, OUT h text)
	RETURNS SETOF record AS 'pool_exhaust', 'pool_exhaust_scenarios_rows' LANGUAGE C));
my ($rc, $out, $err) = $node->psql('fresh', 'SELECT * FROM newer()');
like($err, qr/ERROR:  the SQL objects of pool_exhaust are of a newer version than its library\nDETAIL:  A row has 5 columns, and its function is declared with 8\.\nHINT:  Install the library/,
	'9.9: rows with more columns');

left_nothing($node);
done_testing();
