#!/usr/bin/env node
/* knex over node-postgres; see common.js. */
'use strict';

const knex = require('knex');
const common = require('./common');

const stack = {
	pool: (connection, max) =>
		knex({ client: 'pg', connection, pool: { min: Math.min(2, max), max, idleTimeoutMillis: 3600000 } }),
	take: (pool) => pool.client.acquireConnection(),
	give: (pool, connection) => pool.client.releaseConnection(connection),
	ask: async (connection, sql) => (await connection.query(sql)).rows[0]?.v,
};

common.main(common.workloads(stack));
