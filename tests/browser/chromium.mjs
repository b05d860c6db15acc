// Prints the path of the Chromium that npm installed, and of the libraries that come with it, once
// both are unpacked. It unpacks the libraries where it believes to be in Lambda.

process.env.AWS_EXECUTION_ENV = "AWS_Lambda_nodejs22.x";
const { default: chromium } = await import("@sparticuz/chromium");

console.log(await chromium.executablePath());
console.log(process.env.LD_LIBRARY_PATH);
