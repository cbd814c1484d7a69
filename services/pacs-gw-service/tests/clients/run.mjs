// DICOMweb clients of npm against a gateway of their own. Started by ./run.sh; prints one line a test, the counts last.
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import clientTests from './client.mjs';
import viewerTests from './viewer.mjs';

const freePort = () => new Promise(resolve => {
  const server = net.createServer().listen(0, '127.0.0.1', () => { const { port } = server.address(); server.close(() => resolve(port)); });
});

/** Asks until the answer is there, for a minute at most. */
async function until(what, ask) {
  for (let i = 0; i < 600; i++) {
    const answer = await ask().catch(() => null);
    if (answer) return answer;
    await new Promise(resolve => setTimeout(resolve, 100));
  }
  throw new Error(`It did not happen within a minute: ${what}`);
}

const [gatewayDll] = process.argv.slice(2);
const temporary = mkdtempSync(path.join(os.tmpdir(), 'yizhan-dicomweb-'));
const port = await freePort();
const url = `http://127.0.0.1:${port}/pacs-gw/dicom-web`;
let log = '';
const gateway = spawn('dotnet', [gatewayDll, `--node:dataFolder=${temporary}`, '--node:siteId=site-a', `--web:url=http://127.0.0.1:${port}`,
  '--pacs-gw:dicomPort=0', '--storage:freeFloorBytes=0']);
gateway.stdout.on('data', data => { log += data; });
gateway.stderr.on('data', data => { log += data; });
let [passed, failed, skipped] = [0, 0, 0];
const endings = [];
try {
  // The node writes its operator's token before it listens.
  const token = await until('the node writes a token', async () => readFileSync(path.join(temporary, 'identity/operator.token'), 'utf8'));
  const headers = { Authorization: `Bearer ${token}` };
  await until('the gateway answers', async () => (await fetch(`${url}/studies`, { headers })).ok);
  const given = { url, headers, temporary, until, atEnd: end => endings.push(end) };
  for (const [name, test] of Object.entries({ ...clientTests(given), ...await viewerTests(given) })) {
    try {
      const reason = await test();
      if (reason) skipped++; else passed++;
      console.log(reason ? `skip  ${name}: ${reason}` : `ok    ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAIL  ${name}\n${error.stack ?? error.message ?? error}`);
    }
  }
} catch (error) {
  failed++;
  console.log(`${error.stack}\n${log}`);
} finally {
  for (const end of endings.reverse()) await end();
  gateway.kill();
  await new Promise(resolve => (gateway.exitCode === null ? gateway.on('exit', resolve) : resolve()));
  rmSync(temporary, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`);
process.exit(failed > 0 ? 1 : 0);
