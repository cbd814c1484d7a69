// The viewer of a study: Cornerstone3D over the DICOMweb of this origin. What a data set says becomes text, never markup.
import { init as initCore, cache, Enums, eventTarget, getRenderingEngine, imageLoader, RenderingEngine } from '@cornerstonejs/core';
import * as tools from '@cornerstonejs/tools';
import { init as initLoader, wadors } from '@cornerstonejs/dicom-image-loader';
import { covered, DicomWeb, findings, native, segments, stack, value } from './dicom.js';

const { Events } = Enums;
const { LengthTool, PanTool, StackScrollTool, WindowLevelTool, ZoomTool, ToolGroupManager, annotation, segmentation } = tools;
const { MouseBindings, Events: ToolEvents } = tools.Enums;
const engineId = 'yizhan', groupId = 'yizhan';
const dragged = { window: WindowLevelTool.toolName, measure: LengthTool.toolName, scroll: StackScrollTool.toolName, zoom: ZoomTool.toolName, pan: PanTool.toolName };

/** Windows that radiographers know by name: centre and width in Hounsfield units. */
const windows = { lung: [-600, 1500], soft: [40, 400], bone: [400, 1800], brain: [40, 80] };

let ready;
const initialise = () => ready ??= (async () => {
  await initCore();
  initLoader({ maxWebWorkers: Math.max(1, Math.min(4, (navigator.hardwareConcurrency ?? 2) - 1)), beforeSend: () => ({ Accept: native }) });
  tools.init();
  for (const tool of [WindowLevelTool, LengthTool, StackScrollTool, ZoomTool, PanTool]) tools.addTool(tool);
})();

/** One picture area: a stack, its place in it, and what is drawn over it. */
class Pane {
  constructor(viewer, id) {
    [this.viewer, this.id, this.images] = [viewer, id, []];
    this.element = make('div', { className: 'pane', tabIndex: 0, role: 'application' });
    this.picture = this.element.appendChild(make('div', { className: 'picture' }));
    this.caption = this.element.appendChild(make('p', { className: 'caption' }));
    this.slider = this.element.appendChild(make('input', { type: 'range', min: 1, step: 1, className: 'slice' }));
    this.slider.setAttribute('aria-label', viewer.texts.image);
    this.slider.addEventListener('input', () => this.show(this.slider.value - 1));
    this.picture.addEventListener('contextmenu', event => event.preventDefault());
    this.picture.addEventListener(Events.STACK_NEW_IMAGE, () => this.tell());
    this.picture.addEventListener(Events.IMAGE_RENDERED, () => this.viewer.rendered(this));
    this.element.addEventListener('keydown', event => this.key(event));
  }

  get viewport() { return getRenderingEngine(engineId).getViewport(this.id); }

  attach() {
    getRenderingEngine(engineId).enableElement({ viewportId: this.id, type: Enums.ViewportType.STACK, element: this.picture });
    ToolGroupManager.getToolGroup(groupId).addViewport(this.id, engineId);
    this.observer = new ResizeObserver(() => getRenderingEngine(engineId)?.resize(true, true));
    this.observer.observe(this.picture);
  }

  async open(series, name) {
    const metadata = await this.viewer.web.metadata(series);
    const images = stack(this.viewer.web, metadata);
    if (images.length === 0) throw new Error(this.viewer.texts.noPicture);
    for (const image of images) wadors.metaDataManager.add(image.id, image.metadata);
    [this.series, this.images, this.name] = [series, images, name];
    this.slider.max = images.length;
    await this.viewport.setStack(images.map(i => i.id), 0);
    this.viewport.render();
    this.tell();
  }

  show(index) {
    const place = Math.max(0, Math.min(this.images.length - 1, Number(index)));
    return this.viewport.setImageIdIndex(place).then(() => this.tell());
  }

  tell() {
    const at = this.viewport.getCurrentImageIdIndex();
    this.slider.value = at + 1;
    this.slider.setAttribute('aria-valuetext', this.viewer.texts.imageOf.replace('{0}', at + 1).replace('{1}', this.images.length));
    this.caption.textContent = `${this.name} · ${at + 1} / ${this.images.length}`;
    this.element.dataset.image = at + 1;
  }

  key(event) {
    const steps = { ArrowDown: 1, ArrowRight: 1, PageDown: 10, ArrowUp: -1, ArrowLeft: -1, PageUp: -10 };
    const at = this.viewport.getCurrentImageIdIndex();
    const to = event.key === 'Home' ? 0 : event.key === 'End' ? this.images.length - 1 : event.key in steps ? at + steps[event.key] : null;
    if (to !== null && event.target === this.element) {
      event.preventDefault();
      this.show(to);
    } else if (event.key === '+' || event.key === '-') {
      event.preventDefault();
      this.viewport.setZoom(this.viewport.getZoom() * (event.key === '+' ? 1.2 : 1 / 1.2));
      this.viewport.render();
    }
  }

