// Gives each tier of customers deployments of its own. See README.md.

const PARAMETERS = {
  type: 'object',
  additionalProperties: false,
  required: ['tiers', 'default'],
  properties: {
    header: {
      description: 'The request header that names the tier.',
      type: 'string', default: 'x-tier',
    },
    tiers: {
      description: 'The names of the deployments of each tier.',
      type: 'object',
      additionalProperties: { type: 'array', items: { type: 'string' }, minItems: 1 },
    },
    default: {
      description: 'The tier of requests that name none, or one that does not exist.',
      type: 'string',
    },
  },
};

let parameters = {};
let places = [];
// For each tier, the weight of each place by its index.
let tiers = new Map();

export const policy = {
  describe() {
    return {
      name: 'tenant-tiers',
      version: '0.1.0',
      summary: 'Each tier of customers has deployments of its own',
      parameters: JSON.stringify(PARAMETERS),
      refreshInterval: undefined,
      needs: {},
    };
  },

  configure(text, given) {
    parameters = { header: 'x-tier', ...JSON.parse(text) };
    // QuickJS gets a u32 of 2^31 and more as a negative number. `>>> 0` corrects that.
    places = given.map(({ name, capacity }) => ({ name, capacity: capacity >>> 0 }));
    tiers = new Map(Object.entries(parameters.tiers).map(([tier, names]) => [tier, weigh(tier, names)]));
    if (!tiers.has(parameters.default)) {
      throw `default is ${parameters.default}, which is none of the tiers ${[...tiers.keys()].join(', ')}`;
    }
  },

  // The weights of the default tier, for requests that assignRequest gives no good answer for.
  assign(local, remote) {
    return share(tiers.get(parameters.default), local, remote);
  },
};

export const requestPolicy = {
  assignRequest(request, local, remote) {
    const header = request.headers.find(([name]) => name === parameters.header);
    const tier = header && tiers.get(header[1]);
    return tier ? share(tier, local, remote) : policy.assign(local, remote);
  },
};

// The weight of each place: its capacity if it is in the tier, else 0.
function weigh(tier, names) {
  const unknown = names.find((name) => !places.some((place) => place.name === name));
  if (unknown !== undefined) {
    const known = [...new Set(places.map((place) => place.name))];
    const shown = known.slice(0, 8).join(', ') + (known.length > 8 ? ', ...' : '');
    throw `tiers.${tier} names ${unknown}, which is none of the deployments ${shown}`;
  }
  return places.map((place) => (names.includes(place.name) ? place.capacity : 0));
}

function share(weights, local, remote) {
  const of = (deployments) => deployments.map((d) => weights[d.id]);
  const shared = { local: of(local), remote: of(remote) };
  if ([...shared.local, ...shared.remote].some((weight) => weight > 0)) return shared;
  // No deployment of the tier is eligible. All others are better than an error.
  const all = (deployments) => deployments.map((d) => places[d.id].capacity);
  return { local: all(local), remote: all(remote) };
}
