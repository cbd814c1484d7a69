// The count page and the page of stock on real nodes: a centre with its issuer, and a site that signs people in by itself. Started by ../run.sh with the programs of node and command.
import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const [host, cli] = process.argv.slice(2);
const folder = mkdtempSync(path.join(os.tmpdir(), 'yizhan-count-'));
const listeners = await Promise.all(Array.from({ length: 5 }, () => new Promise(resolve => { const s = net.createServer().listen(0, '127.0.0.1', () => resolve(s)); })));
const [centrePort, linkPort, enrolPort, sitePort, dicomPort] = listeners.map(s => s.address().port);
await Promise.all(listeners.map(s => new Promise(resolve => s.close(resolve))));
const nodes = [];
let log = '';

async function until(what, holds) {
  const end = Date.now() + 120_000;
  while (!await holds()) {
    assert.ok(Date.now() < end, `waited two minutes in vain until ${what}\n${log}`);
    await new Promise(resolve => setTimeout(resolve, 250));
  }
}

/** Starts a node and gives a way to ask it as its operator. */
async function start(kind, port, ...settings) {
  const data = path.join(folder, kind);
  const node = spawn('dotnet', [host, kind, `--web:url=http://127.0.0.1:${port}`, `--node:dataFolder=${data}`, ...settings], { cwd: os.tmpdir() });
  for (const out of [node.stdout, node.stderr]) out.on('data', d => { log += d; });
  nodes.push(node);
  await until(`the ${kind} answers`, async () => {
    assert.equal(node.exitCode, null, `the ${kind} stopped: ${log}`);
    return (await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => null)) !== null;
  });
  const token = readFileSync(path.join(data, 'identity/operator.token'), 'utf8');
  return async (at, method = 'GET', body) => {
    const answer = await fetch(`http://127.0.0.1:${port}/${at}`, { method, headers: { Authorization: `Bearer ${token}`, ...(body && { 'Content-Type': 'application/json' }) }, body: body && JSON.stringify(body) });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${at}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  };
}

const passwords = {};
const chosen = 'horse battery staple 9';
let passed = 0, failed = 0;

async function test(name, run) {
  try { await run(); passed++; console.log(`ok    ${name}`); } catch (e) { failed++; console.log(`FAIL  ${name}\n${e.stack}`); }
}

/** A phone that has never been here. */
async function phone(url) {
  const page = await (await browser.newContext({ locale: 'en-GB', viewport: { width: 390, height: 800 } })).newPage();
  page.setDefaultTimeout(60_000);
  await page.goto(url);
  return page;
}

/** Signs in at the issuer's own page, the first time with the password that was given. */
async function signIn(page, name) {
  await page.fill('#name', name);
  await page.fill('#password', passwords[name]);
  await page.click('form button');
  if (await page.locator('#again').count()) {
    await page.fill('#password', passwords[name]);
    await page.fill('#new', chosen);
    await page.fill('#again', chosen);
    await page.click('form button');
    passwords[name] = chosen;
  }
}

async function count(page, quantity) {
  await page.locator('#state', { hasText: 'connected' }).waitFor();
  await page.fill('#item', 'gloves');
  await page.fill('#lot', 'L1');
  await page.fill('#quantity', String(quantity));
  await page.fill('#actor', 'li');
  await page.click('button[data-text=record]');
  await page.waitForFunction(() => localStorage.getItem('queue') === '[]');
}

