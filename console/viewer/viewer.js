// The viewer of a study: Cornerstone3D over the DICOMweb of this origin. What a data set says becomes text, never markup.
import { covered, DicomWeb, findings, segments, stack, value } from './dicom.js';

const engineId = 'yizhan', groupId = 'yizhan';
const tools = ['window', 'measure', 'scroll', 'zoom', 'pan'];

/** Windows that radiographers know by name: centre and width in Hounsfield units. */
const windows = { lung: [-600, 1500], soft: [40, 400], bone: [400, 1800], brain: [40, 80] };

/** engine.js, once it is there. */
let engine;
const load = async () => {
  const loaded = await import('./engine.js');
  await loaded.initialise();
  engine = loaded;
};

/**
 * A study that somebody waits for. Its first picture, as the gateway draws it, is on the page before the page has its connection and before
 * Cornerstone3D has started, and lies where the stack will be until that draws the same picture.
 */
class Opening {
  constructor(root, study, began) {
    Object.assign(this, { study, began, web: new DicomWeb(root) });
    // Blazor draws the page anew when it has its connection, and the viewer builds its parts: the picture goes along.
    this.observer = new MutationObserver(() => this.place());
    this.observer.observe(document.body, { childList: true, subtree: true });
    this.painted = new Promise(resolve => { this.paint = resolve; });
    // What goes wrong here goes wrong again when the study is shown, and is said then.
    this.loaded = this.ask().catch(() => null).then(picture => {
      if (!picture || this.ended) return null;
      this.picture = picture;
      this.place();
      return this.painted;
    }).then(load);
    this.loaded.catch(() => {});
  }

  async ask() {
    const { pictures: [series] } = await this.web.series(this.study);
    const [image] = series ? stack(this.web, await this.web.metadata(series)) : [];
    if (!image) return null;
    // Without a loss: somebody may look at it for as long as a slow line takes to bring the rest.
    const answer = await fetch(`${this.web.instance(image.metadata)}/frames/${image.frame}/rendered`, { headers: { Accept: 'image/png' } });
    if (!answer.ok) return null;
    const picture = make('img', { className: 'first', alt: '', src: URL.createObjectURL(await answer.blob()) });
    await picture.decode();
    URL.revokeObjectURL(picture.src);
    return picture;
  }

  place() {
    const viewer = document.getElementById('viewer');
    const place = viewer?.querySelector('.picture') ?? viewer;
    if (!this.picture || !place) return;
    if (this.picture.parentElement !== place) place.append(this.picture);
    // A task after the next frame: by then it is on the screen. A page that is not looked at has no frames, and goes on all the same.
    requestAnimationFrame(() => setTimeout(() => { this.tell(); this.paint(); }));
    setTimeout(() => this.paint(), 500);
  }

  /** The first picture is what somebody waits for: how long it took is said where a test, or a person with the tools of a browser, finds it. */
  tell() {
    this.firstMs ??= Math.round(performance.now() - this.began);
    const viewer = document.getElementById('viewer');
    if (viewer) viewer.dataset.firstImageMs = this.firstMs;
  }

