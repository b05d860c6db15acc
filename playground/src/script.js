// Edits of the schedule's text: one line for each write or fault, which begins with its time.

const seconds = (at) => String(+at.toFixed(3));

export function added(text, at, what) {
  const lines = text.replace(/\s+$/, "").split("\n").filter((line, index, all) => line || all.length > 1);
  const time = (line) => (/^\s*\d/.test(line) ? parseFloat(line) : /^\s*later/.test(line) ? Infinity : -1);
  let index = lines.findIndex((line) => time(line) > at);
  if (index < 0) index = lines.length;
  lines.splice(index, 0, `${seconds(at)} ${what}`);
  return `${lines.join("\n")}\n`;
}

// Returns the number of the line that sets a fault of the picture; -1 if there is none.
export function lineOfFault(text, fault) {
  return text.split("\n").findIndex((line) => {
    const found = /^\s*(\d+(?:\.\d+)?)\s+fault\s+(.+?)(?:\s+for\s+[\d.]+)?\s*(?:#.*)?$/.exec(line);
    return found && found[2] === fault.kind && Math.abs(parseFloat(found[1]) - fault.at) < 0.0006;
  });
}

export function moved(text, fault, at) {
  const index = lineOfFault(text, fault);
  if (index < 0) return text;
  const lines = text.split("\n");
  const [line] = lines.splice(index, 1);
  return added(lines.join("\n"), Math.max(0, at), line.trim().replace(/^[\d.]+\s+/, ""));
}

export function without(text, fault) {
  const index = lineOfFault(text, fault);
  return text.split("\n").filter((_, each) => each !== index).join("\n");
}

// Returns the time after the last write or fault.
export function nextTime(text) {
  const times = text.split("\n").filter((line) => /^\s*\d/.test(line)).map(parseFloat);
  return times.length ? Math.max(...times) + 0.5 : 0;
}
