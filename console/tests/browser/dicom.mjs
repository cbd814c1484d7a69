// Data sets for the test: a CT, a segmentation of it and a report, as a scanner and a model send them. Explicit VR little endian.
const uid = { ct: '1.2.840.10008.5.1.4.1.1.2', seg: '1.2.840.10008.5.1.4.1.1.66.4', sr: '1.2.840.10008.5.1.4.1.1.88.34', explicit: '1.2.840.10008.1.2.1' };
const long = new Set(['OB', 'OW', 'SQ', 'UN', 'UT']);

/** One element: [tag, VR, value]; the value of a sequence is a list of data sets. */
function element([tag, vr, value]) {
  const number = parseInt(tag, 16);
  const body = vr === 'SQ' ? Buffer.concat(value.map(item => {
    const bytes = dataSet(item);
    const header = Buffer.alloc(8);
    header.writeUInt32LE(0xE000FFFE, 0);
    header.writeUInt32LE(bytes.length, 4);
    return Buffer.concat([header, bytes]);
  })) : Buffer.isBuffer(value) ? value : vr === 'US' ? Buffer.concat([].concat(value).map(v => { const b = Buffer.alloc(2); b.writeUInt16LE(v); return b; }))
    : Buffer.from(String([].concat(value).join('\\')));
  const even = body.length % 2 ? Buffer.concat([body, Buffer.from(vr === 'UI' || vr === 'OB' ? '\0' : ' ')]) : body;
  const header = Buffer.alloc(long.has(vr) ? 12 : 8);
  header.writeUInt16LE(number >>> 16, 0);
  header.writeUInt16LE(number & 0xFFFF, 2);
  header.write(vr, 4, 'ascii');
  if (long.has(vr)) header.writeUInt32LE(even.length, 8); else header.writeUInt16LE(even.length, 6);
  return Buffer.concat([header, even]);
}

const dataSet = elements => Buffer.concat([...elements].sort((a, b) => parseInt(a[0], 16) - parseInt(b[0], 16)).map(element));

function file(sopClass, sop, elements) {
  const meta = dataSet([['00020001', 'OB', Buffer.from([0, 1])], ['00020002', 'UI', sopClass], ['00020003', 'UI', sop], ['00020010', 'UI', uid.explicit], ['00020012', 'UI', '2.25.1']]);
  return Buffer.concat([Buffer.alloc(128), Buffer.from('DICM'), element(['00020000', 'UL', (() => { const b = Buffer.alloc(4); b.writeUInt32LE(meta.length); return b; })()]), meta,
    dataSet([['00080016', 'UI', sopClass], ['00080018', 'UI', sop], ...elements])]);
}

const coded = (value, scheme, meaning) => [['00080100', 'SH', value], ['00080102', 'SH', scheme], ['00080104', 'LO', meaning]];
const patient = ({ name, id, study, date, description }) => [['00080005', 'CS', 'ISO_IR 192'], ['00080020', 'DA', date], ['00080030', 'TM', '083000'], ['00080050', 'SH', `A${date}`],
  ['00081030', 'LO', description], ['00100010', 'PN', name], ['00100020', 'LO', id], ['0020000D', 'UI', study], ['00200010', 'SH', '1']];
const sopOf = (study, k) => `${study}.1.${k + 1}`;

/** A CT of square slices, `mm` a pixel; `stored(x, y, k)` gives what a scanner stores: HU and 1024. */
const ct = (study, count, size, mm, spacing, stored) => Array.from({ length: count }, (_, k) => {
  const pixels = Buffer.alloc(size * size * 2);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) pixels.writeUInt16LE(stored(x, y, k), (y * size + x) * 2);
  }
  return file(uid.ct, sopOf(study.study, k), [...patient(study), ['00080060', 'CS', 'CT'], ['0008103E', 'LO', 'Thorax'], ['00180015', 'CS', 'CHEST'], ['0020000E', 'UI', `${study.study}.1`], ['00200011', 'IS', 1],
    // Sent from the last to the first: their places in space are what orders them.
    ['00200013', 'IS', count - k], ['00200032', 'DS', [0, 0, k * spacing]], ['00200037', 'DS', [1, 0, 0, 0, 1, 0]], ['00200052', 'UI', `${study.study}.9`],
    ['00280002', 'US', 1], ['00280004', 'CS', 'MONOCHROME2'], ['00280010', 'US', size], ['00280011', 'US', size], ['00280030', 'DS', [mm, mm]], ['00280100', 'US', 16], ['00280101', 'US', 12],
    ['00280102', 'US', 11], ['00280103', 'US', 0], ['00281050', 'DS', 40], ['00281051', 'DS', 400], ['00281052', 'DS', -1024], ['00281053', 'DS', 1], ['7FE00010', 'OW', pixels]]);
});

/** A CT, one millimetre a pixel: a disc whose radius says which slice it is. */
export const slices = (study, count, size) => ct(study, count, size, 1, 2, (x, y, k) => Math.hypot(x - size / 2, y - size / 2) < size / 4 + k ? 1064 : 24);

