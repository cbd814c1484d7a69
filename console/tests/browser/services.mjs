// What is outside the console: a fleet and an archive over real HTTP, whose content the test decides.
import http from 'node:http';

export class Services {
  sites = [];
  studies = [];
  desk = { peers: [], routes: [], failed: [], conflicts: [] };
  emr = { systems: [], orders: [], messages: [], 'dead-letters': [], unmapped: [], 'identity-conflicts': [] };
  inventory = { sites: [], stock: [], expiring: [], shortage: [], sources: [], uses: [], calendar: [] };
  decided = [];
  streams = true;
  #open = new Set();
  #server;

  get url() { return `http://127.0.0.1:${this.port}`; }

  async start(port = 0) {
    this.#server = http.createServer((request, response) => this.#answer(request, response));
    await new Promise(resolve => this.#server.listen(port, '127.0.0.1', resolve));
    this.port = this.#server.address().port;
    return this;
  }

  /** Closes the listener and every connection, as a killed process does. */
  async stop() {
    const closed = new Promise(resolve => this.#server.close(resolve));
    this.#server.closeAllConnections();
    this.#open.clear();
    await closed;
  }

  /** Ends the streams; whoever follows one asks again, and gets none while `streams` is false. */
  dropStreams() {
    for (const { response } of this.#open) response.destroy();
  }

  site(view) {
    this.sites = [...this.sites.filter(s => s.status.siteId !== view.status.siteId), view];
    this.#send('/fleet/sites/stream', view);
  }

  study(view) {
    this.studies = [view, ...this.studies.filter(s => s.studyInstanceUid !== view.studyInstanceUid)];
    this.#send('/pacs-gw/studies/stream', view);
  }

  #send(path, value) {
    for (const { path: of, response } of this.#open) {
      if (of === path) response.write(`data: ${JSON.stringify(value)}\n\n`);
    }
  }

  /** An echo is answered by PACS alone; what is decided is gone from the lists. */
  #decide(request, path, response) {
    const echo = /^\/pacs-gw\/peers\/([^/]+)\/echo$/.exec(path);
    const key = Number(path.split('/').find(part => /^-?\d+$/.test(part)));
    if (echo) {
      const down = echo[1] !== 'PACS';
      response.writeHead(down ? 502 : 200, { 'content-type': 'application/json' })
        .end(JSON.stringify(down ? { detail: 'No connection to 10.0.0.9:104: Connection refused' } : { milliseconds: 4.5 }));
      return;
    }

    if (path.startsWith('/fleet/emergencies/')) {
      let body = '';
      request.on('data', chunk => { body += chunk; }).on('end', () => {
        this.decided.push({ path, ...JSON.parse(body) });
        this.emergencies = this.emergencies.filter(e => !path.includes(`/${e.id}/`));
        response.writeHead(204).end();
      });
      return;
    }

    if (path.startsWith('/fleet/models/')) {
      let body = '';
      request.on('data', chunk => { body += chunk; }).on('end', () => {
        this.decided.push({ path, ...JSON.parse(body) });
        response.writeHead(204).end();
      });
      return;
    }

    if (path.startsWith('/emr-adapter/')) {
      let body = '';
      request.on('data', chunk => { body += chunk; }).on('end', () => {
        const said = JSON.parse(body);
        this.decided.push({ path, ...said });
        this.emr['dead-letters'] = this.emr['dead-letters'].filter(m => !path.includes('replay') || m.key !== key);
        this.emr.unmapped = this.emr.unmapped.filter(c => c.code !== said.code);
        this.emr['identity-conflicts'] = this.emr['identity-conflicts'].filter(c => !path.includes('identity') || c.key !== key);
        response.writeHead(204).end();
      });
      return;
    }

    this.decided.push(`${request.method} ${path}`);
    this.desk.failed = this.desk.failed.filter(f => f.key !== key);
    this.desk.conflicts = this.desk.conflicts.filter(c => c.key !== key);
    response.writeHead(204).end();
  }

  /** As the adapter does: so many, after those that are skipped. */
  #page(all, query) {
    const skip = Number(query.get('skip') ?? 0);
    return all?.slice(skip, skip + Number(query.get('limit') ?? 100));
  }

