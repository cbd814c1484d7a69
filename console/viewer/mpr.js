// Three planes through a stack of CT or MR: axial, sagittal and coronal. Loaded when somebody asks for it; most studies are looked at as they were made.
import { cache, Enums, getRenderingEngine, ToolGroupManager, volumeLoader } from './engine.js';
import { value } from './dicom.js';

const orientations = ['axial', 'sagittal', 'coronal'];
const numbers = (item, tag) => (item[tag]?.Value ?? []).map(Number);
const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];

/** Whether images are evenly spaced planes of one block, which is what a plane across them can be computed from. */
export function isVolume(images) {
  const [first] = images;
  const same = tag => images.every(i => String(i.metadata[tag]?.Value) === String(first.metadata[tag]?.Value));
  const [a, b, c, d, e, f] = numbers(first.metadata, '00200037');
  if (images.length < 4 || f === undefined || Number(value(first.metadata, '00280002') ?? 1) !== 1 || images.some(i => i.frame !== 1 || numbers(i.metadata, '00200032').length !== 3)
    || Number(value(first.metadata, '00280008') ?? 1) !== 1 || !['00200037', '00280010', '00280011', '00280030'].every(same)) return false;
  const normal = [b * f - c * e, c * d - a * f, a * e - b * d];
  const places = images.map(i => dot(numbers(i.metadata, '00200032'), normal));
  const steps = places.slice(1).map((place, i) => place - places[i]);
  const middle = (places.at(-1) - places[0]) / steps.length;
  return middle !== 0 && steps.every(step => Math.abs(step - middle) < Math.abs(middle) / 10);
}

/** One plane: where it lies, and the mark of the point that all three have in common. */
class Plane {
  constructor(planes, orientation) {
    const { texts } = planes.viewer;
    Object.assign(this, { planes, orientation, id: `mpr-${orientation}`, name: texts[orientation] });
    this.element = Object.assign(document.createElement('div'), { className: 'pane', tabIndex: 0 });
    this.element.setAttribute('role', 'application');
    this.element.setAttribute('aria-label', this.name);
    this.element.dataset.plane = orientation;
    this.picture = this.add('div', { className: 'picture' });
    this.caption = this.add('p', { className: 'caption' });
    this.slider = this.add('input', { type: 'range', min: 1, step: 1, className: 'slice' });
    this.slider.setAttribute('aria-label', `${this.name}: ${texts.image}`);
    this.cross = Object.assign(document.createElement('div'), { className: 'cross' });
    this.slider.addEventListener('input', () => this.show(this.slider.value - 1));
    this.picture.addEventListener('contextmenu', event => event.preventDefault());
    this.element.addEventListener('keydown', event => this.key(event));
    // A click, not the end of a drag: the other planes go through the place.
    this.picture.addEventListener('pointerdown', ({ offsetX, offsetY, button }) => { this.pressed = button === 0 && planes.viewer.tool !== 'measure' ? [offsetX, offsetY] : null; });
    this.picture.addEventListener('pointerup', ({ offsetX: x, offsetY: y }) => {
      if (this.pressed && Math.hypot(x - this.pressed[0], y - this.pressed[1]) < 4) planes.through(this.viewport.canvasToWorld([x, y]), this);
      this.pressed = null;
    });
  }

  get viewport() { return getRenderingEngine(this.planes.engineId).getViewport(this.id); }

  add(name, properties) { return this.element.appendChild(Object.assign(document.createElement(name), properties)); }

  enable() {
    getRenderingEngine(this.planes.engineId).enableElement({
      viewportId: this.id, type: Enums.ViewportType.ORTHOGRAPHIC, element: this.picture, defaultOptions: { orientation: Enums.OrientationAxis[this.orientation.toUpperCase()], background: [0, 0, 0] },
    });
    ToolGroupManager.getToolGroup(this.planes.groupId).addViewport(this.id, this.planes.engineId);
    this.picture.append(this.cross);
    this.picture.addEventListener(Enums.Events.CAMERA_MODIFIED, () => this.planes.moved(this));
  }

