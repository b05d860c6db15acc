// Prints the path of the Chromium that npm installed, once it is unpacked.

import chromium from "@sparticuz/chromium";

console.log(await chromium.executablePath());
