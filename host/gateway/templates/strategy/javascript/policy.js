// Less traffic to deployments that have more to do. See README.md.

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
      description: 'Prompts of at least this many tokens stay on local deployments.',
      type: 'integer', minimum: 1, default: 4000,
    },
{{end}}
  },
};

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
    };
  },

  configure(text, given) {
    parameters = { remote: 1, long_prompt: 4000, ...JSON.parse(text) };
    places = given;
    // Refuse parameters that the schema cannot rule out here: throw 'why'
  },

  assign(local, remote) {
    const factor = local.length > 0 ? parameters.remote : 1;
    return { local: local.map(share), remote: remote.map((d) => factor * share(d)) };
  },
};

{{request}}
export const requestPolicy = {
  assignRequest(request, local, remote) {
    const weights = policy.assign(local, remote);
    if (local.length > 0 && (request.promptTokens ?? 0) >>> 0 >= parameters.long_prompt) {
      weights.remote = remote.map(() => 0);
    }
    return weights;
  },
};

{{end}}
// Only proportions count. `places[deployment.id]` has the name, the capacity and the price.
function share(deployment) {
  // QuickJS gets a u32 of 2^31 and more as a negative number. `>>> 0` corrects that.
  return 1 / (1 + (deployment.inFlight >>> 0));
}
