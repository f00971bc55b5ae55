// What `eventsource-parser` sees of a run whose connection is dropped again and again; one line of JSON.
// Called with the server's address, the prompt, and what each connection lives to read: so many bytes, until the run has
// `asked`, or to the `end`. Whoever comes back after it was asked allows it.

import { createParser } from "eventsource-parser";

const [url, prompt, ...lives] = process.argv.slice(2);
const accept = "text/event-stream";
const seen = { run: null, statuses: [], events: [], complaints: [] };
let last = "";
let asked = null;

async function decide() {
  const body = JSON.stringify({ request_id: asked.request_id, outcome: "allow" });
  asked = null;
  const headers = { "content-type": "application/json" };
  const { status } = await fetch(`${url}/runs/${seen.run}/decisions`, { method: "POST", headers, body });
  if (status !== 202) seen.complaints.push(`the decision was answered with ${status}`);
}

/** Read an answer, then drop the connection, wherever that is: in an event, in a character. */
async function read(address, request, life) {
  const connection = new AbortController();
  const answer = fetch(address, { ...request, signal: connection.signal });
  if (asked) await decide(); // beside it: the answer begins when there is something to say
  const response = await answer;
  seen.statuses.push(response.status);
  seen.run ??= response.headers.get("run-id");
  if (response.status !== 200) return;
  const parser = createParser({
    onEvent: ({ id, event, data }) => {
      last = id;
      seen.events.push({ id, name: event ?? null, data: JSON.parse(data) });
      if (seen.events.at(-1).data.type === "decision_requested") asked = seen.events.at(-1).data;
    },
    onError: (error) => seen.complaints.push(String(error)),
  });
  const decoder = new TextDecoder();
  let left = life === "end" || life === "asked" ? Infinity : Number(life);
  for await (const bytes of response.body) {
    parser.feed(decoder.decode(bytes.subarray(0, left), { stream: true }));
    left -= bytes.length;
    if (left <= 0 || (life === "asked" && asked)) break;
  }
  connection.abort();
}

const [first, ...others] = lives;
const headers = { accept, "content-type": "application/json" };
await read(`${url}/events`, { method: "POST", headers, body: JSON.stringify({ prompt, detach: true }) }, first);
for (const life of others)
  await read(`${url}/runs/${seen.run}/events`, { headers: last ? { accept, "last-event-id": last } : { accept } }, life);
console.log(JSON.stringify(seen));