const item = { code: 'gloves', name: 'Gloves', category: 'consumable', unit: 'piece', units: {}, leadDays: 14 };
const browser = await chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
try {
  const centre = await start('centre', centrePort, `--fleet:linkPort=${linkPort}`, `--fleet:enrolmentPort=${enrolPort}`, '--pacs-gw:acceptAssociations=false');
  for (const [name, role] of [['li', 'radiographer@*'], ['audrey', 'auditor@*']]) passwords[name] = (await centre('auth/users', 'POST', { name, displayName: name, roles: [role] })).password;
  await centre('inventory/items', 'PUT', item);

  await test('at the centre the count page leads to the issuer, back again, and the count is in the ledger', async () => {
    const page = await phone(`http://127.0.0.1:${centrePort}/inventory/app/`);
    await page.locator('#state').getByRole('link', { name: 'Sign in' }).click();
    await signIn(page, 'li');
    await page.waitForURL('**/inventory/app/');
    await count(page, 12);
    assert.deepEqual((await centre('inventory/stock?site=centre')).map(s => [s.item, s.lot, s.quantity]), [['gloves', 'L1', 12]]);
    await page.context().close();
  });

  await test('the page of stock shows what the inventory has, and its files come in the session of who looks', async () => {
    const page = await phone(`http://127.0.0.1:${centrePort}/inventory`);
    await signIn(page, 'li');
    const row = page.locator('tr[data-stock="centre/gloves/L1/"]');
    await row.getByText('12 piece').waitFor();
    await page.locator('tr[data-source="centre/node"]').waitFor();
    const href = await page.getByRole('link', { name: 'stock as CSV' }).getAttribute('href');
    const file = await page.evaluate(async at => { const answer = await fetch(at); return [answer.status, await answer.text()]; }, href);
    assert.equal(file[0], 200);
    assert.match(file[1], /centre,,gloves,Gloves,L1,,12,piece,no/);
    await page.context().close();
  });

  await test('who may not see stock is told so, and which roles may, on both pages', async () => {
    const page = await phone(`http://127.0.0.1:${centrePort}/inventory`);
    await signIn(page, 'audrey');
    await page.getByText('Your roles do not let you see stock. These do: admin, clinician, operator').waitFor();
    assert.equal(await page.locator('tr[data-stock]').count(), 0);
    await page.goto(`http://127.0.0.1:${centrePort}/inventory/app/`);
    await page.locator('#state', { hasText: 'radiographer' }).waitFor();
    await page.getByRole('button', { name: 'Sign in as somebody else' }).click();
    await page.locator('#state').getByRole('link', { name: 'Sign in' }).waitFor();
    await page.context().close();
  });

  await test('at a site, which has no issuer, its own page signs in and leads back, and the count is at the site and at the centre, once', async () => {
    writeFileSync(path.join(folder, 'token.json'), JSON.stringify(await centre('fleet/sites/lakeside/enrolment-tokens?minutes=15', 'POST')));
    execFileSync('dotnet', [cli, 'enrol', '--token-file', path.join(folder, 'token.json'), '--folder', path.join(folder, 'tls')]);
    const tls = name => path.join(folder, 'tls', name);
    const site = await start('edge', sitePort, '--node:siteId=lakeside', `--station:centreUrl=https://localhost:${linkPort}`, `--station:certificatePath=${tls('certificate.pem')}`, `--station:keyPath=${tls('key.pem')}`,
      `--station:rootPath=${tls('root.crt')}`, '--station:accountsPollSeconds=10', `--pacs-gw:dicomPort=${dicomPort}`);
    await site('inventory/items', 'PUT', item);
    await until('the site has its list of accounts', async () => (await site('station/sign-in')).accounts > 0);
    const page = await phone(`http://127.0.0.1:${sitePort}/inventory/app/`);
    await page.locator('#state').getByRole('link', { name: 'Sign in' }).click();
    await page.fill('#name', 'li');
    await page.fill('#password', 'not it');
    await page.click('form button');
    await page.getByRole('alert').getByText('User name or password is wrong.').waitFor();
    await page.fill('#password', passwords.li);
    await page.click('form button');
    await page.waitForURL('**/inventory/app/');
    await count(page, 7);
    assert.deepEqual((await site('inventory/stock?site=lakeside')).map(s => [s.item, s.quantity]), [['gloves', 7]]);
    await until('the centre has it', async () => (await centre('inventory/stock?site=lakeside')).length === 1);
    assert.equal((await centre('inventory/stock?site=lakeside'))[0].quantity, 7);
    assert.equal((await centre('inventory/movements?site=lakeside')).length, 1);
    await page.context().close();
  });
} finally {
  await browser.close();
  await Promise.all(nodes.filter(n => n.exitCode === null).map(n => new Promise(resolve => { n.once('exit', resolve); n.kill(); })));
  rmSync(folder, { recursive: true, force: true });
}
console.log(`count page on real nodes: ${passed} passed, ${failed} failed`);
process.exitCode = failed || passed === 0 ? 1 : 0;
