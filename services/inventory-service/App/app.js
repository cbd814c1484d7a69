// Counting stock with a phone, with or without a line. Each count has a name from the moment it is made, so sending it twice counts once.
const chinese = navigator.language.startsWith('zh');
const texts = chinese
  ? { title: '盘点', scan: '扫码', item: '物资编码', lot: '批号', expiry: '有效期', quantity: '数量', location: '库位', actor: '盘点人', record: '记录', queue: '待发送', history: '库存走势（90 天）', expiring: '效期日历', freshness: '各站点最近采集', online: '已连接', offline: '离线', empty: '没有待发送的记录', source: '来源', when: '最近成功', site: '站点', signIn: '登录', needed: '需要登录（可修改库存的账号）。待发送的记录仍保留在本机。', other: '换账号登录', pinName: '用户名', pin: 'PIN 码', open: '本节点没有登录页。请在节点所在的计算机上运行 yizhan open，在本设备打开它给出的链接，再回到本页。', camera: '用摄像头扫码', stop: '关闭摄像头', aim: '请将条码对准取景框', noCamera: '没有可用的摄像头', denied: '摄像头未获授权：请在浏览器设置中允许本页使用摄像头', insecure: '摄像头只能在 https 地址或节点本机上使用', later: '服务暂时无法接收，稍后重发', raw: '离线扫码：联网后识别，请填写数量' }
  : { title: 'Stock count', scan: 'Scan', item: 'Item', lot: 'Lot', expiry: 'Expiry', quantity: 'Quantity', location: 'Location', actor: 'Counted by', record: 'Record', queue: 'Waiting to be sent', history: 'Stock, last 90 days', expiring: 'Expiry calendar', freshness: 'Last complete collection', online: 'connected', offline: 'offline', empty: 'Nothing is waiting.', source: 'Source', when: 'Last success', site: 'Site', signIn: 'Sign in', needed: 'You need to sign in as someone who may change stock. What waits stays on this phone.', other: 'Sign in as somebody else', pinName: 'Name', pin: 'PIN', open: 'This node has no page for signing in. Run yizhan open on its machine, open the link that it prints on this device, then this page again.', camera: 'Scan with the camera', stop: 'Close the camera', aim: 'Point the camera at the code', noCamera: 'There is no camera', denied: 'The camera was not allowed: allow it for this page in the settings of the browser', insecure: 'A camera works at an https address or on the node itself only', later: 'The node cannot take it now; it is sent again', raw: 'Not read yet: the scan is sent when it can be. Enter the quantity.' };
const $ = id => document.getElementById(id);
document.documentElement.lang = chinese ? 'zh-CN' : 'en';
document.title = texts.title;
for (const element of document.querySelectorAll('[data-text]')) element.textContent = texts[element.dataset.text];

const MAX_WAITING = 2000;
const read = () => JSON.parse(localStorage.getItem('queue') ?? '[]');
const write = queue => { localStorage.setItem('queue', JSON.stringify(queue)); show(queue); };
$('actor').value = localStorage.getItem('actor') ?? '';

const pathOf = entry => entry.scan ? '../scans' : '../movements';
const bodyOf = entry => entry.scan ?? entry.batch;

/** Says how things are with the node; what it refuses to a stranger is not a connection. */
function say(text, ...more) {
  $('state').replaceChildren(text, ...more.flatMap(m => [' ', m]));
}

// What a site without an issuer gives for a PIN (docs/operations/sign-in.md): for 15 minutes, and gone with the tab.
const token = () => sessionStorage.getItem('token');

/** Asks the node: with the site's token, or in the session of the console (same origin, its cookie). A request that another site caused is refused by the node. */
async function ask(path, body) {
  const headers = { ...(body && { 'Content-Type': 'application/json' }), ...(token() && { Authorization: `Bearer ${token()}` }) };
  const answer = await fetch(path, body === undefined ? { headers } : { method: 'POST', headers, body: JSON.stringify(body) });
  if (answer.status === 401) await signIn(texts.needed);
  else if (answer.status === 403) await refused(answer);
  else return answer;
  return null;
}