  /** As the inventory does: by site and part of a name, page by page. */
  #inventory(path, query) {
    const { sites, stock, expiring, shortage, sources, uses, calendar } = this.inventory;
    const here = list => list.filter(e => !query.get('site') || e.site === query.get('site'));
    const search = query.get('search')?.toLowerCase() ?? '';
    const lot = query.get('lot');
    const after = list => list.length > Number(query.get('skip')) + Number(query.get('limit'));
    switch (path) {
      case 'sites': return sites;
      case 'stock': return this.#page(here(stock).filter(s => `${s.name} ${s.item} ${s.lot}`.toLowerCase().includes(search)), query);
      case 'expiring': return this.#page(here(expiring), query);
      case 'expiry-calendar': return calendar;
      case 'sources': return this.#page(here(sources), query);
      case 'shortage': return { method: 'as it is', items: this.#page(here(shortage), query), more: after(here(shortage)) };
      case 'history': return Array.from({ length: Number(query.get('days')) }, (_, i) => i < 45 ? 90 : 90 - i);
      case 'recall': {
        const of = list => list.filter(e => e.lot === lot);
        return { item: query.get('item') ?? '', lot, stock: this.#page(of(stock), query), uses: this.#page(of(uses), query), sites: [...new Set(of([...stock, ...uses]).map(e => e.site))], moreUses: after(of(uses)), moreStock: after(of(stock)) };
      }
    }
  }

  /** An archive of 100 000 studies, as QIDO-RS gives them out; what the console makes of it is measured, not the archive. */
  #archive(path, query) {
    if (path === '/pacs-gw/dicom-web/studies') {
      const [skip, limit] = [Number(query.get('offset')), Number(query.get('limit'))];
      const of = (vr, ...Value) => ({ vr, Value });
      return Array.from({ length: Math.max(0, Math.min(limit, 100_000 - skip)) }, (_, i) => ({
        '0020000D': of('UI', `1.2.3.${skip + i}`), '00100010': of('PN', { Alphabetic: `Wang^Number ${skip + i}`, Ideographic: `王^${skip + i}` }), '00100020': of('LO', `P-${skip + i}`),
        '00080020': of('DA', '20261122'), '00081030': of('LO', 'Chest CT'), '00080061': of('CS', 'CT', 'SR'), '00201206': of('IS', 2), '00201208': of('IS', 120),
      }));
    }
    if (path === '/pacs-gw/studies/progress') {
      return query.getAll('uid').map(uid => ({ studyInstanceUid: uid, siteId: 'lakeside-clinic', firstStoredMs: Date.now() - 90_000, lastStoredMs: Date.now() - 80_000, lastIndexedMs: Date.now() - 60_000, instances: 120, resultMs: null }));
    }
    return path === '/emr-adapter/studies' ? query.getAll('uid').map((uid, i) => ({ studyInstanceUid: uid, system: 'his', kind: 'study', state: i % 2 ? 'dead' : 'delivered', queuedMs: Date.now() - 50_000, endedMs: Date.now() - 40_000 })) : null;
  }

