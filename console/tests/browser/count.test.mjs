// The page for counting stock, in a real browser; the inventory behind it answers over real HTTP as the test decides. Started by ../run.sh.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import http from 'node:http';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const files = new URL('../../../services/inventory-service/App/', import.meta.url);
const types = { html: 'text/html', css: 'text/css', js: 'text/javascript', webmanifest: 'application/manifest+json' };
let signedIn = true, failing = 0, line = true, answerLost = false, slow = null;
// How the node signs people in: 'page' (its issuer's), 'site' (a PIN) or neither.
let signsIn = 'page';
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
  if (pathname === '/inventory/app/sign-in') {
    if (signsIn === 'page') response.writeHead(302, { location: '/sign-in?back=%2Finventory%2Fapp%2Fsign-in' }).end();
    else json(401, { detail: 'no session' });
    return;
  }
  if (pathname === '/station/sign-in/keys') { json(signsIn === 'site' ? 200 : 404, { keys: [] }); return; }
  if (pathname === '/station/sign-in') {
    const { name, pin } = JSON.parse(body);
    json(...name === 'li' && pin === '4711-0815' ? [200, { access_token: 'site-token', token_type: 'Bearer', expires_in: 900 }] : [401, { detail: 'Name or PIN is wrong.' }]);
    return;
  }
  if (pathname === '/sign-out') { posted.push({ pathname }); response.writeHead(302, { location: '/' }).end(); return; }
  if (!signedIn && request.headers.authorization !== 'Bearer site-token') { json(failing || 401, { detail: failing === 403 ? 'This needs the permission ChangeStock' : 'no session' }); return; }
  if (request.method !== 'POST') { json(200, []); return; }
  const value = JSON.parse(body);
  if (pathname === '/inventory/scans' && !value.kind) { await slow; json(200, { item: 'gloves', lot: 'L1', expiry: '2027-01-31' }); return; }
  posted.push({ pathname, site: request.headers['sec-fetch-site'], value });
  if (answerLost) { answerLost = false; request.socket.destroy(); return; }
  json(201, value);
});
await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
const context = await browser.newContext({ locale: 'en-GB', serviceWorkers: 'block' });
const page = await context.newPage();
page.setDefaultTimeout(60_000);
const state = page.locator('#state');
const says = text => state.filter({ hasText: text }).waitFor();
const resend = () => page.evaluate(() => dispatchEvent(new Event('online')));
const waiting = () => page.evaluate(() => JSON.parse(localStorage.getItem('queue') ?? '[]'));
const raw = '010690123456789217280131' + '10A7';
let passed = 0, failed = 0;

async function test(name, run) {
  try { await run(); passed++; console.log(`ok    ${name}`); } catch (e) { failed++; console.log(`FAIL  ${name}\n${e.stack}`); }
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

await test('without a session it is said where to sign in, and the queue is kept', async () => {
  posted.length = 0;
  [signedIn, failing] = [false, 401];
  await scan(raw, 4);
  await says('sign in');
  assert.equal(await state.getByRole('link').getAttribute('href'), 'sign-in');
  assert.doesNotMatch(await state.textContent(), /connected/);
  assert.equal((await waiting()).length, 1);
  signedIn = true;
  await resend();
  await says('connected');
  assert.deepEqual([(await waiting()).length, posted.length, posted[0].value.quantity], [0, 1, 4]);
});

await test('who may not is told why, can sign in as somebody else, and the queue is kept', async () => {
  posted.length = 0;
  [signedIn, failing] = [false, 403];
  await scan(raw, 4);
  await says('This needs the permission ChangeStock');
  failing = 401;
  await state.getByRole('button', { name: 'Sign in as somebody else' }).click();
  await state.getByRole('link').waitFor();
  assert.deepEqual(posted.map(p => p.pathname), ['/sign-out']);
  assert.equal((await waiting()).length, 1);
  posted.length = 0;
  signedIn = true;
  await resend();
  await says('connected');
  assert.deepEqual([(await waiting()).length, posted.length], [0, 1]);
});

await test('at a site without an issuer a name and a PIN sign in, a wrong one is said, and what waits is sent', async () => {
  posted.length = 0;
  [signedIn, failing, signsIn] = [false, 401, 'site'];
  await scan(raw, 6);
  await page.locator('#sign-in').waitFor();
  for (const [pin, said] of [['1111', 'Name or PIN is wrong.'], ['4711-0815', 'connected']]) {
    await page.fill('#name', 'li');
    await page.fill('#pin', pin);
    await page.press('#pin', 'Enter');
    await says(said);
    assert.equal(await page.inputValue('#pin'), '');
  }
  assert.ok(await page.locator('#sign-in').isHidden());
  assert.deepEqual([(await waiting()).length, posted.length, posted[0].value.quantity], [0, 1, 6]);
  // The token is the tab's: nothing of it is kept on the phone.
  assert.doesNotMatch(await page.evaluate(() => JSON.stringify(localStorage)), /site-token|4711/);
});

await test('a node on which nobody can sign in says what to do', async () => {
  [signedIn, failing, signsIn] = [false, 401, ''];
  await page.evaluate(() => sessionStorage.clear());
  await resend();
  await says('yizhan open');
  assert.equal(await state.getByRole('link').count(), 0);
  [signedIn, signsIn] = [true, 'page'];
  await resend();
  await says('connected');
});

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

await test('what is half typed is there again after a page that was left without a line, and goes with the record', async () => {
  posted.length = 0;
  line = false;
  await page.fill('#item', 'masks');
  await page.fill('#lot', 'L-77');
  await page.fill('#quantity', '12');
  await page.reload();
  await says('offline');
  for (const [id, text] of [['item', 'masks'], ['lot', 'L-77'], ['quantity', '12']]) assert.equal(await page.inputValue(`#${id}`), text);
  line = true;
  await page.click('button[data-text=record]');
  await page.waitForFunction(() => localStorage.getItem('queue') === '[]');
  assert.deepEqual([posted[0].value.movements[0].item, posted[0].value.movements[0].lot, posted[0].value.movements[0].quantity], ['masks', 'L-77', 12]);
  await page.reload();
  await says('connected');
  assert.equal(await page.inputValue('#lot') + await page.inputValue('#quantity'), '');
});

await test('what is typed while a slow line reads a label stays, and so does the place where it is typed', async () => {
  let answered;
  slow = new Promise(resolve => { answered = resolve; });
  await page.fill('#item', '');
  const asked = page.waitForRequest(r => r.url().endsWith('/inventory/scans'));
  await page.fill('#scan', raw);
  await page.press('#scan', 'Enter');
  await asked;
  await page.fill('#lot', 'by hand');
  answered();
  await page.waitForFunction(() => document.getElementById('item').value === 'gloves');
  assert.equal(await page.inputValue('#lot'), 'by hand');
  assert.equal(await page.inputValue('#expiry'), '2027-01-31');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'lot');
});

