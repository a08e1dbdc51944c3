"use strict";
const http = require("node:http");

const server = http.createServer((request, response) => {
  console.log(request.method, request.url);
  response.setHeader("content-type", "text/plain");
  response.end(`Hello from Node at ${request.url}\n`);
});

server.listen(Number(process.env.PORT), process.env.HOST);
process.on("SIGTERM", () => server.close(() => process.exit(0)));
