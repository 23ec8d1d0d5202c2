// Less traffic to deployments that have more to do. See README.md.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "bindings/strategy.h"

typedef hybrid_routing_types_deployment_t deployment_t;

// A JSON Schema: the gateway checks `routing_parameter` against it before it calls `configure`.
static const char PARAMETERS[] =
    "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {"
    "\"remote\": {"
    "\"description\": \"The weight of a remote deployment, relative to an equally busy local one.\","
    "\"type\": \"number\", \"minimum\": 0, \"maximum\": 1, \"default\": 1}"
{{request}}
    ", \"long_prompt\": {"
    "\"description\": \"Prompts of at least this many tokens stay on local deployments that have room.\","
    "\"type\": \"integer\", \"minimum\": 1, \"default\": 4000}"
    ", \"patience\": {"
    "\"description\": \"Milliseconds that a long prompt waits for room at a local deployment.\","
    "\"type\": \"integer\", \"minimum\": 1, \"maximum\": 60000, \"default\": 1000}"
{{end}}
    "}}";

// `gateway strategy inspect FILE --signals` lists all.
static const char *const SIGNALS[] = {"engine.running", "engine.waiting"};
enum { COLUMNS = sizeof SIGNALS / sizeof *SIGNALS };

static double remote_factor = 1;
{{request}}
static double long_prompt = 4000;
static double patience = 1000;
{{end}}
// `places.ptr[deployment.id]` has the name, the capacity and the price.
static exports_hybrid_routing_policy_list_place_t places;

// Finds the number after a key. A search is enough for parameters that are all numbers: the gateway
// has checked them, and passes JSON without spaces.
static double number(const char *json, const char *key, double otherwise) {
    const char *found = strstr(json, key);
    return found ? strtod(found + strlen(key), NULL) : otherwise;
}

static void *allocate(size_t count, size_t size) {
    void *memory = count ? calloc(count, size) : NULL;
    if (count && memory == NULL) abort();
    return memory;
}

void exports_hybrid_routing_policy_describe(exports_hybrid_routing_policy_description_t *ret) {
    strategy_string_dup(&ret->name, "{{name}}");
    strategy_string_dup(&ret->version, "0.1.0");
    strategy_string_dup(&ret->summary, "Less traffic to deployments that have more to do");
    strategy_string_dup(&ret->parameters, PARAMETERS);
    // The load changes, so the gateway asks again each second.
    ret->refresh_interval.is_some = true;
    ret->refresh_interval.val = 1000;
{{request}}
    ret->needs = EXPORTS_HYBRID_ROUTING_POLICY_FACTS_PROMPT_TOKENS;
{{end}}
{{plain}}
    ret->needs = 0;
{{end}}
    ret->signals.len = COLUMNS;
    ret->signals.ptr = allocate(COLUMNS, sizeof *ret->signals.ptr);
    for (size_t i = 0; i < COLUMNS; i++) strategy_string_dup(&ret->signals.ptr[i].name, SIGNALS[i]);
    // Words for verdicts: none.
    ret->reasons.ptr = NULL;
    ret->reasons.len = 0;
}

// The called function owns its arguments: it frees or keeps them.
bool exports_hybrid_routing_policy_configure(strategy_string_t *parameters,
                                             strategy_list_string_t *models,
                                             exports_hybrid_routing_policy_list_place_t *given,
                                             strategy_string_t *err) {
    char *json = strndup((const char *)parameters->ptr, parameters->len);
    strategy_string_free(parameters);
    strategy_list_string_free(models);
    places = *given;
    if (json == NULL) {
        // Refuse parameters that the schema cannot rule out in this way, too.
        strategy_string_dup(err, "out of memory");
        return false;
    }
    remote_factor = number(json, "\"remote\":", remote_factor);
{{request}}
    long_prompt = number(json, "\"long_prompt\":", long_prompt);
    patience = number(json, "\"patience\":", patience);
{{end}}
    free(json);
    return true;
}

// The requests that a deployment has to do. The engine counts those of others, too. Where it does not
// tell, its signals are NaN.
static double load(const deployment_t *deployment, const double *row) {
    double told = row[0] + row[1];
    return isnan(told) ? deployment->in_flight : told;
}

// One weight for each deployment. Only proportions count.
static strategy_list_f64_t weigh(const deployment_t *deployments, size_t len, const double *rows,
                                 double factor) {
    strategy_list_f64_t weights = {allocate(len, sizeof(double)), len};
    for (size_t i = 0; i < len; i++)
        weights.ptr[i] = factor / (1.0 + load(&deployments[i], &rows[i * COLUMNS]));
    return weights;
}

static void share(const deployment_t *local, size_t locals, const deployment_t *remote, size_t remotes,
                  hybrid_routing_types_weights_t *ret) {
    strategy_list_f64_t rows;
    hybrid_routing_signals_read(&rows);
    ret->local = weigh(local, locals, rows.ptr, 1);
    ret->remote = weigh(remote, remotes, rows.ptr + locals * COLUMNS, locals > 0 ? remote_factor : 1);
    strategy_list_f64_free(&rows);
}

void exports_hybrid_routing_policy_assign(exports_hybrid_routing_policy_list_deployment_t *local,
                                          exports_hybrid_routing_policy_list_deployment_t *remote,
                                          exports_hybrid_routing_policy_weights_t *ret) {
    share(local->ptr, local->len, remote->ptr, remote->len, ret);
    exports_hybrid_routing_policy_list_deployment_free(local);
    exports_hybrid_routing_policy_list_deployment_free(remote);
}
{{request}}

static bool has_room(const deployment_t *deployments, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (deployments[i].in_flight < deployments[i].limit) return true;
    return false;
}

void exports_hybrid_routing_request_policy_assign_request(
    exports_hybrid_routing_request_policy_request_t *request,
    exports_hybrid_routing_request_policy_list_deployment_t *local,
    exports_hybrid_routing_request_policy_list_deployment_t *remote,
    exports_hybrid_routing_request_policy_verdict_t *ret) {
    double tokens = request->prompt_tokens.is_some ? request->prompt_tokens.val : 0;
    bool is_long = local->len > 0 && tokens >= long_prompt;
    bool room = has_room(local->ptr, local->len);
    memset(ret, 0, sizeof *ret);
    if (is_long && !room && request->held == 0) {
        // Asked again when there is room, or when the time is over.
        ret->tag = EXPORTS_HYBRID_ROUTING_REQUEST_POLICY_VERDICT_HOLD;
        ret->val.hold = (uint32_t)patience;
    } else {
        hybrid_routing_types_weights_t *weights = &ret->val.route.weights;
        ret->tag = EXPORTS_HYBRID_ROUTING_REQUEST_POLICY_VERDICT_ROUTE;
        share(local->ptr, local->len, remote->ptr, remote->len, weights);
        if (is_long && room)
            for (size_t i = 0; i < weights->remote.len; i++) weights->remote.ptr[i] = 0;
    }
    exports_hybrid_routing_request_policy_request_free(request);
    exports_hybrid_routing_request_policy_list_deployment_free(local);
    exports_hybrid_routing_request_policy_list_deployment_free(remote);
}
{{end}}