  leave() { this.observer?.disconnect(); }
}

class Viewer {
  constructor(element, { study, root, priors, texts, began }) {
    Object.assign(this, { element, study, texts, priors, began, web: new DicomWeb(root), overlays: [] });
    this.panes = [new Pane(this, 'main')];
    this.build();
  }

  /** The parts of the page; everything in it is native, so that keyboard and screen reader know it. */
  build() {
    const { texts } = this;
    this.bar = make('div', { className: 'tools', role: 'toolbar' });
    this.bar.setAttribute('aria-label', texts.tools);
    for (const tool of Object.keys(dragged)) {
      const button = this.bar.appendChild(make('button', { type: 'button', textContent: texts[tool] }));
      button.dataset.tool = tool;
      button.addEventListener('click', () => this.use(tool));
    }
    const preset = labelled(this.bar, texts.preset, make('select'));
    preset.append(new Option(texts.presetOwn, ''), ...Object.keys(windows).map(w => new Option(texts[w], w)));
    preset.addEventListener('change', () => this.window(preset.value));
    this.bar.appendChild(make('button', { type: 'button', textContent: texts.reset })).addEventListener('click', () => { preset.value = ''; this.reset(); });
    this.opacity = labelled(this.bar, texts.opacity, make('input', { type: 'range', min: 0, max: 100, value: 45, disabled: true }));
    this.opacity.addEventListener('input', () => this.shade());
    this.prior = labelled(this.bar, texts.prior, make('select', { disabled: this.priors.length === 0 }));
    this.prior.append(new Option(this.priors.length === 0 ? texts.noPrior : texts.besideNothing, ''), ...this.priors.map(p => new Option(p.text, p.uid)));
    this.prior.addEventListener('change', () => this.attempt(() => this.beside(this.prior.value)));
    this.stage = make('div', { className: 'stage' });
    this.stage.append(this.panes[0].element);
    this.side = make('div', { className: 'side' });
    this.list = section(this.side, texts.series);
    this.found = section(this.side, texts.findings);
    this.measured = section(this.side, texts.measurements);
    this.found.append(make('p', { className: 'none', textContent: texts.noFindings }));
    this.measured.append(make('p', { className: 'none', textContent: texts.measureHint }));
    this.trouble = make('p', { className: 'trouble-line', hidden: true });
    this.trouble.setAttribute('role', 'alert');
    const body = make('div', { className: 'body' });
    body.append(this.stage, this.side);
    this.element.replaceChildren(this.bar, this.trouble, body);
  }

  async start() {
    const [series] = await Promise.all([this.web.series(this.study), initialise()]);
    new RenderingEngine(engineId);
    const group = ToolGroupManager.createToolGroup(groupId);
    for (const tool of Object.values(dragged)) group.addTool(tool);
    group.setToolActive(StackScrollTool.toolName, { bindings: [{ mouseButton: MouseBindings.Wheel }] });
    this.panes[0].attach();
    this.use('window');
    this.listen();
    this.series = series;
    for (const s of series.pictures) {
      const button = this.list.appendChild(make('button', { type: 'button', className: 'series' }));
      button.append(make('b', { textContent: s.modality }), make('bdi', { textContent: `${s.number} ${s.description}` }), make('small', { textContent: texts(this.texts.instances, s.instances) }));
      button.addEventListener('click', () => this.attempt(() => this.open(s)));
      button.dataset.series = s.uid;
    }
    if (series.pictures.length === 0) throw new Error(this.texts.noPicture);
    await this.open(series.pictures[0]);
    await this.results(series);
  }

  async open(series) {
    for (const button of this.list.querySelectorAll('button')) button.setAttribute('aria-current', String(button.dataset.series === series.uid));
    this.element.dataset.state = 'opening';
    segmentation.removeAllSegmentationRepresentations();
    await this.panes[0].open(series, `${series.modality} ${series.number} ${series.description}`);
    for (const overlay of this.overlays) this.lay(overlay);
    this.element.dataset.state = 'open';
  }

  /** Segmentations and reports of the study: laid over the images that they are of, and listed. */
  async results({ segmentations, reports }) {
    for (const series of segmentations) {
      for (const metadata of await this.web.metadata(series)) {
        const overlay = segments(metadata);
        overlay.pixels = [];
        for await (const bytes of this.web.frames(metadata, overlay.frames.length)) overlay.pixels.push(covered(bytes, overlay.bits, overlay.rows * overlay.columns));
        this.overlays.push(overlay);
        this.lay(overlay);
      }
    }
    for (const series of reports) {
      for (const metadata of await this.web.metadata(series)) this.tellReport(findings(metadata));
    }
    this.element.dataset.results = `${this.overlays.length} ${this.found.querySelectorAll('button').length}`;
  }

