// The key with which somebody approves releases in this browser: ECDSA on P-256, as the keys of `yizhan config keygen`, kept in IndexedDB, and not extractable: neither
// this script nor any other can copy it out. One for each person who signs in here.
const base64 = bytes => btoa(String.fromCharCode(...new Uint8Array(bytes)));

function run(mode, ask) {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open('yizhan-release-keys', 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore('keys');
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const database = opening.result;
      const transaction = database.transaction('keys', mode);
      const request = ask(transaction.objectStore('keys'));
      transaction.oncomplete = () => { database.close(); resolve(request.result); };
      transaction.onabort = transaction.onerror = () => { database.close(); reject(transaction.error ?? request.error); };
    };
  });
}

// A page that is neither from this machine nor over HTTPS has no subtle; a private window may have no storage that lasts.
const guarded = async work => {
  if (!globalThis.isSecureContext || !crypto.subtle) return { problem: 'insecure' };
  try {
    return await work();
  } catch (error) {
    return { problem: error?.name ?? 'Error' };
  }
};

const shown = async kept => (kept ? { name: kept.name, publicKey: base64(await crypto.subtle.exportKey('spki', kept.pair.publicKey)) } : {});

/** The key of a person here; without a name when there is none. */
export const find = person => guarded(async () => shown(await run('readonly', keys => keys.get(person))));

/** Makes one; one that is there is never replaced, since what it is trusted for would be lost. */
export const make = (person, name) => guarded(async () => {
  const pair = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign']);
  await run('readwrite', keys => keys.add({ name, pair }, person));
  navigator.storage?.persist?.();
  return shown(await run('readonly', keys => keys.get(person)));
});

export const forget = person => guarded(async () => { await run('readwrite', keys => keys.delete(person)); return {}; });

/** Signs a manifest: DER, as `openssl` and a node read it, where the browser gives r and s one after the other. */
export const sign = (person, manifest) => guarded(async () => {
  const kept = await run('readonly', keys => keys.get(person));
  if (!kept) return { problem: 'NotFoundError' };
  const raw = new Uint8Array(await crypto.subtle.sign({ name: 'ECDSA', hash: 'SHA-256' }, kept.pair.privateKey, manifest));
  const integer = bytes => {
    const from = Math.min(bytes.findIndex(b => b !== 0), bytes.length - 1);
    const digits = [...bytes.slice(from)];
    if (digits[0] > 127) digits.unshift(0);
    return [2, digits.length, ...digits];
  };
  const both = [...integer(raw.slice(0, 32)), ...integer(raw.slice(32))];
  return { name: kept.name, signature: base64([0x30, both.length, ...both]) };
});