  show(index) {
    const { viewport } = this;
    const by = Math.max(0, Math.min(viewport.getNumberOfSlices() - 1, Number(index))) - viewport.getSliceIndex();
    if (by !== 0) viewport.scroll(by);
    viewport.render();
    this.planes.moved(this);
  }

  key(event) {
    const steps = { ArrowDown: 1, ArrowRight: 1, PageDown: 10, ArrowUp: -1, ArrowLeft: -1, PageUp: -10 };
    const { viewport } = this;
    const to = event.key === 'Home' ? 0 : event.key === 'End' ? viewport.getNumberOfSlices() - 1 : event.key in steps ? viewport.getSliceIndex() + steps[event.key] : null;
    if (to !== null && event.target === this.element) {
      event.preventDefault();
      this.show(to);
    } else if (event.key === '+' || event.key === '-') {
      event.preventDefault();
      viewport.setZoom(viewport.getZoom() * (event.key === '+' ? 1.2 : 1 / 1.2));
      viewport.render();
    }
  }

  tell(point) {
    const { viewport } = this;
    const [at, count] = [viewport.getSliceIndex() + 1, viewport.getNumberOfSlices()];
    [this.slider.max, this.slider.value] = [count, at];
    this.slider.setAttribute('aria-valuetext', this.planes.viewer.texts.imageOf.replace('{0}', at).replace('{1}', count));
    this.caption.textContent = `${this.name} · ${at} / ${count}`;
    this.element.dataset.image = at;
    const [x, y] = viewport.worldToCanvas(point);
    Object.assign(this.cross.style, { left: `${x}px`, top: `${y}px` });
  }
}

/** The three planes of the stack that a viewer shows, beside it. */
export class Planes {
  constructor(viewer, { engineId, groupId }, images) {
    Object.assign(this, { viewer, engineId, groupId, images, volumeId: `cornerstoneStreamingImageVolume:${images[0].id}` });
    this.planes = orientations.map(orientation => new Plane(this, orientation));
  }

  get viewports() { return this.planes.map(plane => plane.viewport); }

  /** Draws what is here of the stack, and the rest as it comes. */
  async start(stage, voiRange) {
    for (const plane of this.planes) stage.append(plane.element);
    for (const plane of this.planes) plane.enable();
    const volume = await volumeLoader.createAndCacheVolume(this.volumeId, { imageIds: this.images.map(i => i.id) });
    volume.load();
    for (const { viewport } of this.planes) {
      await viewport.setVolumes([{ volumeId: this.volumeId }]);
      if (voiRange) viewport.setProperties({ voiRange });
      viewport.render();
    }
    this.observer = new ResizeObserver(() => getRenderingEngine(this.engineId)?.resize(true, true));
    for (const plane of this.planes) this.observer.observe(plane.picture);
    this.point = [...this.planes[0].viewport.getCamera().focalPoint];
    this.started = true;
    for (const plane of this.planes) this.moved(plane);
  }

  /** A plane went along its normal, and the common point with it. */
  moved(plane) {
    if (!this.started || this.left) return;
    const { viewPlaneNormal, focalPoint } = plane.viewport.getCamera();
    const by = dot(focalPoint.map((x, k) => x - this.point[k]), viewPlaneNormal);
    this.point = this.point.map((x, k) => x + by * viewPlaneNormal[k]);
    for (const each of this.planes) each.tell(this.point);
  }

  /** All planes go through a place. */
  through(world, from) {
    this.point = [...world];
    for (const { viewport } of this.planes.filter(plane => plane !== from)) {
      viewport.jumpToWorld(world);
      viewport.render();
    }
    this.moved(from);
  }

  leave() {
    this.left = true;
    this.observer?.disconnect();
    const [group, rendering] = [ToolGroupManager.getToolGroup(this.groupId), getRenderingEngine(this.engineId)];
    for (const plane of this.planes) {
      group?.removeViewports(this.engineId, plane.id);
      rendering?.disableElement(plane.id);
      plane.element.remove();
    }
    if (cache.getVolumeLoadObject(this.volumeId)) cache.removeVolumeLoadObject(this.volumeId);
  }
}