/** Where somebody signs in is the node's to say: at its issuer's page, with a PIN at a site, or with a link that is made on its machine. */
async function signIn(why) {
  sessionStorage.removeItem('token');
  const page = await fetch('sign-in', { headers: { Accept: 'text/html' }, redirect: 'manual' });
  if (page.type === 'opaqueredirect') say(why, Object.assign(document.createElement('a'), { textContent: texts.signIn, href: 'sign-in' }));
  else if ((await fetch('/station/sign-in/keys')).ok) { say(why); $('sign-in').hidden = false; }
  else say(`${why} ${texts.open}`);
}

/** Signed in, and not allowed: the node says which roles are. */
async function refused(answer) {
  const { detail } = await answer.json().catch(() => ({}));
  const other = Object.assign(document.createElement('button'), { type: 'button', textContent: texts.other });
  other.onclick = async () => { if (!token()) await fetch('/sign-out', { method: 'POST', redirect: 'manual' }); await signIn(texts.needed); };
  say(`${texts.needed} ${detail ?? ''}`, other);
}

$('sign-in').addEventListener('submit', async event => {
  event.preventDefault();
  try {
    const answer = await fetch('/station/sign-in', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ name: $('name').value, pin: $('pin').value }) });
    $('pin').value = '';
    const said = await answer.json();
    if (!answer.ok) { say(said.detail); return; }
    sessionStorage.setItem('token', said.access_token);
    $('actor').value ||= $('name').value;
    $('sign-in').hidden = true;
    await send();
    overview().catch(() => {});
  } catch { say(texts.offline); }
});

function show(queue) {
  $('queue').replaceChildren(...(queue.length ? queue : [null]).map(entry => {
    const item = document.createElement('li');
    if (!entry) { item.textContent = texts.empty; return item; }
    const { item: what, lot, quantity } = entry.scan ? { item: entry.scan.scan, lot: '', quantity: entry.scan.quantity } : entry.batch.movements[0];
    item.textContent = `${what} ${lot} × ${quantity}${entry.problem ? ` — ${entry.problem}` : ''}`;
    if (entry.problem) {
      item.className = 'refused';
      const away = document.createElement('button');
      away.type = 'button'; away.textContent = '✕'; away.ariaLabel = `✕ ${what}`;
      away.onclick = () => write(read().filter(other => bodyOf(other).batchId !== bodyOf(entry).batchId));
      item.append(away);
    }
    return item;
  }));
}

let sending = false;
async function send() {
  if (sending) return;
  sending = true;
  try {
    const waiting = read().filter(e => !e.problem);
    if (!waiting.length && !await ask('../items?limit=1')) return;
    for (const entry of waiting) {
      const id = bodyOf(entry).batchId;
      const answer = await ask(pathOf(entry), bodyOf(entry));
      if (!answer) return;
      // A person has to look at what is refused; what the node cannot take now is sent again.
      if (answer.ok) write(read().filter(e => bodyOf(e).batchId !== id));
      else if (answer.status === 400 || answer.status === 409) {
        const problem = (await answer.json()).detail ?? String(answer.status);
        write(read().map(e => bodyOf(e).batchId === id ? { ...e, problem } : e));
      } else { say(`${texts.later} (${answer.status})`); return; }
    }
    say(texts.online);
  } catch {
    say(texts.offline);
  } finally { sending = false; }
}

// What is half typed outlives a page that is left to sign in, or that a phone puts away: in this tab alone.
const DRAFT = ['scan', 'item', 'lot', 'expiry', 'quantity', 'location'];
const keepDraft = () => sessionStorage.setItem('draft', JSON.stringify(Object.fromEntries(DRAFT.map(id => [id, $(id).value]))));
$('form').addEventListener('input', keepDraft);
for (const [id, value] of Object.entries(JSON.parse(sessionStorage.getItem('draft') ?? '{}'))) $(id).value ||= value;