/** A drawn thorax with one nodule of 18 mm in the middle slices, as the bundle `nodule` knows them (samples/Phantom.cs). */
export function thorax(study, count, size) {
  const mm = 360 / size, spacing = 180 / count, inside = (x, y, a, b) => (x / a) ** 2 + (y / b) ** 2 < 1;
  let seed = 7;
  const noise = () => (seed = (seed * 1103515245 + 12345) & 0x7fffffff) % 41 - 20;
  return ct(study, count, size, mm, spacing, (column, row, k) => {
    const x = (column - size / 2) * mm, y = (row - size / 2) * mm, z = (k - count / 2) * spacing;
    const lung = [-70, 70].some(at => inside(x - at, y + 8, 52 - Math.abs(z) / 12, 78 - Math.abs(z) / 10));
    const hu = !inside(x, y, 160, 115) ? -1000 : !inside(x, y, 152, 107) ? -90
      : lung ? Math.hypot(x - 68, y + 12, z) < 9 ? 35 : -850
      : inside(x, y - 70, 18, 16) ? 420 : 50;
    return Math.max(0, hu + 1024 + noise());
  });
}

/** A binary segmentation with one segment: a square on some slices. */
export function segmentation(study, places, size) {
  const frame = Buffer.alloc(size * size / 8);
  for (let y = size * 3 / 8; y < size * 5 / 8; y++) {
    for (let x = size * 3 / 8; x < size * 5 / 8; x++) frame[(y * size + x) >> 3] |= 1 << ((y * size + x) & 7);
  }
  return file(uid.seg, `${study.study}.2.1`, [...patient(study), ['00080060', 'CS', 'SEG'], ['0020000E', 'UI', `${study.study}.2`], ['00200011', 'IS', 900], ['00200013', 'IS', 1],
    ['00280002', 'US', 1], ['00280004', 'CS', 'MONOCHROME2'], ['00280008', 'IS', places.length], ['00280010', 'US', size], ['00280011', 'US', size], ['00280100', 'US', 1], ['00280101', 'US', 1],
    ['00280102', 'US', 0], ['00280103', 'US', 0], ['00620001', 'CS', 'BINARY'], ['00620002', 'SQ', [[['00620004', 'US', 1], ['00620005', 'LO', 'Nodule 1'], ['00620008', 'CS', 'AUTOMATIC']]]],
    ['52009230', 'SQ', places.map(k => [['00089124', 'SQ', [[['00082112', 'SQ', [[['00081150', 'UI', uid.ct], ['00081155', 'UI', sopOf(study.study, k)]]]]]]],
      ['00209113', 'SQ', [[['00200032', 'DS', [0, 0, k * 2]]]]], ['0062000A', 'SQ', [[['0062000B', 'US', 1]]]]])],
    ['7FE00010', 'OB', Buffer.concat(places.map(() => frame))]]);
}

/** A measurement report (TID 1500) with one group, which points to the segment. */
export function report(study, label) {
  const item = (relationship, type, name, ...value) => [['0040A010', 'CS', relationship], ['0040A040', 'CS', type], ['0040A043', 'SQ', [coded(...name)]], ...value];
  const group = item('CONTAINS', 'CONTAINER', ['125007', 'DCM', 'Measurement Group'], ['0040A050', 'CS', 'SEPARATE'], ['0040A730', 'SQ', [
    item('HAS OBS CONTEXT', 'TEXT', ['112039', 'DCM', 'Tracking Identifier'], ['0040A160', 'UT', label]),
    item('CONTAINS', 'CODE', ['121071', 'DCM', 'Finding'], ['0040A168', 'SQ', [coded('27925004', 'SCT', 'Nodule')]]),
    item('CONTAINS', 'IMAGE', ['121191', 'DCM', 'Referenced Segment'], ['00081199', 'SQ', [[['00081150', 'UI', uid.seg], ['00081155', 'UI', `${study.study}.2.1`], ['0062000B', 'US', 1]]]]),
    item('CONTAINS', 'NUM', ['118565006', 'SCT', 'Volume'], ['0040A300', 'SQ', [[['0040A30A', 'DS', '1.25'], ['004008EA', 'SQ', [coded('ml', 'UCUM', 'milliliter')]]]]]),
  ]]);
  return file(uid.sr, `${study.study}.3.1`, [...patient(study), ['00080060', 'CS', 'SR'], ['0020000E', 'UI', `${study.study}.3`], ['00200011', 'IS', 901], ['00200013', 'IS', 1],
    ['0040A040', 'CS', 'CONTAINER'], ['0040A050', 'CS', 'SEPARATE'], ['0040A043', 'SQ', [coded('126000', 'DCM', 'Imaging Measurement Report')]], ['0040A491', 'CS', 'COMPLETE'],
    ['0040A493', 'CS', 'UNVERIFIED'], ['0040A496', 'CS', 'PRELIMINARY'], ['0040A730', 'SQ', [item('CONTAINS', 'CONTAINER', ['126010', 'DCM', 'Imaging Measurements'], ['0040A050', 'CS', 'SEPARATE'], ['0040A730', 'SQ', [group]])]]]);
}

/** A STOW-RS request body (PS3.18 §10.5). */
export const multipart = files => ({ type: 'multipart/related; type="application/dicom"; boundary=yizhan',
  body: Buffer.concat([...files.flatMap(f => [Buffer.from('--yizhan\r\nContent-Type: application/dicom\r\n\r\n'), f, Buffer.from('\r\n')]), Buffer.from('--yizhan--\r\n')]) });
