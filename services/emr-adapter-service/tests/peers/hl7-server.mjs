// An HL7 v2 server of node-hl7-server on loopback: node hl7-server.mjs PORT [quiet]. Prints a line of JSON for each message unless it is to be quiet.
import { Server } from "node-hl7-server";

const port = Number(process.argv[2]);
const quiet = process.argv[3] === "quiet";
new Server({ bindAddress: "127.0.0.1" }).createInbound({ port }, async (request, response) => {
  const message = request.getMessage();
  if (!quiet) console.log(JSON.stringify({ controlId: message.get("MSH.10").toString(), name: message.get("PID.5").toString(), text: message.toString() }));
  await response.sendResponse("AA");
});
