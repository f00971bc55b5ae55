// What the AI SDK sees of the UI message stream; one line of JSON.
//   recorded FILE  of streams that were written down: [{name, message, stream}], `message` being what one goes on with
//   chat URL ...   of an agent behind the wire that does as its prompt says; the prompts that are asked by themselves
//   route FILE     the same through a route of Next.js, a module with a function POST

import { readFile } from "node:fs/promises";
import {
  AbstractChat,
  DefaultChatTransport,
  generateId,
  lastAssistantMessageIsCompleteWithApprovalResponses,
  parseJsonEventStream,
  readUIMessageStream,
  uiMessageChunkSchema,
} from "ai";

/** The last state of the message that these chunks make, and what was wrong with them. */
async function read(chunks, message) {
  const seen = { message: null, states: 0, errors: [] };
  for await (const state of readUIMessageStream({
    stream: chunks,
    message,
    onError: (error) => seen.errors.push(String(error.message ?? error)),
  })) {
    seen.message = state;
    seen.states += 1;
  }
  return seen;
}

/** Every chunk of a recorded stream against the SDK's own schema, then the message that they make. */
async function judged({ name, message, stream }) {
  const refused = [];
  const types = [];
  const strict = new TransformStream({
    transform(chunk, controller) {
      if (!chunk.success) return void refused.push(String(chunk.error));
      if (types.at(-1) !== chunk.value.type) types.push(chunk.value.type);
      controller.enqueue(chunk.value);
    },
  });
  const bytes = new Blob([stream]).stream();
  const chunks = parseJsonEventStream({ stream: bytes, schema: uiMessageChunkSchema }).pipeThrough(strict);
  return { name, refused, types, ...(await read(chunks, message ?? undefined)) };
}

/** What `useChat` is made of, without React. */
class State {
  status = "ready";
  error = undefined;
  messages = [];
  pushMessage = (message) => void this.messages.push(structuredClone(message));
  popMessage = () => void this.messages.pop();
  replaceMessage = (index, message) => void (this.messages[index] = structuredClone(message));
  snapshot = (value) => structuredClone(value);
}

class Chat extends AbstractChat {
  constructor(init) {
    super({ state: new State(), ...init });
  }
}

function user(text) {
  return { id: generateId(), role: "user", parts: [{ type: "text", text }] };
}

/** One question by the transport alone; `react` is shown each chunk. */
async function ask(transport, prompt, react = () => {}, abortSignal = undefined) {
  const seen = { types: [], outputs: [], failed: null };
  const watch = new TransformStream({
    transform(chunk, controller) {
      if (chunk.type === "tool-output-available") seen.outputs.push(chunk.output);
      if (seen.types.at(-1) !== chunk.type) seen.types.push(chunk.type);
      controller.enqueue(chunk);
      react(chunk);
    },
  });
  try {
    const chunks = await transport.sendMessages({
      chatId: generateId(),
      messages: [user(prompt)],
      trigger: "submit-message",
      abortSignal,
    });
    Object.assign(seen, await read(chunks.pipeThrough(watch)));
  } catch (error) {
    seen.failed = { name: error.name, message: String(error.message), status: error.statusCode };
  }
  return seen;
}

async function asked(url, names) {
  const answers = [];
  const transport = new DefaultChatTransport({
    api: url,
    fetch: async (...request) => {
      const response = await fetch(...request);
      answers.push(Object.fromEntries(response.headers));
      return response;
    },
  });
  const seen = {};
  for (const name of names) seen[name] = await ask(transport, name);
  for (const [name, type] of [
    ["held", "text-delta"],
    ["idle tool", "tool-input-available"],
  ]) {
    const abort = new AbortController();
    seen[name] = await ask(transport, name, (chunk) => chunk.type === type && abort.abort(), abort.signal);
  }
  seen.flood = await ask(transport, "flood");
  seen.flood.message.parts[1].text = seen.flood.message.parts[1].text.length; // 100 KB that nobody has to read
  seen.headers = answers[0];
  return seen;
}

const tick = () => new Promise(setImmediate);

/** A whole chat: what it sends by itself, until nothing is asked and nothing goes on. */
async function chatted(url, prompts, { respond = () => ({ approved: true }), body, stops, post = fetch } = {}) {
  const seen = { requests: [], errors: [], data: [], asked: [] };
  const chat = new Chat({
    transport: new DefaultChatTransport({
      api: url,
      body,
      fetch: (address, request) => {
        const { messages, trigger } = JSON.parse(request.body);
        seen.requests.push({ trigger, messages: messages.length, role: messages.at(-1).role });
        return post(address, request);
      },
    }),
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
    onError: (error) => seen.errors.push(String(error.message)),
    onData: (part) => seen.data.push(part.type),
  });
  for (const prompt of prompts) {
    const sent = prompt === null ? chat.regenerate() : chat.sendMessage(prompt);
    if (stops !== undefined && stops === prompt.text) {
      while (!chat.lastMessage?.parts.some((part) => part.type === "text" && part.text === "so far ")) await tick();
      await chat.stop();
    }
    await sent;
    for (;;) {
      do await tick();
      while (chat.isRequestInProgress());
      const open = chat.lastMessage.parts.filter((part) => part.state === "approval-requested");
      if (open.length === 0 || chat.status === "error") break;
      seen.asked.push(open.map((part) => part.approval.descriptor.input));
      for (const part of open) await chat.addToolApprovalResponse({ id: part.approval.id, ...respond(part) });
    }
  }
  return { ...seen, status: chat.status, messages: chat.messages };
}

const [mode, ...rest] = process.argv.slice(2);
let seen;
if (mode === "recorded") {
  seen = [];
  for (const stream of JSON.parse(await readFile(rest[0], "utf8"))) seen.push(await judged(stream));
} else if (mode === "route") {
  const { POST } = await import(rest[0]);
  const post = (address, request) => POST(new Request(new URL(address, "http://page.example"), request));
  seen = await chatted("/api/chat", ["asks", "held", "text"].map((text) => ({ text })), { stops: "held", post });
} else {
  const [url, ...names] = rest;
  const texts = (...prompts) => prompts.map((text) => ({ text }));
  const respond = () => ({ approved: false, reason: "not today" });
  const files = [{ type: "file", mediaType: "image/png", url: "data:image/png;base64,iVBORw0KGgo=", filename: "p.png" }];
  seen = {
    asked: await asked(url, names),
    allowed: await chatted(url, texts("asks", "text")),
    denied: await chatted(url, texts("asks", "text"), { respond }),
    several: await chatted(url, texts("go", "again"), { body: { agent: "several" } }),
    failed: await chatted(url, texts("fails midway", "text")),
    stopped: await chatted(url, texts("held", "text"), { stops: "held" }),
    regenerated: await chatted(url, [{ text: "text" }, null]),
    everything: await chatted(url, texts("tools", "progress", "reasoning", "malformed", "nested", "unicode", "text")),
    picture: await chatted(url, [{ text: "text", files }]),
    refused: await chatted(url, [{ text: "text", files: [{ ...files[0], mediaType: "video/mp4" }] }]),
  };
}
console.log(JSON.stringify(seen));
