// What Chromium and axe-core object to in pages, see .ci/pages.
const fs = require('fs');
const path = require('path');
const puppeteer = require('puppeteer-core');

const axe = fs.readFileSync(require.resolve('axe-core/axe.min.js'), 'utf8');
const views = [
	{ name: 'light', width: 1280, scheme: 'light' },
	{ name: 'dark', width: 1280, scheme: 'dark' },
	{ name: 'phone', width: 390, scheme: 'light' },
	{ name: 'phone-dark', width: 390, scheme: 'dark' },
	{ name: 'narrow', width: 360, scheme: 'light' },
	{ name: 'wide', width: 1920, scheme: 'light' },
	{ name: 'print', width: 794, scheme: 'light', media: 'print' },
];

async function look(browser, file, view) {
	const objections = [];
	const page = await browser.newPage();
	page.on('console', message => objections.push(`console: ${message.text()}`));
	page.on('pageerror', error => objections.push(`error: ${error.message}`));
	page.on('request', request => request.url().startsWith('file:') || objections.push(`loads ${request.url()}`));
	await page.setOfflineMode(true);
	await page.setBypassCSP(true); // for axe-core alone: a page has no script
	await page.setViewport({ width: view.width, height: 900 });
	// Both at once: each of puppeteer's own methods forgets what the other has set.
	await (await page.createCDPSession()).send('Emulation.setEmulatedMedia',
		{ media: view.media || 'screen', features: [{ name: 'prefers-color-scheme', value: view.scheme }] });
	await page.goto('file://' + path.resolve(file));
	if (!await page.evaluate(`matchMedia('${view.media || 'screen'} and (prefers-color-scheme: ${view.scheme})').matches`))
		objections.push('is not shown as the view asks for');
	const base = path.join(process.env.PICTURES, path.basename(file, '.html') + '-' + view.name);
	await page.screenshot({ path: base + '.png', fullPage: true });
	const wide = await page.evaluate('document.documentElement.scrollWidth - document.documentElement.clientWidth');
	if (wide > 0)
		objections.push(`is ${wide} pixels wider than the screen`);
	await page.evaluate('document.querySelectorAll("details").forEach(d => d.open = true)');
	await page.evaluate(axe);
	const found = await page.evaluate('axe.run()');
	found.violations.forEach(v => objections.push(`axe: ${v.id}: ${v.help}: ${v.nodes.length}, first ${v.nodes[0].html.slice(0, 160)}`));
	await page.close();
	console.log(`${path.basename(file)}, ${view.name}: axe-core ${found.passes.length} rules passed, ${found.violations.length} violations; ${objections.length} objections`);
	objections.forEach(o => console.log(`  ${o}`));
	return objections.length;
}

(async () => {
	const browser = await puppeteer.launch({
		executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
		args: ['--no-sandbox', '--host-resolver-rules=MAP * ~NOTFOUND'],
	});
	let n = 0;
	for (const file of process.argv.slice(2))
		for (const view of views)
			n += await look(browser, file, view);
	await browser.close();
	process.exit(n > 0 ? 1 : 0);
})();
