// Keeps the page's files for a time without a network. With one, files come from there: a new version
// of the page shows at once. The build writes the list of files and their fingerprint.

const FILES = JSON.parse('["FILES"]');
const CACHE = "playground-FINGERPRINT";

self.addEventListener("install", (event) => {
  event.waitUntil(caches.open(CACHE).then((cache) => cache.addAll(FILES)));
  self.skipWaiting();
});

self.addEventListener("activate", (event) => {
  const remove = (names) => Promise.all(names.filter((name) => name !== CACHE).map((name) => caches.delete(name)));
  event.waitUntil(caches.keys().then((names) => remove(names.filter((name) => name.startsWith("playground-")))).then(() => self.clients.claim()));
});

self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope)) return;
  event.respondWith(
    fetch(request).catch(async (error) => {
      const kept = await caches.match(request, { ignoreSearch: true });
      if (!kept) throw error;
      return kept;
    }),
  );
});
