// The console of a site whose centre is away, in a real browser: a centre with its issuer, and a site with its own archive, models, speech and stock. Started by ../run.sh:
// site.test.mjs HOST_DLL CLI_DLL SCREENSHOTS. Prints one line a test.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import { multipart, thorax } from './dicom.mjs';

const [host, cli, screenshots] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const only = new RegExp(process.env.CONSOLE_TESTS ?? '');
const folder = mkdtempSync(path.join(os.tmpdir(), 'yizhan-site-'));
mkdirSync(screenshots, { recursive: true });
const listeners = await Promise.all(Array.from({ length: 5 }, () => new Promise(resolve => { const s = net.createServer().listen(0, '127.0.0.1', () => resolve(s)); })));
const [centrePort, linkPort, enrolPort, sitePort, dicomPort] = listeners.map(s => s.address().port);
await Promise.all(listeners.map(s => new Promise(resolve => s.close(resolve))));
const [centreUrl, siteUrl] = [centrePort, sitePort].map(port => `http://127.0.0.1:${port}/`);
const nodes = new Set();
let log = '';

async function until(what, holds) {
  for (const end = Date.now() + 120_000; ;) {
    const found = await holds();
    if (found) return found;
    assert.ok(Date.now() < end, `waited two minutes in vain until ${what}\n${log.slice(-3000)}`);
    await new Promise(resolve => setTimeout(resolve, 200));
  }
}

