// Echo what one client sends: as echo_server.py, for tcp:HOST:PORT, uds:PATH and udp:HOST:PORT.
'use strict';
const dgram = require('dgram');
const net = require('net');

const address = process.argv[2];
const kind = address.split(':', 1)[0];
const place = address.slice(kind.length + 1);
const runtime = 'node ' + process.versions.node;
let begun = null;
let total = 0;

function say(facts) {
  process.stdout.write(JSON.stringify(facts) + '\n');
}

function count(bytes) {
  if (begun === null) begun = process.cpuUsage();
  total += bytes;
}

function end() {
  const spent = begun === null ? {user: 0, system: 0} : process.cpuUsage(begun);
  process.stdout.write(JSON.stringify({bytes: total, cpu: (spent.user + spent.system) / 1e6}) + '\n',
    () => process.exit(0));
}

process.stdin.resume();
process.stdin.on('end', () => process.exit(1));

if (kind === 'udp') {
  const colon = place.lastIndexOf(':');
  const socket = dgram.createSocket('udp4');
  socket.on('message', (data, peer) => {
    count(data.length);
    if (data.length === 0) end();
    else socket.send(data, peer.port, peer.address);
  });
  socket.bind(Number(place.slice(colon + 1)), place.slice(0, colon), () => {
    const at = socket.address();
    say({listening: 'udp:' + at.address + ':' + at.port, runtime});
  });
} else {
  const server = net.createServer((socket) => {
    if (kind === 'tcp') socket.setNoDelay(true);
    socket.on('data', (data) => {
      count(data.length);
      socket.write(data);
    });
    socket.on('end', end);
    socket.on('error', end);
  });
  const said = () => {
    const at = server.address();
    say({listening: kind === 'tcp' ? 'tcp:' + at.address + ':' + at.port : address, runtime});
  };
  const colon = place.lastIndexOf(':');
  if (kind === 'tcp') server.listen(Number(place.slice(colon + 1)), place.slice(0, colon), said);
  else server.listen(place, said);
}
