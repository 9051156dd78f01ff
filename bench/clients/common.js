/*
 * What the programs of bench/stacks for Node share; see common.py.
 *
 * A stack is an object with these functions, which may be asynchronous:
 *
 *     pool(conninfo, size)      a pool
 *     take(pool)                a connection of it
 *     give(pool, connection)    gives it back
 *     ask(connection, sql)      runs a statement, and returns column "v" of its first row
 */
'use strict';

const { createInterface } = require('readline');

const [, , name, conninfo, threshold] = process.argv;
const kept = [];

const rest = (thresholds) => new Promise((done) => setTimeout(done, thresholds * threshold * 1000));
const say = (...words) => console.log(words.join(' '));

const lose = async (stack, pool, connection, kind) => {
	kept.push([pool, connection]);
	say(await stack.ask(connection, 'SELECT pg_backend_pid() AS v'), 'leaked', kind);
};

const serve = (stack, pool, workers = 4) => {
	const work = async () => {
		for (;;) {
			const connection = await stack.take(pool);

			await stack.ask(connection, 'SELECT 1 AS v FROM pg_sleep(0.005)');
			await stack.give(pool, connection);
			await rest(-Math.log(1 - Math.random()) / 15);
		}
	};

	for (let i = 0; i < workers; i++)
		work();
};

const besideService = (stack, n, kind, sql, open = (size) => stack.pool(conninfo, size)) => async () => {
	const pool = await open(28);

	serve(stack, pool);
	say('ready');
	await rest(2);
	for (let i = 0; i < n; i++) {
		await rest(2);
		const connection = await stack.take(pool);

		if (sql)
			await stack.ask(connection, sql);
		await lose(stack, pool, connection, kind);
	}
};

const workloads = (stack) => ({
	async service() {
		serve(stack, await stack.pool(conninfo, 8));
		say('ready');
	},
	transaction: besideService(stack, 5, 'transaction', 'BEGIN'),
	lost: besideService(stack, 16, 'lost'),
	few: besideService(stack, 4, 'lost'),
	async per_request() {
		say('ready');
		for (let i = 0; i < 20; i++) {
			await rest(0.8);
			const pool = await stack.pool(conninfo, 1);
			const connection = await stack.take(pool);

			await lose(stack, pool, connection, 'per request');
			await stack.give(pool, connection);
		}
	},
});

/* For test/t/borrower_hooks.pl: does what each line of standard input says, and answers "done". */
const dialogue = async (pool) => {
	const queries = { ask: 'SELECT 1', begin: 'BEGIN', commit: 'COMMIT', rollback: 'ROLLBACK', fail: 'SELECT 1 / 0' };
	let client;

	for await (const line of createInterface({ input: process.stdin })) {
		if (line === 'take')
			client = await pool.connect();
		else if (line === 'give')
			await client.release();
		else
			await client.query(queries[line]).catch((error) => {
				if (line !== 'fail')
					throw error;
			});
		say('done');
	}
	process.exit();
};

const main = (all) => {
	if (!name.startsWith('dialogue'))
		process.stdin.resume().on('end', () => process.exit());
	all[name]().catch((error) => {
		console.error(error);
		process.exit(1);
	});
};

module.exports = { besideService, conninfo, dialogue, lose, main, rest, say, serve, workloads };