$('form').addEventListener('submit', event => {
  event.preventDefault();
  const queue = read();
  if (queue.length >= MAX_WAITING) { $('state').textContent = `${MAX_WAITING} / ${MAX_WAITING}`; return; }
  localStorage.setItem('actor', $('actor').value);
  const common = { batchId: `count-${crypto.randomUUID()}`, actor: $('actor').value };
  const counted = { kind: 'count', quantity: Number($('quantity').value), unit: '', location: $('location').value, effectiveMs: Date.now() };
  queue.push($('item').value
    ? { batch: { ...common, source: 'count', count: 1, movements: [{ ...counted, item: $('item').value, lot: $('lot').value, expiry: $('expiry').value }] } }
    : { scan: { ...common, ...counted, scan: $('scan').value } });
  write(queue);
  for (const id of ['scan', 'lot', 'expiry', 'quantity']) $(id).value = '';
  keepDraft();
  $('item').required = true;
  $('scan').focus();
  send();
});

// A scanner ends with Enter. What cannot be asked now is queued as it was scanned: an element string can be ambiguous, and only the node decides that.
$('scan').addEventListener('keydown', event => {
  if (event.key !== 'Enter') return;
  event.preventDefault();
  readLabel();
});

async function readLabel() {
  let answer = null;
  const before = Object.fromEntries(DRAFT.map(id => [id, $(id).value]));
  try {
    answer = await ask('../scans', { scan: $('scan').value });
    if (answer && !answer.ok) { say((await answer.json()).detail); return; }
  } catch { say(`${texts.offline}. ${texts.raw}`); }
  const label = answer ? await answer.json() : { item: '', lot: '', expiry: '' };
  // On a slow line the answer comes while somebody types: what was typed meanwhile stays, and so does the place where it is typed.
  const typed = DRAFT.some(id => $(id).value !== before[id]);
  for (const id of ['item', 'lot', 'expiry']) if ($(id).value === before[id]) $(id).value = label[id];
  keepDraft();
  $('item').required = $('scan').value === '' || Boolean(answer);
  if (!typed) $('quantity').focus();
}
$('scan').addEventListener('input', () => { $('item').required = true; });

