// Studies and their images, in a real browser: the host as a centre, with its own archive. Started by ../run.sh.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';
import { multipart, report, segmentation, slices } from './dicom.mjs';

const [hostDll, screenshots, cliDll] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const only = new RegExp(process.env.CONSOLE_TESTS ?? '');
const temporary = mkdtempSync(path.join(os.tmpdir(), 'yizhan-studies-'));
mkdirSync(screenshots, { recursive: true });
const port = await new Promise(resolve => {
  const server = net.createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
});
const url = `http://127.0.0.1:${port}/`;
const keys = path.join(temporary, 'keys'), siteFiles = path.join(temporary, 'sites');
for (const folder of [keys, siteFiles]) mkdirSync(folder);

/** The `yizhan` command, as a person runs it on a machine of their own. */
const yizhan = (...words) => execFileSync('dotnet', [cliDll, ...words], { cwd: keys, encoding: 'utf8', env: { ...process.env, YIZHAN_TOKEN_FILE: path.join(temporary, 'data/identity/operator.token') } });
for (const name of ['wang', 'li']) yizhan('config', 'keygen', name);
yizhan('config', 'trust', 'trust.json', '--add', 'wang.pem', 'li.pem', '--approvals', '1');
let log = '', host;
function startHost() {
  host = spawn('dotnet', [hostDll, 'centre', `--fleet:releaseTrustPath=${keys}/trust.json`, `--fleet:drillCommand=${cliDll}`, '--fleet:linkPort=0', `--web:url=${url}`, `--node:dataFolder=${temporary}/data`, '--node:siteId=centre', '--pacs-gw:dicomPort=0', '--storage:freeFloorBytes=0'], { cwd: os.tmpdir() });
  host.stdout.on('data', d => { log += d; });
  host.stderr.on('data', d => { log += d; });
}
startHost();

async function until(what, holds, patience = 60_000) {
  for (const end = Date.now() + patience; ;) {
    if (await holds()) return;
    assert.ok(Date.now() < end, `waited in vain until ${what}\n${log.slice(-2000)}`);
    await new Promise(resolve => setTimeout(resolve, 100));
  }
}
await until('the centre answers', async () => { assert.equal(host.exitCode, null, log); return (await fetch(`${url}healthz`).catch(() => null))?.ok; });
// Its key dies with the process, so a node that was started again has another one.
const operator = () => ({ Authorization: `Bearer ${readFileSync(path.join(temporary, 'data/identity/operator.token'), 'utf8')}` });
const bearer = operator();

const wang = { name: 'Wang^XiaoDong=王^小东', id: 'LC-7', study: '2.25.901', date: '20261123', description: 'Chest CT' };
const before = { ...wang, study: '2.25.902', date: '20250304', description: 'Chest CT before' };
const script = { name: '<script>alert(1)</script>', id: '<b>X</b>', study: '2.25.903', date: '20261101', description: '<img src=x onerror=alert(2)>' };
const rtl = { name: `כהן^דוד${'א'.repeat(40)}`, id: '\u202eabc', study: '2.25.904', date: '20261102', description: 'L'.repeat(64) };
const count = 12, size = 256;
async function store(files) {
  const { type, body } = multipart(files);
  const stored = await fetch(`${url}pacs-gw/dicom-web/studies`, { method: 'POST', body, headers: { ...bearer, 'Content-Type': type, Accept: 'application/dicom+json' } });
  assert.equal(stored.status, 200, await stored.text());
}
for (const files of [[...slices(wang, count, size), segmentation(wang, [4, 5, 6], size), report(wang, '<b>Nodule 1</b>')], slices(before, 3, size), slices(script, 1, size), slices(rtl, 1, size)]) await store(files);
await until('all studies are found', async () => (await (await fetch(`${url}pacs-gw/dicom-web/studies`, { headers: bearer })).json()).length === 4
  && (await (await fetch(`${url}pacs-gw/dicom-web/studies/${wang.study}/instances`, { headers: bearer })).json()).length === count + 2);

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-dev-shm-usage', '--use-gl=angle', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-background-networking', '--disable-component-update'],
});

async function open({ language = 'en-GB', size: viewport = { width: 1440, height: 1000 }, to = '' } = {}) {
  const context = await browser.newContext({ viewport, locale: language, timezoneId: 'Asia/Shanghai', reducedMotion: 'reduce' });
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.problems = [];
  page.on('console', m => { if (m.type() === 'error') page.problems.push(`console: ${m.text()}`); });
  page.on('pageerror', e => page.problems.push(`script: ${e.message}`));
  page.on('dialog', d => { page.problems.push(`dialog: ${d.message()}`); d.dismiss(); });
  page.on('request', r => { if (!/^(data:|blob:|(https?|wss?):\/\/127\.0\.0\.1:)/.test(r.url())) page.problems.push(`outside request: ${r.url()}`); });
  const answer = await fetch(`${url}sign-in/link`, { method: 'POST', headers: operator() });
  await page.goto(new URL(await answer.text(), url).href);
  if (to) await page.goto(url + to);
  return page;
}

