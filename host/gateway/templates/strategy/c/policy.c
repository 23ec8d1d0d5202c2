// Less traffic to deployments that have more to do. See README.md.

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
    "\"description\": \"Prompts of at least this many tokens stay on local deployments.\","
    "\"type\": \"integer\", \"minimum\": 1, \"default\": 4000}"
{{end}}
    "}}";

static double remote_factor = 1;
{{request}}
static double long_prompt = 4000;
{{end}}
// `places.ptr[deployment.id]` has the name, the capacity and the price.
static exports_hybrid_routing_policy_list_place_t places;

// Finds the number after a key. A search is enough for parameters that are all numbers: the gateway
// has checked them, and passes JSON without spaces.
static double number(const char *json, const char *key, double otherwise) {
    const char *found = strstr(json, key);
    return found ? strtod(found + strlen(key), NULL) : otherwise;
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
}

// The called function owns its arguments: it frees or keeps them.
bool exports_hybrid_routing_policy_configure(strategy_string_t *parameters,
                                             exports_hybrid_routing_policy_list_place_t *given,
                                             strategy_string_t *err) {
    char *json = strndup((const char *)parameters->ptr, parameters->len);
    strategy_string_free(parameters);
    places = *given;
    if (json == NULL) {
        // Refuse parameters that the schema cannot rule out in this way, too.
        strategy_string_dup(err, "out of memory");
        return false;
    }
    remote_factor = number(json, "\"remote\":", remote_factor);
{{request}}
    long_prompt = number(json, "\"long_prompt\":", long_prompt);
{{end}}
    free(json);
    return true;
}

// One weight for each deployment. Only proportions count.
static strategy_list_f64_t weigh(const deployment_t *deployments, size_t len, double factor) {
    strategy_list_f64_t weights = {len ? calloc(len, sizeof(double)) : NULL, len};
    if (len && weights.ptr == NULL) abort();
    for (size_t i = 0; i < len; i++) weights.ptr[i] = factor / (1.0 + deployments[i].in_flight);
    return weights;
}

void exports_hybrid_routing_policy_assign(exports_hybrid_routing_policy_list_deployment_t *local,
                                          exports_hybrid_routing_policy_list_deployment_t *remote,
                                          exports_hybrid_routing_policy_weights_t *ret) {
    ret->local = weigh(local->ptr, local->len, 1);
    ret->remote = weigh(remote->ptr, remote->len, local->len > 0 ? remote_factor : 1);
    exports_hybrid_routing_policy_list_deployment_free(local);
    exports_hybrid_routing_policy_list_deployment_free(remote);
}
{{request}}

void exports_hybrid_routing_request_policy_assign_request(
    exports_hybrid_routing_request_policy_request_t *request,
    exports_hybrid_routing_request_policy_list_deployment_t *local,
    exports_hybrid_routing_request_policy_list_deployment_t *remote,
    exports_hybrid_routing_request_policy_weights_t *ret) {
    double tokens = request->prompt_tokens.is_some ? request->prompt_tokens.val : 0;
    double factor = local->len == 0 ? 1 : tokens >= long_prompt ? 0 : remote_factor;
    ret->local = weigh(local->ptr, local->len, 1);
    ret->remote = weigh(remote->ptr, remote->len, factor);
    exports_hybrid_routing_request_policy_request_free(request);
    exports_hybrid_routing_request_policy_list_deployment_free(local);
    exports_hybrid_routing_request_policy_list_deployment_free(remote);
}
{{end}}