/** Starts a node; what it gives asks it as its operator. */
async function start(kind, port, ...settings) {
  const data = path.join(folder, kind);
  const node = spawn('dotnet', [host, kind, `--web:url=http://127.0.0.1:${port}`, `--node:dataFolder=${data}`, '--storage:freeFloorBytes=0', '--log:level=warning', ...settings], { cwd: os.tmpdir() });
  for (const out of [node.stdout, node.stderr]) out.on('data', d => { log += d; });
  nodes.add(node);
  await until(`the ${kind} answers`, async () => {
    assert.equal(node.exitCode, null, `the ${kind} stopped: ${log}`);
    return (await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => null)) !== null;
  });
  const ask = async (at, method = 'GET', body, type = 'application/json') => {
    const answer = await fetch(`http://127.0.0.1:${port}/${at}`, {
      method, body: type === 'application/json' ? body && JSON.stringify(body) : body,
      headers: { Authorization: `Bearer ${readFileSync(path.join(data, 'identity/operator.token'), 'utf8')}`, ...(body && { 'Content-Type': type }) },
    });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${at}: ${answer.status} ${text}`);
    return text ? JSON.parse(text) : null;
  };
  ask.stop = () => new Promise(resolve => { nodes.delete(node); node.once('exit', resolve); node.kill(); });
  return ask;
}
const startCentre = () => start('centre', centrePort, `--fleet:linkPort=${linkPort}`, `--fleet:enrolmentPort=${enrolPort}`, '--pacs-gw:acceptAssociations=false');

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-background-networking', '--disable-component-update',
    '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream'],
});

async function open(url, language, viewport) {
  const context = await browser.newContext({ viewport, locale: language, timezoneId: 'Asia/Shanghai', reducedMotion: 'reduce', permissions: ['microphone'] });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.problems = [];
  page.on('pageerror', e => page.problems.push(`script: ${e.message}`));
  page.on('request', r => { if (!/^(data:|blob:|(https?|wss?):\/\/127\.0\.0\.1:)/.test(r.url())) page.problems.push(`outside request: ${r.url()}`); });
  await page.goto(url);
  return page;
}

async function close(page) {
  const { problems } = page;
  await page.context().close();
  assert.deepEqual(problems, []);
}

/** No serious violation, and nothing to scroll sideways. */
async function accessible(page) {
  // The page draws its title anew when it gets its connection.
  await until('the page has its title', async () => await page.title() !== '');
  // A page that forbids every script is looked at by the browser's own means.
  const { violations } = await page.context().newCDPSession(page).then(async cdp => {
    await cdp.send('Page.setBypassCSP', { enabled: true });
    await page.evaluate(axe);
    return page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  });
  assert.deepEqual(violations.filter(v => v.impact === 'serious' || v.impact === 'critical').map(v => `${v.id}: ${v.nodes.map(n => `${n.target} ${n.failureSummary}`).join(' | ')}`), []);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), `${page.url()} scrolls sideways`);
}
const shot = (page, name) => page.evaluate(() => scrollTo(0, 0)).then(() => page.screenshot({ path: path.join(screenshots, `${name}.png`), fullPage: true }));

let passed = 0, failed = 0;
async function test(name, run) {
  if (!only.test(name)) return;
  try {
    await run();
    passed++;
    console.log(`ok    ${name}`);
  } catch (e) {
    failed++;
    for (const [n, context] of browser.contexts().entries()) {
      for (const page of context.pages()) {
        await page.screenshot({ path: path.join(screenshots, `site-failed-${failed}-${n}.png`), fullPage: true }).catch(() => {});
        console.log(`      ${page.url()} ${page.problems?.join('\n      ')}`);
      }
      await context.close().catch(() => {});
    }
    console.log(`FAIL  ${name}\n      ${e.stack.replaceAll('\n', '\n      ')}`);
  }
}

const chosen = 'horse battery staple 9';
async function signIn(page, name, password) {
  await page.fill('#name', name);
  await page.fill('#password', password);
  await page.click('form button');
}

/** A browser of somebody who has signed in at the site. */
async function enter(name, language, viewport, to = '') {
  const page = await open(siteUrl + to, language, viewport);
  await signIn(page, name, chosen);
  await page.locator('aside.here').waitFor();
  return page;
}

/** Points of the picture that have a colour, as drawn. */
const coloured = page => page.evaluate(() => {
  const canvas = document.querySelector('#viewer .pane canvas'), copy = document.createElement('canvas');
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext('2d');
  context.drawImage(canvas, 0, 0);
  const { data } = context.getImageData(0, 0, copy.width, copy.height);
  let count = 0;
  for (let i = 0; i < data.length; i += 4) count += Math.max(data[i], data[i + 1], data[i + 2]) - Math.min(data[i], data[i + 1], data[i + 2]) > 30 ? 1 : 0;
  return count;
});

const study = { name: 'Wang^XiaoDong=王^小东', id: 'LC-7', study: '2.25.9101', date: '20261123', description: 'Chest CT' };
const notes = [];
try {
  let centre = await startCentre();
  for (const [name, role] of [['li', 'clinician@lakeside'], ['audrey', 'auditor@lakeside']]) {
    const { password } = await centre('auth/users', 'POST', { name, displayName: name, roles: [role] });
    const page = await open(`${centreUrl}sign-in`, 'en-GB', { width: 800, height: 800 });
    await signIn(page, name, password);
    await page.fill('#password', password);
    await page.fill('#new', chosen);
    await page.fill('#again', chosen);
    await page.click('form button');
    await page.waitForURL(url => !url.pathname.startsWith('/sign-in'));
    await close(page);
  }
  writeFileSync(path.join(folder, 'token.json'), JSON.stringify(await centre('fleet/sites/lakeside/enrolment-tokens?minutes=15', 'POST')));
  execFileSync('dotnet', [cli, 'enrol', '--token-file', path.join(folder, 'token.json'), '--folder', path.join(folder, 'tls')]);
  const tls = name => path.join(folder, 'tls', name);
  const site = await start('edge', sitePort, '--node:siteId=lakeside', `--station:centreUrl=https://localhost:${linkPort}`, `--station:certificatePath=${tls('certificate.pem')}`, `--station:keyPath=${tls('key.pem')}`,
    `--station:rootPath=${tls('root.crt')}`, '--station:accountsPollSeconds=1', '--station:heartbeatSeconds=1', `--pacs-gw:dicomPort=${dicomPort}`, '--ai-infer:rules:0:model=nodule', '--ai-infer:quietSeconds=1',
    '--nmt-asr:dialects:0=cmn', `--console:centreUrl=${centreUrl}`);
  await site('inventory/items', 'PUT', { code: 'gloves', name: 'Gloves', category: 'consumable', unit: 'piece', units: {}, leadDays: 14 });
  await until('the site has its list of accounts', async () => (await site('station/sign-in')).accounts === 2);

  // From here on the centre is away: what comes now is at the site alone.
  await centre.stop();
  await until('the site has noticed', async () => !(await site('station/sites'))[0].online);
  const { type, body } = multipart(thorax(study, 40, 256));
  await site('pacs-gw/dicom-web/studies', 'POST', body, type);
  await until('the model has looked at the study', async () => (await site(`ai-infer/results?study=${study.study}`)).length === 1);
  const [result] = await site(`ai-infer/results?study=${study.study}`);
  assert.equal(result.outcome, 'findings', JSON.stringify(result));

  for (const [language, viewport, say] of [
    ['en-GB', { width: 1440, height: 1000 }, {
      studies: 'Studies', name: 'Patient name', search: 'Search', down: /The line to the centre is down since \d\d:\d\d/, wrong: 'User name or password is wrong', holds: /until \d{4}-\d\d-\d\d \(2\d days left\)/, open: 'Open', models: 'Models',
      dictation: 'Dictation', stock: 'Stock', count: 'Count stock and scan labels', elsewhere: 'This page is at the centre', sent: 'is kept and on its way', quantity: 7,
    }],
    ['zh-CN', { width: 820, height: 1180 }, {
      studies: '检查', name: '患者姓名', search: '查找', down: /到中心的线路自 \d\d:\d\d 起中断/, wrong: '用户名或密码不正确', holds: /登录至 \d{4}-\d\d-\d\d（剩余 2\d 天）/, open: '打开', models: '模型',
      dictation: '语音病历', stock: '物资库存', count: '盘点与扫码', elsewhere: '此页面在中心', sent: null, quantity: 5,
    }]]) {
    const at = `in ${language} at ${viewport.width} px, with the centre away`;
    const nav = (page, name) => page.getByRole('navigation').getByRole('link', { name, exact: true }).click();
    await test(`Somebody signs in at the site and sees which site this is and since when its line is down, ${at}`, async () => {
      const page = await open(siteUrl, language, viewport);
      assert.match(page.url(), /\/sign-in\?back=%2F$/);
      assert.match(await page.locator('main').innerText(), say.holds);
      await accessible(page);
      await shot(page, `site-sign-in-${language.slice(0, 2)}`);
      await signIn(page, 'li', 'not it');
      await page.getByRole('alert').getByText(say.wrong).waitFor();
      await signIn(page, 'li', chosen);
      await page.locator('aside[data-line=down]').waitFor();
      await until('the line and the site are named', async () => say.down.test(await page.locator('aside.here').innerText()) && (await page.locator('aside.here').innerText()).includes('lakeside'));
      await page.locator(`tr[data-study="${study.study}"]`).waitFor();
      await page.locator('[data-sign-in] dd', { hasText: /20\d\d-\d\d-\d\d/ }).waitFor();
      await accessible(page);
      await shot(page, `site-home-${language.slice(0, 2)}`);
      await close(page);
    });

    await test(`A study is found by pinyin and opened with what the model found, ${at}`, async () => {
      const page = await enter('li', language, viewport);
      await nav(page, say.studies);
      await page.locator('h1', { hasText: say.studies }).waitFor();
      await page.locator(`tbody[data-study="${study.study}"]`).waitFor();
      await page.getByLabel(say.name).fill('nobody');
      await page.getByRole('button', { name: say.search, exact: true }).click();
      await until('nothing is found', async () => await page.locator('tbody[data-study]').count() === 0);
      await page.getByLabel(say.name).fill('wang xiao');
      await page.getByRole('button', { name: say.search, exact: true }).click();
      const way = page.locator(`tbody[data-study="${study.study}"] .way`);
      await way.locator('[data-step=analysed].done').waitFor();
      await way.locator('[data-step=shipped].open').waitFor();
      await accessible(page);
      await page.locator(`tbody[data-study="${study.study}"] a.open`).click();
      await page.locator('#viewer[data-state=open][data-results]').waitFor();
      await page.locator('.finding').first().press('Enter');
      await until('the segment lies over its image', async () => await coloured(page) > 20);
      await accessible(page);
      await shot(page, `site-viewer-${language.slice(0, 2)}`);
      await nav(page, say.models);
      await page.locator(`tr[data-finding="${study.study}"]`).waitFor();
      await accessible(page);
      await close(page);
    });

    await test(`A note is dictated and stock is counted, ${at}`, async () => {
      const page = await enter('li', language, viewport);
      await nav(page, say.dictation);
      await page.locator('#dialect option').first().waitFor({ state: 'attached' });
      await accessible(page);
      await page.click('#begin');
      await page.waitForFunction(() => document.querySelector('#state').textContent.length > 0 && !document.querySelector('#finish').disabled);
      await page.click('#finish');
      await page.waitForFunction(() => !document.querySelector('#send').disabled || document.querySelector('#text').value.length > 0);
      await page.fill('#text', `No chest pain. ${language}`);
      await page.fill('#patient', study.id);
      await page.waitForFunction(() => !document.querySelector('#send').disabled);
      const answer = page.waitForResponse(r => r.url().endsWith('/note'));
      await page.click('#send');
      notes.push((await (await answer).json()).reportId);
      await page.locator('#sent').getByText(notes.at(-1)).waitFor();

      await nav(page, say.stock);
      await page.getByRole('link', { name: say.count }).first().click();
      await page.waitForURL('**/inventory/app/');
      await page.fill('#item', 'gloves');
      await page.fill('#lot', language);
      await page.fill('#quantity', String(say.quantity));
      await page.fill('#actor', 'li');
      await page.click('button[data-text=record]');
      await page.waitForFunction(() => localStorage.getItem('queue') === '[]');
      assert.deepEqual((await site('inventory/stock?site=lakeside')).filter(s => s.lot === language).map(s => s.quantity), [say.quantity]);
      await close(page);
    });

    await test(`Each other page of a site opens, and what only a centre has says where it is, ${at}`, async () => {
      const page = await enter('li', language, viewport);
      for (const where of ['emr', 'peers', 'audit', 'inventory']) {
        await page.goto(siteUrl + where);
        await page.locator('h1').waitFor();
        await page.locator('aside[data-line=down]').waitFor();
        await accessible(page);
      }
      for (const typed of ['configuration', 'people', 'drills', 'sites/hillside']) {
        await page.goto(siteUrl + typed);
        await page.locator('h1', { hasText: say.elsewhere }).waitFor();
        assert.equal(await page.locator(`main a[href="${centreUrl}${typed}"]`).count(), 1);
        assert.equal(await page.locator(`nav a[href="/${typed}"]`).count(), 0);
      }
      await accessible(page);
      await shot(page, `site-elsewhere-${language.slice(0, 2)}`);
      await close(page);
    });
  }

  await test('Who may not see studies takes emergency access with a reason, is warned, and is told of it on every page', async () => {
    const page = await enter('audrey', 'en-GB', { width: 820, height: 1180 }, 'studies');
    await page.getByText('Studies are open to clinicians').waitFor();
    await page.goto(siteUrl);
    assert.equal(await page.locator('tr[data-study]').count(), 0);
    await page.locator('main').getByRole('link', { name: 'Emergency access' }).click();
    await page.getByRole('note').getByText('reviewed by somebody else').waitFor();
    await accessible(page);
    await shot(page, 'site-emergency-en');
    await page.fill('#reason', 'unconscious patient, allergies unknown');
    await signIn(page, 'audrey', chosen);
    await page.locator('aside .glass').getByText('Emergency access until').waitFor();
    await page.getByRole('navigation').getByRole('link', { name: 'Studies', exact: true }).click();
    await page.locator(`tbody[data-study="${study.study}"]`).waitFor();
    await page.locator('aside .glass').waitFor();
    await accessible(page);
    await close(page);
  });

  await test('When the centre is back an open page says so by itself, and what was done meanwhile is there, each thing once', async () => {
    const page = await enter('li', 'en-GB', { width: 1440, height: 1000 }, 'studies');
    await page.locator('aside[data-line=down]').waitFor();
    centre = await startCentre();
    await page.locator('aside[data-line=up]').waitFor({ timeout: 120_000 });
    await page.locator('[data-step=shipped].done').waitFor();
    await close(page);
    const events = () => centre('fleet/events?limit=1000');
    await until('the notes are at the centre', async () => (await events()).filter(e => e.type === 'yizhan.emr.report.v1').length >= notes.length);
    assert.equal(notes.length, 2);
    await until('the counts are at the centre', async () => (await centre('inventory/movements?site=lakeside')).length === 2);
    await until('the study is at the centre with its results', async () => (await centre(`pacs-gw/studies/progress?uid=${study.study}`))[0]?.resultMs);
    for (const note of notes) await until('the audit log of the centre has the note', async () => (await centre(`audit/records?entity=note/${note}`)).records.length === 1);
    assert.equal((await events()).filter(e => e.type === 'yizhan.emr.report.v1').length, 2);
    assert.deepEqual((await centre('inventory/stock?site=lakeside')).map(s => s.quantity).sort(), [5, 7]);
    await until('somebody may review the emergency', async () => (await centre('fleet/emergencies')).length === 1);
  });
} catch (e) {
  failed++;
  console.log(`FAIL  the site is prepared\n${e.stack}\n${log.slice(-3000)}`);
} finally {
  await browser.close();
  await Promise.all([...nodes].filter(n => n.exitCode === null).map(n => new Promise(resolve => { n.once('exit', resolve); n.kill(); })));
  rmSync(folder, { recursive: true, force: true });
}
console.log(`console of a site: ${passed} passed, ${failed} failed`);
process.exitCode = failed || passed === 0 ? 1 : 0;