async function close(page) {
  const { problems } = page;
  await page.context().close();
  assert.deepEqual(problems, []);
}

async function accessible(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] }));
  assert.deepEqual(violations.filter(v => v.impact === 'serious' || v.impact === 'critical').map(v => `${v.id}: ${v.nodes.map(n => `${n.target} ${n.failureSummary}`).join(' | ')}`), []);
}

// From the top: what sticks to the window would otherwise lie in the middle of the picture.
const shot = (page, name) => page.evaluate(() => scrollTo(0, 0)).then(() => page.screenshot({ path: path.join(screenshots, `${name}.png`), fullPage: true }));
const opened = page => page.locator('#viewer[data-state=open][data-results]').waitFor();

/** Grey values of the picture along its middle row, as drawn. */
const drawn = (page, pane = 0) => page.evaluate(n => {
  const canvas = document.querySelectorAll('#viewer .pane canvas')[n];
  const copy = document.createElement('canvas');
  [copy.width, copy.height] = [canvas.width, canvas.height];
  const context = copy.getContext('2d');
  context.drawImage(canvas, 0, 0);
  return Array.from(context.getImageData(0, canvas.height >> 1, canvas.width, 1).data);
}, pane);
const bright = row => row.filter((v, i) => i % 4 === 0 && v > 100).length;
const coloured = row => row.filter((_, i) => i % 4 === 0 && Math.max(row[i], row[i + 1], row[i + 2]) - Math.min(row[i], row[i + 1], row[i + 2]) > 30).length;

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
        await page.screenshot({ path: path.join(screenshots, `studies-failed-${failed}-${n}.png`) }).catch(() => {});
        console.log(`      ${page.problems.join('\n      ')}`);
        await context.close().catch(() => {});
      }
    }
    console.log(`FAIL  ${name}\n      ${e.stack.replaceAll('\n', '\n      ')}`);
  }
}

await test('A link that is clicked before the page has its connection leads where it says', async () => {
  const page = await open();
  await page.route('**/_blazor/negotiate*', async route => { await new Promise(resolve => setTimeout(resolve, 2000)); await route.continue(); });
  await page.goto(url, { waitUntil: 'domcontentloaded' });
  await page.getByRole('navigation').getByRole('link', { name: 'Studies', exact: true }).click();
  await page.locator('tbody[data-study]').first().waitFor();
  assert.equal(await page.locator('h1').innerText(), 'Studies');
  await close(page);
});

