// What `HttpAgent` of @ag-ui/client sees of an agent that does as its prompt says; one line of JSON.
// Called with the address of the wire. What the client complains about is among what it has seen.

import { HttpAgent } from "@ag-ui/client";

const [url] = process.argv.slice(2);
const complaints = [];
console.warn = console.error = (...said) => complaints.push(said.map(String).join(" "));

/** Gives what comes byte by byte. */
const torn = async (...request) => {
  const response = await fetch(...request);
  const transform = (chunk, out) => chunk.forEach((byte) => out.enqueue(Uint8Array.of(byte)));
  return new Response(response.body.pipeThrough(new TransformStream({ transform })), response);
};

/** A conversation of its own. */
class Conversation {
  constructor(prompt, fetch) {
    this.agent = new HttpAgent({ url, threadId: prompt, fetch });
    this.ask(prompt);
  }

  ask(prompt) {
    this.agent.addMessage({ id: crypto.randomUUID(), role: "user", content: prompt });
  }

  /** One run; `react` is shown each event. */
  async run(parameters = {}, react = () => {}) {
    const begun = complaints.length;
    const seen = { types: [], failed: null, error: null, finished: null, progress: [], subagents: [] };
    const subscriber = {
      onEvent: ({ event }) => {
        if (!("delta" in event)) seen.types.push(event.type);
        if (event.type === "ACTIVITY_SNAPSHOT") seen.progress.push(event.content.data);
        if (event.type === "SUBAGENT_STARTED") seen.subagents.push(event);
        react(event);
      },
      onRunFinishedEvent: ({ event, outcome }) => (seen.finished = { ...event, outcome }),
      onRunErrorEvent: ({ event }) => (seen.error = { message: event.message, code: event.code }),
      onRunFailed: ({ error }) => void (seen.failed = String(error.message)),
    };
    try {
      await this.agent.runAgent(parameters, subscriber);
    } catch (error) {
      seen.failed ??= String(error.message);
    }
    seen.interrupts = structuredClone(this.agent.pendingInterrupts);
    seen.messages = structuredClone(this.agent.messages);
    seen.complaints = complaints.slice(begun);
    return seen;
  }

  /** Answer what is asked, all of it alike. */
  resume(response) {
    const resume = this.agent.pendingInterrupts.map(({ id }) => ({ interruptId: id, ...response }));
    return this.run({ resume });
  }
}

const seen = {};
for (const prompt of ["text", "tools", "progress", "reasoning", "fails first", "fails midway", "nested", "malformed"])
  seen[prompt] = await new Conversation(prompt).run();
for (const prompt of ["unicode", "nested"]) seen[`${prompt}, torn`] = await new Conversation(prompt, torn).run();

for (const [prompt, last] of [["held", "TEXT_MESSAGE_CONTENT"], ["idle tool", "TOOL_CALL_END"]]) {
  const talk = new Conversation(prompt);
  seen[prompt] = await talk.run({}, (event) => event.type === last && talk.agent.abortRun());
  // What was cut off stays in the conversation, which goes on.
  talk.ask("text");
  seen[`${prompt}, then text`] = await talk.run();
}

for (const [name, response] of Object.entries({
  allowed: { status: "resolved", payload: { approved: true } },
  denied: { status: "resolved", payload: { approved: false, reason: "not today" } },
  edited: { status: "resolved", payload: { approved: true, editedArgs: { value: 8 } } },
  cancelled: { status: "cancelled" },
  misspelt: { status: "resolved", payload: "yes" },
})) {
  const talk = new Conversation("asks");
  seen.asks = await talk.run();
  seen[name] = await talk.resume(response);
}

// A user who does not answer, and asks something else.
const elsewhere = new Conversation("asks");
await elsewhere.run();
elsewhere.ask("text");
seen["asks, then text"] = await elsewhere.resume({ status: "cancelled" });

// Calls that are asked about in the run itself and in two that are nested in it, answered as they are asked.
const several = new Conversation("several");
const forwardedProps = { becket: { agent: "several" } };
seen.several = [await several.run({ forwardedProps })];
while (several.agent.pendingInterrupts.length > 0 && seen.several.length < 20) {
  const approved = several.agent.pendingInterrupts.every(({ metadata }) => metadata.becket.arguments.value !== 2);
  seen.several.push(await several.resume({ status: "resolved", payload: { approved } }));
}

const talk = new Conversation("nested");
await talk.run();
for (const prompt of ["reasoning", "tools", "text"]) {
  talk.ask(prompt);
  seen[`at last ${prompt}`] = await talk.run();
}

const tools = [{ name: "pick_colour", description: "Asks for a colour.", parameters: { type: "object" } }];
seen["client tools"] = await new Conversation("text").run({ tools });

const { messages, ...flood } = await new Conversation("flood").run();
seen.flood = { ...flood, length: messages.at(-1).content.length };

process.stdout.write(`${JSON.stringify(seen)}\n`);
