//! The strategies in `/routing`, with the results of their candidates.

use serde_json::{Map, Value, json};

use config::TrialMode;
use contract::RestCause;
use fleet::{
    CandidateInfo, Snapshot, StrategyInfo, StrategyState, TrialMeans, TrialOutlook, TrialReport,
};

/// The strategy of this index. Without strategies, `models.yaml` decides.
pub(super) fn show(snapshot: &Snapshot, index: usize) -> Value {
    let Some(strategy) = snapshot.generation.strategies.get(index) else {
        return json!({
            "name": "models.yaml", "version": null, "sha256": null, "parameters": {},
            "last_error": null, "state": "on", "rests_for": null,
        });
    };
    let mut shown = show_info(strategy);
    let StrategyState { last_error, rests_for } = &snapshot.strategy_states[index];
    shown["last_error"] = last_error.clone().into();
    shown["state"] = if rests_for.is_some() { "off" } else { "on" }.into();
    shown["rests_for"] = rests_for.map(RestCause::as_str).into();
    if let Some(candidate) = &strategy.candidate {
        shown["candidate"] = show_candidate(candidate);
    }
    shown
}

fn show_info(strategy: &StrategyInfo) -> Value {
    let on_path = strategy.on_path.as_ref().map(|path| path.status());
    json!({
        "name": strategy.name,
        "version": strategy.version,
        "sha256": strategy.sha256,
        "parameters": strategy.parameters,
        "on_path": on_path.map(|status| json!({
            "state": if status.off.is_some() { "off" } else { "on" },
            "rests_for": status.off.map(RestCause::as_str),
            "last_error": status.last_error,
        })),
    })
}

fn show_candidate(CandidateInfo { strategy, trial }: &CandidateInfo) -> Value {
    let TrialReport {
        compared,
        divergence,
        divergence_max,
        outlook,
        mean_time,
        faults,
        in_use,
        candidate,
        means,
        ended,
    } = trial.report();
    let [in_use, candidate] = [(in_use, means[0]), (candidate, means[1])]
        .map(|(counts, means)| show_decided(counts, means));
    let mut shown = show_info(strategy);
    shown["mode"] = match trial.mode() {
        TrialMode::Shadow => json!("shadow"),
        TrialMode::Canary(share) => json!({"canary": share}),
    };
    shown["state"] = if ended.is_some() { "rolled_back" } else { "on" }.into();
    shown["reason"] = ended.into();
    shown["compared"] = compared.into();
    shown["divergence"] = json!({"mean": divergence, "max": divergence_max});
    let [ours, beside] = mean_time.map(|time| time.map(|time| time.as_secs_f64() * 1e6));
    shown["mean_us"] = json!({"in_use": ours, "candidate": beside});
    let [ours, beside] = outlook.map(show_expected);
    shown["expected"] = json!({"in_use": ours, "candidate": beside});
    shown["faults"] = faults.into();
    shown["decided"] = json!({"in_use": in_use, "candidate": candidate});
    shown
}

/// Shows what to expect by the answers of one of the two strategies.
fn show_expected(TrialOutlook { shares, first_byte, cost }: TrialOutlook) -> Value {
    let shares: Map<String, Value> = shares
        .into_iter()
        .map(|(model, shares)| (model, shares.into_iter().collect::<Value>()))
        .collect();
    json!({
        "first_byte_ms": first_byte.map(|time| time.as_secs_f64() * 1e3),
        "cost": cost,
        "shares": shares,
    })
}

/// Shows the requests that one of the two strategies decided, and their means.
fn show_decided([requests, failed]: [u64; 2], means: TrialMeans) -> Value {
    let TrialMeans { attempts, fallback, first_byte, cost } = means;
    json!({
        "requests": requests,
        "failed": failed,
        "attempts": attempts,
        "fallback": fallback,
        "first_byte_ms": first_byte.map(|time| time.as_secs_f64() * 1e3),
        "cost": cost,
    })
}
