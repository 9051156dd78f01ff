/*
 * Tells PostgreSQL which line of the application has a client of a pool of node-postgres:
 *
 *     const { borrowed } = require('./node_postgres_borrower');
 *     const pool = borrowed(new Pool());
 *
 *     const client = await pool.connect();     // says where this was called
 *     client.release();                        // says that nothing has it
 *
 * Taking a client adds no round trip: what is to be said goes with the first query, if that
 * is a text without parameters such as BEGIN, else before it. Giving it back does: it is
 * sent before the pool has the client again, and the application does not wait for it. Of
 * pool.query(), which always gives back, and of connect() with a callback nothing is said.
 */
'use strict';

const path = require('path');

/* What may stand in one text with others; VACUUM and its like may not. */
const TOGETHER = /^\s*(begin|start|select|insert|update|delete|with|values)\b/i;
const ENDS = /^\s*(rollback|abort)\b/i;

const set = (borrower) => `SET pool_exhaust.borrower = '${borrower.replace(/['\\]/g, '_')}'`;

/* The first line of the stack that is not of a library. */
function caller() {
	const lines = new Error().stack.split('\n').slice(1);
	const line = lines.find((l) => !l.includes(__filename) && !l.includes('node_modules') && !l.includes('node:'));
	const [, file, number] = /([^\s(]+):(\d+):\d+\)?$/.exec(line || '') || [];

	return file ? `${path.basename(file)}:${number}` : 'unknown';
}

function lend(client, borrower) {
	const { query, release } = client;
	let unsaid = true;
	let empty = true;

	client.query = function (text, ...rest) {
		const plain = typeof text === 'string' && rest.length === 0;

		if (!unsaid || typeof text?.submit === 'function') {
			unsaid ||= plain && ENDS.test(text);
			return query.call(client, text, ...rest);
		}
		unsaid = empty = false;
		if (!plain || !TOGETHER.test(text)) {
			const said = query.call(client, set(borrower)).catch(() => {}).then(() => client.query(text, ...rest));

			return typeof rest[rest.length - 1] === 'function' ? undefined : said;
		}
		return query.call(client, `${set(borrower)}; ${text}`).then(
			(results) => (results.length > 2 ? results.slice(1) : results[1]),
			(error) => {
				unsaid = true; /* it was undone with the query */
				throw error;
			});
	};
	client.release = function (error) {
		client.query = query;
		client.release = release;
		if (error || empty)
			return release.call(client, error);
		return query.call(client, set('')).then(() => release.call(client), (e) => release.call(client, e));
	};
	return client;
}

exports.borrowed = function (pool) {
	const { connect, query } = pool;
	let own = false;

	pool.connect = function (callback) {
		if (callback || own)
			return connect.call(pool, callback);
		const borrower = caller();

		return connect.call(pool).then((client) => lend(client, borrower));
	};
	pool.query = function (...args) {
		own = true;
		try {
			return query.apply(pool, args);
		} finally {
			own = false;
		}
	};
	return pool;
};
