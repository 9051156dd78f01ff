<?php
// PHP's pgsql: a worker without a pool; see common.py.

[, $name, $conninfo, $threshold] = $argv;

function rest(float $thresholds): void
{
	global $threshold;
	// The end of standard input ends the program, also in a rest.
	$until = microtime(true) + $thresholds * $threshold;
	while (($left = $until - microtime(true)) > 0) {
		$read = [STDIN];
		$write = $except = null;
		if (stream_select($read, $write, $except, (int) $left, (int) (fmod($left, 1) * 1e6)) && fgets(STDIN) === false)
			exit(0);
	}
}

function connect(): PgSql\Connection
{
	global $conninfo;
	return pg_connect($conninfo, PGSQL_CONNECT_FORCE_NEW);
}

function ask(PgSql\Connection $connection, string $sql): string
{
	return pg_fetch_result(pg_query($connection, $sql), 0, 0);
}

// A request of the classic kind: connects, and disconnects at its end.
function request(): void
{
	$connection = connect();
	ask($connection, 'SELECT 1 FROM pg_sleep(0.005)');
	pg_close($connection);
	rest(0.1);
}

$kept = [];
$lose = function (PgSql\Connection $connection, string $kind) use (&$kept): void {
	$kept[] = $connection;
	echo ask($connection, 'SELECT pg_backend_pid()'), " leaked $kind\n";
};

$workloads = [
	'service' => fn() => null,
	'transaction' => function (int $turn) use ($lose): void {
		if ($turn % 20 == 0 && $turn <= 100) {
			$connection = connect();
			pg_query($connection, 'BEGIN');
			$lose($connection, 'transaction');
		}
	},
	'per_request' => function (int $turn) use ($lose): void {
		if ($turn % 8 == 0 && $turn <= 160)
			$lose(connect(), 'per request');
	},
];

echo "ready\n";
for ($turn = 1;; $turn++) {
	request();
	$workloads[$name]($turn);
}
