// FunASR's client of npm against a node: funasr.mjs ADDRESS MODE WAV, the token in the environment (TOKEN). Prints what the client was told, a line of JSON each.
import { readFileSync } from 'node:fs';
import WebSocket from 'ws';

// The client knows no tokens; a site's proxy adds one.
globalThis.WebSocket = class extends WebSocket {
  constructor(address) { super(address, { headers: { Authorization: `Bearer ${process.env.TOKEN}` } }); }
};
const { FunASRClient } = await import('funasr-client');
const [address, mode, wav] = process.argv.slice(2);
const client = new FunASRClient({
  url: address, decode: true, config: { mode, wav_name: 'visit', wav_format: 'pcm', audio_fs: 16000, hotwords: { 阿司匹林: 20 } },
  onMessage: message => console.log(JSON.stringify(message)),
});
await client.connect();
const sound = readFileSync(wav).subarray(44);
for (let at = 0; at < sound.length; at += 1920) client.send(new Uint8Array(sound.subarray(at, at + 1920)));
await client.close();