for (const [language, viewport, say] of [
  ['en-GB', { width: 1440, height: 1000 }, { title: 'Studies', name: 'Patient name', search: 'Search', none: 'No study matches', analysed: 'Analysed', open: 'Open' }],
  ['zh-CN', { width: 820, height: 1180 }, { title: '检查', name: '患者姓名', search: '查找', none: '没有符合条件的检查', analysed: '已分析', open: '打开' }]]) {
  await test(`Studies are found by characters and by pinyin, with how far each has come, in ${language} at ${viewport.width} px`, async () => {
    const page = await open({ language, size: viewport });
    await page.getByRole('navigation').getByRole('link', { name: say.title, exact: true }).click();
    await page.locator('h1', { hasText: say.title }).waitFor();
    const found = page.locator('tbody[data-study]');
    await until('all are shown', async () => await found.count() === 4);
    assert.equal(await found.first().getAttribute('data-study'), wang.study);
    for (const words of ['王小', 'wang xiao', 'wangxiaodong']) {
      await page.getByLabel(say.name).fill(words);
      await page.getByRole('button', { name: say.search, exact: true }).click();
      await until(`two are found by ${words}`, async () => await found.count() === 2);
    }
    const way = page.locator(`tbody[data-study="${wang.study}"] .way`);
    await way.locator('[data-step=analysed].done').waitFor();
    for (const step of ['received', 'durable', 'shipped', 'indexed']) assert.equal(await way.locator(`[data-step=${step}].done time`).count(), 1, step);
    assert.equal(await way.locator('[data-step=emr].open').count(), 1);
    assert.equal(await page.locator(`tbody[data-study="${before.study}"] [data-step=analysed].open`).count(), 1);
    assert.ok(await way.getByText(say.analysed).isVisible());
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page scrolls sideways');
    await accessible(page);
    await shot(page, `studies-${language.slice(0, 2)}`);
    await page.getByLabel(say.name).fill('nobody');
    await page.getByRole('button', { name: say.search, exact: true }).click();
    await page.getByText(say.none).waitFor();
    await close(page);
  });

  await test(`Images are opened, scrolled, overlaid and measured, and a finding jumps to its image, in ${language} at ${viewport.width} px`, async () => {
    const page = await open({ language, size: viewport, to: `studies/${wang.study}/view` });
    await opened(page);
    assert.equal(await page.locator('h1').innerText(), '王小东');
    const [soon, stack] = await page.locator('#viewer').evaluate(v => [v.dataset.firstImageMs, v.dataset.stackMs]);
    console.log(`figure first image ${soon} ms after the page was asked for, the stack that can be turned ${stack} ms (${language}, ${viewport.width} px, ${count} images of ${size} × ${size}, software renderer)`);
    const pane = page.locator('.pane').first();
    assert.equal(await pane.getAttribute('data-image'), '1');

    // The first image in space is the one with the smallest disc, and the last with the largest.
    const first = bright(await drawn(page));
    await pane.focus();
    await page.keyboard.press('End');
    await until('the last image is there', async () => await pane.getAttribute('data-image') === String(count));
    await until('it has the larger disc', async () => bright(await drawn(page)) > first);
    await page.keyboard.press('PageUp');
    await until('ten back', async () => await pane.getAttribute('data-image') === '2');

    // A finding jumps to the middle of its segment, which lies over the image and can be made clear.
    const finding = page.locator('.finding');
    assert.match(await finding.innerText(), /<b>Nodule 1<\/b>[^]*1\.25 ml/);
    await finding.press('Enter');
    await until('the image of the finding is there', async () => await pane.getAttribute('data-image') === '6');
    await until('the segment is seen', async () => coloured(await drawn(page)) > 10);
    await accessible(page);
    await shot(page, `viewer-${language.slice(0, 2)}`);
    await page.locator('.tools input[type=range]').focus();
    await page.keyboard.press('Home');
    await until('the segment is clear', async () => coloured(await drawn(page)) === 0);

    // Window and level by a preset: in a bone window the disc of 40 HU is no longer white.
    await page.locator('.tools select').first().selectOption('bone');
    await until('the disc is grey', async () => bright(await drawn(page)) === 0);
    await page.locator('.tools select').first().selectOption('');
    await until('the disc is white again', async () => bright(await drawn(page)) > 10);

    // A hundred pixels of the image are a hundred millimetres.
    await page.locator('[data-tool=measure]').click();
    const box = await page.locator('.picture').first().boundingBox();
    const scale = Math.min(box.width, box.height) / size;
    const [x, y] = [box.x + box.width / 2, box.y + box.height / 2];
    await page.mouse.move(x - 50 * scale, y);
    await page.mouse.down();
    await page.mouse.move(x, y, { steps: 4 });
    await page.mouse.move(x + 50 * scale, y, { steps: 4 });
    await page.mouse.up();
    const length = page.locator('.measured button').first();
    await length.getByText('mm').waitFor();
    // What is listed follows the pointer with a delay.
    await until('it is a hundred millimetres', async () => Math.abs(parseFloat(await length.innerText()) - 100) < 3);

    // And by the keys alone: fifty pixels to the right of the middle. Arrow keys do not turn the images meanwhile.
    const shown = await pane.getAttribute('data-image');
    await pane.focus();
    for (const key of ['Enter', 'Enter', ...Array(5).fill('Shift+ArrowRight'), 'ArrowDown', 'ArrowUp', 'Enter']) await page.keyboard.press(key);
    await until('both lengths are listed', async () => await page.locator('.measured').count() === 2);
    await until('it is fifty millimetres', async () => (await page.locator('.measured button:first-child').allInnerTexts()).includes('50.0 mm'));
    assert.equal(await pane.getAttribute('data-image'), shown);
    for (const key of ['Enter', 'Enter', 'ArrowRight', 'Escape']) await page.keyboard.press(key);
    assert.equal(await page.locator('.cross').count(), 0);
    await until('a line that was left is gone', async () => await page.locator('.measured').count() === 2);
    await page.keyboard.press('ArrowDown');
    await until('arrow keys turn the images again', async () => await pane.getAttribute('data-image') !== shown);
    await page.locator('.tools [data-tool=window]').click();

    // The study before, side by side.
    await page.locator('.tools select').nth(1).selectOption({ index: 1 });
    await until('both are drawn', async () => await page.locator('.pane').count() === 2 && bright(await drawn(page, 1)) > 10);
    assert.match(await page.locator('.pane').nth(1).innerText(), /2025-03-04/);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page scrolls sideways');
    await accessible(page);
    await shot(page, `viewer-prior-${language.slice(0, 2)}`);
    await close(page);
  });
}

