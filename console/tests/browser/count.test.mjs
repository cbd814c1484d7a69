// The page for counting stock, in a real browser; the inventory behind it answers over real HTTP as the test decides. Started by ../run.sh.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const files = new URL('../../../services/inventory-service/App/', import.meta.url);
const types = { html: 'text/html', css: 'text/css', js: 'text/javascript', webmanifest: 'application/manifest+json' };
let signedIn = true, failing = 0, line = true, answerLost = false;
const posted = [];

const server = http.createServer(async (request, response) => {
  const { pathname } = new URL(request.url, 'http://node');
  const file = /^\/inventory\/app\/([a-z.]*)$/.exec(pathname);
  const json = (status, value) => response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value));
  if (file) {
    const name = file[1] || 'index.html';
    response.writeHead(200, { 'content-type': types[name.split('.').at(-1)] }).end(readFileSync(new URL(name, files)));
    return;
  }
  let body = '';
  for await (const chunk of request) body += chunk;
  if (!line) { request.socket.destroy(); return; }
  if (!signedIn) { json(failing || 401, { detail: 'no session' }); return; }
  if (request.method !== 'POST') { json(200, []); return; }
  const value = JSON.parse(body);
  if (pathname === '/inventory/scans' && !value.kind) { json(200, { item: 'gloves', lot: 'L1', expiry: '2027-01-31' }); return; }
  posted.push({ pathname, site: request.headers['sec-fetch-site'], value });
  if (answerLost) { answerLost = false; request.socket.destroy(); return; }
  json(201, value);
});
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
const context = await browser.newContext({ locale: 'en-GB', serviceWorkers: 'block' });
const page = await context.newPage();
page.setDefaultTimeout(15_000);
const state = page.locator('#state');
const says = text => state.filter({ hasText: text }).waitFor();
const resend = () => page.evaluate(() => dispatchEvent(new Event('online')));
const waiting = () => page.evaluate(() => JSON.parse(localStorage.getItem('queue') ?? '[]'));
const raw = '010690123456789217280131' + '10A7';
let failed = 0;

async function test(name, run) {
  try { await run(); console.log(`ok    ${name}`); } catch (e) { failed++; console.log(`FAIL  ${name}\n${e.stack}`); }
}

async function scan(text, quantity) {
  await page.fill('#scan', text);
  await page.press('#scan', 'Enter');
  await page.waitForFunction(() => document.activeElement.id === 'quantity');
  await page.fill('#quantity', String(quantity));
  await page.fill('#actor', 'tester');
  await page.click('button[data-text=record]');
}

await page.goto(`http://127.0.0.1:${server.address().port}/inventory/app/`);
await test('with a session the page is connected and a count is sent from our own origin', async () => {
  await says('connected');
  await scan(raw, 3);
  await page.waitForFunction(() => localStorage.getItem('queue') === '[]');
  assert.equal(posted.length, 1);
  assert.deepEqual([posted[0].pathname, posted[0].site, posted[0].value.movements[0].item, posted[0].value.movements[0].quantity], ['/inventory/movements', 'same-origin', 'gloves', 3]);
});

for (const status of [401, 403]) {
  await test(`a ${status} is a matter of signing in: it is said, linked, and the queue is kept`, async () => {
    posted.length = 0;
    [signedIn, failing] = [false, status];
    await scan(raw, 4);
    await says('sign in');
    assert.equal(await state.getByRole('link').getAttribute('href'), '/sign-in?back=%2Finventory%2Fapp%2F');
    assert.doesNotMatch(await state.textContent(), /connected/);
    assert.equal((await waiting()).length, 1);
    signedIn = true;
    await resend();
    await says('connected');
    assert.deepEqual([(await waiting()).length, posted.length, posted[0].value.quantity], [0, 1, 4]);
  });
}

await test('a scan without a line is queued as it was scanned and is sent as a count once', async () => {
  posted.length = 0;
  line = false;
  await scan(raw, 5);
  await says('offline');
  assert.equal((await waiting())[0].scan.scan, raw);
  await page.reload();
  await says('offline');
  [line, answerLost] = [true, true];
  await resend();
  await says('offline');
  await resend();
  await says('connected');
  await resend();
  await says('connected');
  assert.deepEqual(await waiting(), []);
  // The node counts by the name of the batch: that of the answer that got lost is the same.
  assert.equal(posted.length, 2);
  assert.deepEqual(posted[0].value, posted[1].value);
  const { kind, scan: text, quantity, actor, batchId } = posted[0].value;
  assert.deepEqual([posted[0].pathname, kind, text, quantity, actor], ['/inventory/scans', 'count', raw, 5, 'tester']);
  assert.match(batchId, /^count-[0-9a-f-]{36}$/);
});

await browser.close();
server.closeAllConnections();
server.close();
console.log(`count page: ${4 - failed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
