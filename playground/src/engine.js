// The worker that runs Python: one at a time. What takes too long is ended with its worker.

import source from "./worker.js" with { type: "text" };

const BASE = new URL(".", document.baseURI).href;
const WHEEL = document.documentElement.dataset.wheel;

export const LONGEST_SECONDS = 10;

export class Stopped extends Error {
  name = "Stopped";
}

export class Engine {
  #worker = null;
  #started = null;
  #waiting = null;
  #ids = 0;

  constructor(tell) {
    this.tell = tell;
  }

  start() {
    this.tell("Python is starting …");
    const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
    const worker = new Worker(url);
    this.#worker = worker;
    this.#started = new Promise((resolve, reject) => {
      worker.onmessage = ({ data }) => {
        if (data.ready) {
          URL.revokeObjectURL(url);
          this.tell("");
          resolve();
        } else if (data.broken) {
          reject(new Error(`Python does not start (${data.broken}): reload the page.`));
        } else this.#receive(data);
      };
      worker.onerror = (event) => reject(new Error(`Python does not start (${event.message}).`));
    });
    this.#started.catch((error) => this.tell(error.message));
    worker.postMessage({ base: BASE, wheel: WHEEL });
    return this.#started;
  }

  // Returns the answer of Python. A request that says nothing for some seconds is ended.
  async ask(request, progress = () => {}) {
    const reason = "A newer request took its place.";
    if (this.#waiting?.what === "search") this.stop(reason);
    this.#settle()?.reject(new Stopped(reason));
    const id = ++this.#ids;
    const answer = new Promise((resolve, reject) => {
      this.#waiting = { id, what: request.what, resolve, reject, progress };
    });
    answer.catch(() => {});
    await this.#started;
    if (id === this.#waiting?.id) {
      this.#watch();
      this.#worker.postMessage({ id, request: JSON.stringify(request) });
    }
    return answer;
  }

  // Ends the worker, and starts another.
  stop(reason = "Stopped.") {
    const waiting = this.#settle();
    this.#worker.terminate();
    this.start();
    waiting?.reject(new Stopped(reason));
  }

  get busy() {
    return this.#waiting !== null;
  }

  #watch() {
    clearTimeout(this.#waiting.timer);
    this.#waiting.timer = setTimeout(() => {
      this.stop(
        `Nothing came back within ${LONGEST_SECONDS} s, so the run was ended: look for a loop that never ends.`,
      );
    }, LONGEST_SECONDS * 1000);
  }

  #settle() {
    const waiting = this.#waiting;
    if (waiting) clearTimeout(waiting.timer);
    this.#waiting = null;
    return waiting;
  }

  #receive(data) {
    if (data.id !== this.#waiting?.id) return;
    if (data.answer === undefined) {
      this.#watch();
      this.#waiting.progress(data.runs);
      return;
    }
    const { resolve } = this.#settle();
    resolve(JSON.parse(data.answer));
  }
}
