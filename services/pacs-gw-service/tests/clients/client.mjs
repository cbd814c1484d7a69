// dicomweb-client and dicom-parser: they store, search and retrieve.
import assert from 'node:assert/strict';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
globalThis.XMLHttpRequest = require('xhr2');
const { api } = require('dicomweb-client');
const dicomParser = require('dicom-parser');

/** A Part 10 file in explicit VR little endian: without options two rows of four pixels, the bytes from 0 on. */
export function dicomFile(sop, { study = '2.25.71', rows = 2, columns = 4, bits = 16, signed = false, pixels } = {}) {
  const text = (vr, value) => Buffer.from(value.length % 2 ? value + (vr === 'UI' ? '\0' : ' ') : value, 'utf8');
  const short = value => { const b = Buffer.alloc(2); b.writeUInt16LE(value); return b; };
  const element = (group, number, vr, value) => {
    const long = vr === 'OW' || vr === 'OB';
    const header = Buffer.alloc(long ? 12 : 8);
    header.writeUInt16LE(group, 0);
    header.writeUInt16LE(number, 2);
    header.write(vr, 4, 'ascii');
    if (long) header.writeUInt32LE(value.length, 8); else header.writeUInt16LE(value.length, 6);
    return Buffer.concat([header, value]);
  };
  const syntax = '1.2.840.10008.1.2.1';
  const ct = '1.2.840.10008.5.1.4.1.1.2';
  const meta = Buffer.concat([
    element(2, 1, 'OB', Buffer.from([0, 1])), element(2, 2, 'UI', text('UI', ct)), element(2, 3, 'UI', text('UI', sop)),
    element(2, 0x10, 'UI', text('UI', syntax)), element(2, 0x12, 'UI', text('UI', '2.25.1')),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(meta.length);
  return Buffer.concat([
    Buffer.alloc(128), Buffer.from('DICM'), element(2, 0, 'UL', length), meta,
    element(8, 5, 'CS', text('CS', 'ISO_IR 192')), element(8, 0x16, 'UI', text('UI', ct)), element(8, 0x18, 'UI', text('UI', sop)),
    element(8, 0x20, 'DA', text('DA', '20261123')), element(8, 0x60, 'CS', text('CS', 'CT')),
    element(0x10, 0x10, 'PN', text('PN', 'Wang^XiaoDong=王^小东')), element(0x10, 0x20, 'LO', text('LO', 'P-1')),
    element(0x20, 0xD, 'UI', text('UI', study)), element(0x20, 0xE, 'UI', text('UI', '2.25.72')), element(0x20, 0x13, 'IS', text('IS', '1')),
    element(0x28, 2, 'US', short(1)), element(0x28, 4, 'CS', text('CS', 'MONOCHROME2')), element(0x28, 0x10, 'US', short(rows)),
    element(0x28, 0x11, 'US', short(columns)), element(0x28, 0x100, 'US', short(bits)), element(0x28, 0x101, 'US', short(bits)),
    element(0x28, 0x102, 'US', short(bits - 1)), element(0x28, 0x103, 'US', short(signed ? 1 : 0)),
    element(0x7FE0, 0x10, bits === 8 ? 'OB' : 'OW', pixels ?? Buffer.from(Array.from({ length: rows * columns * bits / 8 }, (_, i) => i))),
  ]);
}

export default function clientTests({ url, headers, until }) {
  const client = new api.DICOMwebClient({ url, headers });
  const place = { studyInstanceUID: '2.25.71', seriesInstanceUID: '2.25.72', sopInstanceUID: '2.25.731' };
  const bytes = value => Buffer.from(Array.isArray(value) ? value[0] : value);
  return {
    'instances are stored': async () => {
      const files = ['2.25.731', '2.25.732'].map(sop => Uint8Array.from(dicomFile(sop)).buffer);
      await client.storeInstances({ datasets: files });
      await until('both are found', async () => (await client.searchForInstances({ ...place })).length === 2);
    },
    'a study is found by a Chinese name': async () => {
      const found = await client.searchForStudies({ queryParams: { PatientName: '王*' } });
      assert.equal(found.length, 1);
      assert.equal(found[0]['00100010'].Value[0].Ideographic, '王^小东');
    },
    'series and instances are listed': async () => {
      assert.equal((await client.searchForSeries({ ...place })).length, 1);
      assert.equal((await client.searchForInstances({ ...place, queryParams: { limit: 1 } })).length, 1);
    },
    'metadata of study, series and instance': async () => {
      assert.equal((await client.retrieveStudyMetadata(place)).length, 2);
      assert.equal((await client.retrieveSeriesMetadata(place)).length, 2);
      const [instance] = await client.retrieveInstanceMetadata(place);
      assert.equal(instance['00280010'].Value[0], 2);
    },
    'an instance is a file that dicom-parser reads': async () => {
      const file = dicomParser.parseDicom(new Uint8Array(await client.retrieveInstance(place)));
      assert.equal(file.string('x00020010'), '1.2.840.10008.1.2.1');
      assert.equal(file.uint16('x00280011'), 4);
      assert.equal(file.elements.x7fe00010.length, 16);
    },
    'a series is all of its files': async () => assert.equal((await client.retrieveSeries(place)).length, 2),
    'a study is all of its files': async () => assert.equal((await client.retrieveStudy(place)).length, 2),
    'a frame is its pixels': async () => {
      const [frame] = await client.retrieveInstanceFrames({ ...place, frameNumbers: [1] });
      assert.deepEqual(bytes(frame), Buffer.from(Array.from({ length: 16 }, (_, i) => i)));
    },
    'a frame comes in the compression that is asked for': async () => {
      const [frame] = await client.retrieveInstanceFrames({
        ...place, frameNumbers: [1], mediaTypes: [{ mediaType: 'image/jls', transferSyntaxUID: '1.2.840.10008.1.2.4.80' }],
      });
      assert.deepEqual(bytes(frame).subarray(0, 2), Buffer.from([0xFF, 0xD8]));
    },
    'bulk data is where metadata says': async () => {
      const [instance] = await client.retrieveInstanceMetadata(place);
      const { BulkDataURI } = instance['7FE00010'];
      assert.equal(bytes(await client.retrieveBulkData({ BulkDataURI })).length, 16);
    },
    'a picture is JPEG or PNG': async () => {
      const jpeg = await client.retrieveInstanceRendered({ ...place, mediaTypes: [{ mediaType: 'image/jpeg' }] });
      assert.deepEqual(bytes(jpeg).subarray(0, 3), Buffer.from([0xFF, 0xD8, 0xFF]));
      const png = await client.retrieveInstanceFramesRendered({ ...place, frameNumbers: [1], mediaTypes: [{ mediaType: 'image/png' }] });
      assert.equal(bytes(png).subarray(1, 4).toString(), 'PNG');
    },
    'a thumbnail is a picture': async () => {
      const jpeg = await client.retrieveInstanceThumbnail({ ...place, mediaTypes: [{ mediaType: 'image/jpeg' }] });
      assert.deepEqual(bytes(jpeg).subarray(0, 3), Buffer.from([0xFF, 0xD8, 0xFF]));
    },
  };
}
