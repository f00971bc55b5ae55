// OpenAI's own client against a server: `node openai.mjs URL [brief]`. Prints what it saw, as one line of JSON;
// `brief` leaves out what does not depend on what the server shows.
import OpenAI from "openai";

const [url, brief] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${url}/v1`, apiKey: "unused", maxRetries: 0 });

const asked = (prompt, more = {}) => ({
  model: "scenarios",
  messages: [{ role: "user", content: prompt }],
  ...more,
});

const told = (error) => ({
  name: error.constructor.name,
  api: error instanceof OpenAI.APIError,
  status: error.status ?? null,
  message: error.message,
  code: error.code ?? null,
  param: error.param ?? null,
});

async function streamed(prompt) {
  const seen = { text: "", roles: [], reasoning: "", finish: [], calls: 0, usage: null, chunks: 0 };
  try {
    const stream = await client.chat.completions.create(
      asked(prompt, { stream: true, stream_options: { include_usage: true } }),
    );
    for await (const chunk of stream) {
      seen.chunks += 1;
      seen.usage = chunk.usage ?? seen.usage;
      for (const { delta, finish_reason } of chunk.choices) {
        seen.text += delta.content ?? "";
        seen.reasoning += delta.reasoning_content ?? "";
        seen.calls += delta.tool_calls?.length ?? 0;
        if (delta.role) seen.roles.push(delta.role);
        if (finish_reason) seen.finish.push(finish_reason);
      }
    }
  } catch (error) {
    seen.error = told(error);
  }
  return seen;
}

async function whole(prompt) {
  try {
    const { choices, usage, object } = await client.chat.completions.create(asked(prompt));
    return { text: choices[0].message.content, finish: choices[0].finish_reason, usage, object };
  } catch (error) {
    return { error: told(error) };
  }
}

// The client's own accumulator, which checks what it puts together.
async function accumulated(prompt) {
  try {
    const runner = client.chat.completions.stream(asked(prompt));
    const completion = await runner.finalChatCompletion();
    return { text: completion.choices[0].message.content, finish: completion.choices[0].finish_reason };
  } catch (error) {
    return { error: told(error) };
  }
}

async function failing(work) {
  try {
    await work();
    return null;
  } catch (error) {
    return told(error);
  }
}

const ending = ["text", "tools", "progress", "reasoning", "asks", "nested", "malformed", "unicode"];
const failures = ["fails first", "fails midway"];
const seen = { streamed: {}, whole: {}, accumulated: {} };
for (const prompt of [...ending, ...failures]) {
  seen.streamed[prompt] = await streamed(prompt);
  seen.whole[prompt] = await whole(prompt);
  seen.accumulated[prompt] = await accumulated(prompt);
}

if (brief) {
  console.log(JSON.stringify(seen));
  process.exit();
}

const flood = await streamed("flood");
seen.flood = { ...flood, text: flood.text.length, others: flood.text.replaceAll("x", "") };

// Leaving the loop ends the request.
for await (const chunk of await client.chat.completions.create(asked("held", { stream: true }))) {
  if (chunk.choices[0].delta.content) {
    seen.held = chunk.choices[0].delta.content;
    break;
  }
}

seen.models = (await client.models.list()).data;
seen.model = await client.models.retrieve("echo it");
seen.noModel = await failing(() => client.models.retrieve("nobody"));
seen.unknown = await failing(() => client.chat.completions.create({ ...asked("text"), model: "nobody" }));
seen.tools = await failing(() =>
  client.chat.completions.create(asked("text", { tools: [{ type: "function", function: { name: "x" } }] })),
);
console.log(JSON.stringify(seen));
