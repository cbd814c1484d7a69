// Starts the page's connection to the console, and starts it again for as long as it takes.
'use strict';
window.yizhanTimeZone = () => Intl.DateTimeFormat().resolvedOptions().timeZone;

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
        location.reload();
        return;
      } catch {
        // No console answers yet.
      }
    }
    dialog.close();
    reconnecting = false;
  };
  dialog.addEventListener('cancel', event => event.preventDefault());

  // Blazor would scroll to the content, but leave the focus before it.
  document.addEventListener('click', event => {
    if (event.target.closest('.skip')) {
      event.preventDefault();
      document.getElementById('content').focus();
    }
  }, { capture: true });

  Blazor.start({
    circuit: { reconnectionHandler: { onConnectionDown: reconnect, onConnectionUp: () => {} } },
  });
})();
