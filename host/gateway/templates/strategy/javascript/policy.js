// Less traffic to deployments that have more to do. See README.md.

import signals from 'hybrid:routing/signals@0.3.0-draft';

// A JSON Schema: the gateway checks `routing_parameter` against it before it calls `configure`.
const PARAMETERS = {
  type: 'object',
  additionalProperties: false,
  properties: {
    remote: {
      description: 'The weight of a remote deployment, relative to an equally busy local one.',
      type: 'number', minimum: 0, maximum: 1, default: 1,
    },
{{request}}
    long_prompt: {
      description: 'Prompts of at least this many tokens stay on local deployments that have room.',
      type: 'integer', minimum: 1, default: 4000,
    },
    patience: {
      description: 'Milliseconds that a long prompt waits for room at a local deployment.',
      type: 'integer', minimum: 1, maximum: 60000, default: 1000,
    },
{{end}}
  },
};

// `gateway strategy inspect FILE --signals` lists all.
const SIGNALS = ['engine.running', 'engine.waiting'];

let parameters = {};
let places = [];

export const policy = {
  describe() {
    return {
      name: '{{name}}',
      version: '0.1.0',
      summary: 'Less traffic to deployments that have more to do',
      parameters: JSON.stringify(PARAMETERS),
      refreshInterval: 1000, // the load changes, so the gateway asks again each second
{{request}}
      needs: { promptTokens: true },
{{end}}
{{plain}}
      needs: {},
{{end}}
      signals: SIGNALS.map((name) => ({ name, optional: false })),
      reasons: [],
    };
  },

  configure(text, models, given) {
{{request}}
    parameters = { remote: 1, long_prompt: 4000, patience: 1000, ...JSON.parse(text) };
{{end}}
{{plain}}
    parameters = { remote: 1, ...JSON.parse(text) };
{{end}}
    places = given;
    // Refuse parameters that the schema cannot rule out here: throw 'why'
  },

  assign(local, remote) {
    const rows = signals.read();
    const factor = local.length > 0 ? parameters.remote : 1;
    return {
      local: local.map((d, row) => 1 / (1 + load(d, rows, row))),
      remote: remote.map((d, row) => factor / (1 + load(d, rows, local.length + row))),
    };
  },
};

{{request}}
export const requestPolicy = {
  assignRequest(request, local, remote) {
    const weights = policy.assign(local, remote);
    if (local.length > 0 && number(request.promptTokens ?? 0) >= parameters.long_prompt) {
      if (local.some((d) => number(d.inFlight) < number(d.limit))) {
        weights.remote = remote.map(() => 0);
      } else if (request.held === 0) {
        // Asked again when there is room, or when the time is over.
        return { tag: 'hold', val: parameters.patience };
      }
    }
    return { tag: 'route', val: { weights, whenFull: { tag: 'as-configured' } } };
  },
};

{{end}}
// The requests that a deployment has to do. The engine counts those of others, too. Where it does not
// tell, its signals are NaN. `places[deployment.id]` has the name, the capacity and the price.
function load(deployment, rows, row) {
  const told = rows[row * SIGNALS.length] + rows[row * SIGNALS.length + 1];
  return Number.isNaN(told) ? number(deployment.inFlight) : told;
}

// QuickJS gets a u32 of 2^31 and more as a negative number.
function number(u32) {
  return u32 >>> 0;
}
