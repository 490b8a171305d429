// What must outlive a reload, a closed tab and a dropped signal: drafts, and orders that are not sent yet.
// Each is deleted with its personal data as soon as the gateway has it.

/** The browser's storage is full, shut or broken: nothing was kept or read. */
export class NotKept extends Error {}

let opened = null;

function database() {
  opened ??= opening().catch((error) => {
    opened = null; // The next one may find room.
    throw error;
  });
  return opened;
}

function opening() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("antrean", 1);
    request.onupgradeneeded = () => {
      request.result.createObjectStore("drafts", { keyPath: "id" });
      request.result.createObjectStore("outbox", { keyPath: "key" });
    };
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

/** Run `work(transaction)`; resolves with the result of the request it answers once all is on disk. Throws NotKept. */
async function transact(stores, mode, work) {
  try {
    const db = await database();
    return await new Promise((resolve, reject) => {
      const transaction = db.transaction(stores, mode, mode === "readwrite" ? { durability: "strict" } : {});
      let request;
      try {
        request = work(transaction);
      } catch (error) {
        transaction.abort(); // Else the half that was asked for before would stand.
        return reject(error);
      }
      transaction.oncomplete = () => resolve(request?.result);
      transaction.onerror = transaction.onabort = () => reject(transaction.error);
    });
  } catch (error) {
    throw new NotKept(error?.message);
  }
}

export const get = (store, key) => transact([store], "readonly", (tx) => tx.objectStore(store).get(key));
export const all = (store) => transact([store], "readonly", (tx) => tx.objectStore(store).getAll());
export const put = (store, value) => transact([store], "readwrite", (tx) => tx.objectStore(store).put(value));
export const remove = (store, key) => transact([store], "readwrite", (tx) => tx.objectStore(store).delete(key));

/** A draft becomes orders to be sent, in one step: after a crash it is the one or the other. */
export function submit(entries, draftId = null) {
  return transact(["drafts", "outbox"], "readwrite", (tx) => {
    if (draftId !== null) tx.objectStore("drafts").delete(draftId);
    for (const entry of entries) tx.objectStore("outbox").put(entry);
  });
}

/** What became of orders that were sent, in one step: those the gateway has are forgotten, the others kept anew. */
export function settle(gone, kept) {
  return transact(["outbox"], "readwrite", (tx) => {
    for (const key of gone) tx.objectStore("outbox").delete(key);
    for (const entry of kept) tx.objectStore("outbox").put(entry);
  });
}

/** Runs alone among all tabs of this browser. Where a browser has no locks, the orders' own keys keep order. */
export function alone(name, work) {
  return navigator.locks ? navigator.locks.request(name, work) : work();
}

/** Hold a name for as long as this page lives; false where another page has it. */
export function hold(name) {
  if (!navigator.locks) return Promise.resolve(true);
  return new Promise((resolve) => {
    navigator.locks.request(name, { ifAvailable: true }, (lock) => {
      resolve(lock !== null);
      return lock === null ? undefined : new Promise(() => {});
    });
  });
}

export function randomKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
