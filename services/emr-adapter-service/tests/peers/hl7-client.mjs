// Sends the HL7 v2 message of a file with node-hl7-client: node hl7-client.mjs PORT FILE. Prints MSA-1 and MSA-2 of the answer.
import { readFileSync } from "node:fs";
import { Client, Message } from "node-hl7-client";

const [port, file] = process.argv.slice(2);
const client = new Client({ host: "127.0.0.1" });
const connection = client.createConnection({ port: Number(port) }, async (answer) => {
  const message = answer.getMessage();
  console.log(`${message.get("MSA.1")} ${message.get("MSA.2")}`);
  await connection.close();
  process.exit(0);
});
await connection.sendMessage(new Message({ text: readFileSync(file, "utf8") }));