for (const [language, viewport, say] of [['en-GB', { width: 1440, height: 1000 }, { mpr: 'Three planes', not: 'these do not' }], ['zh-CN', { width: 820, height: 1180 }, { mpr: '三平面', not: '此序列不符合' }]]) {
  await test(`Three planes are laid through a stack, go through one point, and are left again, in ${language} at ${viewport.width} px`, async () => {
    const page = await open({ language, size: viewport, to: `studies/${wang.study}/view` });
    await opened(page);
    const asked = await page.evaluate(() => performance.getEntriesByType('resource').map(r => r.name).filter(name => name.includes('mpr.js')));
    assert.deepEqual(asked, [], 'the planes were loaded before anybody asked');
    const button = page.getByRole('button', { name: say.mpr });
    const began = Date.now();
    await button.press('Enter');
    await page.locator('#viewer[data-planes=open]').waitFor();
    const plane = name => page.locator(`.pane[data-plane=${name}]`);

    // The cone of discs: 128 to 150 mm across in every plane; as high as the stack, 24 mm, where it is cut along its axis.
    for (const n of [1, 2, 3]) await until(`plane ${n} is drawn`, async () => bright(await drawn(page, n)) > 10);
    console.log(`figure three planes ${Date.now() - began} ms after they were asked for (${language}, ${count} images of ${size} × ${size}, software renderer)`);
    assert.equal(await plane('sagittal').locator('.slice').getAttribute('max'), String(size));
    assert.equal(await plane('axial').locator('.slice').getAttribute('max'), String(count));
    await accessible(page);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page scrolls sideways');
    await shot(page, `planes-${language.slice(0, 2)}`);

    // The first sagittal plane is beside the cone; the mark of the common point goes there in the others.
    const left = name => plane(name).locator('.cross').evaluate(c => parseFloat(c.style.left));
    const marked = await left('axial');
    await plane('sagittal').focus();
    await page.keyboard.press('Home');
    await until('it is the first', async () => await plane('sagittal').getAttribute('data-image') === '1');
    await until('nothing of the disc is in it', async () => bright(await drawn(page, 2)) === 0);
    assert.ok(Math.abs(await left('axial') - marked) > 20, 'the mark stayed');
    const image = await plane('sagittal').getAttribute('data-image');
    const box = await plane('axial').locator('.picture').boundingBox();
    await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
    await until('a click brings it back', async () => await plane('sagittal').getAttribute('data-image') !== image && bright(await drawn(page, 2)) > 10);
    await page.locator('.tools select').first().selectOption('bone');
    for (const n of [0, 1, 2, 3]) await until(`the disc is grey in ${n}`, async () => bright(await drawn(page, n)) === 0);
    await page.locator('.tools select').first().selectOption('');

    await button.press('Enter');
    await until('they are gone', async () => await page.locator('.pane').count() === 1);
    await until('the stack is as before', async () => bright(await drawn(page)) > 10);
    await page.goto(`${url}studies/${before.study}/view`);
    await opened(page);
    await button.click();
    await page.getByRole('alert').getByText(say.not).waitFor();
    assert.equal(await page.locator('.pane').count(), 1);
    await close(page);
  });
}

/** Grey values of the first picture along its middle row; null while it is not on the screen. */
const firstPicture = page => page.evaluate(() => {
  const picture = document.querySelector('#viewer img.first');
  const box = picture?.getBoundingClientRect();
  if (!picture?.complete || !document.querySelector('#viewer').dataset.firstImageMs || document.elementsFromPoint(box.x + box.width / 2, box.y + box.height / 2).length === 0) return null;
  const copy = Object.assign(document.createElement('canvas'), { width: picture.naturalWidth, height: picture.naturalHeight });
  const context = copy.getContext('2d');
  context.drawImage(picture, 0, 0);
  return { shown: Math.min(box.width, box.height), row: Array.from(context.getImageData(0, copy.height >> 1, copy.width, 1).data) };
});

await test('The first image is seen before the page has its connection and before the viewer has its engine, and the stack takes its place', async () => {
  const page = await open();
  let release;
  const held = new Promise(resolve => { release = resolve; });
  for (const late of ['**/_blazor/negotiate*', '**/viewer/engine.js']) await page.route(late, async route => { await held; await route.continue(); });
  await page.goto(`${url}studies/${wang.study}/view`, { waitUntil: 'domcontentloaded' });
  await until('the first image is seen', async () => await firstPicture(page) !== null);
  const { shown, row } = await firstPicture(page);

  // It is the image with the smallest disc, which lies first in space: its diameter is half the image.
  assert.equal(bright(row), size / 2 - 1, 'the disc of the first image');
  assert.ok(shown > 300, `${shown} px`);
  assert.equal(await page.locator('.pane').count(), 0);
  release();
  await opened(page);
  assert.equal(await page.locator('img.first').count(), 0);
  await close(page);
});

