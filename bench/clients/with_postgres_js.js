#!/usr/bin/env node
/* postgres.js; see common.js. */
'use strict';

const postgres = require('postgres');
const common = require('./common');

const stack = {
	pool: (conninfo, max) => postgres(conninfo, { max, max_lifetime: null, onnotice: () => {} }),
	take: (sql) => sql.reserve(),
	give: (sql, reserved) => reserved.release(),
	ask: async (reserved, text) => (await reserved.unsafe(text))[0]?.v,
};

common.main(common.workloads(stack));
