// Sends back what it is sent, or asks for its own bytes over HTTP and compares.
//
// echo.js serve
// echo.js ask HOST CONNECTIONS BYTES
'use strict';
const crypto = require('crypto');
const http = require('http');

const PORT = 6379;

function serve() {
  const server = http.createServer((request, response) => {
    response.writeHead(200, { 'Content-Length': request.headers['content-length'] });
    request.pipe(response);
  });
  server.listen(PORT, '0.0.0.0');
}

function ask(agent, host, body) {
  return new Promise((resolve, reject) => {
    const options = { agent, host, port: PORT, method: 'POST', headers: { 'Content-Length': body.length } };
    const request = http.request(options, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('end', () => {
        Buffer.concat(parts).equals(body) ? resolve() : reject(new Error('other bytes'));
      });
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(body);
  });
}

async function askAll(host, connections, size) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  for (let round = 0; round < 3; round++) {
    const bodies = Array.from({ length: connections }, () => crypto.randomBytes(size));
    await Promise.all(bodies.map((body) => ask(agent, host, body)));
  }
  agent.destroy();
}

const [what, host, connections, size] = process.argv.slice(2);
if (what === 'serve') {
  serve();
} else {
  askAll(host, Number(connections), Number(size)).catch((error) => {
    console.error(error);
    process.exit(1);
  });
}
