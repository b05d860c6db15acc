// Joins the parts of the page: editor, settings, schedule, engine, picture, address.

import * as address from "./address.js";
import { $, clock, h } from "./dom.js";
import { Editor } from "./editor.js";
import { Engine, Stopped } from "./engine.js";
import { changed, details, say, states, story, Timeline, verdict } from "./panels.js";
import { legend, Picture } from "./picture.js";
import * as script from "./script.js";
import { Settings } from "./settings.js";
import { Tools } from "./tools.js";

const PIPELINE = "pipeline";
const STEP_MILLISECONDS = 450;
const SOON_MILLISECONDS = 400;
const COPIED_MILLISECONDS = 5000;
const NARROW = matchMedia("(max-width: 1000px)");

let about = null;
let settings = null;
let result = null;
let consumer = null;
let example = null; // the name of the example, as long as nothing of it is changed
let origin = null; // the example that was opened last
let playing = null;
let asked = 0;
let shown = 0;

const engine = new Engine(say);
const editor = new Editor($("editor"), edited);
const picture = new Picture($("picture"), { choose, moved, removed });
const tools = new Tools(engine, async (given) => {
  await remember(given);
  await copy(location.href, "The link is copied.", $("copy-filter"));
});
const timeline = new Timeline($("timeline"), (entry) => goTo(entry));

// The experiment

const experiment = () => ({
  handler: consumer === PIPELINE ? "" : editor.text,
  settings: settings.values,
  script: $("script").value,
  ...(consumer ? { consumer } : {}),
});

function load(given) {
  consumer = given.consumer === PIPELINE ? PIPELINE : null;
  editor.text = consumer ? "# The three sinks of this project run here: aggregation, audit and search.\n" : String(given.handler ?? "");
  editor.readOnly = consumer !== null;
  $("script").value = String(given.script ?? "");
  settings.values = typeof given.settings === "object" && given.settings ? given.settings : {};
  $("search").disabled = consumer !== null;
  $("copy-test").disabled = consumer !== null;
}

function edited() {
  chooseExample(null);
  if (result) stale("Changed since this run: press Run to see it.");
}

// Says that the result is not of what stands in the page now.
function stale(text) {
  document.documentElement.toggleAttribute("data-stale", true);
  note(text, "stale");
}

// Adds a sentence above the result; the next result takes its place.
function note(text, cls = "", ...more) {
  $("note")?.remove();
  $("verdict").prepend(h("p", { id: "note", class: cls }, text, ...more));
}

async function run() {
  const mine = ++asked;
  complain(null);
  const given = experiment();
  try {
    const answer = await working(engine.ask({ what: "run", ...given }), () => stale("Running …"));
    if (mine !== asked) return;
    if (answer.error) return complain(answer.error);
    show(answer.ok);
    if (!example && origin) $("story").replaceChildren(...changed(origin, () => openExample(origin)));
    remember(given, example);
  } catch (error) {
    failed(error, mine);
  }
}

async function search() {
  const mine = ++asked;
  complain(null);
  const schedules = 200;
  const bar = $("progress");
  Object.assign(bar, { hidden: false, max: schedules, value: 0 });
  const begun = performance.now();
  try {
    const progress = (runs) => {
      bar.value = Math.min(runs, schedules);
      say(`Searching: ${runs} runs of ${schedules} schedules, and of shorter ones once one fails …`);
    };
    const request = { what: "search", schedules, vary: $("vary").checked, ...experiment() };
    const answer = await working(engine.ask(request, progress));
    if (mine !== asked) return;
    const seconds = ((performance.now() - begun) / 1000).toFixed(1);
    document.documentElement.dataset.searchSeconds = seconds;
    if (answer.error) return complain(answer.error);
    if (!answer.ok.found) {
      say("");
      $("verdict").replaceChildren(h("p", { id: "note", class: "good" }, h("strong", {}, "✓ No counterexample: "), `the copy is right after each of ${answer.ok.schedules} schedules (${answer.ok.deliveries} deliveries, ${seconds} s). That proves nothing about others.`));
      return;
    }
    const before = experiment();
    load({ ...before, settings: answer.ok.settings, script: answer.ok.script });
    chooseExample(null);
    await run();
    say("");
    const told = `Schedule ${answer.ok.number} of ${schedules} fails. This is the smallest that still does, after ${answer.ok.runs} runs in ${seconds} s. It took the place of your schedule${settings.differences(before.settings)}. `;
    note(told, "", h("button", { id: "undo", onclick: () => { load(before); run(); } }, "Back to mine"));
  } catch (error) {
    failed(error, mine);
  } finally {
    bar.hidden = true;
  }
}

