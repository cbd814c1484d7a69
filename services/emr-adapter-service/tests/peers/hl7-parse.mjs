// How many HL7 v2 messages node-hl7-client reads in a second: node hl7-parse.mjs MESSAGES.json MILLISECONDS. The same four values are taken as by `yizhan bench emr`.
import { readFileSync } from "node:fs";
import { Message } from "node-hl7-client";

const [file, milliseconds] = process.argv.slice(2);
const messages = JSON.parse(readFileSync(file, "utf8")).map((text) => Buffer.from(text));
let sum = 0;
const read = (n) => {
  const message = new Message({ text: messages[n % messages.length].toString("utf8") });
  for (const path of ["PID.3.1", "PID.5.1", "ORC.2", "OBR.4.1"]) sum += message.get(path).toString().length;
};
for (let i = 0; i < 2000; i++) read(i);
const began = performance.now();
let calls = 0;
while (performance.now() - began < Number(milliseconds)) for (let i = 0; i < 100; i++) read(calls++);
if (!sum) throw new Error("Nothing was read.");
console.log((calls * 1000) / (performance.now() - began));
