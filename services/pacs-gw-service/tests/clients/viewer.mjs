// @cornerstonejs/dicom-image-loader in a real browser, as a viewer uses it: metadata and frames by WADO-RS, decoded in its own workers.
// Its pixels are those that dcmtk decodes of the same files, GDCM where dcmtk cannot (JPEG 2000), the gateway itself where neither can (HTJ2K).
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import { createRequire } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { chromium } from 'playwright-core';
import { dicomFile } from './client.mjs';

const require = createRequire(import.meta.url);
const dicomParser = require('dicom-parser');
const here = path.dirname(fileURLToPath(import.meta.url));
const corpus = path.resolve(here, '../../../../../shared/corpus/dicom/given');

/** A slope with an edge and some grain: neither flat, which hides a shift, nor noise, which no codec is made for. */
function picture({ bits = 16, signed = false } = {}) {
  const [rows, columns] = [40, 56];
  const values = Array.from({ length: rows * columns }, (_, i) => {
    const [y, x] = [Math.floor(i / columns), i % columns];
    const value = x * 3 + y * 2 + (x > 30 ? 40 : 0) + (i * 7919) % 5;
    return bits === 8 ? value % 256 : signed ? value * 100 - 9000 : value * 150;
  });
  return { rows, columns, bits, signed, pixels: Buffer.from((bits === 8 ? Uint8Array : Int16Array).from(values).buffer) };
}

/** The page: what a viewer does to show a frame, short of drawing it. */
const page = `
  import { init as initCore, imageLoader } from '@cornerstonejs/core';
  import { init, wadors } from '@cornerstonejs/dicom-image-loader';
  let ready;
  globalThis.loadFrame = async (instance, token, frame) => {
    ready ??= Promise.resolve(initCore()).then(() => init({ maxWebWorkers: 1, beforeSend: xhr => xhr.setRequestHeader('Authorization', token) }));
    await ready;
    const answer = await fetch(instance + '/metadata', { headers: { Accept: 'application/dicom+json', Authorization: token } });
    if (!answer.ok) throw new Error('metadata: ' + answer.status);
    const imageId = 'wadors:' + location.origin + instance + '/frames/' + frame;
    wadors.metaDataManager.add(imageId, (await answer.json())[0]);
    // What fails in the loader's own queue is never told to who waits for it.
    const patience = new Promise((_, reject) => setTimeout(() => reject(new Error('no image within a minute')), 60_000));
    const image = await Promise.race([imageLoader.loadImage(imageId, { preScale: { enabled: false } }), patience]);
    return { rows: image.rows, columns: image.columns, syntax: image.transferSyntaxUID, pixels: Array.from(image.getPixelData()) };
  };`;

/** Bundled once: page, worker, and beside them the decoders where the loader looks for them. */
async function bundle(folder) {
  const loader = path.dirname(require.resolve('@cornerstonejs/dicom-image-loader'));
  const options = {
    bundle: true, format: 'esm', outdir: folder, logLevel: 'error', define: { global: 'globalThis' },
    // Emscripten's output asks for these in Node alone; the decoders are fetched by address.
    external: ['fs', 'path', 'crypto', 'module', 'worker_threads'],
    plugins: [{
      // What writes XML files for vtk.js is for Node, and no viewer calls it.
      name: 'no-xml',
      setup(esbuild) {
        esbuild.onResolve({ filter: /^xmlbuilder2$/ }, () => ({ path: 'none', namespace: 'none' }));
        esbuild.onLoad({ filter: /.*/, namespace: 'none' }, () => ({ contents: 'export const create = null;' }));
      },
    }],
  };
  await build({ ...options, stdin: { contents: page, resolveDir: here, sourcefile: 'page.js' }, outdir: undefined, outfile: path.join(folder, 'page.js') });
  await build({ ...options, entryPoints: [path.join(loader, 'decodeImageFrameWorker.js')] });
}