// Waits for an answer. Stop takes the place of the search if it is long in coming.
async function working(promise, late = () => {}) {
  document.documentElement.dataset.state = "busy";
  const timer = setTimeout(() => {
    [$("stop").hidden, $("search").hidden] = [false, true];
    late();
  }, SOON_MILLISECONDS);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
    if (!engine.busy) [$("stop").hidden, $("search").hidden] = [true, false];
    document.documentElement.dataset.state = "idle";
  }
}

function failed(error, mine) {
  if (mine === asked) complain({ message: error.message.replace(/\.$/, "") });
  if (!(error instanceof Stopped)) throw error;
}

function complain(error) {
  editor.mark(error?.part === "handler" && error.line ? [{ line: error.line, message: error.message }] : []);
  $("script").removeAttribute("aria-invalid");
  say("");
  if (!error) return;
  document.documentElement.toggleAttribute("data-stale", true);
  const where = { handler: "Handler", schedule: "Writes and faults", settings: "Event source mapping" }[error.part] ?? "No result";
  const place = error.line ? `, line ${error.line}` : "";
  $("verdict").replaceChildren(h("p", { class: "bad", id: "complaint" }, h("strong", {}, `✕ ${where}${place}: `), `${error.message}.`));
  if (error.part === "schedule") $("script").setAttribute("aria-invalid", "true");
  const part = { handler: $("editor"), schedule: $("script"), settings: $("settings-form") }[error.part];
  if (part) part.closest("details").open = true;
}

// The result

function show(found) {
  stopPlaying();
  result = found;
  document.documentElement.removeAttribute("data-stale");
  $("verdict").replaceChildren(...verdict(result, { isPipeline: consumer === PIPELINE }));
  picture.show(result);
  timeline.show(result);
  $("details").replaceChildren(h("p", { class: "hint" }, "Choose a batch, a write or a mark in the picture."));
  $("printed-box").hidden = !result.printed;
  $("printed").textContent = result.printed;
  editor.mark((result.error_lines ?? []).map((line) => ({ line, message: "An attempt failed here." })), { scroll: false });
  goTo(result.lines.length - 1, { scroll: false });
  document.documentElement.dataset.shown = String(++shown);
  document.dispatchEvent(new CustomEvent("shown", { detail: result }));
}

function goTo(entry, options) {
  if (!result) return;
  const to = Math.min(result.lines.length - 1, Math.max(0, entry));
  picture.goTo(to, options);
  timeline.goTo(to, options);
  $("moment").textContent = `at ${clock(result.lines[to]?.at ?? 0)}`;
  $("states").replaceChildren(...states(result, to, { isPipeline: consumer === PIPELINE }));
}

function choose(what, entry, isHover) {
  if (what) $("details").replaceChildren(...details(what, result, about.faults));
  if (!isHover) goTo(what?.call ? what.call.last : entry);
}

function moved(fault, at) {
  $("script").value = script.moved($("script").value, fault, at);
  edited();
  run();
}

function removed(fault) {
  $("script").value = script.without($("script").value, fault);
  edited();
  run();
}

function play() {
  if (playing) return stopPlaying();
  if (!result) return;
  if (picture.entry >= result.lines.length - 1) goTo(0);
  playing = setInterval(() => (picture.entry >= result.lines.length - 1 ? stopPlaying() : goTo(picture.entry + 1)), STEP_MILLISECONDS);
  $("play").textContent = "Pause";
  $("play").setAttribute("aria-pressed", "true");
}

function stopPlaying() {
  clearInterval(playing);
  playing = null;
  $("play").textContent = "Play";
  $("play").setAttribute("aria-pressed", "false");
}

// The address

let remembered = "";

async function remember(given, name = null) {
  remembered = name ? `#example=${name}` : await address.written(given);
  history.replaceState(null, "", remembered);
}

