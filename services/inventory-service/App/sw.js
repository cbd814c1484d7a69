// The page works without a line: its files come from the cache, which is filled when it is installed and renewed when there is a line.
const NAME = 'inventory-app';
const FILES = ['./', 'app.css', 'app.js', 'zxing.js', 'manifest.webmanifest'];

self.addEventListener('install', event => event.waitUntil(caches.open(NAME).then(cache => cache.addAll(FILES)).then(() => self.skipWaiting())));
self.addEventListener('activate', event => event.waitUntil(self.clients.claim()));
self.addEventListener('fetch', event => {
  const path = new URL(event.request.url).pathname;
  const ours = FILES.some(file => new URL(file, self.registration.scope).pathname === path);
  // Answers of the API are never kept: what is there is asked, or it is not known.
  if (event.request.method !== 'GET' || !ours) return;
  event.respondWith(fetch(event.request).then(async answer => {
    if (answer.ok) (await caches.open(NAME)).put(event.request, answer.clone());
    return answer;
  }).catch(() => caches.match(event.request, { ignoreSearch: true })));
});
