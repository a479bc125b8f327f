// An agent of one file, in JavaScript: it asks the model, runs the commands that it asks for, and
// ends when it asks for none. Node.js 18 or later, no packages.

import { execFile } from "node:child_process";
import { appendFile, readFile } from "node:fs/promises";

const { ROLLDOCK_BASE_URL, ROLLDOCK_API_KEY, ROLLDOCK_MODEL } = process.env;
const { ROLLDOCK_INSTRUCTION_FILE, ROLLDOCK_LOGS } = process.env;

// What the model's commands must not inherit.
const environment = { ...process.env };
for (const name of Object.keys(environment)) {
  if (name.endsWith("_API_KEY")) delete environment[name];
}

const tools = [
  {
    type: "function",
    function: {
      name: "bash",
      description: "Run a command with bash in the work directory.",
      parameters: {
        type: "object",
        properties: { command: { type: "string" } },
        required: ["command"],
      },
    },
  },
];

async function ask(messages) {
  for (let attempt = 0; ; attempt++) {
    try {
      const response = await fetch(`${ROLLDOCK_BASE_URL}/chat/completions`, {
        method: "POST",
        headers: {
          "Content-Type": "application/json",
          Authorization: `Bearer ${ROLLDOCK_API_KEY}`,
          "x-stainless-retry-count": String(attempt),
        },
        body: JSON.stringify({ model: ROLLDOCK_MODEL, messages, tools }),
      });
      if (response.ok) return (await response.json()).choices[0].message;
      const said = await response.text();
      // 4xx: it would be refused again; everything else may pass.
      if (response.status < 500) throw Object.assign(new Error(said), { final: true });
    } catch (error) {
      if (error.final || attempt >= 10) throw error;
    }
    await new Promise((wake) => setTimeout(wake, Math.min(500 * 2 ** attempt, 10_000)));
  }
}

function run(command) {
  return new Promise((resolve) => {
    const options = { env: environment, maxBuffer: 1 << 26, timeout: 600_000 };
    execFile("bash", ["-c", command], options, (error, stdout, stderr) => {
      const code = error ? (error.code ?? 124) : 0;
      resolve(`exit code ${code}\n${(stdout + stderr).slice(-20_000)}`);
    });
  });
}

const messages = [
  { role: "system", content: "Solve the task with the bash tool. When it is done, say so." },
  { role: "user", content: await readFile(ROLLDOCK_INSTRUCTION_FILE, "utf8") },
];
for (;;) {
  const message = await ask(messages);
  messages.push(message);
  await appendFile(`${ROLLDOCK_LOGS}/turns.jsonl`, JSON.stringify(message) + "\n");
  if (!message.tool_calls?.length) break;
  for (const call of message.tool_calls) {
    const { command } = JSON.parse(call.function.arguments);
    messages.push({ role: "tool", tool_call_id: call.id, content: await run(command ?? "") });
  }
}