async function open() {
  if (location.hash === remembered && remembered) return;
  tools.closed();
  try {
    const found = (await address.read(location.hash)) ?? { example: about.presets[0].name };
    if (found.tab) {
      chooseTab(found.tab);
      return tools.open(found);
    }
    chooseTab("lab");
    if (found.example) {
      const named = about.presets.find(({ name }) => name === found.example);
      if (!named) throw new address.Unreadable(`There is no example ${found.example}: choose one of the list.`);
      openExample(named);
    } else {
      load(found);
      chooseExample(null);
      origin = null;
      $("story").hidden = true;
      await run();
    }
  } catch (error) {
    if (!(error instanceof address.Unreadable)) throw error;
    openExample(about.presets[0]);
    say(error.message);
  }
}

// The button answers where the eye is; the status says it to a screen reader, and goes again.
async function copy(text, told, button) {
  try {
    await navigator.clipboard.writeText(text);
    say(told);
    button.dataset.copied = "";
    setTimeout(() => {
      delete button.dataset.copied;
      if ($("status").textContent === told) say("");
    }, COPIED_MILLISECONDS);
  } catch {
    $("verdict").append(h("textarea", { readonly: true, rows: 8, "aria-label": "Text to copy" }, text));
    say("The browser does not let the page copy: copy the text below.");
  }
  return text;
}

async function copyLink() {
  await remember(experiment(), example);
  await copy(location.href, "The link is copied.", $("copy-link"));
}

async function copyTest() {
  try {
    const answer = await working(engine.ask({ what: "test", ...experiment() }));
    if (answer.error) return complain(answer.error);
    await copy(answer.ok, "The test is copied: save it as test_copy.py, and run pytest test_copy.py.", $("copy-test"));
    document.dispatchEvent(new CustomEvent("copied", { detail: answer.ok }));
  } catch (error) {
    failed(error, asked);
  }
}

// The examples

function listExamples() {
  const rows = [];
  const groups = [...new Set(about.presets.map(({ group }) => group))];
  for (const group of groups) {
    rows.push(h("h3", {}, group));
    const titles = [...new Set(about.presets.filter((each) => each.group === group).map(({ title }) => title))];
    for (const title of titles) {
      const pair = about.presets.filter((each) => each.group === group && each.title === title);
      const buttons = pair.map((each) => h("button", { "data-example": each.name, "aria-pressed": "false", "aria-label": `${title}: ${each.label ?? "open"}`, onclick: () => chosen(each) }, each.label ?? "open"));
      rows.push(h("div", { class: "example" }, h("span", {}, title), h("span", { class: "pair" }, ...buttons)));
    }
  }
  $("examples-list").replaceChildren(...rows);
  $("examples-list").addEventListener("scroll", countBelow);
  new ResizeObserver(countBelow).observe($("examples-list"));
}

// Says how many examples are below the edge of the list.
function countBelow() {
  const list = $("examples-list");
  const edge = list.scrollTop + list.clientHeight;
  const below = [...list.querySelectorAll(".example")].filter((each) => each.offsetTop + each.offsetHeight > edge + 4).length;
  $("examples-more").textContent = below ? `▾ ${below} more: scroll` : "";
}

function openExample(each) {
  load(each);
  chooseExample(each.name);
  origin = each;
  const twin = about.presets.find(({ title, name }) => title === each.title && name !== each.name);
  $("story").hidden = false;
  $("story").replaceChildren(...story(each, twin, () => openExample(twin)));
  $("examples-told").textContent = each.label ? `${each.title}, ${each.label}` : each.title;
  return run();
}

// A choice of a person: on a narrow page the result is below the list.
async function chosen(each) {
  const shows = openExample(each);
  if (!NARROW.matches) return;
  $("examples").open = false;
  await shows;
  $("story").scrollIntoView();
}

function chooseExample(name) {
  example = name;
  $("story").classList.toggle("before", !name);
  $("story-before")?.toggleAttribute("hidden", Boolean(name));
  for (const button of document.querySelectorAll("[data-example]")) {
    const is = button.dataset.example === name;
    button.setAttribute("aria-pressed", String(is));
    const list = $("examples-list");
    const top = button.closest(".example").offsetTop;
    if (is && (top < list.scrollTop || top > list.scrollTop + list.clientHeight - 40)) list.scrollTop = top - 90;
  }
}

