// Send packets to an echo server, each when the one before has come back: as echo_client.py.
'use strict';
const crypto = require('crypto');
const dgram = require('dgram');
const net = require('net');

const SAMPLED = 16;
const address = process.argv[2];
const size = Number(process.argv[3]);
const packets = Number(process.argv[4]);
const kind = address.split(':', 1)[0];
const place = address.slice(kind.length + 1);
const colon = place.lastIndexOf(':');
const packet = crypto.randomBytes(size);
const samples = [];
let received = 0;  // bytes of the packet under way
let done = 0;
let begun = null;
let spent = null;
let before = null;
let lost = 0;
let send = null;
let finish = null;

process.stdin.resume();
process.stdin.on('end', () => process.exit(1));

function next() {
  before = done % SAMPLED === 0 ? process.hrtime.bigint() : null;
  send();
}

function start() {
  spent = process.cpuUsage();
  begun = process.hrtime.bigint();
  next();
}

function take(bytes) {
  received += bytes;
  if (received < size) return;
  received -= size;
  if (before !== null) samples.push(Number(process.hrtime.bigint() - before));
  done += 1;
  if (done < packets) next();
  else {
    const ns = Number(process.hrtime.bigint() - begun);
    const used = process.cpuUsage(spent);
    const nodelay = kind === 'tcp' ? true : null;
    const facts = {ns, cpu: (used.user + used.system) / 1e6, samples, lost, nodelay};
    facts.runtime = 'node ' + process.versions.node;
    finish(() => process.stdout.write(JSON.stringify(facts) + '\n', () => process.exit(0)));
  }
}

function fail(error) {
  console.error(String(error.message || error));
  process.exit(1);
}

if (kind === 'udp') {
  const socket = dgram.createSocket('udp4');
  let timer = null;
  const resend = () => {
    lost += 1;
    if (lost > 10) fail('the server does not answer');
    send();
  };
  send = () => {
    clearTimeout(timer);
    timer = setTimeout(resend, 1000);
    socket.send(packet);
  };
  finish = (then) => {
    clearTimeout(timer);
    socket.send('', then);
  };
  socket.on('error', fail);
  socket.on('message', (data) => take(data.length));
  socket.connect(Number(place.slice(colon + 1)), place.slice(0, colon), start);
} else {
  const options = kind === 'tcp'
    ? {port: Number(place.slice(colon + 1)), host: place.slice(0, colon)} : {path: place};
  const socket = net.connect(options, () => {
    if (kind === 'tcp') socket.setNoDelay(true);
    start();
  });
  send = () => socket.write(packet);
  finish = (then) => socket.end(then);
  socket.on('error', fail);
  socket.on('data', (data) => take(data.length));
}
