// nightlab's plugin for OpenCode: every event goes to `nightlab hook opencode` as one JSON object, and what comes back
// is put where OpenCode wants it. Nothing is decided here. `nightlab agents install opencode` writes this file.
import { spawn } from "node:child_process"
import { fileURLToPath } from "node:url"

// The lab's door knows where nightlab lives; this file lies in .opencode/plugins/ of the same lab.
const COMMAND = ["sh", fileURLToPath(new URL("../../.agents/nightlab.sh", import.meta.url)), "hook", "opencode"]
const LIMIT_MS = 60_000

// What the lab has to say to an event; {} where it says nothing, is not there, or takes too long.
const ask = (event) =>
  new Promise((resolve) => {
    const child = spawn(COMMAND[0], COMMAND.slice(1), { stdio: ["pipe", "pipe", "ignore"], timeout: LIMIT_MS })
    let said = ""
    child.on("error", () => resolve({}))
    child.stdin.on("error", () => {})
    child.stdout.on("data", (data) => (said += data))
    child.on("close", () => {
      try {
        resolve(said ? JSON.parse(said) : {})
      } catch {
        resolve({})
      }
    })
    child.stdin.end(JSON.stringify(event))
  })

export const Nightlab = async ({ client, directory }) => {
  const parents = {} // session -> the session that it works for
  const begun = new Set()
  const context = {} // session -> the latest state, mode and news, told with every request

  const tell = (event, session, more = {}) =>
    ask({ event, session, cwd: directory, parent: parents[session] ?? "", ...more })
  const keep = (session, kind, said) => {
    if (said.context) context[session] = { ...context[session], [kind]: said.context }
  }
  const text = (parts) => parts.filter((part) => part.type === "text" && !part.synthetic).map((part) => part.text).join("\n")

  return {
    event: async ({ event }) => {
      const session = event.properties?.sessionID ?? event.properties?.info?.id
      if (event.type === "session.created" && event.properties.info?.parentID) parents[session] = event.properties.info.parentID
      if (event.type === "session.compacted") keep(session, "state", await tell("start", session, { source: "compact" }))
      if (event.type === "session.idle") {
        const { ask: prompt } = await tell("idle", session)
        if (prompt) await client.session.promptAsync({ path: { id: session }, body: { parts: [{ type: "text", text: prompt }] } })
      }
    },
    "chat.message": async ({ sessionID }, { parts }) => {
      if (!begun.has(sessionID)) {
        begun.add(sessionID)
        keep(sessionID, "state", await tell("start", sessionID, { source: "startup" }))
      }
      keep(sessionID, "mode", await tell("prompt", sessionID, { prompt: text(parts) }))
    },
    "experimental.chat.system.transform": async ({ sessionID }, { system }) => {
      system.push(...Object.values(context[sessionID] ?? {}))
    },
    "tool.execute.before": async ({ tool, sessionID, callID }, { args }) => {
      const said = await tell("before", sessionID, { tool, call: callID, args })
      if (said.deny) throw new Error(said.deny)
    },
    "tool.execute.after": async ({ tool, sessionID, callID, args }, output) => {
      const said = await tell("after", sessionID, { tool, call: callID, args: args ?? {} })
      if (said.context && typeof output.output === "string") output.output += `\n\n${said.context}`
      else keep(sessionID, "news", said)
    },
  }
}