  /** Draws a segmentation over the stack that is open, where its frames lie on images of it. */
  lay(overlay) {
    const pane = this.panes[0];
    const places = overlay.frames.map(frame => pane.images.findIndex(i => i.sop === frame.sop && i.frame === frame.frame));
    if (!places.some(place => place >= 0) || overlay.rows !== value(pane.images[0].metadata, '00280010')) return;
    const id = `seg ${overlay.sop}`;
    if (!segmentation.state.getSegmentation(id)) {
      const labels = imageLoader.createAndCacheDerivedLabelmapImages(pane.images.map(i => i.id));
      overlay.frames.forEach((frame, i) => {
        if (places[i] < 0) return;
        const { voxelManager } = labels[places[i]];
        for (const pixel of overlay.pixels[i]) voxelManager.setAtIndex(pixel, frame.segment);
      });
      segmentation.addSegmentations([{ segmentationId: id, representation: { type: tools.Enums.SegmentationRepresentations.Labelmap, data: { imageIds: labels.map(l => l.imageId), referencedImageIds: pane.images.map(i => i.id) } } }]);
    }
    segmentation.addLabelmapRepresentationToViewport(pane.id, [{ segmentationId: id }]);
    this.opacity.disabled = false;
    this.shade();
  }

  shade() {
    segmentation.config.style.setStyle({ type: tools.Enums.SegmentationRepresentations.Labelmap }, { fillAlpha: this.opacity.value / 100, fillAlphaInactive: this.opacity.value / 100, renderOutline: this.opacity.value > 0, outlineOpacity: 1 });
    this.panes[0].viewport.render();
  }

  tellReport(report) {
    this.found.querySelector('.none')?.remove();
    if (report.preliminary) this.found.append(make('p', { className: 'note', textContent: this.texts.preliminary }));
    for (const remark of report.remarks) this.found.append(make('p', { className: 'note', textContent: remark }));
    if (report.findings.length === 0) this.found.append(make('p', { className: 'none', textContent: this.texts.nothingFound }));
    for (const finding of report.findings) {
      const button = this.found.appendChild(make('button', { type: 'button', className: 'finding' }));
      button.append(make('bdi', { textContent: finding.label || finding.kind }), ...finding.measurements.map(m => make('small', { textContent: `${m.name} ${m.value} ${m.unit}` })));
      button.addEventListener('click', () => this.attempt(() => this.jump(finding)));
    }
  }

  /** To the image that a finding points to; of a segment, the one in its middle. */
  async jump(finding) {
    const overlay = this.overlays.find(o => o.sop === finding.sop);
    const frames = overlay ? overlay.frames.filter(f => finding.segment === null || f.segment === finding.segment) : [{ sop: finding.sop, frame: 1 }];
    const places = () => frames.map(f => this.panes[0].images.findIndex(i => i.sop === f.sop && i.frame === f.frame)).filter(i => i >= 0).sort((a, b) => a - b);
    for (const series of this.series.pictures) {
      if (places().length > 0) break;
      await this.open(series);
    }
    const found = places();
    if (found.length === 0) throw new Error(this.texts.notHere);
    await this.panes[0].show(found[found.length >> 1]);
    this.panes[0].element.focus();
  }

  /** An older study beside this one, the first series of the same kind. */
  async beside(uid) {
    if (this.panes.length > 1) {
      const [, pane] = this.panes.splice(1);
      pane.leave();
      ToolGroupManager.getToolGroup(groupId).removeViewports(engineId, pane.id);
      getRenderingEngine(engineId).disableElement(pane.id);
      pane.element.remove();
    }
    this.stage.classList.toggle('two', uid !== '');
    if (uid === '') return;
    const { pictures } = await this.web.series(uid);
    const series = pictures.find(s => s.modality === this.panes[0].series.modality) ?? pictures[0];
    if (!series) throw new Error(this.texts.noPicture);
    const pane = new Pane(this, 'prior');
    this.panes.push(pane);
    this.stage.append(pane.element);
    pane.attach();
    await pane.open(series, `${this.priors.find(p => p.uid === uid).text} · ${series.modality} ${series.number}`);
  }

  use(tool) {
    const group = ToolGroupManager.getToolGroup(groupId);
    for (const name of Object.values(dragged)) if (name !== StackScrollTool.toolName) group.setToolPassive(name);
    const wheel = { mouseButton: MouseBindings.Wheel };
    group.setToolActive(StackScrollTool.toolName, { bindings: tool === 'scroll' ? [wheel, { mouseButton: MouseBindings.Primary }] : [wheel] });
    if (tool !== 'scroll') group.setToolActive(dragged[tool], { bindings: [{ mouseButton: MouseBindings.Primary }] });
    if (tool !== 'zoom') group.setToolActive(ZoomTool.toolName, { bindings: [{ mouseButton: MouseBindings.Secondary }] });
    if (tool !== 'pan') group.setToolActive(PanTool.toolName, { bindings: [{ mouseButton: MouseBindings.Auxiliary }] });
    for (const button of this.bar.querySelectorAll('[data-tool]')) button.setAttribute('aria-pressed', String(button.dataset.tool === tool));
  }