await test('A link to a study asks for its images before the page has turned, and a study that is left late is not seen in another', async () => {
  const page = await open({ to: 'studies' });
  await page.locator(`tbody[data-study="${before.study}"] a.open`).waitFor();
  await page.waitForFunction(() => [...document.querySelectorAll('time')].every(t => t.title.endsWith('+08:00')));
  let release, asked;
  const held = new Promise(resolve => { release = resolve; }), late = new Promise(resolve => { asked = resolve; });
  await page.route(`**/studies/${before.study}/**/rendered`, async route => { asked(); await held; await route.continue().catch(() => {}); });
  await page.locator(`tbody[data-study="${before.study}"] a.open`).click();
  await late;
  await page.getByRole('link', { name: 'All studies' }).click();
  await page.locator(`tbody[data-study="${wang.study}"] a.open`).click();
  release();
  await opened(page);
  assert.equal(await page.locator('h1').innerText(), '王小东');
  console.log(`figure first image ${await page.locator('#viewer').getAttribute('data-first-image-ms')} ms after its link was clicked`);
  await until('the picture of the study is gone', async () => await page.locator('img.first').count() === 0);
  await close(page);
});

await test('A study before that comes while the images are open is offered beside them, and what is chosen stays', async () => {
  const now = { name: 'Zhao^Min', id: 'LC-9', study: '2.25.911', date: '20261120', description: 'Now' };
  await store(slices(now, 2, size));
  const page = await open({ to: `studies/${now.study}/view` });
  await opened(page);
  const beside = page.locator('.tools select').nth(1);
  assert.ok(await beside.isDisabled());
  await store(slices({ ...now, study: '2.25.912', date: '20250101', description: 'Long before' }, 2, size));
  await beside.locator('option', { hasText: 'Long before' }).waitFor({ state: 'attached' });
  await beside.selectOption('2.25.912');
  await until('both are drawn', async () => await page.locator('.pane').count() === 2 && bright(await drawn(page, 1)) > 10);
  await store(slices({ ...now, study: '2.25.913', date: '20240101', description: 'Longer before' }, 2, size));
  await beside.locator('option', { hasText: 'Longer before' }).waitFor({ state: 'attached' });
  assert.equal(await beside.inputValue(), '2.25.912');
  await close(page);
});

const clinic = name => `siteId: lakeside\nname: ${name}\ncontact:\n  name: 王医生\n  phone: "13800000000"\nhardware:\n  profile: x64\n  memoryGiB: 8\n  storageGiB: 64\nnetwork:\n  centreUrl: https://centre.example:8443\n  uplinkKbps: 1000\n`;
for (const [language, viewport, say] of [
  ['en-GB', { width: 1440, height: 1000 }, { title: 'Configuration', none: 'No configuration has been released yet', waits: 'waits for approval', rolling: 'rolling out', file: 'Site file (YAML)', good: 'The file is good.', line: 'Line 5:', save: 'Save lakeside.yaml' }],
  ['zh-CN', { width: 820, height: 1180 }, { title: '配置', waits: '等待批准', rolling: '分批发布中', file: '站点文件（YAML）', good: '文件无误。', line: '第 5 行：', save: '保存 lakeside.yaml' }]]) {
  await test(`A site file is edited with its faults and its meaning, proposed, approved by a second person and followed, in ${language}`, async () => {
    const page = await open({ language, size: viewport });
    await page.getByRole('navigation').getByRole('link', { name: say.title, exact: true }).click();
    await page.locator('h1', { hasText: say.title }).waitFor();
    if (say.none) await page.getByText(say.none).waitFor();
    const yaml = page.getByLabel(say.file);
    const name = `湖畔 ${language}`;
    await until('the page has its connection', async () => {
      await yaml.fill('siteId: lakeside');
      return await page.locator('.faults li').count() > 3;
    });
    await yaml.fill(clinic(name).replace('"13800000000"', '13800000000'));
    await page.locator('.faults').getByText(say.line).waitFor();
    await yaml.fill(clinic('x'.repeat(10_000)));
    await page.locator('.faults').getByText('1 to 64 characters').waitFor();
    await yaml.fill(clinic('<script>alert(1)</script>'));
    await page.getByText(say.good).waitFor();
    assert.match(await page.locator('[data-change=name]').innerText(), /<script>alert\(1\)<\/script>/);
    await yaml.fill(clinic(name));
    await page.locator('[data-change=name]').getByText(name).waitFor();
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page scrolls sideways');
    await page.locator('details summary').last().press('Enter');
    await page.getByText('modalities[].aeTitle').waitFor();
    await accessible(page);
    await page.locator('details summary').last().press('Enter');
    const saving = page.waitForEvent('download');
    await page.getByRole('link', { name: say.save }).click();
    await (await saving).saveAs(path.join(siteFiles, 'lakeside.yaml'));
    assert.equal(readFileSync(path.join(siteFiles, 'lakeside.yaml'), 'utf8'), clinic(name));

    // The commands that the page shows, run by two people.
    yizhan('config', 'release', '--sites', siteFiles, '--key', 'wang.pem', '--note', `<b>${name}</b>`, '--centre', url);
    const card = page.locator('.release').first();
    await card.getByText(`<b>${name}</b>`).waitFor();
    await card.getByText(say.waits).waitFor();
    await shot(page, `configuration-${language.slice(0, 2)}`);
    yizhan('config', 'approve', await card.getAttribute('data-release'), '--key', 'li.pem', '--centre', url);
    await card.getByText(say.rolling).waitFor();
    await until('the first ring has it', async () => await card.locator('.rings .done').count() === 1);
    await accessible(page);
    await close(page);
  });
}

