// Starts the page's connection to the console, and starts it again for as long as it takes.
'use strict';
window.yizhanTimeZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

// What was typed outlives a connection, and a page that has to be loaded anew, also by way of the sign-in page: in this tab alone, and until it is
// typed again. What the page itself filled in is not typed.
window.yizhanTyped = (() => {
  const key = 'yizhan-typed';
  const said = new Map();
  const fields = () => [...document.querySelectorAll('main :is(input, select, textarea)[name]:not([type=password], [type=file], [type=submit])')];
  const typed = () => fields().filter(field => said.get(field.name) === field.value);
  const tell = field => {
    for (const event of ['input', 'change']) field.dispatchEvent(new Event(event, { bubbles: true }));
  };
  document.addEventListener('input', ({ target }) => { if (target.name) said.set(target.name, target.value); }, { capture: true });
  return {
    keep() {
      sessionStorage.setItem(key, JSON.stringify({ path: location.pathname, typed: typed().map(({ name, value }) => ({ name, value })) }));
    },
    /** What was typed last may have gone down with the connection: the console hears it again. */
    tellAgain() { typed().forEach(tell); },
    async restore() {
      const kept = JSON.parse(sessionStorage.getItem(key));
      if (kept?.path !== location.pathname) return;
      sessionStorage.removeItem(key);
      const taken = new Set();
      const byHand = ({ target, isTrusted }) => { if (isTrusted) taken.add(target.name); };
      document.addEventListener('input', byHand, { capture: true });

      // A field may come only with the answer to one before it, and that answer may draw others anew: until all of them have stayed for a second.
      const field = name => fields().find(f => f.name === name);
      const takes = (f, value) => f && (f.tagName !== 'SELECT' || [...f.options].some(o => o.value === value));
      for (let tries = 0, stayed = 0; tries < 100 && stayed < 10; tries++) {
        const missing = kept.typed.filter(({ name, value }) => !taken.has(name) && field(name)?.value !== value);
        stayed = missing.length === 0 ? stayed + 1 : 0;
        const next = missing.find(({ name, value }) => takes(field(name), value));
        if (next) {
          field(next.name).value = next.value;
          tell(field(next.name));
        }
        await new Promise(resolve => setTimeout(resolve, 100));
      }
      document.removeEventListener('input', byHand, { capture: true });
    },
  };
})();

(() => {
  const dialog = document.getElementById('reconnecting');
  const wait = milliseconds => new Promise(resolve => setTimeout(resolve, milliseconds));

  // A short interruption keeps the state of the page. A console that was restarted has forgotten it: the page loads anew,
  // once there is a console to load it from.
  let reconnecting = false;
  const reconnect = async () => {
    if (reconnecting) return;
    reconnecting = true;
    dialog.showModal();
    for (let delay = 250; ; delay = Math.min(delay * 2, 5000)) {
      await wait(delay);
      try {
        if (await Blazor.reconnect()) break;
        yizhanTyped.keep();
        location.reload();
        return;
      } catch {
        // No console answers yet; or one does, and asks who this is, since the session has ended.
        const signedOut = await fetch(location.pathname, { redirect: 'manual' }).then(answer => answer.type === 'opaqueredirect' || answer.status === 401, () => false);
        if (!signedOut) continue;
        yizhanTyped.keep();
        location.reload();
        return;
      }
    }
    dialog.close();
    reconnecting = false;
    yizhanTyped.tellAgain();
  };
  dialog.addEventListener('cancel', event => event.preventDefault());

  // Blazor would scroll to the content, but leave the focus before it.
  document.addEventListener('click', event => {
    if (event.target.closest('.skip')) {
      event.preventDefault();
      document.getElementById('content').focus();
    }
  }, { capture: true });

  // A link that is clicked before the page has its connection loads the next page whole. Blazor would fetch that page and patch it in, and the
  // connection, which is of the page before, would then draw that one over it.
  Blazor.start({
    ssr: { disableDomPreservation: true },
    circuit: { reconnectionHandler: { onConnectionDown: reconnect, onConnectionUp: () => {} } },
  });
})();

// The viewer is made by console/viewer/build.sh; without it the page says so.
window.yizhanViewer = (() => {
  const address = '/_content/Yizhan.Console/viewer/viewer.js';
  const root = '/pacs-gw/dicom-web';
  const studyOf = path => /^\/studies\/([0-9.]+)\/view$/.exec(path)?.[1];
  let viewer, asked = 0;
  const load = async () => viewer = await import(address);

  // The study is asked for at once: when its page was opened by its address, and when a link to it is clicked, while the page gets its connection
  // or its turn. What is measured begins there too.
  const begin = (study, began) => {
    asked = began;
    if (study) load().then(() => viewer.begin(root, study, began), () => {});
  };
  begin(studyOf(location.pathname), 0);
  document.addEventListener('click', event => {
    const link = event.target.closest?.('a[href]');
    if (link && !link.target && event.button === 0 && !(event.ctrlKey || event.metaKey || event.shiftKey || event.altKey)) begin(studyOf(link.pathname), event.timeStamp);
  }, { capture: true });
  return {
    async show(element, options) {
      try {
        await load();
      } catch {
        element.textContent = options.texts.missing;
        element.dataset.state = 'missing';
        return;
      }
      await viewer.show(element, { ...options, root, began: asked });
    },
    offer: priors => load().then(() => viewer.offer(priors), () => {}),
    leave: () => viewer?.leave(),
  };
})();
