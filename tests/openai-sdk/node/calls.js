// Makes every call of a file with the OpenAI SDK, and says which did not end as the file has it.

const fs = require("node:fs");
const { OpenAI } = require("openai");

const MESSAGES = [{ role: "user", content: "How large is it?" }];
const TOOLS = [
  { type: "function", function: { name: "measure", parameters: { type: "object" } } },
];

// All text of the answer to a call, as an application puts it together.
async function textOf(client, { model, api, stream }) {
  let text = "";
  if (api === "completions") {
    const answer = await client.completions.create({ model, prompt: "How large?", stream });
    for await (const chunk of answer) for (const choice of chunk.choices) text += choice.text;
    return text;
  }
  if (api === "responses") {
    const events = await client.responses.create({ model, input: "How large?", stream });
    for await (const event of events)
      if (event.type === "response.output_text.delta") text += event.delta;
    return text;
  }
  const tools = api === "tools" ? { tools: TOOLS } : {};
  const request = { model, messages: MESSAGES, stream, ...tools };
  const answer = await client.chat.completions.create(request);
  for await (const chunk of answer)
    for (const { delta } of chunk.choices) {
      if (api !== "tools") text += delta.content ?? "";
      else for (const call of delta.tool_calls ?? []) text += call.function.arguments ?? "";
    }
  return text;
}

// How a call ended: its text, or the classes of what it threw.
async function ended(call) {
  const baseURL = process.env.GATEWAY_URL.replace(/\/$/, "") + "/v1";
  const options = { baseURL, apiKey: "any", maxRetries: call.retries, timeout: 30_000 };
  try {
    return { text: await textOf(new OpenAI(options), call) };
  } catch (error) {
    const raises = [];
    for (let kind = error?.constructor; kind?.name; kind = Object.getPrototypeOf(kind))
      raises.push(kind.name);
    return { raises, said: String(error) };
  }
}

function isExpected(expect, end) {
  if ("text" in expect) return end.text === expect.text;
  return "raises" in end && (expect.raises === null || end.raises.includes(expect.raises));
}

async function main() {
  const calls = JSON.parse(fs.readFileSync(process.env.CALLS, "utf-8"));
  let wrong = 0;
  for (const call of calls) {
    const start = performance.now();
    const end = await ended(call);
    const took = ((performance.now() - start) / 1000).toFixed(2);
    console.log(`${call.model}: ${took} s, ${JSON.stringify(end)}`);
    if (!isExpected(call.expect, end)) {
      wrong += 1;
      console.log(`  WRONG: expected ${JSON.stringify(call.expect)}`);
    }
  }
  if (wrong) throw new Error(`${wrong} of ${calls.length} calls ended otherwise`);
  console.log(`${calls.length} calls, all as expected`);
}

main().catch((error) => {
  console.error(String(error));
  process.exitCode = 1;
});
