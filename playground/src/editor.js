// The editor of the handler. It lives in a shadow root, where CodeMirror's styles need no <style>
// element, which the content security policy refuses.

import { closeBrackets, closeBracketsKeymap } from "@codemirror/autocomplete";
import { defaultKeymap, history, historyKeymap, indentWithTab } from "@codemirror/commands";
import { python } from "@codemirror/lang-python";
import { bracketMatching, HighlightStyle, indentOnInput, indentUnit, syntaxHighlighting } from "@codemirror/language";
import { EditorState, StateEffect, StateField } from "@codemirror/state";
import { Decoration, drawSelection, EditorView, highlightActiveLine, keymap, lineNumbers, WidgetType } from "@codemirror/view";
import { tags } from "@lezer/highlight";

const colour = (name) => ({ color: `var(--code-${name})` });
const highlighting = HighlightStyle.define([
  { tag: [tags.keyword, tags.controlKeyword, tags.operatorKeyword], ...colour("keyword") },
  { tag: [tags.string, tags.special(tags.string)], ...colour("string") },
  { tag: [tags.number, tags.bool, tags.null], ...colour("number") },
  { tag: tags.comment, ...colour("comment"), fontStyle: "italic" },
  { tag: [tags.function(tags.variableName), tags.definition(tags.className)], ...colour("name") },
]);

const look = EditorView.theme({
  "&": { color: "var(--text)", backgroundColor: "var(--field)", fontSize: "13px", maxHeight: "430px" },
  "&.cm-focused": { outline: "2px solid var(--accent)" },
  ".cm-scroller": { fontFamily: "var(--mono)", lineHeight: "1.45", overflow: "auto" },
  ".cm-content": { caretColor: "var(--text)" },
  ".cm-cursor": { borderLeftColor: "var(--text)" },
  ".cm-gutters": { backgroundColor: "var(--field)", color: "var(--muted)", border: "none" },
  ".cm-activeLine, .cm-activeLineGutter": { backgroundColor: "var(--active)" },
  "&.cm-focused > .cm-scroller > .cm-selectionLayer .cm-selectionBackground, .cm-selectionBackground": {
    backgroundColor: "var(--selection)",
  },
  ".marked": { backgroundColor: "var(--bad-soft)" },
  ".message": { color: "var(--bad)", borderLeft: "3px solid var(--bad)", padding: "2px 8px", whiteSpace: "normal", fontFamily: "var(--sans)" },
});

// Marks of lines, each with its message below the line.

class Message extends WidgetType {
  constructor(text) {
    super();
    this.text = text;
  }

  eq(other) {
    return other.text === this.text;
  }

  toDOM() {
    const node = document.createElement("div");
    node.className = "message";
    node.textContent = this.text;
    return node;
  }
}

const setMarks = StateEffect.define();
const marks = StateField.define({
  create: () => Decoration.none,
  update(held, transaction) {
    const set = transaction.effects.find((effect) => effect.is(setMarks));
    if (!set) return held.map(transaction.changes);
    const { doc } = transaction.state;
    return Decoration.set(
      set.value.flatMap(({ line, message }) => {
        const { from, to } = doc.line(line);
        return [
          Decoration.line({ class: "marked" }).range(from),
          Decoration.widget({ widget: new Message(message), block: true, side: 1 }).range(to),
        ];
      }),
    );
  },
  provide: (field) => EditorView.decorations.from(field),
});

export class Editor {
  constructor(host, changed) {
    const root = host.attachShadow({ mode: "open" });
    const parent = root.appendChild(document.createElement("div"));
    this.view = new EditorView({
      parent,
      root,
      state: EditorState.create({
        extensions: [
          lineNumbers(),
          history(),
          drawSelection(),
          indentOnInput(),
          indentUnit.of("    "),
          bracketMatching(),
          closeBrackets(),
          highlightActiveLine(),
          EditorView.lineWrapping,
          python(),
          syntaxHighlighting(highlighting),
          look,
          marks,
          keymap.of([...closeBracketsKeymap, ...defaultKeymap, ...historyKeymap, indentWithTab]),
          EditorView.contentAttributes.of({ tabindex: "0", "aria-label": "Handler, in Python. Escape, then Tab leaves it." }),
          EditorView.updateListener.of((update) => update.docChanged && changed()),
        ],
      }),
    });
  }

  get text() {
    return this.view.state.doc.toString();
  }

  set text(text) {
    this.view.dispatch({ changes: { from: 0, to: this.view.state.doc.length, insert: text } });
  }

  set readOnly(is) {
    this.view.contentDOM.setAttribute("contenteditable", is ? "false" : "true");
  }

  // Marks lines with a message each, and shows the first; an empty list removes the marks.
  mark(found, { scroll = true } = {}) {
    const { doc } = this.view.state;
    const there = found.filter(({ line }) => line >= 1 && line <= doc.lines);
    this.view.dispatch({ effects: setMarks.of(there) });
    if (there.length && scroll) {
      const place = doc.line(there[0].line).from;
      this.view.dispatch({ effects: EditorView.scrollIntoView(place, { y: "center" }) });
    }
  }
}
