// Runs Python. The page makes this worker from its own text, so the page's content security policy
// holds here too: code in the editor reaches no other origin.

let python;

const ready = new Promise((resolve, reject) => {
  self.onmessage = async ({ data }) => {
    if (data.base) {
      try {
        python = await start(data.base, data.wheel);
        self.postMessage({ ready: true });
        resolve();
      } catch (error) {
        self.postMessage({ broken: String(error) });
        reject(error);
      }
      return;
    }
    await ready;
    const progress = (runs) => self.postMessage({ id: data.id, runs });
    const answer = python(data.request, progress);
    self.postMessage({ id: data.id, answer });
  };
});

async function start(base, wheel) {
  importScripts(`${base}pyodide.js`);
  const [pyodide, ...archives] = await Promise.all([
    loadPyodide({ indexURL: base, stdout: () => {}, stderr: () => {} }),
    ...[wheel, "lab.zip"].map(async (name) => (await fetch(base + name)).arrayBuffer()),
  ]);
  for (const archive of archives) pyodide.unpackArchive(archive, "zip", { extractDir: "/lab" });
  return pyodide.runPython(`
import sys
sys.path.insert(0, "/lab")
from playground.lab import answer
answer
`);
}