// The tabs

const TABS = ["lab", "filters", "converter"];

function chooseTab(name) {
  say("");
  for (const tab of TABS) {
    const chosen = tab === name;
    $(`tab-${tab}`).setAttribute("aria-selected", String(chosen));
    $(`tab-${tab}`).tabIndex = chosen ? 0 : -1;
    $(tab).hidden = !chosen;
  }
}

// Shows a tab, with its example if nothing was in it yet.
function visit(name) {
  chooseTab(name);
  if (name !== "lab") tools.open({ tab: name });
  else if (!result) openExample(about.presets[0]);
}

function wire() {
  $("run").addEventListener("click", run);
  $("search").addEventListener("click", search);
  $("stop").addEventListener("click", () => engine.stop());
  $("copy-link").addEventListener("click", copyLink);
  $("copy-test").addEventListener("click", copyTest);
  $("first").addEventListener("click", () => goTo(0));
  $("last").addEventListener("click", () => goTo(Infinity));
  $("back").addEventListener("click", () => goTo(picture.entry - 1));
  $("next").addEventListener("click", () => goTo(picture.entry + 1));
  $("play").addEventListener("click", play);
  $("zoom-in").addEventListener("click", () => picture.setZoom(picture.zoom * 1.5));
  $("zoom-out").addEventListener("click", () => picture.setZoom(picture.zoom / 1.5));
  $("script").addEventListener("input", edited);
  $("settings-defaults").addEventListener("click", () => {
    settings.values = {};
    edited();
  });
  for (const [name, list] of [["write", about.writes], ["fault", about.faults]]) {
    const tell = () => ($(`${name}-effect`).textContent = `${list[$(`${name}-kind`).selectedIndex].kind}: ${list[$(`${name}-kind`).selectedIndex].effect}.`);
    $(`${name}-kind`).addEventListener("change", tell);
    tell();
  }
  $("add-write").addEventListener("click", () => {
    const kind = $("write-kind").value;
    const values = kind === "put" || kind === "poison" ? ` group ${$("write-item").value % 3} amount ${1 + Math.floor(Math.random() * 90)}` : "";
    add(`${kind} ${$("write-item").value || 0}${values}`);
  });
  $("add-fault").addEventListener("click", () => {
    const { kind, seconds } = about.faults[$("fault-kind").selectedIndex];
    add(`fault ${kind}${seconds === null ? "" : ` for ${seconds}`}`);
  });
  for (const tab of TABS) {
    $(`tab-${tab}`).addEventListener("click", () => visit(tab));
    $(`tab-${tab}`).addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      const next = TABS[(TABS.indexOf(tab) + step + TABS.length) % TABS.length];
      visit(next);
      $(`tab-${next}`).focus();
    });
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) run();
  });
  addEventListener("hashchange", open);
}

function add(what) {
  const text = $("script").value;
  $("script").value = script.added(text, script.nextTime(text), what);
  edited();
  run();
}

// Keeps the page for a time without a network, where the browser can.
async function keep() {
  try {
    await navigator.serviceWorker?.register("offline.js");
    await navigator.serviceWorker?.ready;
    document.documentElement.dataset.kept = "";
  } catch (error) {
    console.info(`The page is not kept for a time without a network: ${error.message}`);
  }
}

async function main() {
  if (location.protocol === "file:") {
    say("Browsers give a page from file:// no workers and no WebAssembly: run `make playground` and open the address that it prints.");
    return;
  }
  if (NARROW.matches) {
    for (const fold of document.querySelectorAll("details.fold")) fold.open = false;
  }
  $("legend").replaceChildren(...legend());
  await engine.start();
  about = (await engine.ask({ what: "about" })).ok;
  settings = new Settings(about.controls, edited);
  $("write-kind").replaceChildren(...about.writes.map(({ kind }) => h("option", {}, kind)));
  $("fault-kind").replaceChildren(...about.faults.map(({ kind }) => h("option", {}, kind)));
  listExamples();
  tools.wire(about);
  wire();
  for (const id of ["run", "search", "copy-test"]) $(id).disabled = false;
  await open();
  document.documentElement.dataset.ready = String(Math.round(performance.now()));
  await keep();
}

main();