  /** The stack is drawn, or something else is. */
  end() {
    this.ended = true;
    this.observer.disconnect();
    this.picture?.remove();
    this.picture = undefined;
  }
}

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
    this.element.addEventListener('keydown', event => this.key(event));
  }

  get viewport() { return engine.getRenderingEngine(engineId).getViewport(this.id); }

  attach() {
    this.picture.addEventListener(engine.Enums.Events.STACK_NEW_IMAGE, () => this.tell());
    this.picture.addEventListener(engine.Enums.Events.IMAGE_RENDERED, () => this.viewer.rendered(this));
    engine.getRenderingEngine(engineId).enableElement({ viewportId: this.id, type: engine.Enums.ViewportType.STACK, element: this.picture });
    engine.ToolGroupManager.getToolGroup(groupId).addViewport(this.id, engineId);
    this.observer = new ResizeObserver(() => engine.getRenderingEngine(engineId)?.resize(true, true));
    this.observer.observe(this.picture);
  }

  async open(series, name) {
    const metadata = await this.viewer.web.metadata(series);
    const images = stack(this.viewer.web, metadata);
    if (images.length === 0) throw new Error(this.viewer.texts.noPicture);
    for (const image of images) engine.wadors.metaDataManager.add(image.id, image.metadata);
    [this.series, this.images, this.name] = [series, images, name];
    this.slider.max = images.length;
    await this.viewport.setStack(images.map(i => i.id), 0);
    this.stacked = true;
    this.viewport.render();
    this.tell();
  }

  show(index) {
    this.unmark();
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
    if (event.target === this.element && this.viewer.tool === 'measure' && this.measure(event)) {
      event.preventDefault();
      return;
    }
    const steps = { ArrowDown: 1, ArrowRight: 1, PageDown: 10, ArrowUp: -1, ArrowLeft: -1, PageUp: -10 };
    const at = this.viewport.getCurrentImageIdIndex();
    const to = event.key === 'Home' ? 0 : event.key === 'End' ? this.images.length - 1 : event.key in steps ? at + steps[event.key] : null;
    if (to !== null && event.target === this.element) {
      event.preventDefault();
      this.show(to);
    } else if (event.key === '+' || event.key === '-') {
      event.preventDefault();
      this.viewport.setZoom(this.viewport.getZoom() * (event.key === '+' ? 1.2 : 1 / 1.2));
      this.cross();
      this.viewport.render();
    }
  }

  /** A length by the keys alone: true for a key that is part of it. Ends are pixels of the image. */
  measure({ key, shiftKey }) {
    const move = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] }[key];
    const { viewport } = this;
    if (key === 'Enter') {
      if (!this.mark) {
        const [columns, rows] = viewport.getImageData().dimensions;
        this.mark = { at: [columns >> 1, rows >> 1] };
        this.viewer.say(this.viewer.texts.markStart);
      } else if (!this.mark.line) {
        const ends = [this.world(this.mark.at), this.world(this.mark.at)];
        this.mark.line = engine.addLength(viewport, ends);
        this.viewer.say(this.viewer.texts.markEnd);
      } else {
        this.viewer.say(this.viewer.lengthOf(this.mark.line));
        delete this.mark.line;
        this.unmark();
      }
    } else if (key === 'Escape' && this.mark) {
      this.unmark();
    } else if (move && this.mark) {
      const { dimensions } = viewport.getImageData();
      this.mark.at = this.mark.at.map((x, axis) => Math.max(0, Math.min(dimensions[axis] - 1, x + move[axis] * (shiftKey ? 10 : 1))));
      if (this.mark.line) Object.assign(this.mark.line, { invalidated: true }).data.handles.points[1] = this.world(this.mark.at);
    } else return false;
    this.cross();
    viewport.render();
    return true;
  }

  /** The place in space of a pixel of the image that is shown. */
  world([column, row]) {
    const { origin, spacing, direction } = this.viewport.getImageData();
    return [0, 1, 2].map(k => origin[k] + column * spacing[0] * direction[k] + row * spacing[1] * direction[3 + k]);
  }

  cross() {
    if (!this.mark) return;
    this.mark.cross ??= this.picture.appendChild(make('div', { className: 'cross' }));
    const [x, y] = this.viewport.worldToCanvas(this.world(this.mark.at));
    Object.assign(this.mark.cross.style, { left: `${x}px`, top: `${y}px` });
  }

  /** The mark goes, and with it a line whose other end was not set. */
  unmark() {
    if (this.mark?.line) engine.annotation.state.removeAnnotation(this.mark.line.annotationUID);
    this.mark?.cross?.remove();
    this.mark = null;
  }

  leave() { this.observer?.disconnect(); }
}

class Viewer {
  constructor(element, opening, { study, priors, texts }) {
    Object.assign(this, { element, opening, study, texts, priors, web: opening.web, overlays: [] });
    this.panes = [new Pane(this, 'main')];
    this.build();
  }

