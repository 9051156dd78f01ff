#!/usr/bin/env node
/* node-postgres; see common.js. */
'use strict';

const { spawn } = require('child_process');
const { Client, Pool } = require('pg');
const common = require('./common');

const stack = {
	pool: (connectionString, max) => new Pool({ connectionString, max, idleTimeoutMillis: 0 }),
	take: (pool) => pool.connect(),
	give: (pool, client) => client.release(),
	ask: async (client, sql) => (await client.query(sql)).rows[0]?.v,
};

const taggedPool = (size) => {
	const { borrowed } = require('../../contrib/borrower/node_postgres_borrower');

	return borrowed(stack.pool(common.conninfo, size));
};

common.main({
	...common.workloads(stack),
	tagged: common.besideService(stack, 6, 'tagged', null, taggedPool),

	dialogue: () => common.dialogue(taggedPool(1)),

	/* By default a pool closes what has been idle for 10 s. */
	async shrink() {
		const pool = new Pool({ connectionString: common.conninfo, max: 10 });

		common.serve(stack, pool);
		common.say('ready');
		for (;;) {
			await common.rest(8);
			await Promise.all(Array.from({ length: 10 }, () => pool.query('SELECT pg_sleep(0.2)')));
		}
	},

	/* A client that is killed in its statement. */
	async killed() {
		const child = spawn(process.execPath, [process.argv[1], 'statement', ...process.argv.slice(3)],
			{ stdio: ['pipe', 'pipe', 'inherit'] });

		common.serve(stack, stack.pool(common.conninfo, 3));
		common.say('ready');
		child.stdout.on('data', async (pids) => {
			await common.rest(3);
			child.kill('SIGKILL');
			child.on('exit', () => {
				for (const pid of pids.toString().trim().split('\n'))
					common.say(pid, 'leaked', 'dead client');
			});
		});
	},
	async statement() {
		const pids = [];

		for (let i = 0; i < 4; i++) {
			const client = new Client({ connectionString: common.conninfo });

			await client.connect();
			pids.push(client.processID);
			client.query('SELECT pg_sleep(600)');
		}
		common.say(pids.join('\n'));
	},
});