  /** A site that filled up, and was silent for a while. */
  #history(hours) {
    const step = hours > 24 ? 15 : 1;
    return Array.from({ length: hours * 60 / step }, (_, i) => i).filter(i => i < hours * 30 / step || i > hours * 36 / step)
      .map(i => ({ atMs: Date.now() - hours * 3_600_000 + i * step * 60_000, entries: i, bytes: i * 1e6, oldestAgeMs: i * 1000, outageHours: 61.5 - i / 100 }));
  }

  #answer(request, response) {
    const { pathname: path, searchParams } = new URL(request.url, this.url);
    const many = this.#archive(path, searchParams);
    const list = many ? many : /^\/fleet\/sites\/[^/]+\/history$/.test(path) ? this.#history(Number(searchParams.get('hours'))) : path.startsWith('/inventory/') ? this.#inventory(path.slice('/inventory/'.length), searchParams) : path.startsWith('/emr-adapter/') ? this.#page(this.emr[path.slice('/emr-adapter/'.length)], searchParams) : {
      '/fleet/sites': this.sites, '/pacs-gw/studies': this.studies, '/pacs-gw/peers': this.desk.peers, '/pacs-gw/routes': this.desk.routes,
      '/pacs-gw/routes/failed': this.desk.failed, '/pacs-gw/conflicts': this.desk.conflicts, '/fleet/emergencies': this.emergencies ?? [],
      '/fleet/models': this.models ?? [], '/fleet/findings': this.findings ?? [], '/fleet/drills': this.drills ?? [], ...this.reports,
    }[path];
    if (request.method !== 'GET') {
      this.#decide(request, path, response);
      return;
    }

    if (path === '/metrics') {
      response.writeHead(200, { 'content-type': 'text/plain; version=0.0.4' }).end(this.sites.map(s => `yizhan_site_online{site="${s.status.siteId}"} ${s.online ? 1 : 0}\n`).join(''));
    } else if (list) {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(list));
    } else if (this.streams && (path === '/fleet/sites/stream' || path === '/pacs-gw/studies/stream')) {
      response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
      const entry = { path, response };
      this.#open.add(entry);
      response.on('close', () => this.#open.delete(entry));
    } else {
      response.writeHead(404).end();
    }
  }
}

const lanes = (...figures) => ['urgent', 'normal', 'bulk', 'telemetry'].map((lane, i) => {
  const [entries = 0, bytes = 0, oldestMs = null, roomBytes = 2e9] = figures[i] ?? [];
  return { lane, entries, bytes, oldestMs, roomBytes };
});

/** What an operator finds on the page of peers. */
export function sampleDesk(now) {
  return {
    peers: [
      { aeTitle: 'PACS', host: '10.0.0.5', port: 104, tls: true, services: ['Query', 'Retrieve'], associations: 2 },
      { aeTitle: 'DOWN', host: '10.0.0.9', port: 104, tls: false, services: [], associations: 0 },
      { aeTitle: 'CT-1', host: null, port: 104, tls: false, services: [], associations: 0 },
    ],
    routes: [{ name: 'research', address: 'RESEARCH@10.0.0.6:104', waiting: 12, delivered: 4031, failed: 2, oldestWaitingMs: now - 90_000, awaySinceMs: now - 60_000, awayReason: 'Connection refused' }],
    failed: [8, 9].map(key => ({ key, destination: 'research', rule: 'all', studyInstanceUid: `2.25.${key}`, sopInstanceUid: `2.25.${key}.1`, attempts: 5, reason: 'refused with status A900', queuedMs: now - 90_000, failedMs: now - 30_000 })),
    conflicts: [{ key: 7, studyInstanceUid: '2.25.7', studyPatientId: 'P-1', studyPatientName: 'Wang^XiaoDong=王^小东', patientId: 'P-2', patientName: 'Wang^Da=王^大', instances: 4, firstStoredMs: now - 600_000, siteId: 'county-hospital-a' }],
  };
}