  /** The parts of the page; everything in it is native, so that keyboard and screen reader know it. */
  build() {
    const { texts } = this;
    this.bar = make('div', { className: 'tools', role: 'toolbar' });
    this.bar.setAttribute('aria-label', texts.tools);
    for (const tool of tools) {
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
    this.prior = labelled(this.bar, texts.prior, make('select'));
    this.offer(this.priors);
    this.prior.addEventListener('change', () => this.attempt(() => this.beside(this.prior.value)));
    this.across = this.bar.appendChild(make('button', { type: 'button', textContent: texts.mpr }));
    this.across.setAttribute('aria-pressed', 'false');
    this.across.addEventListener('click', () => this.attempt(() => this.mpr()));
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
    this.status = make('p', { className: 'visually-hidden' });
    this.status.setAttribute('role', 'status');
    const body = make('div', { className: 'body' });
    body.append(this.stage, this.side);
    // Nothing answers until the stack does.
    this.bar.inert = this.side.inert = true;
    this.element.replaceChildren(this.bar, this.trouble, this.status, body);
  }

  /** Other studies of the patient, of which one may lie beside this one; what is chosen stays chosen. */
  offer(priors) {
    this.priors = priors;
    const chosen = this.prior.value;
    this.prior.disabled = priors.length === 0;
    this.prior.replaceChildren(new Option(priors.length === 0 ? this.texts.noPrior : this.texts.besideNothing, ''), ...priors.map(p => new Option(p.text, p.uid)));
    this.prior.value = priors.some(p => p.uid === chosen) ? chosen : '';
  }

  async start() {
    const [series] = await Promise.all([this.web.series(this.study), this.opening.loaded]);
    if (this.left) return;
    this.bar.inert = this.side.inert = false;
    new engine.RenderingEngine(engineId);
    const group = engine.ToolGroupManager.createToolGroup(groupId);
    for (const tool of Object.values(engine.dragged)) group.addTool(tool);
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
    // The first picture is of the first series.
    if (series !== this.series.pictures[0]) this.opening.end();
    for (const button of this.list.querySelectorAll('button')) button.setAttribute('aria-current', String(button.dataset.series === series.uid));
    this.element.dataset.state = 'opening';
    this.leavePlanes();
    engine.segmentation.removeAllSegmentationRepresentations();
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
    if (!engine.segmentation.state.getSegmentation(id)) {
      const labels = engine.imageLoader.createAndCacheDerivedLabelmapImages(pane.images.map(i => i.id));
      overlay.frames.forEach((frame, i) => {
        if (places[i] < 0) return;
        const { voxelManager } = labels[places[i]];
        for (const pixel of overlay.pixels[i]) voxelManager.setAtIndex(pixel, frame.segment);
      });
      engine.segmentation.addSegmentations([{ segmentationId: id, representation: { type: engine.toolEnums.SegmentationRepresentations.Labelmap, data: { imageIds: labels.map(l => l.imageId), referencedImageIds: pane.images.map(i => i.id) } } }]);
    }
    engine.segmentation.addLabelmapRepresentationToViewport(pane.id, [{ segmentationId: id }]);
    this.opacity.disabled = false;
    this.shade();
  }

  shade() {
    engine.segmentation.config.style.setStyle({ type: engine.toolEnums.SegmentationRepresentations.Labelmap }, { fillAlpha: this.opacity.value / 100, fillAlphaInactive: this.opacity.value / 100, renderOutline: this.opacity.value > 0, outlineOpacity: 1 });
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

  /** Planes across the stack beside it, or without them again. */
  async mpr() {
    if (this.planes) {
      this.leavePlanes();
      return;
    }
    const { Planes, isVolume } = await import('./mpr.js');
    const [pane] = this.panes;
    if (!isVolume(pane.images)) throw new Error(this.texts.noVolume);
    if (this.prior.value !== '') {
      this.prior.value = '';
      await this.beside('');
    }
    this.stage.classList.add('four');
    this.planes = new Planes(this, { engineId, groupId }, pane.images);
    try {
      await this.planes.start(this.stage, pane.viewport.getProperties().voiRange);
    } catch (error) {
      this.leavePlanes();
      throw error;
    }
    this.across.setAttribute('aria-pressed', 'true');
    this.element.dataset.planes = 'open';
  }

  leavePlanes() {
    this.planes?.leave();
    this.planes = undefined;
    this.stage.classList.remove('four');
    this.across.setAttribute('aria-pressed', 'false');
    delete this.element.dataset.planes;
  }

  /** Everything that is drawn. */
  get viewports() { return [...this.panes.map(pane => pane.viewport), ...this.planes?.viewports ?? []]; }

  /** An older study beside this one, the first series of the same kind. */
  async beside(uid) {
    this.leavePlanes();
    if (this.panes.length > 1) {
      const [, pane] = this.panes.splice(1);
      pane.leave();
      engine.ToolGroupManager.getToolGroup(groupId).removeViewports(engineId, pane.id);
      engine.getRenderingEngine(engineId).disableElement(pane.id);
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
    this.tool = tool;
    for (const pane of this.panes) pane.unmark();
    const group = engine.ToolGroupManager.getToolGroup(groupId);
    const { Primary, Secondary, Auxiliary, Wheel } = engine.toolEnums.MouseBindings;
    const { dragged } = engine;
    for (const name of Object.values(dragged)) if (name !== dragged.scroll) group.setToolPassive(name);
    const active = (name, ...buttons) => group.setToolActive(dragged[name], { bindings: buttons.map(mouseButton => ({ mouseButton })) });
    active('scroll', Wheel, ...(tool === 'scroll' ? [Primary] : []));
    if (tool !== 'scroll') active(tool, Primary);
    if (tool !== 'zoom') active('zoom', Secondary);
    if (tool !== 'pan') active('pan', Auxiliary);
    for (const button of this.bar.querySelectorAll('[data-tool]')) button.setAttribute('aria-pressed', String(button.dataset.tool === tool));
  }

  window(name) {
    for (const viewport of this.viewports) {
      if (name === '') viewport.resetProperties();
      else viewport.setProperties({ voiRange: { lower: windows[name][0] - windows[name][1] / 2, upper: windows[name][0] + windows[name][1] / 2 } });
      viewport.render();
    }
  }

  reset() {
    for (const viewport of this.viewports) {
      viewport.resetCamera();
      viewport.resetProperties();
      viewport.render();
    }
  }

  /** Measurements, as the annotation tool knows them. */
  listen() {
    const draw = () => {
      const lengths = engine.annotation.state.getAllAnnotations().filter(a => a.metadata.toolName === engine.dragged.measure);
      this.measured.replaceChildren(this.measured.firstChild, ...(lengths.length === 0 ? [make('p', { className: 'none', textContent: this.texts.measureHint })] : lengths.map(a => this.line(a))));
    };
    this.drawMeasured = draw;
    for (const name of changes()) engine.eventTarget.addEventListener(name, draw);
  }

  lengthOf(a) {
    const stats = Object.values(a.data.cachedStats ?? {})[0];
    return typeof stats?.length === 'number' ? `${stats.length.toFixed(1)} ${stats.unit}` : '…';
  }

  /** For who hears the page. */
  say(text) { this.status.textContent = text; }

  line(a) {
    const row = make('div', { className: 'measured' });
    const jump = row.appendChild(make('button', { type: 'button', textContent: this.lengthOf(a) }));
    jump.addEventListener('click', () => {
      const at = this.panes[0].images.findIndex(i => i.id === a.metadata.referencedImageId);
      if (at >= 0) this.panes[0].show(at);
    });
    const remove = row.appendChild(make('button', { type: 'button', textContent: this.texts.remove }));
    remove.addEventListener('click', () => { engine.annotation.state.removeAnnotation(a.annotationUID); this.drawMeasured(); this.panes[0].viewport.render(); });
    return row;
  }

  /** The stack is drawn: what lay in its place until now goes. */
  rendered(pane) {
    if (pane.id !== 'main' || !pane.stacked || this.element.dataset.stackMs) return;
    this.element.dataset.stackMs = Math.round(performance.now() - this.opening.began);
    this.opening.tell();
    this.opening.end();
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
    this.left = true;
    this.opening.end();
    for (const pane of this.panes) pane.leave();
    this.leavePlanes();
    if (!this.drawMeasured) return;
    for (const name of changes()) engine.eventTarget.removeEventListener(name, this.drawMeasured);
    engine.segmentation.removeAllSegmentations();
    engine.annotation.state.removeAllAnnotations();
    engine.ToolGroupManager.destroyToolGroup(groupId);
    engine.getRenderingEngine(engineId)?.destroy();

    // Nothing of a patient stays in the memory of a page that shows another.
    engine.cache.purgeCache();
    engine.wadors.metaDataManager.purge();
  }
}

/** Events after which the list of measurements is another. */
const changes = () => ['ANNOTATION_COMPLETED', 'ANNOTATION_MODIFIED', 'ANNOTATION_REMOVED'].map(name => engine.toolEnums.Events[name]);
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

let open, opening;

/** Begins what takes time before anybody can say where to show it. `began`: when somebody asked for the study. */
export function begin(root, study, began) {
  leave();
  opening = new Opening(root, study, began);
}

/** Shows a study in an element of the page; what was shown before is left. */
export async function show(element, options) {
  if (open || opening?.study !== options.study) begin(options.root, options.study, options.began);
  const mine = open = new Viewer(element, opening, options);
  await mine.attempt(() => mine.start());
}

/** Other studies of the patient have come. */
export function offer(priors) { open?.offer(priors); }

export function leave() {
  open?.leave();
  opening?.end();
  open = opening = undefined;
}
