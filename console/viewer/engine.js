// Cornerstone3D as the viewer uses it. A module of its own, since it takes longer to start than a first picture may.
import { init as initCore, cache, Enums, eventTarget, getRenderingEngine, imageLoader, RenderingEngine } from '@cornerstonejs/core';
import * as tools from '@cornerstonejs/tools';
import { init as initLoader, wadors } from '@cornerstonejs/dicom-image-loader';
import { native } from './dicom.js';

const { LengthTool, PanTool, StackScrollTool, WindowLevelTool, ZoomTool, ToolGroupManager, annotation, segmentation } = tools;
const toolEnums = tools.Enums;
export { annotation, cache, Enums, eventTarget, getRenderingEngine, imageLoader, RenderingEngine, segmentation, toolEnums, ToolGroupManager, wadors };

/** What dragging on a picture does, by the name of its button. */
export const dragged = { window: WindowLevelTool.toolName, measure: LengthTool.toolName, scroll: StackScrollTool.toolName, zoom: ZoomTool.toolName, pan: PanTool.toolName };

let ready;

/** Once for a page, however often it shows a study. */
export const initialise = () => ready ??= (async () => {
  await initCore();
  initLoader({ maxWebWorkers: Math.max(1, Math.min(4, (navigator.hardwareConcurrency ?? 2) - 1)), beforeSend: () => ({ Accept: native }) });
  tools.init();
  for (const tool of [WindowLevelTool, LengthTool, StackScrollTool, ZoomTool, PanTool]) tools.addTool(tool);
})();
