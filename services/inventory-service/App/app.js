// Counting stock with a phone, with or without a line. Each count has a name from the moment it is made, so sending it twice counts once.
const chinese = navigator.language.startsWith('zh');
const texts = chinese
  ? { title: '盘点', scan: '扫码', item: '物资编码', lot: '批号', expiry: '有效期', quantity: '数量', location: '库位', actor: '盘点人', record: '记录', queue: '待发送', history: '库存走势（90 天）', expiring: '效期日历', freshness: '各站点最近采集', online: '已连接', offline: '离线', empty: '没有待发送的记录', source: '来源', when: '最近成功', site: '站点' }
  : { title: 'Stock count', scan: 'Scan', item: 'Item', lot: 'Lot', expiry: 'Expiry', quantity: 'Quantity', location: 'Location', actor: 'Counted by', record: 'Record', queue: 'Waiting to be sent', history: 'Stock, last 90 days', expiring: 'Expiry calendar', freshness: 'Last complete collection', online: 'connected', offline: 'offline', empty: 'Nothing is waiting.', source: 'Source', when: 'Last success', site: 'Site' };
const $ = id => document.getElementById(id);
document.documentElement.lang = chinese ? 'zh-CN' : 'en';
document.title = texts.title;
for (const element of document.querySelectorAll('[data-text]')) element.textContent = texts[element.dataset.text];

const MAX_WAITING = 2000;
const read = () => JSON.parse(localStorage.getItem('queue') ?? '[]');
const write = queue => { localStorage.setItem('queue', JSON.stringify(queue)); show(queue); };
$('actor').value = localStorage.getItem('actor') ?? '';

function show(queue) {
  $('queue').replaceChildren(...(queue.length ? queue : [null]).map(entry => {
    const item = document.createElement('li');
    if (!entry) { item.textContent = texts.empty; return item; }
    const movement = entry.batch.movements[0];
    item.textContent = `${movement.item} ${movement.lot} × ${movement.quantity}${entry.problem ? ` — ${entry.problem}` : ''}`;
    if (entry.problem) {
      item.className = 'refused';
      const away = document.createElement('button');
      away.type = 'button'; away.textContent = '✕'; away.ariaLabel = `✕ ${movement.item}`;
      away.onclick = () => write(read().filter(other => other.batch.batchId !== entry.batch.batchId));
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
    for (const entry of read().filter(e => !e.problem)) {
      const answer = await fetch('../movements', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(entry.batch) });
      // A person has to look at what is refused; what the node cannot take now is sent again.
      if (answer.ok) write(read().filter(e => e.batch.batchId !== entry.batch.batchId));
      else if (answer.status === 400 || answer.status === 409) {
        const problem = (await answer.json()).detail ?? String(answer.status);
        write(read().map(e => e.batch.batchId === entry.batch.batchId ? { ...e, problem } : e));
      } else break;
    }
    $('state').textContent = texts.online;
  } catch {
    $('state').textContent = texts.offline;
  } finally { sending = false; }
}

$('form').addEventListener('submit', event => {
  event.preventDefault();
  const queue = read();
  if (queue.length >= MAX_WAITING) { $('state').textContent = `${MAX_WAITING} / ${MAX_WAITING}`; return; }
  localStorage.setItem('actor', $('actor').value);
  queue.push({ batch: {
    batchId: `count-${crypto.randomUUID()}`, source: 'count', actor: $('actor').value, count: 1,
    movements: [{ kind: 'count', item: $('item').value, lot: $('lot').value, expiry: $('expiry').value, quantity: Number($('quantity').value), unit: '',
      location: $('location').value, effectiveMs: Date.now() }],
  } });
  write(queue);
  for (const id of ['scan', 'lot', 'expiry', 'quantity']) $(id).value = '';
  $('scan').focus();
  send();
});

// A scanner ends with Enter. Without a line the scan is typed in by hand: an element string can be ambiguous, and only the node decides that.
$('scan').addEventListener('keydown', async event => {
  if (event.key !== 'Enter') return;
  event.preventDefault();
  try {
    const answer = await fetch('../scans', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ scan: $('scan').value }) });
    const label = await answer.json();
    if (!answer.ok) { $('state').textContent = label.detail; return; }
    $('item').value = label.item; $('lot').value = label.lot; $('expiry').value = label.expiry;
    $('quantity').focus();
  } catch { $('state').textContent = texts.offline; }
});

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

const get = async path => (await fetch(`../${path}`)).json();
const day = offset => new Date(Date.now() + offset * 86400000).toISOString().slice(5, 10);

async function history() {
  if (!$('item').value) return;
  const values = await get(`history?days=90&item=${encodeURIComponent($('item').value)}`);
  plot($('history'), values, values.map((_, i) => i === 0 ? day(-89) : i === 89 ? day(0) : ''), false);
}

async function overview() {
  const items = await get('items');
  $('items').replaceChildren(...items.slice(0, 2000).map(item => Object.assign(document.createElement('option'), { value: item.code, label: item.name })));
  const months = Array.from({ length: 12 }, (_, i) => { const d = new Date(); d.setUTCDate(1); d.setUTCMonth(d.getUTCMonth() + i); return d.toISOString().slice(0, 7); });
  const lots = await get('expiring?days=365&limit=10000');
  plot($('expiring'), months.map((m, i) => lots.filter(l => i === 0 ? l.expiry.slice(0, 7) <= m : l.expiry.startsWith(m)).length), months.map(m => m.slice(2)), true);
  const rows = [[texts.site, texts.source, texts.when], ...(await get('sources')).map(s => [s.site, s.last.source, `${new Date(s.last.lastSuccessMs).toLocaleString()} · ${s.last.outcome}`])];
  $('freshness').replaceChildren(...rows.map((cells, i) => { const row = document.createElement('tr'); row.append(...cells.map(c => Object.assign(document.createElement(i ? 'td' : 'th'), { textContent: c }))); return row; }));
}

$('item').addEventListener('change', () => history().catch(() => {}));
addEventListener('online', send);
setInterval(send, 30000);
show(read());
send();
overview().catch(() => { $('state').textContent = texts.offline; });
if ('serviceWorker' in navigator) navigator.serviceWorker.register('sw.js');
