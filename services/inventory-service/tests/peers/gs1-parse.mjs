// How many GS1 element strings gs1-barcode-parser reads in a second, on one thread: node gs1-parse.mjs SCANS.json MILLISECONDS. Lot and date are taken as by `yizhan bench inventory`.
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { runInThisContext } from 'node:vm';

// It is a script for pages: what it defines is global.
runInThisContext(readFileSync(createRequire(import.meta.url).resolve('gs1-barcode-parser'), 'utf8'));
const [file, milliseconds] = process.argv.slice(2);
const scans = JSON.parse(readFileSync(file, 'utf8'));
let sum = 0;
const read = n => {
  for (const { ai, data } of parseBarcode(scans[n % scans.length]).parsedCodeItems) if (ai === '10') sum += data.length; else if (ai === '17') sum += data.getTime() % 7;
};
for (let i = 0; i < 2000; i++) read(i);
const began = performance.now();
let calls = 0;
while (performance.now() - began < Number(milliseconds)) for (let i = 0; i < 100; i++) read(calls++);
if (!sum) throw new Error('Nothing was read.');
console.log((calls * 1000) / (performance.now() - began));
