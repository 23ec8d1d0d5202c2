// Sends each request to the deployment with the least load. See README.md.

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "strategy.h"

typedef hybrid_routing_types_deployment_t deployment_t;

static const char PARAMETERS[] =
    "{\"type\": \"object\", \"additionalProperties\": false, \"properties\": {\"spill\": {"
    "\"description\": \"Remote deployments take part from this load of local ones on: requests in flight "
    "and in the queue, divided by capacity.\","
    "\"type\": \"number\", \"minimum\": 0, \"default\": 1}}}";

static double spill = 1;
static exports_hybrid_routing_policy_list_place_t places;

void exports_hybrid_routing_policy_describe(exports_hybrid_routing_policy_description_t *ret) {
    strategy_string_dup(&ret->name, "shortest-queue");
    strategy_string_dup(&ret->version, "0.1.0");
    strategy_string_dup(&ret->summary, "Each request to the deployment with the least to do");
    strategy_string_dup(&ret->parameters, PARAMETERS);
    ret->refresh_interval.is_some = true;
    ret->refresh_interval.val = 1000;
    ret->needs = 0;
    // Neither signals nor words for verdicts.
    memset(&ret->signals, 0, sizeof ret->signals);
    memset(&ret->reasons, 0, sizeof ret->reasons);
}

bool exports_hybrid_routing_policy_configure(strategy_string_t *parameters,
                                             strategy_list_string_t *models,
                                             exports_hybrid_routing_policy_list_place_t *given,
                                             strategy_string_t *err) {
    static const char KEY[] = "\"spill\":";
    char *json = strndup((const char *)parameters->ptr, parameters->len);
    strategy_string_free(parameters);
    strategy_list_string_free(models);
    places = *given;
    if (json == NULL) {
        strategy_string_dup(err, "out of memory");
        return false;
    }
    // The gateway has checked that this is the only key, with a number.
    char *found = strstr(json, KEY);
    if (found) spill = strtod(found + strlen(KEY), NULL);
    free(json);
    return true;
}

static double load(const deployment_t *d) {
    return ((double)d->in_flight + d->queued) / places.ptr[d->id].capacity;
}

static double least(const deployment_t *deployments, size_t len) {
    double least = INFINITY;
    for (size_t i = 0; i < len; i++) least = fmin(least, load(&deployments[i]));
    return least;
}

// 1 for each deployment whose load is `least`, 0 for the others.
static strategy_list_f64_t at(double least, const deployment_t *deployments, size_t len) {
    strategy_list_f64_t weights = {len ? calloc(len, sizeof(double)) : NULL, len};
    if (len && weights.ptr == NULL) abort();
    for (size_t i = 0; i < len; i++) weights.ptr[i] = load(&deployments[i]) == least;
    return weights;
}

static void share(const deployment_t *local, size_t locals, const deployment_t *remote, size_t remotes,
                  hybrid_routing_types_weights_t *ret) {
    double best = least(local, locals);
    bool spills = best >= spill;
    if (spills) best = fmin(best, least(remote, remotes));
    ret->local = at(best, local, locals);
    // A load is never -1, so no remote deployment gets a weight.
    ret->remote = at(spills ? best : -1, remote, remotes);
}

void exports_hybrid_routing_policy_assign(exports_hybrid_routing_policy_list_deployment_t *local,
                                          exports_hybrid_routing_policy_list_deployment_t *remote,
                                          exports_hybrid_routing_policy_weights_t *ret) {
    share(local->ptr, local->len, remote->ptr, remote->len, ret);
    exports_hybrid_routing_policy_list_deployment_free(local);
    exports_hybrid_routing_policy_list_deployment_free(remote);
}

void exports_hybrid_routing_request_policy_assign_request(
    exports_hybrid_routing_request_policy_request_t *request,
    exports_hybrid_routing_request_policy_list_deployment_t *local,
    exports_hybrid_routing_request_policy_list_deployment_t *remote,
    exports_hybrid_routing_request_policy_verdict_t *ret) {
    memset(ret, 0, sizeof *ret);
    ret->tag = EXPORTS_HYBRID_ROUTING_REQUEST_POLICY_VERDICT_ROUTE;
    share(local->ptr, local->len, remote->ptr, remote->len, &ret->val.route.weights);
    exports_hybrid_routing_request_policy_request_free(request);
    exports_hybrid_routing_request_policy_list_deployment_free(local);
    exports_hybrid_routing_request_policy_list_deployment_free(remote);
}
