// Reads a segmentation and its report with dcmjs and @cornerstonejs/adapters, and compares what the two say.
// Usage: node read.mjs FOLDER    (FOLDER holds seg.dcm and sr.dcm)
import { readFileSync } from "node:fs";
import { join } from "node:path";
import dcmjs from "dcmjs";

const folder = process.argv[2];
let passed = 0;
let failed = 0;
const check = (what, holds, seen) => {
  holds ? passed++ : failed++;
  console.log(`${holds ? "ok   " : "FAIL "} ${what}${holds ? "" : ": " + JSON.stringify(seen)}`);
};
const buffer = (name) => {
  const bytes = readFileSync(join(folder, name));
  return bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength);
};
const read = (name) => {
  const file = dcmjs.data.DicomMessage.readFile(buffer(name));
  return dcmjs.data.DicomMetaDictionary.naturalizeDataset(file.dict);
};
const list = (value) => (value === undefined ? [] : Array.isArray(value) ? value : [value]);
const items = (content, meaning) => list(content).filter((item) => list(item.ConceptNameCodeSequence)[0]?.CodeMeaning === meaning);

// dcmjs: segments, frames, and one bit a pixel.
const seg = read("seg.dcm");
const segments = list(seg.SegmentSequence);
const frames = list(seg.PerFrameFunctionalGroupsSequence);
check("dcmjs reads as many frames as the segmentation says", frames.length === Number(seg.NumberOfFrames), [frames.length, seg.NumberOfFrames]);
const bits = dcmjs.data.BitArray.unpack(Array.isArray(seg.PixelData) ? seg.PixelData[0] : seg.PixelData);
const plane = seg.Rows * seg.Columns;
const measures = list(list(seg.SharedFunctionalGroupsSequence)[0].PixelMeasuresSequence)[0];
const voxelMl = (measures.PixelSpacing[0] * measures.PixelSpacing[1] * measures.SpacingBetweenSlices) / 1000;
const voxels = new Map(segments.map((s) => [Number(s.SegmentNumber), 0]));
frames.forEach((frame, f) => {
  const number = Number(list(frame.SegmentIdentificationSequence)[0].ReferencedSegmentNumber);
  for (let i = 0; i < plane; i++) voxels.set(number, voxels.get(number) + (bits[f * plane + i] ? 1 : 0));
});
check("every segment has pixels", [...voxels.values()].every((n) => n > 0), [...voxels]);
check("every frame names its source image", frames.every((f) => list(list(f.DerivationImageSequence)[0].SourceImageSequence)[0].ReferencedSOPInstanceUID), null);

// dcmjs: the report's groups point to the segments, and their volumes are those of the pixels.
const report = read("sr.dcm");
check("the report is TID 1500", list(report.ContentTemplateSequence)[0].TemplateIdentifier === "1500", report.ContentTemplateSequence);
const groups = items(list(items(report.ContentSequence, "Imaging Measurements"))[0].ContentSequence, "Measurement Group");
check("the report has a group for each segment", groups.length === segments.length, groups.length);
for (const group of groups) {
  const reference = list(items(group.ContentSequence, "Referenced Segment")[0].ReferencedSOPSequence)[0];
  const number = Number(reference.ReferencedSegmentNumber);
  const volume = Number(list(items(group.ContentSequence, "Volume")[0].MeasuredValueSequence)[0].NumericValue);
  const tracking = items(group.ContentSequence, "Tracking Unique Identifier")[0].UID;
  check(`group ${number} points to the segmentation`, reference.ReferencedSOPInstanceUID === seg.SOPInstanceUID, reference);
  check(`group ${number} and its segment have one tracking UID`, segments.find((s) => Number(s.SegmentNumber) === number).TrackingUID === tracking, tracking);
  check(`the volume of group ${number} is that of its pixels`, Math.abs(volume - voxels.get(number) * voxelMl) < 1e-3, [volume, voxels.get(number) * voxelMl]);
}

// @cornerstonejs/adapters: label maps for a viewer.
const { adaptersSEG } = await import("@cornerstonejs/adapters");
const { metaData } = await import("@cornerstonejs/core");
const sources = new Map();
frames.forEach((f) => {
  const uid = list(list(f.DerivationImageSequence)[0].SourceImageSequence)[0].ReferencedSOPInstanceUID;
  sources.set(uid, list(f.PlanePositionSequence)[0].ImagePositionPatient.map(Number));
});
const orientation = list(list(seg.SharedFunctionalGroupsSequence)[0].PlaneOrientationSequence)[0].ImageOrientationPatient.map(Number);
const [u, v] = [orientation.slice(0, 3), orientation.slice(3)];
const normal = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
const along = (position) => position.reduce((sum, value, axis) => sum + value * normal[axis], 0);
const imageIds = [...sources].sort((a, b) => along(a[1]) - along(b[1])).map(([uid]) => `sop:${uid}`);
const series = list(seg.ReferencedSeriesSequence)[0].SeriesInstanceUID;
const provider = {
  get(type, imageId) {
    const sopInstanceUID = imageId.slice(4);
    const instance = {
      SOPInstanceUID: sopInstanceUID, SeriesInstanceUID: series, StudyInstanceUID: seg.StudyInstanceUID, FrameOfReferenceUID: seg.FrameOfReferenceUID, Rows: seg.Rows,
      Columns: seg.Columns, ImageOrientationPatient: orientation, ImagePositionPatient: sources.get(sopInstanceUID), PixelSpacing: measures.PixelSpacing.map(Number),
    };
    switch (type) {
      case "imagePlaneModule":
        return { rows: seg.Rows, columns: seg.Columns, imageOrientationPatient: orientation, rowCosines: orientation.slice(0, 3), columnCosines: orientation.slice(3),
          imagePositionPatient: instance.ImagePositionPatient, pixelSpacing: instance.PixelSpacing, frameOfReferenceUID: seg.FrameOfReferenceUID };
      case "generalSeriesModule":
        return { seriesInstanceUID: series, studyInstanceUID: seg.StudyInstanceUID, modality: "CT" };
      case "generalImageModule":
        return { sopInstanceUID };
      case "sopCommonModule":
        return { sopInstanceUID };
      default:
        return instance;
    }
  },
};
metaData.addProvider((type, imageId) => (imageId.startsWith("sop:") ? provider.get(type, imageId) : undefined));
const state = await adaptersSEG.Cornerstone3D.Segmentation.generateToolState(imageIds, buffer("seg.dcm"), provider);
const shown = state.segMetadata?.data?.filter((s) => s) ?? [];
check("@cornerstonejs/adapters makes label maps of every segment", shown.length === segments.length, Object.keys(state));
const drawn = new Map();
for (const image of state.labelMapImages.flat()) {
  for (const label of image.voxelManager.getScalarData()) if (label > 0) drawn.set(label, (drawn.get(label) ?? 0) + 1);
}
check("its label maps hold the pixels of the segments", [...voxels].every(([number, n]) => drawn.get(number) === n), [[...voxels], [...drawn]]);

console.log(`${passed} passed, ${failed} failed, 0 skipped`);
process.exit(failed === 0 ? 0 : 1);
