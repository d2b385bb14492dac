// The policy: as it is in force, as the visitor changes it, and what is wrong with it.

const WIDTH = 58;

const [form, text, outcome] = ["policy", "text", "outcome"].map((id) => document.getElementById(id));
let original;

// JSON in which what fits into a line, behind `used` characters, stands in one.
function format(value, indent = "", used = 0) {
  const line = JSON.stringify(value, null, 1).replace(/\n\s*/g, " ").replace(/([[{]) | ([\]}])/g, "$1$2");
  if (value === null || typeof value !== "object" || used + line.length <= WIDTH) return line;
  const inner = `${indent}  `;
  const row = (start, item) => start + format(item, inner, start.length);
  const rows = Array.isArray(value)
    ? value.map((item) => row(inner, item))
    : Object.entries(value).map(([key, item]) => row(`${inner}${JSON.stringify(key)}: `, item));
  const [open, close] = Array.isArray(value) ? "[]" : "{}";
  return `${open}\n${rows.join(",\n")}\n${indent}${close}`;
}

function write(policy) {
  text.value = format(policy);
  text.setSelectionRange(0, 0);
  text.scrollTop = 0;
}

const CHANGES = {
  shorter: (policy) => Object.assign(policy.messages.from_client, { max_message_bytes: 100, max_frame_bytes: 100 }),
  monitor: (policy) => (policy.mode = "monitor"),
  mistake: (policy) => {
    policy.messages.from_client.max_mesage_bytes = 100;
    policy.limits.per_address.handshakes.burst = "many";
  },
};

const element = (name, text) => Object.assign(document.createElement(name), { textContent: text });

function tell(kind, ...parts) {
  outcome.className = kind;
  outcome.replaceChildren(...parts);
  text.setAttribute("aria-invalid", String(kind === "refused"));
}

function fault({ path, problem }) {
  const item = document.createElement("li");
  if (path) item.append(element("code", path), ": ");
  item.append(problem);
  return item;
}

// Asks the demo. What is no answer of its own counts as a fault.
async function ask(options) {
  try {
    const answer = await fetch("/playground/policy", options);
    const body = await answer.json();
    return answer.ok ? { body } : { faults: body.faults ?? [{ problem: body.error }], omitted: body.omitted };
  } catch (error) {
    return { faults: [{ problem: `no answer of the demo: ${error.message}` }] };
  }
}

form.onsubmit = async (event) => {
  event.preventDefault();
  tell("waiting", element("p", "Envoy reads it…"));
  const { faults, omitted } = await ask({ method: "POST", body: text.value });
  if (!faults) {
    const time = new Date().toLocaleTimeString("en-GB");
    return tell("passed", element("p", `✓ In force since ${time}. Connections stay open, and are judged by it.`));
  }
  const list = document.createElement("ul");
  list.append(...faults.map(fault));
  if (omitted) list.append(element("li", `and ${omitted} more`));
  tell("refused", element("p", "✕ Refused. The policy before it stays in force."), list);
};

for (const button of document.querySelectorAll("[data-change]")) {
  button.onclick = () => {
    const policy = JSON.parse(original);
    CHANGES[button.dataset.change]?.(policy);
    write(policy);
    tell("", element("p", "Written into the text; not applied yet."));
  };
}

export async function load() {
  const { body, faults } = await ask();
  if (faults) return tell("refused", element("p", `✕ There is no policy to show: ${faults[0].problem}`));
  const { auth, routes, ...rest } = body;
  // What is changed most stands first.
  original = JSON.stringify({ ...rest, routes, auth });
  write(JSON.parse(original));
}
