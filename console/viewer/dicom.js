// What a viewer reads of DICOM JSON (PS3.18 annex F): stacks, segments of a segmentation, findings of a report. No drawing.

/** The first value of an attribute; what a person name has as its best group for people. */
export const value = (item, tag) => item?.[tag]?.Value?.[0];
const items = (item, tag) => item?.[tag]?.Value ?? [];
const numbers = (item, tag) => items(item, tag).map(Number);
const code = (item, tag) => value(item, tag)?.['00080100']?.Value?.[0];
const meaning = (item, tag) => value(item, tag)?.['00080104']?.Value?.[0] ?? '';

/** Modalities without a picture of their own: results, presentation states, documents. */
const withoutPicture = new Set(['SEG', 'SR', 'PR', 'KO', 'REG', 'RTSTRUCT', 'RTPLAN', 'RTDOSE', 'RWV', 'DOC', 'ECG', 'AU']);

/** Asks a DICOMweb server, in the name of whoever is signed in at this origin. */
export class DicomWeb {
  constructor(root) { [this.root, this.asked] = [root, new Map()]; }

  /** What was asked once is not asked again by the same page, unless it failed. */
  json(path) {
    const known = this.asked.get(path) ?? this.ask(path);
    this.asked.set(path, known);
    known.catch(() => this.asked.delete(path));
    return known;
  }

  async ask(path) {
    const answer = await fetch(`${this.root}/${path}`, { headers: { Accept: 'application/dicom+json' } });
    if (!answer.ok) throw new Error(`HTTP ${answer.status} · ${path}`);
    return answer.json();
  }

  /** Series of a study, by their number; those with pictures apart from results. */
  async series(study) {
    const all = (await this.json(`studies/${study}/series?includefield=SeriesDescription`)).map(s => ({
      study, uid: value(s, '0020000E'), modality: value(s, '00080060') ?? '', number: value(s, '00200011') ?? 0,
      description: value(s, '0008103E') ?? '', instances: value(s, '00201209') ?? 0,
    })).sort((a, b) => a.number - b.number);
    return { pictures: all.filter(s => !withoutPicture.has(s.modality)), segmentations: all.filter(s => s.modality === 'SEG'), reports: all.filter(s => s.modality === 'SR') };
  }

  metadata(series) { return this.json(`studies/${series.study}/series/${series.uid}/metadata`); }

  /** The frames of one instance as bytes, uncompressed, a few at a time. */
  async *frames(instance, count) {
    const step = 32;
    for (let first = 1; first <= count; first += step) {
      const wanted = Array.from({ length: Math.min(step, count - first + 1) }, (_, i) => first + i);
      const answer = await fetch(`${this.instance(instance)}/frames/${wanted.join(',')}`, { headers: { Accept: native } });
      if (!answer.ok) throw new Error(`HTTP ${answer.status}`);
      yield* parts(new Uint8Array(await answer.arrayBuffer()), answer.headers.get('Content-Type'));
    }
  }

  instance(metadata) {
    return `${this.root}/studies/${value(metadata, '0020000D')}/series/${value(metadata, '0020000E')}/instances/${value(metadata, '00080018')}`;
  }
}

/** The gateway decodes: no decoder runs in a page that shows patients, and none has to be allowed to compile code there. */
export const native = 'multipart/related; type="application/octet-stream"; transfer-syntax=1.2.840.10008.1.2.1';

/** Parts of a multipart answer (RFC 2046 §5.1.1). */
function* parts(bytes, type) {
  const boundary = /boundary="?([^";]+)"?/.exec(type)?.[1];
  if (!boundary) throw new Error(`not multipart: ${type}`);
  const [mark, blank] = [`--${boundary}`, '\r\n\r\n'].map(text => new TextEncoder().encode(text));
  for (let at = find(bytes, mark, 0); at >= 0;) {
    const body = find(bytes, blank, at);
    const next = body < 0 ? -1 : find(bytes, mark, body + 4);
    if (next < 0) return;
    yield bytes.subarray(body + 4, next - 2);
    at = next;
  }
}

