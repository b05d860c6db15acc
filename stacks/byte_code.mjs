// Runs a Python program on Pyodide (CPython for WebAssembly), with a folder mounted at /package.
//
//     node byte_code.mjs FOLDER PROGRAM

import { loadPyodide } from "pyodide";

const [folder, program] = process.argv.slice(2);
try {
  const python = await loadPyodide();
  python.FS.mkdirTree("/package");
  python.FS.mount(python.FS.filesystems.NODEFS, { root: folder }, "/package");
  python.runPython(program);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
}
