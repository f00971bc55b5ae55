// A browser's way of reading a run's events: `node sse.mjs URL PROMPT BYTES`. The connection is dropped after so many bytes,
// wherever that is, and opened again with the last id that was seen, until the run is over. Prints what it saw, as one
// line of JSON.
import { createParser } from "eventsource-parser";

const [url, prompt, bytes] = process.argv.slice(2);
const seen = { ids: 0, ordered: true, text: "", connections: 0, last: "", end: 0, names: [] };
const names = new Set();

function take({ id, event, data }) {
  seen.ordered &&= Number(id) === seen.ids + 1;
  seen.ids += 1;
  seen.last = id;
  names.add(event ?? null);
  const value = JSON.parse(data);
  if (value.type === "text_delta") seen.text += value.text;
  if (value.type === "run_finished") seen.end += 1;
}

async function read(path, options) {
  seen.connections += 1;
  const response = await fetch(url + path, options);
  if (response.status === 204) return null;
  if (!response.ok) throw new Error(`${response.status} ${await response.text()}`);
  const parser = createParser({ onEvent: take });
  const decoder = new TextDecoder();
  let left = Number(bytes);
  for await (const chunk of response.body) {
    parser.feed(decoder.decode(chunk.subarray(0, left), { stream: true }));
    left -= chunk.length;
    if (left <= 0) break; // which closes the connection
  }
  return response.headers.get("run-id");
}

const run = await read("/events", {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ prompt, detach: true }),
});
while ((await read(`/runs/${run}/events`, { headers: { "last-event-id": seen.last || "0" } })) !== null);
seen.names = [...names];
console.log(JSON.stringify(seen));