for (const [language, viewport, say] of [
  ['en-GB', { width: 1440, height: 1000 }, { make: 'Make a key', unknown: 'It is not in the trust list', counts: 'as a key of li', see: 'See what it changes', last: 'begin to install it at once', as: 'Approve as li-browser', own: 'You proposed it', forget: 'Forget this key', yes: 'Delete it', rolling: 'rolling out', done: 'You have approved it' }],
  ['zh-CN', { width: 820, height: 1180 }, { make: '生成密钥', unknown: '尚未列入信任名单', counts: '属于 zhao', see: '查看变更', last: '将立即开始安装', as: '以 zhao-browser 批准', own: '此发布由您提出', forget: '删除此密钥', yes: '确认删除', rolling: '分批发布中' }]]) {
  await test(`A release is approved on the page with a key that never leaves the browser, by another person than its proposer, in ${language}`, async () => {
    const who = language === 'en-GB' ? 'li' : 'zhao';
    const trusted = (name, of) => yizhan('config', 'trust', 'trust.json', '--add', name, ...(of ? ['--of', of] : []));
    const name = `批准 ${language}`;
    writeFileSync(path.join(siteFiles, 'lakeside.yaml'), clinic(name));
    yizhan('config', 'release', '--sites', siteFiles, '--key', 'wang.pem', '--note', name, '--centre', url);
    const page = await open({ language, size: viewport, to: 'configuration' });
    const card = page.locator('.release').first(), panel = page.locator('section.key');
    const field = panel.locator('[name=key-name]');
    const make = async key => {
      await until('the page takes what is typed', async () => {
        await field.fill('Not A Name');
        return await panel.getByRole('button', { name: say.make }).isDisabled();
      });
      await field.fill(key);
      await panel.getByRole('button', { name: say.make }).click();
      await panel.getByText(say.unknown).waitFor();
      return (await panel.locator('code.command').first().innerText()).split(' ').at(-1);
    };
    await card.getByText(name).waitFor();
    await accessible(page);

    // A further key of the one who proposed: the fleet counts it as theirs.
    trusted(await make(`wang-${who}`), 'wang');
    await card.getByText(say.own).waitFor();
    await card.getByRole('button', { name: say.see }).click();
    await card.locator('[data-change=lakeside]', { hasText: name }).waitFor();
    assert.equal(await card.locator('.sure').count(), 0);
    const kept = await page.evaluate(() => new Promise((resolve, reject) => {
      const opening = indexedDB.open('yizhan-release-keys');
      opening.onsuccess = () => {
        const all = opening.result.transaction('keys').objectStore('keys').getAll();
        all.onsuccess = () => resolve(all.result);
        all.onerror = reject;
      };
    }).then(keys => Promise.all(keys.map(({ pair }) => crypto.subtle.exportKey('pkcs8', pair.privateKey).then(() => 'copied', e => e.name)))));
    assert.deepEqual(kept, ['InvalidAccessError']);

    // Forgotten, after it was said what that does; another one is made.
    await panel.getByRole('button', { name: say.forget }).press('Enter');
    await accessible(page);
    await panel.getByRole('button', { name: say.yes }).press('Enter');
    const added = await make(`${who}-browser`);
    const printed = await panel.locator('dd code').innerText();
    trusted(added, language === 'en-GB' ? 'li' : null);
    await panel.locator('.good').waitFor();
    if (language === 'en-GB') await panel.getByText(say.counts).waitFor();
    await page.reload();
    await panel.locator('.good').waitFor();
    assert.equal(await panel.locator('dd code').innerText(), printed);
    await until('the changes are seen', async () => {
      if (await card.locator('.meaning').count()) return true;
      await card.getByRole('button', { name: say.see }).click();
      return false;
    });
    await card.locator('[data-change=lakeside]', { hasText: name }).waitFor();
    await card.getByText(say.last).waitFor();
    await accessible(page);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page scrolls sideways');
    await shot(page, `approve-${language.slice(0, 2)}`);
    await card.getByRole('button', { name: say.as }).press('Enter');
    await card.getByText(say.rolling).waitFor();
    const version = await card.getAttribute('data-release');
    const release = JSON.parse(yizhan('config', 'status', '--json', '--centre', url).trim().split('\n').at(-1)).releases.find(r => r.version === version);
    assert.deepEqual(release.approvers, [language === 'en-GB' ? 'li' : 'zhao-browser']);
    writeFileSync(path.join(keys, 'release.tar'), Buffer.from(await (await fetch(`${url}fleet/releases/${version}/bundle`, { headers: operator() })).arrayBuffer()));
    assert.match(yizhan('config', 'verify', 'release.tar', '--trust', 'trust.json'), /A site would take it/);
    await close(page);
  });
}