await browser.close();

// A camera that shows a printed label: the browser plays a film of it. Chromium on a PC has no reader of its own, so the library's reads it.
const film = mkdtempSync(path.join(os.tmpdir(), 'yizhan-label-'));
for (const [symbol, arguments_, expected] of [
  ['a GS1-128', ['-b', 'GS1_128', '--height=60', '-d', '[01]06901234567892[17]280131[10]A7[21]S1'], ']C101069012345678921728013110A7\x1d21S1'],
  ['a GS1 DataMatrix', ['-b', 'DATAMATRIX', '--gs1', '--scale=5', '-d', '[01]06901234567892[17]280131[10]A7[21]S1'], ']d201069012345678921728013110A7\x1d21S1'],
  ['a QR code with an MA identifier', ['-b', 'QRCODE', '--scale=5', '-d', 'MA.156.M0.123456.0ABC1235.LA7'], 'MA.156.M0.123456.0ABC1235.LA7'],
]) {
  await test(`the camera reads ${symbol}, and the node is asked what it says`, async () => {
    execFileSync('zint', [...arguments_, '--quietzones', '-o', path.join(film, 'label.png')]);
    execFileSync('ffmpeg', ['-y', '-loglevel', 'error', '-loop', '1', '-i', path.join(film, 'label.png'), '-vf', 'pad=max(iw\\,1280):max(ih\\,720):(ow-iw)/2:(oh-ih)/2:white,scale=1280:720:flags=neighbor',
      '-pix_fmt', 'yuv420p', '-t', '1', '-r', '10', path.join(film, 'label.y4m')]);
    const filmed = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
      args: ['--no-sandbox', '--disable-gpu', '--use-fake-device-for-media-stream', '--use-fake-ui-for-media-stream', `--use-file-for-fake-video-capture=${path.join(film, 'label.y4m')}`] });
    try {
      const page = await (await filmed.newContext({ locale: 'en-GB', permissions: ['camera'], serviceWorkers: 'block' })).newPage();
      page.setDefaultTimeout(60_000);
      await page.goto(`http://127.0.0.1:${server.address().port}/inventory/app/`);
      await page.locator('#state', { hasText: 'connected' }).waitFor();
      const asked = page.waitForRequest(r => r.url().endsWith('/inventory/scans'));
      await page.click('#camera');
      assert.deepEqual((await asked).postDataJSON(), { scan: expected });
      await page.waitForFunction(() => document.activeElement.id === 'quantity');
      assert.deepEqual([await page.inputValue('#item'), await page.locator('#view').isHidden(), await page.locator('#camera').innerText()], ['gloves', true, 'Scan with the camera']);
    } finally { await filmed.close(); }
  });
}

await test('a camera that is not allowed is said, with what to do', async () => {
  const refusing = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu', '--use-fake-device-for-media-stream'] });
  try {
    const page = await (await refusing.newContext({ locale: 'en-GB', permissions: [], serviceWorkers: 'block' })).newPage();
    page.setDefaultTimeout(60_000);
    await page.goto(`http://127.0.0.1:${server.address().port}/inventory/app/`);
    await page.locator('#state', { hasText: 'connected' }).waitFor();
    await page.click('#camera');
    await page.locator('#state', { hasText: 'allow it for this page' }).waitFor();
    assert.ok(await page.locator('#view').isHidden());
  } finally { await refusing.close(); }
});

rmSync(film, { recursive: true });
server.closeAllConnections();
server.close();
console.log(`count page: ${passed} passed, ${failed} failed`);
process.exitCode = failed ? 1 : 0;