function find(bytes, wanted, from) {
  for (let at = bytes.indexOf(wanted[0], from); at >= 0; at = bytes.indexOf(wanted[0], at + 1)) {
    if (wanted.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}

/** The images of a series in the order of space, where they have places, else of their numbers: each frame with what it is of. */
export function stack(web, instances) {
  const pictures = instances.filter(i => i['00280010'] && value(i, '7FE00010') === undefined);
  const normal = cross(numbers(pictures[0], '00200037'));
  const place = i => normal && i['00200032'] ? numbers(i, '00200032').reduce((sum, x, k) => sum + x * normal[k], 0) : Number(value(i, '00200013') ?? 0);
  return pictures.sort((a, b) => place(a) - place(b) || Number(value(a, '00200013') ?? 0) - Number(value(b, '00200013') ?? 0)).flatMap(metadata => {
    decoded(metadata);
    return Array.from({ length: Number(value(metadata, '00280008') ?? 1) }, (_, frame) => ({
      metadata, sop: value(metadata, '00080018'), frame: frame + 1, id: `wadors:${web.instance(metadata)}/frames/${frame + 1}`,
    }));
  });
}

const cross = o => o.length === 6 && [o[1] * o[5] - o[2] * o[4], o[2] * o[3] - o[0] * o[5], o[0] * o[4] - o[1] * o[3]];

/** How the pixels are once the gateway has decoded them (PS3.5 §8.2: what belongs to a compression ends with it). */
function decoded(metadata) {
  const photometric = metadata['00280004'];
  if (/^YBR_(RCT|ICT)$/.test(photometric?.Value?.[0])) photometric.Value[0] = 'RGB';
  if (/^YBR_(FULL|PARTIAL)_422$/.test(photometric?.Value?.[0])) photometric.Value[0] = 'YBR_FULL';
}

/** Segments of a segmentation (PS3.3 A.51), each frame with the image that it lies on. */
export function segments(metadata) {
  return {
    rows: value(metadata, '00280010'), columns: value(metadata, '00280011'), bits: value(metadata, '00280100'), sop: value(metadata, '00080018'),
    segments: items(metadata, '00620002').map(s => ({ number: value(s, '00620004'), label: value(s, '00620005') ?? '' })),
    frames: items(metadata, '52009230').map(frame => {
      const source = value(value(frame, '00089124'), '00082112');
      return { segment: value(value(frame, '0062000A'), '0062000B'), sop: value(source, '00081155'), frame: value(source, '00081160') ?? 1, position: numbers(value(frame, '00209113'), '00200032') };
    }),
  };
}

/** The pixels of a frame of a segmentation that belong to it: bits from the lowest on (PS3.5 §8.1.1), or one byte each. */
export const covered = (bytes, bits, count) => Array.from({ length: count }, (_, i) => i).filter(i => bits === 1 ? bytes[i >> 3] >> (i & 7) & 1 : bytes[i]);

/** Findings of a measurement report (PS3.16 TID 1500): each group with its measurements, and what it points to. */
export function findings(report) {
  const found = [];
  const walk = (item, inside) => {
    const group = code(item, '0040A043') === '125007' ? { label: '', kind: '', measurements: [], sop: null, segment: null } : inside;
    if (group && group !== inside) found.push(group);
    if (group) read(item, group);
    for (const child of items(item, '0040A730')) walk(child, group);
  };
  walk(report, null);
  const remarks = items(report, '0040A730').flatMap(c => items(c, '0040A730')).filter(c => code(c, '0040A043') === '121106').map(c => value(c, '0040A160'));
  return { title: meaning(report, '0040A043'), preliminary: value(report, '0040A496') === 'PRELIMINARY', findings: found, remarks };
}

function read(item, group) {
  const name = code(item, '0040A043');
  const reference = value(item, '00081199');
  switch (value(item, '0040A040')) {
    case 'TEXT': if (name === '112039') group.label = value(item, '0040A160') ?? ''; break;
    case 'CODE': if (name === '121071') group.kind = meaning(item, '0040A168'); break;
    case 'NUM': {
      const measured = value(item, '0040A300');
      group.measurements.push({ name: meaning(item, '0040A043'), value: value(measured, '0040A30A'), unit: code(measured, '004008EA') ?? '' });
      break;
    }
    case 'IMAGE': group.sop ??= value(reference, '00081155') ?? null; group.segment ??= value(reference, '0062000B') ?? null; break;
  }
}