/** What an operator finds on the page of medical records: 45 orders are three pages. */
export function sampleEmr(now) {
  const letter = (key, system, direction, kind, subject, reason) =>
    ({ key, direction, system, kind, subject, state: 'dead', attempts: 5, reason, queuedMs: now - 900_000, endedMs: now - 600_000, controlId: direction === 'out' ? 'C1' : '' });
  return {
    systems: [
      { name: 'his', driver: 'hl7', waiting: 3, delivered: 4031, deadLetters: 1, unlinked: 2, oldestMs: now - 90_000, problem: '10.0.0.7:2575 is not reached: Connection refused', waitingBytes: 9000 },
      { name: 'region', driver: 'fhir', waiting: 0, delivered: 12, deadLetters: 0, unlinked: 0, oldestMs: null, problem: null, waitingBytes: 0 },
    ],
    orders: Array.from({ length: 45 }, (_, i) => ({
      orderId: `his/O${i + 1}`, source: 'his', state: i % 9 === 8 ? 'cancelled' : 'active', placerOrderNumber: `O${i + 1}`, accessionNumber: `A${i + 1}`, patientId: `P-${i % 7}`,
      studyInstanceUid: `2.25.${i}`, description: i % 2 ? 'CT Chest' : '胸部平扫', orderedMs: now - i * 60_000 })),
    messages: [{ key: 71, direction: 'out', system: 'his', kind: 'report', subject: 'R-71', state: 'waiting', attempts: 0, reason: 'Connection refused', queuedMs: now - 90_000, endedMs: null, controlId: 'C71' }],
    'dead-letters': [letter(17, 'his', 'out', 'report', 'R-17', 'AE: unknown order number'), letter(-3, 'region', 'in', 'ServiceRequest', 'ServiceRequest/9', 'Patient/9 is not known there.')],
    unmapped: [{ map: 'procedures', system: 'L', code: 'XH1', text: '胸部', orders: 4, firstMs: now - 3_600_000 }],
    'identity-conflicts': [{ key: 5, patientId: 'P-2', issuer: 'HOSP', problem: "Another patient has the same identifier of 'urn:oid:2.16.156.10011.1.3'.", firstMs: now - 7_200_000, otherPatientId: 'P-1', otherIssuer: 'HOSP' }],
  };
}

/** What an operator finds on the page of stock: 45 lots are three pages, 23 uses of a lot are two. */
export function sampleInventory(now) {
  const day = days => new Date(now + days * 86_400_000).toISOString().slice(0, 10);
  const lot = i => ({ site: i % 3 ? 'lakeside-clinic' : 'county-hospital-a', location: i % 2 ? '一号库房' : 'CT room', item: `gtin:0690123456${String(i).padStart(4, '0')}`, name: i % 2 ? `碘海醇注射液 ${i}` : `Gloves ${i}`,
    lot: i < 2 ? 'A213B1' : `L-${i}`, expiry: day(i * 9 - 20), quantity: 1200.5 - i, unit: i % 2 ? '瓶' : 'piece', recalled: i < 2, lastEffectiveMs: now - i * 3_600_000 });
  const stock = Array.from({ length: 45 }, (_, i) => lot(i));
  const source = (site, source, kind, hours, outcome, problem) =>
    ({ site, last: { source, kind, endedMs: now - 600_000, outcome, problem, movements: 4, assets: 0, lastSuccessMs: now - hours * 3_600_000, everyMinutes: 60 } });
  return {
    sites: ['county-hospital-a', 'lakeside-clinic'], stock, expiring: stock.slice(0, 12),
    shortage: [
      { site: 'lakeside-clinic', item: 'gloves', name: '手套', unit: '只', onHand: 120, usable: 100, perDay: 12.5, daysOfCover: 8, runsOutOn: day(8), willExpire: 4, reorderPoint: 200, order: true },
      { site: 'lakeside-clinic', item: 'tape', name: 'Tape', unit: 'roll', onHand: 1, usable: 1, perDay: null, daysOfCover: null, runsOutOn: null, willExpire: 0, reorderPoint: 5, order: true },
    ],
    sources: [source('county-hospital-a', 'pharmacy', 'csv', 30, 'partial', '1 refused: row 7 has no quantity'), source('lakeside-clinic', 'emr', 'fhir', 0.2, 'complete', '')],
    uses: Array.from({ length: 23 }, (_, i) => ({ site: 'lakeside-clinic', item: 'gtin:06901234560001', patientId: `P-${i}`, studyInstanceUid: `1.2.826.0.1.3680043.10.1511.${i}`, quantity: 1, effectiveMs: now - i * 3_600_000, lot: 'A213B1' })),
    calendar: ['', ...Array.from({ length: 12 }, (_, i) => new Date(Date.UTC(new Date(now).getUTCFullYear(), new Date(now).getUTCMonth() + i, 1)).toISOString().slice(0, 7))].map((month, i) => ({ month, lots: i % 4 })),
  };
}