for (const [language, viewport, say] of [
  ['en-GB', { width: 1440, height: 1000 }, { start: 'Start the drill: The line is cut', says: 'Nodes in use are not touched', yes: 'Start it now', home: 'Network', stop: 'Stop the drill', goOn: 'Let it go on', report: 'Read the report', passed: 'The line is cut: passed' }],
  ['zh-CN', { width: 820, height: 1180 }, { start: '启动演练：线路中断', says: '不触及正在使用的节点', yes: '立即启动', home: '网络', stop: '停止演练', confirm: '确认停止', stopped: '线路中断: 已停止' }]]) {
  await test(`A drill is started on the page, followed line by line, left and come back to, and ${language === 'en-GB' ? 'its report is read' : 'stopped'}, in ${language}`, async () => {
    const page = await open({ language, size: viewport, to: 'drills' });
    const kind = page.locator('[data-drill=outage]'), run = page.locator('.drill-run');
    await until('it is asked for', async () => {
      if (await kind.locator('.sure').count()) return true;
      await kind.getByRole('button', { name: say.start }).press('Enter');
      return false;
    });
    await kind.getByText(say.says).waitFor();
    await accessible(page);
    await kind.getByRole('button', { name: say.yes }).press('Enter');
    await page.locator('.drill-run[data-run=running]').waitFor();
    assert.ok(await page.locator('[data-drill=ransomware]').getByRole('button').isDisabled(), 'a second one could be started');
    await until('it says something', async () => await run.locator('.lines > div').count() > 0, 300_000);
    await accessible(page);
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page scrolls sideways');
    await page.goto(url);
    await page.goto(`${url}drills`);
    await page.locator('.drill-run[data-run=running] .lines > div').first().waitFor();
    await until('the page has its connection', async () => {
      if (await run.locator('.sure').count()) return true;
      await run.getByRole('button', { name: say.stop }).click();
      return false;
    });
    await accessible(page);
    if (say.goOn) {
      await run.getByRole('button', { name: say.goOn }).click();
      await run.getByRole('link', { name: say.report }).waitFor({ timeout: 900_000 });
      assert.equal(await run.getAttribute('data-run'), 'passed', await run.innerText());
      await shot(page, `drill-run-${language.slice(0, 2)}`);
      await run.getByRole('link', { name: say.report }).click();
      await page.locator('h1', { hasText: say.passed }).waitFor();
    } else {
      await run.getByRole('button', { name: say.confirm }).click();
      await page.locator('h2', { hasText: say.stopped }).waitFor({ timeout: 300_000 });
    }
    const said = async entity => JSON.stringify(await (await fetch(`${url}audit/records?entity=${entity}`, { headers: operator() })).json());
    await until('the audit log has it', async () => (await said('drill/outage')).includes(say.goOn ? 'outage started from the console' : 'outage cancelled from the console'));
    await close(page);
  });
}