  window(name) {
    for (const { viewport } of this.panes) {
      if (name === '') viewport.resetProperties();
      else viewport.setProperties({ voiRange: { lower: windows[name][0] - windows[name][1] / 2, upper: windows[name][0] + windows[name][1] / 2 } });
      viewport.render();
    }
  }

  reset() {
    for (const { viewport } of this.panes) {
      viewport.resetCamera();
      viewport.resetProperties();
      viewport.render();
    }
  }

  /** Measurements, as the annotation tool knows them. */
  listen() {
    const draw = () => {
      const lengths = annotation.state.getAllAnnotations().filter(a => a.metadata.toolName === LengthTool.toolName);
      this.measured.replaceChildren(this.measured.firstChild, ...(lengths.length === 0 ? [make('p', { className: 'none', textContent: this.texts.measureHint })] : lengths.map(a => this.line(a))));
    };
    this.drawMeasured = draw;
    for (const name of [ToolEvents.ANNOTATION_COMPLETED, ToolEvents.ANNOTATION_MODIFIED, ToolEvents.ANNOTATION_REMOVED]) eventTarget.addEventListener(name, draw);
  }

  line(a) {
    const row = make('div', { className: 'measured' });
    const stats = Object.values(a.data.cachedStats ?? {})[0];
    const jump = row.appendChild(make('button', { type: 'button', textContent: stats?.length === undefined ? '…' : `${stats.length.toFixed(1)} ${stats.unit}` }));
    jump.addEventListener('click', () => {
      const at = this.panes[0].images.findIndex(i => i.id === a.metadata.referencedImageId);
      if (at >= 0) this.panes[0].show(at);
    });
    const remove = row.appendChild(make('button', { type: 'button', textContent: this.texts.remove }));
    remove.addEventListener('click', () => { annotation.state.removeAnnotation(a.annotationUID); this.drawMeasured(); this.panes[0].viewport.render(); });
    return row;
  }

  /** The first picture is what somebody waits for: how long it took is said where a test, or a person with the tools of a browser, finds it. */
  rendered(pane) {
    if (pane.id !== 'main' || this.element.dataset.firstImageMs || pane.images.length === 0) return;
    this.element.dataset.firstImageMs = Math.round(performance.now() - this.began);
  }

  async attempt(work) {
    this.trouble.hidden = true;
    try {
      await work();
    } catch (error) {
      this.trouble.textContent = `${this.texts.failed} ${error.message ?? error.status ?? ''}`;
      this.trouble.hidden = false;
    }
  }

  leave() {
    for (const name of [ToolEvents.ANNOTATION_COMPLETED, ToolEvents.ANNOTATION_MODIFIED, ToolEvents.ANNOTATION_REMOVED]) eventTarget.removeEventListener(name, this.drawMeasured);
    for (const pane of this.panes) pane.leave();
    segmentation.removeAllSegmentations();
    annotation.state.removeAllAnnotations();
    ToolGroupManager.destroyToolGroup(groupId);
    getRenderingEngine(engineId)?.destroy();

    // Nothing of a patient stays in the memory of a page that shows another.
    cache.purgeCache();
    wadors.metaDataManager.purge();
  }
}

const make = (name, properties = {}) => Object.assign(document.createElement(name), properties);
const texts = (pattern, ...given) => given.reduce((text, word, i) => text.replace(`{${i}}`, word), pattern);

function labelled(parent, text, control) {
  const label = make('label');
  label.append(make('span', { textContent: text }), control);
  parent.append(label);
  return control;
}

function section(parent, title) {
  const part = make('section');
  part.append(make('h2', { textContent: title }));
  parent.append(part);
  return part;
}

let open, prepared;

/** Begins what takes time before anybody can say where to show it. What goes wrong goes wrong again when it is shown, and is said then. */
export function prepare(root, study) {
  prepared = { study, web: new DicomWeb(root) };
  initialise().catch(() => {});
  prepared.web.series(study).then(({ pictures: [first] }) => first && prepared.web.metadata(first)).catch(() => {});
}

/** Shows a study in an element of the page; what was shown before is left. */
export async function show(element, options) {
  leave();
  open = new Viewer(element, options);
  if (prepared?.study === options.study) open.web = prepared.web;
  prepared = undefined;
  const mine = open;
  await mine.attempt(() => mine.start());
}

export function leave() {
  const left = open;
  open = undefined;
  left?.leave();
}