/** One origin, as behind a hospital's reverse proxy: the viewer's files, and the gateway below /pacs-gw/. */
async function serve(folder, gatewayUrl) {
  const gateway = new URL(gatewayUrl);
  const types = { '.js': 'text/javascript', '.wasm': 'application/wasm', '.html': 'text/html' };
  const server = http.createServer((request, response) => {
    if (request.url.startsWith('/pacs-gw/')) {
      const { method, headers, url } = request;
      request.pipe(http.request({ host: gateway.hostname, port: gateway.port, path: url, method, headers }, answer => {
        response.writeHead(answer.statusCode, answer.headers);
        answer.pipe(response);
      }));
      return;
    }

    const decoder = request.url.startsWith('/@cornerstonejs/') && require.resolve(request.url.slice(1));
    const file = decoder || path.join(folder, path.basename(request.url));
    if (!decoder && !existsSync(file)) { response.writeHead(404).end(); return; }
    response.writeHead(200, { 'content-type': types[path.extname(file)] ?? 'application/octet-stream' }).end(readFileSync(file));
  });
  await new Promise(resolve => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** The values of one frame of a file, as the data set says that they are to be read. */
function frameOf(file, frame) {
  const data = dicomParser.parseDicom(readFileSync(file));
  const [bits, signed, samples] = [data.uint16('x00280100'), data.uint16('x00280103') === 1, data.uint16('x00280002')];
  const count = data.uint16('x00280010') * data.uint16('x00280011') * samples;
  const start = data.elements.x7fe00010.dataOffset + (frame - 1) * count * bits / 8;
  const bytes = Uint8Array.from(data.byteArray.subarray(start, start + count * bits / 8)).buffer;
  return Array.from(bits === 8 ? new Uint8Array(bytes) : signed ? new Int16Array(bytes) : new Uint16Array(bytes));
}

/** A file of the corpus as a study of its own: some have no study or modality, some share an instance with another. */
function own(file, number) {
  let bytes = readFileSync(file);
  const data = dicomParser.parseDicom(bytes);
  for (const tag of ['x00020003', 'x00080018']) {
    const { dataOffset, length } = data.elements[tag];
    bytes.write(`2.25.75.${number}`.padEnd(length, '\0'), dataOffset, 'ascii');
  }
  // Downwards, so that the offsets of what follows hold; the offset of an element is that of its value, 8 bytes behind its tag.
  for (const [group, element, vr, value] of [[0x20, 0xE, 'UI', `2.25.76.${number}.1`], [0x20, 0xD, 'UI', `2.25.76.${number}`], [8, 0x60, 'CS', 'OT']]) {
    const tag = `x${group.toString(16).padStart(4, '0')}${element.toString(16).padStart(4, '0')}`;
    if (data.elements[tag]) continue;
    const at = data.elements[Object.keys(data.elements).filter(other => other > tag).sort()[0]].dataOffset - 8;
    const text = Buffer.from(value.length % 2 ? `${value}\0` : value);
    bytes = Buffer.concat([bytes.subarray(0, at), Buffer.from([group, 0, element, 0]), Buffer.from(vr), Buffer.from([text.length, 0]), text, bytes.subarray(at)]);
  }
  return bytes;
}

export default async function viewerTests({ url, headers, temporary, until, atEnd }) {
  const folder = path.join(temporary, 'viewer');
  mkdirSync(folder);
  writeFileSync(path.join(folder, 'index.html'), '<!doctype html><script type="module" src="page.js"></script>');
  await bundle(folder);
  const server = await serve(folder, url);
  atEnd(() => new Promise(resolve => { server.close(resolve); server.closeAllConnections(); }));
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--use-gl=swiftshader', '--enable-unsafe-swiftshader'],
  });
  atEnd(() => browser.close());
  const tab = await browser.newPage();
  const said = [];
  tab.on('console', message => said.push(message.text()));
  tab.on('pageerror', error => said.push(error.message));
  await tab.goto(`http://127.0.0.1:${server.address().port}/index.html`);
  await tab.waitForFunction('globalThis.loadFrame');

  /** Stores a file and compares what the viewer shows of it with what the decoder makes of it. */
  async function compare(file, decoder, syntax, frames = [1], tolerance = 0) {
    const form = new FormData();
    const body = Buffer.concat([Buffer.from('--b\r\nContent-Type: application/dicom\r\n\r\n'), readFileSync(file), Buffer.from('\r\n--b--\r\n')]);
    const stored = await fetch(`${url}/studies`, { method: 'POST', body, headers: { ...headers, 'Content-Type': 'multipart/related; type="application/dicom"; boundary=b' } });
    assert.equal(stored.status, 200, await stored.text());
    const data = dicomParser.parseDicom(readFileSync(file));
    const [study, series, instance] = ['x0020000d', 'x0020000e', 'x00080018'].map(tag => data.string(tag));
    assert.equal(data.string('x00020010'), syntax);
    const resource = `/pacs-gw/dicom-web/studies/${study}/series/${series}/instances/${instance}`;
    await until('it is found', async () => (await fetch(new URL(resource + '/metadata', url), { headers })).ok);
    const decoded = `${file}.decoded`;
    if (decoder) {
      execFileSync(decoder[0], [...decoder.slice(1), file, decoded], { stdio: 'pipe' });
    } else {
      const answer = await fetch(new URL(resource, url), { headers: { ...headers, Accept: 'application/dicom; transfer-syntax=1.2.840.10008.1.2.1' } });
      writeFileSync(decoded, new Uint8Array(await answer.arrayBuffer()));
    }
    for (const frame of frames) {
      const shown = await tab.evaluate(([...all]) => globalThis.loadFrame(...all), [resource, headers.Authorization, frame])
        .catch(error => { throw new Error(`${error.message}\n${said.splice(0).join('\n')}`); });
      const expected = frameOf(decoded, frame);
      // It came as it is stored: nothing was decoded on the way to the viewer.
      assert.equal(shown.syntax, syntax);
      assert.equal(shown.pixels.length, expected.length);
      const differs = shown.pixels.findIndex((value, i) => Math.abs(value - expected[i]) > tolerance);
      assert.equal(differs, -1, `frame ${frame}: value ${differs} is ${shown.pixels[differs]}, and ${expected[differs]} in the decoder's`);
    }
  }

  let made = 0;
  const tests = {};
  const add = (name, encoder, decoder, syntax, sample, tolerance) => {
    tests[`a viewer shows ${name}`] = () => {
      const source = path.join(folder, `${++made}.dcm`);
      writeFileSync(source, dicomFile(`2.25.74.${made}`, { study: `2.25.74.0.${made}`, ...picture(sample) }));
      const file = encoder.length > 0 ? path.join(folder, `${made}.encoded.dcm`) : source;
      if (encoder.length > 0) execFileSync(encoder[0], [...encoder.slice(1), source, file], { stdio: 'pipe' });
      return compare(file, decoder, syntax, [1], tolerance);
    };
  };
  const jpeg = '1.2.840.10008.1.2.4.';
  add('native pixels', [], ['dcmconv', '+te'], '1.2.840.10008.1.2.1');
  add('native pixels with a sign', [], ['dcmconv', '+te'], '1.2.840.10008.1.2.1', { signed: true });
  add('RLE', ['dcmcrle'], ['dcmdrle'], '1.2.840.10008.1.2.5');
  add('lossless JPEG', ['dcmcjpeg', '+e1'], ['dcmdjpeg'], jpeg + '70');
  add('JPEG', ['dcmcjpeg', '+eb'], ['dcmdjpeg'], jpeg + '50', { bits: 8 }, 1); // ITU-T T.83: a decoder is accurate within one.
  add('lossless JPEG-LS', ['dcmcjpls', '+el'], ['dcmdjpls'], jpeg + '80');
  add('near-lossless JPEG-LS', ['dcmcjpls', '+en'], ['dcmdjpls'], jpeg + '81');
  add('lossless JPEG 2000', ['gdcmconv', '--j2k'], ['gdcmconv', '--raw'], jpeg + '90');

  const given = (name, file, decoder, syntax, frames) => {
    tests[`a viewer shows ${name}`] = () => {
      const source = path.join(corpus, file);
      if (!existsSync(source)) return `${file} of the corpus is not here`;
      const copy = path.join(folder, path.basename(file));
      writeFileSync(copy, own(source, ++made));
      return compare(copy, decoder, syntax, frames);
    };
  };
  given('a scanner\'s JPEG 2000', 'jpeg2000/CT1_J2KR.dcm', ['gdcmconv', '--raw'], jpeg + '90');
  given('a scanner\'s JPEG-LS', 'jpegls/CT1_JLSL.dcm', ['dcmdjpls'], jpeg + '80');
  given('a scanner\'s lossless JPEG', 'jpeg/MR3_JPLL.dcm', ['dcmdjpeg'], jpeg + '70');
  given('each frame of a multi-frame image in JPEG 2000', 'multiframe/emri_small_jpeg_2k_lossless.dcm', ['gdcmconv', '--raw'], jpeg + '90', [1, 5, 10]);
  given('each frame of a multi-frame image in RLE', 'multiframe/emri_small_RLE.dcm', ['dcmdrle'], '1.2.840.10008.1.2.5', [1, 5, 10]);
  given('HTJ2K in colour', 'new-ts/HTJ2KLossless_08_RGB.dcm', null, jpeg + '201');
  return tests;
}
