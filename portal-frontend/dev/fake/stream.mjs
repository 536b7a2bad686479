/** The event stream, with its memory. */

const epoch = Date.now();
const memory = [];
const streams = new Set();

export function emit(name, data) {
  const entry = { id: `${epoch}-${memory.length + 1}`, name, data: JSON.stringify(data) };
  memory.push(entry);
  for (const stream of streams) write(stream, entry);
}

function write(stream, { id, name, data }) {
  stream.write(`${id ? `id: ${id}\n` : ''}event: ${name}\ndata: ${data}\n\n`);
}

export function openStream(request, response) {
  response.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-cache' });
  response.write(': hello\n\n');
  const last = request.headers['last-event-id'];
  if (last !== undefined) {
    const at = memory.findIndex((entry) => entry.id === last);
    if (at < 0) write(response, { name: 'reset', data: '{}' });
    else memory.slice(at + 1).forEach((entry) => write(response, entry));
  }
  streams.add(response);
  const heartbeat = setInterval(() => response.write(': heartbeat\n\n'), 15_000);
  response.on('close', () => {
    streams.delete(response);
    clearInterval(heartbeat);
  });
}

export function closeStreams() {
  for (const stream of streams) stream.end();
  streams.clear();
}
