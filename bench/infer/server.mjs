// onnxruntime-node behind node:http: the least that answers the Open Inference Protocol's binary request for models with one input and one output.
// Usage: node server.mjs PORT NAME=FILE...
import { createServer } from "node:http";
import ort from "onnxruntime-node";

const [port, ...models] = process.argv.slice(2);
const files = new Map(models.map((model) => model.split("=")));
const sessions = new Map();
const session = (name) => {
  if (!sessions.has(name)) {
    sessions.set(name, ort.InferenceSession.create(files.get(name), { intraOpNumThreads: 1, interOpNumThreads: 1, executionMode: "sequential" }));
  }
  return sessions.get(name);
};
const run = async (name, shape, values) => {
  const loaded = await session(name);
  const answer = await loaded.run({ [loaded.inputNames[0]]: new ort.Tensor("float32", values, shape) });
  return { name: loaded.outputNames[0], tensor: answer[loaded.outputNames[0]] };
};
const quantile = (sorted, part) => sorted[Math.floor(sorted.length * part)];

const routes = [
  [/^\/healthz$/, async () => Buffer.from("ok")],
  [/^\/v2\/repository\/models\/([^/]+)\/load$/, async (_, name) => (await session(name), Buffer.alloc(0))],
  // The engine alone, in this process: its own limit.
  [/^\/loop\/([^/]+)\/([\d,]+)\/(\d+)$/, async (_, name, dimensions, ms) => {
    const shape = dimensions.split(",").map(Number);
    const values = new Float32Array(shape.reduce((a, b) => a * b));
    const loaded = await session(name);
    const tensor = new ort.Tensor("float32", values, shape);
    const times = [];
    const start = performance.now();
    while (performance.now() - start < Number(ms)) {
      const from = performance.now();
      await loaded.run({ [loaded.inputNames[0]]: tensor });
      times.push((performance.now() - from) * 1000);
    }
    const rate = (times.length * 1000) / (performance.now() - start);
    times.sort((a, b) => a - b);
    return Buffer.from(JSON.stringify({ rate, p50: quantile(times, 0.5), p99: quantile(times, 0.99) }));
  }],
  [/^\/v2\/models\/([^/]+)\/infer$/, async (request, name, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const length = Number(request.headers["inference-header-content-length"]);
    const { inputs } = JSON.parse(body.subarray(0, length));
    const bytes = new Uint8Array(inputs[0].parameters.binary_data_size);
    bytes.set(body.subarray(length, length + bytes.length));
    const output = await run(name, inputs[0].shape, new Float32Array(bytes.buffer));
    const data = Buffer.from(output.tensor.data.buffer, output.tensor.data.byteOffset, output.tensor.data.byteLength);
    const head = Buffer.from(JSON.stringify({
      model_name: name, model_version: "1.0.0",
      outputs: [{ name: output.name, datatype: "FP32", shape: output.tensor.dims, parameters: { binary_data_size: data.length } }],
    }));
    response.setHeader("Inference-Header-Content-Length", head.length);
    return Buffer.concat([head, data]);
  }],
];

createServer(async (request, response) => {
  for (const [pattern, answer] of routes) {
    const match = pattern.exec(request.url);
    if (!match) continue;
    try {
      const body = await answer(request, ...match.slice(1), response);
      response.setHeader("Content-Length", body.length);
      response.end(body);
    } catch (error) {
      response.statusCode = 500;
      response.end(String(error));
    }
    return;
  }
  response.statusCode = 404;
  response.end();
}).listen(Number(port), "127.0.0.1");
