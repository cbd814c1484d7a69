// Live dictation from a real browser's microphone to a medical record system that is away meanwhile. Started by ../run.sh:
// dictation.test.mjs HOST_DLL FHIR_SERVER RAW_16KHZ SCREENSHOTS. Prints one line a test.
import { spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { Transform } from 'node:stream';
import { createRequire } from 'node:module';
import assert from 'node:assert/strict';
import { chromium } from 'playwright-core';

const [hostDll, fhirServer, raw, screenshots] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const temporary = mkdtempSync(path.join(os.tmpdir(), 'yizhan-dictation-'));
mkdirSync(screenshots, { recursive: true });
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms));
const freePort = () => new Promise(resolve => {
  const server = net.createServer().listen(0, '127.0.0.1', () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

async function until(what, holds) {
  const end = Date.now() + 120_000;
  for (;;) {
    const found = await holds();
    if (found) return found;
    assert.ok(Date.now() < end, `waited two minutes in vain until ${what}`);
    await sleep(200);
  }
}

const children = [];
function start(command, ...rest) {
  const child = spawn(command, rest, { cwd: os.tmpdir() });
  child.log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', d => { child.log += d; });
  children.push(child);
  return child;
}
const stop = (child, signal = 'SIGTERM') => new Promise(resolve => {
  if (child.exitCode !== null || child.signalCode !== null) return resolve();
  child.once('exit', resolve);
  child.kill(signal);
});

/** The recording as a microphone plays it: three seconds of silence behind what is said, then again. */
const wav = path.join(temporary, 'said.wav');
{
  const said = readFileSync(raw), silence = Buffer.alloc(16000 * 2 * 3), samples = Buffer.concat([silence.subarray(0, 16000), said, silence]), head = Buffer.alloc(44);
  head.write('RIFF', 0); head.writeUInt32LE(36 + samples.length, 4); head.write('WAVEfmt ', 8); head.writeUInt32LE(16, 16); head.writeUInt16LE(1, 20); head.writeUInt16LE(1, 22);
  head.writeUInt32LE(16000, 24); head.writeUInt32LE(32000, 28); head.writeUInt16LE(2, 32); head.writeUInt16LE(16, 34); head.write('data', 36); head.writeUInt32LE(samples.length, 40);
  writeFileSync(wav, Buffer.concat([head, samples]));
}

const [fhirPort, hostPort, linePort] = [await freePort(), await freePort(), await freePort()];
const journal = path.join(temporary, 'fhir.journal');
writeFileSync(journal, '');
const fhir = (method, what, body) => fetch(`http://127.0.0.1:${fhirPort}/fhir/${what}`, { method, headers: { 'Content-Type': 'application/fhir+json' }, body }).then(r => r.json());
const startFhir = async () => {
  const server = start('node', fhirServer, `${fhirPort}`, journal);
  await until('the FHIR server answers', () => fetch(`http://127.0.0.1:${fhirPort}/fhir/Patient`).then(r => r.ok).catch(() => false));
  return server;
};

/** The line between browser and node: it can be cut, and slow on the way up. */
let cut = false, bytesASecond = Infinity, up = 0;
const sockets = new Set();
const line = net.createServer(near => {
  if (cut) return near.destroy();
  const far = net.connect(hostPort, '127.0.0.1');
  for (const [a, b] of [[near, far], [far, near]]) {
    sockets.add(a);
    a.on('error', () => b.destroy());
    a.on('close', () => { sockets.delete(a); b.destroy(); });
    if (a === far) a.pipe(b);
  }
  near.pipe(new Transform({
    transform(data, _, done) {
      up += data.length;
      if (bytesASecond === Infinity) done(null, data);
      else setTimeout(done, data.length / bytesASecond * 1000, null, data);
    },
  })).pipe(far);
}).listen(linePort, '127.0.0.1');

let failed = 0, browser;
try {
  let server = await startFhir();
  const host = start('dotnet', hostDll, 'centre', `--web:url=http://127.0.0.1:${hostPort}`, `--node:dataFolder=${temporary}/data`, '--storage:freeFloorBytes=0', '--log:level=warning',
    '--nmt-asr:dialects:0=en', '--emr-adapter:systems:0:name=emr', '--emr-adapter:systems:0:driver=fhir', `--emr-adapter:systems:0:url=http://127.0.0.1:${fhirPort}/fhir`,
    '--emr-adapter:systems:0:pollMs=200', '--emr-adapter:systems:0:since=2020-01-01T00:00:00Z', '--emr-adapter:firstPauseMs=100', '--emr-adapter:maxPauseMs=1000', '--emr-adapter:hl7:port=0');
  const url = `http://127.0.0.1:${linePort}/`;
  await until('the node answers', async () => {
    assert.equal(host.exitCode, null, host.log);
    return (await fetch(`${url}healthz`).catch(() => null))?.ok;
  });
  const token = readFileSync(path.join(temporary, 'data/identity/operator.token'), 'utf8').trim();
  const node = (what, options = {}) => fetch(url + what, { ...options, headers: { Authorization: `Bearer ${token}` } });

  const patient = await fhir('POST', 'Patient', JSON.stringify({ resourceType: 'Patient', identifier: [{ type: { coding: [{ code: 'MR' }] }, system: 'urn:oid:1.2.3', value: 'P1' }], name: [{ family: 'Li', given: ['Na'] }] }));
  await fhir('POST', 'ServiceRequest', JSON.stringify({
    resourceType: 'ServiceRequest', status: 'active', intent: 'order', subject: { reference: `Patient/${patient.id}` }, occurrenceDateTime: '2026-11-01T01:30:00Z',
    identifier: [{ type: { coding: [{ code: 'ACSN' }] }, value: 'ACC1' }], code: { coding: [{ system: 'http://loinc.org', code: '24627-2', display: 'CT Chest' }] },
  }));
  await until('the order of the patient is known', async () => (await (await node('emr-adapter/orders')).json()).length === 1);

  // From here on the record system is away.
  await stop(server, 'SIGKILL');
  const link = new URL(await (await node('sign-in/link', { method: 'POST' })).text(), url).href;
  const context = await chromium.launchPersistentContext(path.join(temporary, 'profile'), {
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', headless: true, locale: 'en-GB', permissions: ['microphone'], viewport: { width: 1440, height: 1000 },
    args: ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync',
      '--use-fake-ui-for-media-stream', '--use-fake-device-for-media-stream', `--use-file-for-fake-audio-capture=${wav}`],
  });
  browser = context;
  const page = await context.newPage();
  page.setDefaultTimeout(120_000);
  const problems = [];
  page.on('pageerror', e => problems.push(`script: ${e.message}`));
  page.on('request', r => { if (!/^(data:|blob:|(https?|wss?):\/\/127\.0\.0\.1:)/.test(r.url())) problems.push(`outside request: ${r.url()}`); });
  await page.goto(link);
  await page.goto(`${url}dictation`);
  await page.locator('#dialect option[value=en]').waitFor({ state: 'attached' });
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'] }));
  assert.deepEqual(violations.filter(v => v.impact === 'serious' || v.impact === 'critical').map(v => `${v.id}: ${v.nodes.map(n => n.target).join(' ')}`), []);

  await page.selectOption('#dialect', 'en');
  await page.click('#begin');
  await page.waitForFunction(() => document.querySelector('#partial').textContent.length > 0 || document.querySelector('#text').value.length > 0);
  console.log('ok    Partial text is shown while somebody speaks into the microphone of the browser');
  await page.waitForFunction(() => /go forward/.test(document.querySelector('#text').value));

  // The line breaks while somebody speaks on, and comes back.
  cut = true;
  for (const socket of sockets) socket.destroy();
  await page.getByText('The line is broken').waitFor();
  await sleep(7000);
  cut = false;
  const before = (await page.inputValue('#text')).match(/forward/g).length;
  await page.waitForFunction(() => document.querySelector('#state').textContent === 'Listening.');
  await page.waitForFunction(known => (document.querySelector('#text').value.match(/forward/g) ?? []).length > known, before);
  await page.waitForFunction(() => !document.querySelector('#reconnecting').open);
  await page.screenshot({ path: path.join(screenshots, 'dictation.png'), fullPage: true });
  await page.click('#finish');
  await page.getByText('Finished.').waitFor();
  console.log('ok    What is said while the line is broken is heard when it is back');
  assert.ok(await page.locator('#translation p').count() > 0, 'no translation is shown');

  await page.fill('#text', 'Go forward ten meters. No chest pain.');
  await page.fill('#patient', 'P1');
  await page.click('#send');
  await page.getByText('is kept and on its way').waitFor();
  assert.equal((await (await node('emr-adapter/messages?state=waiting')).json()).length > 0, true);
  await page.screenshot({ path: path.join(screenshots, 'dictation-sent.png'), fullPage: true });

  server = await startFhir();
  const documents = await until('note and recording are in the record system', async () => {
    const { entry = [] } = await fhir('GET', 'DocumentReference?_count=100');
    return entry.length >= 2 && entry.map(e => e.resource);
  });
  assert.equal(documents.length, 2);
  const recording = documents.find(d => d.relatesTo), note = documents.find(d => !d.relatesTo);
  assert.equal(Buffer.from(note.content[0].attachment.data, 'base64').toString(), 'Go forward ten meters. No chest pain.');
  assert.equal(recording.relatesTo[0].target.reference, `DocumentReference/${note.id}`);
  assert.equal(note.subject.reference, `Patient/${patient.id}`);
  const audio = Buffer.from(recording.content[0].attachment.data, 'base64');
  assert.equal(audio.toString('latin1', 0, 4), 'RIFF');
  assert.ok(audio.length > 16000 * 2 * 10, `the recording has ${audio.length} bytes`);
  console.log('ok    Live dictation becomes a note in the record system across an outage, with the audio linked');

  // The browser's own recorder, on a line of 96 kbit/s that would carry three of eight samples.
  const pcmBytesASecond = 16000 * 2;
  bytesASecond = 12_000;
  up = 0;
  await page.check('#slow');
  await page.click('#begin');
  await page.waitForFunction(() => /go forward/.test(document.querySelector('#text').value));
  console.log("ok    What the browser's own recorder makes (Opus in WebM) is heard on a line that samples do not fit through");

  // Cut between two bytes of the recording: what the node has not acknowledged comes again, and the recording goes on where it was.
  cut = true;
  for (const socket of sockets) socket.destroy();
  await page.getByText('The line is broken').waitFor();
  await sleep(3000);
  cut = false;
  await page.waitForFunction(() => document.querySelector('#state').textContent === 'Listening.');
  await page.waitForFunction(known => (document.querySelector('#text').value.match(/forward/g) ?? []).length > known, (await page.inputValue('#text')).match(/forward/g).length);
  await page.waitForFunction(() => document.querySelector('#partial').textContent.length > 0);
  await page.click('#pause');
  await page.waitForFunction(() => document.querySelector('#state').textContent === 'Paused.' && document.querySelector('#partial').textContent === '');
  const paused = (await page.inputValue('#text')).match(/forward/g).length;
  await page.click('#pause');
  await page.waitForFunction(known => (document.querySelector('#text').value.match(/forward/g) ?? []).length > known, paused);
  await page.click('#finish');
  await page.getByText('Finished.').waitFor();
  const sentUp = up;
  await page.fill('#text', 'Go forward.');
  await page.click('#send');
  await page.getByText('is kept and on its way').waitFor();
  bytesASecond = Infinity;
  const opus = await until('the recording that came as Opus is in the record system', async () => {
    const { entry = [] } = await fhir('GET', 'DocumentReference?_count=100');
    return entry.map(e => e.resource).filter(d => d.relatesTo && d.id !== recording.id)[0];
  });
  const samples = Buffer.from(opus.content[0].attachment.data, 'base64');
  assert.equal(samples.toString('latin1', 0, 4), 'RIFF');
  assert.ok(samples.length > pcmBytesASecond * 10, `the recording has ${samples.length} bytes`);
  assert.ok(sentUp * 4 < samples.length, `${sentUp} bytes went up for ${samples.length} bytes of samples`);
  console.log('ok    A dictation in Opus goes on across a broken line and a pause, with a fraction of the bytes, and its recording is kept whole');

  await page.setInputFiles('#files', wav);
  await page.waitForFunction(() => /go forward ten meters/.test(document.querySelector('#uploads').textContent));
  console.log('ok    A recording that is uploaded becomes text with its progress shown');
  assert.deepEqual(problems, []);
  assert.ok(!/chest pain|forward/i.test(host.log), 'text of a patient is in the log');
} catch (error) {
  failed++;
  console.log(`FAIL  ${error.stack}`);
} finally {
  await browser?.close();
  line.close();
  for (const socket of sockets) socket.destroy();
  for (const child of children) await stop(child, 'SIGKILL');
  rmSync(temporary, { recursive: true, force: true });
}
console.log(`dictation: ${failed === 0 ? 'passed' : 'failed'}`);
process.exit(failed === 0 ? 0 : 1);