await test('Script, right-to-left text and long text in a data set are text in the table and in the viewer', async () => {
  const page = await open({ to: 'studies' });
  await page.locator('tbody[data-study]').first().waitFor();
  assert.equal(await page.locator(`tbody[data-study="${script.study}"] .name`).innerText(), script.name);
  assert.equal(await page.locator('main script, main img').count(), 0);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'the page scrolls sideways');
  await page.locator(`tbody[data-study="${script.study}"] a.open`).click();
  await opened(page);
  assert.equal(await page.locator('h1').innerText(), script.name);
  assert.equal(await page.locator('main script, main img').count(), 0);
  await close(page);
});

await test('A study that is not here, and a number that is none, are said', async () => {
  const page = await open({ to: 'studies/2.25.999/view' });
  await page.getByText('There is no study of this number').waitFor();
  await page.goto(`${url}studies/not-a-uid/view`);
  await page.getByRole('alert').waitFor();
  await close(page);
});

await test('A role without the right that types the address sees no study', async () => {
  const page = await open();
  const added = await fetch(`${url}auth/users`, { method: 'POST', body: JSON.stringify({ name: 'op', displayName: 'op', roles: ['operator@*'] }), headers: { ...bearer, 'Content-Type': 'application/json' } });
  assert.ok(added.ok, await added.clone().text());
  const { password } = await added.json();
  await page.context().clearCookies();
  await page.goto(`${url}sign-in`);
  await page.locator('#name').fill('op');
  await page.locator('#password').fill(password);
  await page.locator('button').click();
  await page.locator('#new').fill('a long new password 7');
  await page.locator('#again').fill('a long new password 7');
  await page.locator('#password').fill(password);
  await page.locator('button').click();
  await page.getByRole('navigation').waitFor();
  for (const address of ['studies', `studies/${wang.study}/view`]) {
    await page.goto(url + address);
    await page.getByText('Studies are open to clinicians and radiographers').waitFor();
    assert.equal(await page.locator('tbody[data-study], .pane').count(), 0);
    assert.ok(!(await page.content()).includes('小东'));
  }
  assert.equal(await page.evaluate(async () => (await fetch('/pacs-gw/dicom-web/studies')).status), 403);
  await page.context().close();
});

await test('What was typed is there again after the console was away and the session had ended', async () => {
  const page = await open({ to: 'studies' });
  page.problems.push = () => 0;
  await page.locator('tbody[data-study]').first().waitFor();
  await page.getByLabel('Patient name').fill('wang xiao');
  await page.getByLabel('Modality', { exact: true }).fill('CT');
  await page.context().clearCookies();
  host.kill('SIGKILL');
  await new Promise(resolve => host.once('exit', resolve));
  await page.getByText('Connecting again').waitFor();
  startHost();
  await page.locator('#name').waitFor({ timeout: 60_000 });
  const answer = await fetch(`${url}sign-in/link`, { method: 'POST', headers: operator() });
  await page.goto(new URL(await answer.text(), url).href);
  await page.goto(`${url}studies`);
  await until('it is typed again', async () => await page.getByLabel('Patient name').inputValue() === 'wang xiao' && await page.getByLabel('Modality', { exact: true }).inputValue() === 'CT');
  await page.getByRole('button', { name: 'Search', exact: true }).click();
  await until('the search has it', async () => await page.locator('tbody[data-study]').count() === 2);
  await page.context().close();
});

await test('A site file that was being edited is there again after the console was away, with the site that it is of', async () => {
  const page = await open({ to: 'configuration' });
  page.problems.push = () => 0;
  const site = page.locator('[name=site]'), yaml = page.locator('[name=yaml]');
  await site.locator('option[value=lakeside]').waitFor({ state: 'attached' });
  await until('its file is there', async () => { await site.selectOption('lakeside'); return (await yaml.inputValue()).includes('湖畔'); });
  const edited = clinic('half a na');
  await yaml.fill(edited);
  await page.locator('[data-change=name]').getByText('half a na').waitFor();
  host.kill('SIGKILL');
  await new Promise(resolve => host.once('exit', resolve));
  await page.getByText('Connecting again').waitFor();
  startHost();
  await page.locator('[data-change=name]').getByText('half a na').waitFor({ timeout: 60_000 });
  assert.deepEqual([await site.inputValue(), await yaml.inputValue()], ['lakeside', edited]);
  await page.context().close();
});

await test('Nothing of a patient is in the log of the centre', async () => {
  for (const secret of ['XiaoDong', '王', 'LC-7', 'alert(1)', 'Nodule']) assert.ok(!log.includes(secret), `${secret} is in the log`);
});

await browser.close();
host.kill('SIGTERM');
await new Promise(resolve => (host.exitCode === null ? host.once('exit', resolve) : resolve()));
rmSync(temporary, { recursive: true, force: true });
console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exit(failed ? 1 : 0);