const svg = (name, attributes, text) => {
  const element = document.createElementNS('http://www.w3.org/2000/svg', name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
};

function plot(figure, values, labels, bars) {
  const most = Math.max(1, ...values);
  const image = svg('svg', { viewBox: '0 0 400 120', role: 'img', 'aria-label': values.map((v, i) => `${labels[i] ?? i}: ${v}`).slice(-12).join(', ') });
  const x = i => 30 + i * 365 / Math.max(1, values.length - (bars ? 0 : 1));
  const y = value => 100 - value * 90 / most;
  if (bars) values.forEach((value, i) => image.append(svg('rect', { x: x(i) + 2, width: 365 / values.length - 4, y: y(value), height: 100 - y(value), fill: 'var(--accent)' })));
  else image.append(svg('polyline', { points: values.map((v, i) => `${x(i)},${y(v)}`).join(' '), fill: 'none', stroke: 'var(--accent)', 'stroke-width': 2 }));
  image.append(svg('line', { x1: 30, x2: 395, y1: 100, y2: 100, stroke: 'CanvasText' }), svg('text', { x: 0, y: 14 }, String(most)), svg('text', { x: 0, y: 104 }, '0'));
  labels.forEach((label, i) => { if (bars || i === 0 || i === labels.length - 1) image.append(svg('text', { x: x(i), y: 114 }, label)); });
  figure.replaceChildren(image);
}

const get = async path => {
  const answer = await ask(`../${path}`);
  if (!answer?.ok) throw new Error(String(answer?.status));
  return answer.json();
};
const day = offset => new Date(Date.now() + offset * 86400000).toISOString().slice(5, 10);

async function history() {
  if (!$('item').value) return;
  const values = await get(`history?days=90&item=${encodeURIComponent($('item').value)}`);
  plot($('history'), values, values.map((_, i) => i === 0 ? day(-89) : i === 89 ? day(0) : ''), false);
}

async function overview() {
  const items = await get('items?limit=2000');
  $('items').replaceChildren(...items.map(item => Object.assign(document.createElement('option'), { value: item.code, label: item.name })));
  const months = Array.from({ length: 12 }, (_, i) => { const d = new Date(); d.setUTCDate(1); d.setUTCMonth(d.getUTCMonth() + i); return d.toISOString().slice(0, 7); });
  const lots = await get('expiry-calendar?months=12');
  plot($('expiring'), months.map((m, i) => lots.filter(l => l.month === m || (i === 0 && !l.month)).reduce((sum, l) => sum + l.lots, 0)), months.map(m => m.slice(2)), true);
  const rows = [[texts.site, texts.source, texts.when], ...(await get('sources?limit=100')).map(s => [s.site, s.last.source, `${new Date(s.last.lastSuccessMs).toLocaleString()} · ${s.last.outcome}`])];
  $('freshness').replaceChildren(...rows.map((cells, i) => { const row = document.createElement('tr'); row.append(...cells.map(c => Object.assign(document.createElement(i ? 'td' : 'th'), { textContent: c }))); return row; }));
}

$('item').addEventListener('change', () => history().catch(() => {}));
addEventListener('online', send);
setInterval(send, 30000);
show(read());
send();
overview().catch(() => {});

// The camera reads what a scanner would type. A browser's own reader where it has one, else the library's, which is loaded when it is needed.
const FORMATS = ['code_128', 'data_matrix', 'qr_code'];
let camera = null;

async function supports() {
  const formats = await BarcodeDetector.getSupportedFormats();
  return FORMATS.every(format => formats.includes(format));
}

async function reader() {
  if ('BarcodeDetector' in window && await supports()) {
    const detector = new BarcodeDetector({ formats: FORMATS });
    return async canvas => (await detector.detect(canvas))[0]?.rawValue;
  }

  await new Promise((resolve, reject) => {
    if (window.ZXing) { resolve(); return; }
    document.head.append(Object.assign(document.createElement('script'), { src: 'zxing.js', onload: resolve, onerror: reject }));
  });
  const { DecodeHintType: hint, BarcodeFormat: format } = ZXing;
  // With FNC1 kept: without it a lot and a serial number behind it are one.
  const hints = new Map([[hint.TRY_HARDER, true], [hint.ASSUME_GS1, true], [hint.POSSIBLE_FORMATS, [format.CODE_128, format.DATA_MATRIX, format.QR_CODE]]]);
  const formats = new ZXing.MultiFormatReader();
  return async canvas => {
    try {
      const found = formats.decode(new ZXing.BinaryBitmap(new ZXing.HybridBinarizer(new ZXing.HTMLCanvasElementLuminanceSource(canvas))), hints);
      const text = found.getText();
      // FNC1 in front is what makes a DataMatrix a GS1 one.
      return found.getBarcodeFormat() === format.DATA_MATRIX && text.startsWith('\x1d') ? `]d2${text.slice(1)}` : text;
    } catch { return undefined; }
  };
}

function close() {
  camera?.getTracks().forEach(track => track.stop());
  camera = null;
  $('view').hidden = true;
  $('camera').textContent = texts.camera;
}

$('camera').addEventListener('click', async () => {
  if (camera) { close(); return; }
  if (!navigator.mediaDevices) { say(texts.insecure); return; }
  try {
    const read = await reader();
    camera = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment', width: { ideal: 1280 } } });
    $('view').srcObject = camera;
    $('view').hidden = false;
    $('camera').textContent = texts.stop;
    say(texts.aim);
    await $('view').play();
    const canvas = document.createElement('canvas');
    while (camera) {
      [canvas.width, canvas.height] = [$('view').videoWidth, $('view').videoHeight];
      canvas.getContext('2d', { willReadFrequently: true }).drawImage($('view'), 0, 0);
      const text = await read(canvas);
      if (text) { close(); $('scan').value = text; await readLabel(); return; }
      await new Promise(resolve => setTimeout(resolve, 150));
    }
  } catch (problem) {
    close();
    say(problem?.name === 'NotAllowedError' ? texts.denied : problem?.name === 'NotFoundError' ? texts.noCamera : String(problem?.message ?? texts.noCamera));
  }
});

if ('serviceWorker' in navigator) navigator.serviceWorker.register('sw.js');
