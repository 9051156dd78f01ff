#!/usr/bin/env node
/*
 * A client library at work, and as it goes wrong: node-postgres.
 *
 *     test/clients.js WAY [N]
 *
 * The same as test/clients.py, for Node.
 */
'use strict';

const { Pool } = require('pg');

const ways = {
	/* Clients of a pool that were checked out for a transaction, and never released: an early return. */
	async early_returns(n) {
		const pool = new Pool({ max: n });

		for (let i = 0; i < n; i++) {
			const client = await pool.connect();

			await client.query('BEGIN');
			await client.query('SELECT 1');
		}
	},

	/* A pool for each request. */
	async pool_per_request(n) {
		for (let i = 0; i < n; i++)
			await new Pool({ idleTimeoutMillis: 0 }).query('SELECT pg_sleep(0.14)');
	},

	/* A pool for requests that come one after the other. */
	async service(n) {
		const pool = new Pool({ max: n });
		const work = async () => {
			for (;;) {
				await pool.query('SELECT pg_sleep(0.005)');
				await new Promise(setImmediate);
			}
		};

		for (let i = 0; i < n; i++)
			work();
	},
};

ways[process.argv[2]](Number(process.argv[3] || 1)).then(() => {
	console.log('ready');
	process.stdin.resume().on('end', () => process.exit());
});