export function sampleSites(now) {
  const site = (siteId, online, contactAgo, lanes) => ({
    status: { siteId, epoch: '0199d2f0-0000-7000-8000-000000000001', version: '0.1.0', sentMs: now - contactAgo, lanes,
      configuration: { version: online ? 'config-26.11.2' : 'config-26.10.4', digest: 'd', onTrial: false, refusedDigest: null, problem: null },
      spool: { outageHours: online ? 61.5 : 4.2, deliveredRatio: online ? 1 : 0.99731, quarantined: online ? 0 : 3, commitP99Ms: 4.25, batchEntries: 17.5,
        usedBytes: 88e9, capacityBytes: 500e9 } },
    wantedConfiguration: 'config-26.11.2',
    lastContactMs: now - contactAgo,
    online,
  });
  return [
    site('county-hospital-a', true, 1_200, lanes([0, 0, null, 2e9], [0, 0, null, 20e9], [0, 0, null, 412e9], [0, 0, null, 1e9])),
    site('lakeside-clinic', true, 3_400, lanes([0, 0, null, 2e9], [12, 48_300, now - 31_000, 20e9], [1_204, 633_000_000, now - 412_000, 96e9], [310, 221_000, now - 60_000, 0.2e9])),
    site('mountain-township', false, 8_040_000, lanes([2, 9_100, now - 8_000_000, 2e9], [143, 1_900_000, now - 11_000_000, 18e9], [5_530, 2_910_000_000, now - 12_900_000, 0.14e9], [900, 800_000, now - 13_000_000, 0])),
  ];
}

export function sampleStudies(now) {
  const study = (n, patientId, patientName, studyDate, studyDescription, modalities, series, instances, bytes, siteId, storedAgo, indexedAgo) => ({
    studyInstanceUid: `1.2.826.0.1.3680043.10.1511.${n}`, patientId, patientName, studyDate, studyDescription, modalities, series, instances, bytes,
    siteId, firstStoredMs: now - storedAgo, lastIndexedMs: now - indexedAgo,
  });
  return [
    study(1, 'LC-2026-00412', 'Wang^XiaoDong=王^小东', '20261123', 'Chest CT, low dose', ['CT'], 3, 612, 322_000_000, 'lakeside-clinic', 95_000, 61_000),
    study(2, 'A-77120', 'Yamada^Tarou=山田^太郎=やまだ^たろう', '20261123', 'Abdomen, portal venous phase', ['CT', 'SR'], 4, 498, 261_000_000, 'county-hospital-a', 560_000, 540_000),
    study(3, 'A-77118', 'Buc^Jérôme', '20261122', '', ['CR'], 1, 2, 15_400_000, 'county-hospital-a', 4_100_000, 4_096_000),
    study(4, 'MT-0093', 'Zhang^Wei=张^伟', '20261122', '颈椎正侧位', ['DX'], 2, 2, 33_100_000, 'mountain-township', 14_400_000, 8_100_000),
    study(5, '', '', '', '', ['OT'], 1, 1, 512, 'county-hospital-a', 90_000_000, 89_999_000),
    study(6, 'A-76001', "O'Neil-Fairweather-Montgomery^Anastasia Wilhelmina Philippa^^Dr", '20261120', 'MR brain with and without contrast, epilepsy protocol, 3 T', ['MR', 'PR', 'SEG'], 14, 2_218, 1_310_000_000, 'county-hospital-a', 260_000_000, 259_000_000),
  ];
}
